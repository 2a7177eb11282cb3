"""What every test stands on: no network, seeds, real parts present, one shared demo.

- Tests run offline. Sockets of this process reach only this machine, and programs the
  tests start find a proxy that refuses. Tests marked `network` are left out unless
  `-m network` asks for them.
- Under CI (environment variable CI) a skipped test is a failed test, unless marked
  `gpu`, `network` or `outside`: a real part that is missing must not go unseen.
- `demo_work` is the bundled demo, made once through the command line. Under CI it is
  the one of a fresh clone (tests/clone.py).
"""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock
from hypothesis import settings

from tests.buckets import keys, near, service
from tests.clone import Made, clone, made_demo
from tests.hub import hub
from tests.labelstudio import label_studio, label_studio_server
from tests.world import World, make

if TYPE_CHECKING:
    from tests.cluster import Cluster

__all__ = [
    "clone",
    "hub",
    "keys",
    "label_studio",
    "label_studio_server",
    "made_demo",
    "near",
    "service",
]

ROOT = Path(__file__).parents[1]
CI = os.environ.get("CI", "").lower() not in ("", "0", "false")
MAY_SKIP = ("gpu", "network", "outside")
LOOPBACK = ("127.", "::1", "localhost")
LONGEST = ("demo", "labelstudio", "ray")
"""Groups that begin first: each keeps a worker for minutes."""
TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {
        "context_length": 32,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 1,
    },
}
"""Architecture of `tiny_clip`."""
NOWHERE = "http://127.0.0.1:9"  # the discard port: refused at once


def _environment(*, offline: bool) -> None:
    """Set before torch or a Hub client is imported; workers and programs inherit it."""
    if "COUNTERSET_TEST_HOME" not in os.environ:
        os.environ["COUNTERSET_TEST_HOME"] = tempfile.mkdtemp(prefix="counterset-test-")
    home = os.environ["COUNTERSET_TEST_HOME"]
    os.environ |= {
        "HF_HOME": f"{home}/hf",  # never the user's own cache
        "XDG_STATE_HOME": f"{home}/state",  # nor what hosts were asked
        "XDG_CACHE_HOME": f"{home}/cache",  # nor names of photo files
        "TORCH_HOME": f"{home}/torch",
        "MPLCONFIGDIR": f"{home}/matplotlib",
        "MPLBACKEND": "Agg",
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }
    # memory of one batch is kept for the next: the kernel clears it once, not each time
    os.environ |= {
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": "1000000000",
    }
    for name in ("HF_TOKEN", "HF_ENDPOINT", "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"):
        os.environ.pop(name, None)
    if offline:
        os.environ |= {
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "no_proxy": "localhost,127.0.0.1,::1",
            "NO_PROXY": "localhost,127.0.0.1,::1",
        }
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            os.environ[name] = os.environ[name.upper()] = NOWHERE
    if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        share = max(1, (os.cpu_count() or 1) // int(workers))
        os.environ.setdefault("OMP_NUM_THREADS", str(share))


def _network_asked(config: pytest.Config) -> bool:
    return "network" in config.option.markexpr.replace("not network", "")


def pytest_configure(config: pytest.Config) -> None:
    _environment(offline=not _network_asked(config))
    # derandomised: a change is judged by the change, not by the day's draw
    settings.register_profile("counterset", deadline=None, derandomize=CI)
    settings.load_profile("counterset")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests also wait, for servers and for programs."""
    return (os.cpu_count() or 1) + 1


def pytest_unconfigure() -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["COUNTERSET_TEST_HOME"], ignore_errors=True)


@pytest.hookimpl(tryfirst=True)  # xdist's own reads the groups
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out `network`; keep what shares work on one worker, the longest first."""
    if not _network_asked(config):
        asking = [item for item in items if item.get_closest_marker("network")]
        config.hook.pytest_deselected(items=asking)
        items[:] = [item for item in items if item not in asking]
    rank: dict[str, int] = {}
    groups: list[str] = []
    for item in items:
        marker = item.get_closest_marker("xdist_group")
        group = str(marker.args[0]) if marker else item.path.stem
        if "demo_work" in getattr(item, "fixturenames", ()):
            group = "demo"
        if "label_studio" in getattr(item, "fixturenames", ()):
            group = "labelstudio"
        if not marker:
            item.add_marker(pytest.mark.xdist_group(group))
        slow = item.get_closest_marker("slow") is not None
        place = 0 if group in LONGEST else 1 if slow else 2
        rank[group] = min(rank.get(group, 2), place)
        groups.append(group)
    order = sorted(range(len(items)), key=lambda place: rank[groups[place]])
    items[:] = [items[place] for place in order]


def _may_skip(node: pytest.Item | pytest.Collector) -> bool:
    return not CI or any(node.get_closest_marker(name) for name in MAY_SKIP)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and not _may_skip(item):
        report.outcome = "failed"
        report.longrepr = f"under CI nothing may be skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and not _may_skip(collector):
        report.outcome = "failed"
        report.longrepr = f"under CI nothing may be skipped: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _offline(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets reach this machine only."""
    if request.node.get_closest_marker("network"):
        return
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def refuse(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(LOOPBACK):
            message = f"tests run offline, and something asked for {address}"
            raise ConnectionRefusedError(message)

    def guarded(self: socket.socket, address: Any) -> None:
        refuse(self, address)
        connect(self, address)

    def guarded_ex(self: socket.socket, address: Any) -> int:
        refuse(self, address)
        return connect_ex(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_ex)


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def counterset() -> Path:
    """The installed console script."""
    return Path(sys.executable).parent / "counterset"


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of a small real image-text model with random weights."""
    import open_clip
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny_clip")
    network = open_clip.CLIP(**TINY)
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": TINY, "preprocess_cfg": preprocess})
    )
    torch.save(network.state_dict(), folder / "open_clip_pytorch_model.bin")
    return f"open_clip:local-dir:{Path(folder)}"


@pytest.fixture(scope="session")
def shared_tmp(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder all workers of this run see."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def demo_work(
    request: pytest.FixtureRequest, shared_tmp: Path, counterset: Path
) -> Path:
    """Work folder of a finished `counterset demo`: to read; copy it to change it.

    Under CI it is a fresh clone's, which tests need anyway; else this checkout's.
    """
    if CI:
        made: Made = request.getfixturevalue("made_demo")
        return made.work
    work, done, failure = (shared_tmp / f"demo{end}" for end in ("", ".done", ".fails"))
    with FileLock(shared_tmp / "demo.lock"):
        if not done.exists() and not failure.exists():
            found = subprocess.run(
                [counterset, "demo", "--work", work],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if found.returncode:
                failure.write_text(f"exit {found.returncode}\n{found.stderr[-5000:]}")
            else:
                done.touch()
    if failure.exists():
        pytest.fail(f"counterset demo: {failure.read_text()}", pytrace=False)
    return work


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Cluster"]:
    """A Ray cluster of several nodes on this machine, with this process connected.

    It ends with its module: its processes never rest, and it changes the environment.
    """
    from tests.cluster import running

    with running(tmp_path_factory.mktemp("importable")) as cluster:
        yield cluster


@pytest.fixture
def world(tmp_path: Path, tiny_clip: str) -> World:
    """A small world to run the route in: real photos, real models, the real CLI."""
    return make(tmp_path, tiny_clip)
