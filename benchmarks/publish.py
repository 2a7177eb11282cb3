"""Time and bytes of publishing a release, beside `push_to_hub` of `datasets`.

    python -m benchmarks.publish [--photos 2000] [--kilobytes 100] [--rounds 3]

The Hub is the tests' stand-in, on this machine: no network, no far end's own time.
`publish` is what `counterset publish` does, in three parts: the plan (which reads every
file of the release), the commit with its tag, and loading the dataset back to compare
it. `push_to_hub` gets the same rows, loaded beforehand: it writes them as Parquet and
sends them, and looks at nothing afterwards. Each is a process of its own, in turn, each
time to a new Hub; imports are left out.

Then 1 % of the photos, drawn at random, get the other background, or are taken down, or
are exchanged for new ones, and the next version is published: by LFS, and with Xet,
whose store grows by what was sent; all requests count. A stream's first photo is timed
from the call of `load_dataset`, and from there on alone. Peak is the maximum resident
set of the process; of loading back, that of the process it starts.
"""

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import _planted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.standins.hub import Hub

REPO = "org/planted"
Rows = list[dict[str, Any]]


def publish(folder: Path) -> dict[str, float]:
    """Plan and publish, as the command does."""
    from curation import publish as publishing
    from curation.hub import Hub

    route = _planted.opened(folder / "dataset.toml", folder / "work")
    start = time.perf_counter()
    with route.shelf.lock():
        hub = Hub.from_environment()
        plan = publishing.plan(route, REPO, hub=hub)
        planned = time.perf_counter() - start
        done = publishing.publish(plan, hub=hub, shelf=route.shelf)
    return {
        "plan": planned,
        "send": done["seconds"],
        "compare": done["compare_seconds"],
        "whole": time.perf_counter() - start,
        "bytes": done["bytes"],
        "loading": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }


def push(folder: Path) -> dict[str, float]:
    """The same rows by `push_to_hub`."""
    import datasets
    from huggingface_hub import HfApi

    datasets.disable_progress_bars()
    data = datasets.load_dataset(str(folder / "work/release"))
    start = time.perf_counter()
    data.push_to_hub(REPO)
    HfApi().create_tag(REPO, tag="v1.0.0", repo_type="dataset")
    return {"whole": time.perf_counter() - start}


def stream(folder: Path) -> dict[str, float]:
    """The first photo of a stream, decoded."""
    import datasets

    start = time.perf_counter()
    rows = datasets.load_dataset(
        REPO, split="common", revision="v1.0.0", streaming=True
    )
    opened = time.perf_counter()
    next(iter(rows))["image"].load()
    now = time.perf_counter()
    return {"row": now - opened, "whole": now - start}


def child(what: str, folder: Path) -> None:
    """What a process of its own does: one call, and its figures as JSON."""
    import datasets  # noqa: F401
    import huggingface_hub  # noqa: F401

    from curation import publish as publishing  # noqa: F401

    found = {"publish": publish, "push": push, "stream": stream}[what](folder)
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found), flush=True)
    os._exit(0)  # a stream that was not read to its end aborts an orderly exit


def called(
    what: str, folder: Path, hub: "Hub", *, xet: bool = False, home: str
) -> dict[str, Any]:
    """Run a child against a Hub; what it printed."""
    command = [sys.executable, "-m", "benchmarks.publish", "--child", what]
    done = subprocess.run(
        [*command, str(folder)],
        env=hub.environment(xet=xet, home=home),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def running() -> "Iterator[Hub]":
    """A Hub that holds nothing yet."""
    from tests.standins.hub import Hub

    with tempfile.TemporaryDirectory() as name, Hub(Path(name) / "hub") as hub:
        yield hub


def released(folder: Path, rows: Rows, version: str) -> None:
    """Write the release of some photos."""
    from curation.actions import release

    toml = _planted.configured(folder, version)
    route = _planted.plant(toml, folder / "work", rows)
    with route.shelf.lock():
        release.run(route)


def beside(folder: Path, rounds: int) -> None:
    """Both ways of publishing, in turn."""
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for _ in range(rounds):
        with running() as hub:
            ours.append(called("publish", folder, hub, home="home"))
        with running() as hub:
            theirs.append(called("push", folder, hub, home="home"))
    for name in ("plan", "send", "compare", "whole"):
        print(f"  publish, {name:<9}{middle(ours, name):7.2f} s")
    peaks = middle(ours, "peak"), middle(ours, "loading"), middle(theirs, "peak")
    print(
        f"  push_to_hub       {middle(theirs, 'whole'):7.2f} s\n"
        f"  plan and send / push_to_hub: {ratio(ours, theirs, ('plan', 'send'))}; "
        f"with loading back: {ratio(ours, theirs, ('whole',))}\n"
        f"  peak: publish {peaks[0]:.0f} MB, loading back {peaks[1]:.0f} MB, "
        f"push_to_hub {peaks[2]:.0f} MB",
        flush=True,
    )


def middle(found: Sequence[dict[str, Any]], name: str) -> float:
    """The median of a figure."""
    return statistics.median(one[name] for one in found)


def ratio(
    ours: Sequence[dict[str, Any]],
    theirs: Sequence[dict[str, Any]],
    names: Sequence[str],
) -> str:
    """Median of the rounds' ratios, with the smallest and largest."""
    found = [
        sum(one[name] for name in names) / other["whole"]
        for one, other in zip(ours, theirs, strict=True)
    ]
    return f"{statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f})"


def changed(rows: Rows, how: str, new: Rows) -> Rows:
    """The rows of the next version, 1 % of them another way."""
    places = random.Random(0).sample(range(len(rows)), max(1, len(rows) // 100))
    if how == "relabelled":
        rows = list(rows)
        for place in places:
            side = "counter" if rows[place]["group"] == "common" else "common"
            name = _planted.SIDES[side]
            rows[place] = rows[place] | {
                "group": side, "background": name, "verdict": name
            }  # fmt: skip
        return rows
    kept = [row for place, row in enumerate(rows) if place not in places]
    return kept if how == "taken down" else kept + new


def again(folder: Path, rows: Rows, kilobytes: int) -> None:
    """Bytes that the next version sends, and how long a stream's first photo takes."""
    new = _planted.fill(
        folder / "work", max(1, len(rows) // 100), kilobytes, begin=len(rows)
    )
    for how, xet in (
        ("relabelled", False), ("relabelled", True), ("taken down", True),
        ("exchanged", True),
    ):  # fmt: skip
        with running() as hub:
            released(folder, rows, "1.0.0")
            called("publish", folder, hub, xet=xet, home="home")
            first = _sent(hub, xet=xet)
            if not xet:
                streamed(folder, hub)
            released(folder, changed(rows, how, new), "2.0.0")
            called("publish", folder, hub, xet=xet, home="home")
            second = _sent(hub, xet=xet) - first
        print(
            f"  1 % {how}, {'Xet' if xet else 'LFS'}: {second / 1e6:.1f} MB sent after "
            f"{first / 1e6:.1f} MB, {100 * second / first:.1f} %",
            flush=True,
        )


def streamed(folder: Path, hub: "Hub", readers: int = 3) -> None:
    """Print how long the first photo takes, to readers who have nothing yet."""
    found = [
        called("stream", folder, hub, home=f"reader{place}") for place in range(readers)
    ]
    print(
        f"  first streamed photo: {middle(found, 'row'):.2f} s, with load_dataset "
        f"{middle(found, 'whole'):.2f} s",
        flush=True,
    )


def _sent(hub: "Hub", *, xet: bool) -> int:
    return hub.received + (hub.objects.xet_bytes() if xet else 0)


def main() -> None:
    """Plant, publish, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--kilobytes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child[0], Path(args.child[1]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        needed = 8 * args.photos * args.kilobytes * 1000
        if shutil.disk_usage(name).free < needed:
            parser.error(f"this needs {needed / 1e9:.1f} GB in {name}")
        rows = _planted.fill(folder / "work", args.photos, args.kilobytes)
        size = sum(row["bytes"] for row in rows) / 1e6
        print(
            f"{len(rows)} photos, {size:.0f} MB; "
            f"takes up to {needed / 1e9:.1f} GB in {name}",
            flush=True,
        )
        released(folder, rows, "1.0.0")
        beside(folder, args.rounds)
        again(folder, rows, args.kilobytes)


if __name__ == "__main__":
    main()
