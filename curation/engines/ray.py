"""Many machines: map stages run by Ray Data on the nodes of a cluster.

Parts are cut as the local engine cuts them, each is a block of one row, and an actor
per core (or per model, or per GPU) computes them. Answers are kept by this process as
they come, so a run that is killed loses what was being computed, as on one machine. An
actor or a node that is lost takes its parts along; they are asked for again, in another
round, of what nodes there are then.
"""

import importlib.util
import logging
import os
import pickle
import shutil
import socket
import tempfile
import warnings
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.engines.answers import opened
from curation.engines.storage import Storage
from curation.engines.work import Work
from curation.engines.worker import ASKED, Worker, versions
from curation.errors import ConfigError, RemoteError

WAVE = 1024
"""Parts that are handed to the cluster at once."""

TRIES = 4
"""Rounds in which a part may lose its worker."""

CORES = 4
"""Cores of an actor that has a model and no GPU; each computes 16 photos at a time."""

GPU_CORES = 8
"""Cores at most that decode for one GPU."""

_MISSING = (
    "--engine ray needs Ray, which is not installed: pip install 'counterset[ray]'"
)

_STUCK = 1800  # seconds without any part being finished
_REACHED = 10  # seconds to wait for the cluster's first answer

Keep = Callable[[pa.Table], None]


@dataclass(frozen=True, slots=True)
class Shape:
    """The actors that a stage gets.

    Attributes:
        actors: how many.
        cpus: cores of each.
        gpus: GPUs of each.
    """

    actors: int
    cpus: int
    gpus: int


class Ray:
    """The engine of a cluster.

    It connects when the first part is to be computed: to `RAY_ADDRESS`, else to a Ray
    that runs on this machine, else it starts one with this machine's cores.

    Args:
        storage: where workers find photos; None where every node sees the work folder.
        say: called with a line of progress.
    """

    name = "ray"

    def __init__(
        self,
        storage: Storage | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.storage = storage
        self.say = say
        self._ours = False  # whether `close` ends the connection
        self._folder: Path | None = None
        self._said = ""  # what Ray said when a round last ended early

    def compute(
        self, works: Iterable[Work], *, jobs: int, processes: bool, keep: Keep
    ) -> None:
        """Compute parts and keep each as soon as it is there.

        Args:
            works: the parts, all of one stage; taken as they are needed.
            jobs: cores to use where a Ray is started on this machine.
            processes: whether the stage decodes and nothing else.
            keep: called in this process with each finished part, in any order.

        Raises:
            ConfigError: Ray is not installed.
            InputError: a node cannot read the photos, lacks a model's weights, or has
                other versions.
            RemoteError: no cluster, or storage failed, or workers kept dying.
        """
        waiting = iter(works)
        wave = list(islice(waiting, WAVE))
        if not wave:
            return
        self._connect(jobs)
        with ThreadPoolExecutor(1, "next-wave") as ahead:
            self._bring(wave)
            while wave:
                following = list(islice(waiting, WAVE))
                brought = ahead.submit(self._bring, following)
                self._wave(wave, decodes=processes, keep=keep)
                brought.result()
                wave = following

    def close(self) -> None:
        """Leave the cluster, or end the Ray that was started here."""
        if self._ours:
            import ray

            ray.shutdown()
            self._ours = False
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _bring(self, works: list[Work]) -> None:
        """Put the photos of parts where workers read them."""
        if self.storage:
            copied = self.storage.bring(blob for work in works for blob in work.blobs)
            if copied:
                self.say(f"{copied} photos copied to {self.storage.url}")

    # parts --------------------------------------------------------------------------

    def _wave(self, works: list[Work], *, decodes: bool, keep: Keep) -> None:
        """Compute parts, and those whose worker was lost again.

        Raises:
            RemoteError: a part lost its worker in every round.
        """
        left = dict(enumerate(works))
        tries = 0
        while left:
            before, shape = len(left), _shape(decodes=decodes)
            with closing(self._round(dict(left), shape, decodes=decodes)) as found:
                for place, table in found:
                    if left.pop(place, None):
                        keep(table)
            tries = tries + 1 if len(left) == before else 1
            if not left:
                return
            if tries == TRIES:
                raise RemoteError(_given_up(list(left.values()), self._said))
            self.say(
                f"{left[min(left)].stage}: workers of {len(left)} parts were lost; "
                "computing these again"
            )

    def _round(
        self, asked: dict[int, Work], shape: Shape, *, decodes: bool
    ) -> Generator[tuple[int, pa.Table], None, None]:
        """Ask for parts once.

        Yields: a part's place and its table, as they come; nothing for parts whose
            worker was lost.
        """
        import ray

        blocks = [
            pa.table({"place": [place], "work": [pickle.dumps(work)]}, schema=ASKED)
            for place, work in asked.items()
        ]
        context = ray.data.DataContext.get_current()
        _quiet(context)
        with warnings.catch_warnings():
            # deprecated as one of "other options", and nowhere else to be said
            warnings.simplefilter("ignore", DeprecationWarning)
            answered = ray.data.from_arrow(blocks).map_batches(
                Worker,
                fn_constructor_args=(self._sent(), decodes, versions()),
                batch_size=None,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(
                    size=min(shape.actors, len(blocks)), max_tasks_in_flight_per_actor=2
                ),
                num_cpus=shape.cpus,
                num_gpus=shape.gpus,
                # an actor that died leaves its parts to the next round: one that waits
                # for a node to come back would hold them for ever
                max_restarts=0,
            )
        batches: Any = answered.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        )
        try:
            # closed: what is left of a round would hold its actors for some time
            with closing(iter(batches)) as coming:
                for batch in coming:
                    for row in batch.to_pylist():
                        yield opened(row, asked)
        except ray.exceptions.RayError as error:
            self._said = _last_line(error)
            self.say(f"ray: {self._said}")

    def _sent(self) -> Storage | None:
        """The storage as workers get it: not yet opened."""
        return replace(self.storage) if self.storage else None

    # the cluster --------------------------------------------------------------------

    def _connect(self, jobs: int) -> None:
        """Be connected to a cluster.

        Raises:
            ConfigError: Ray is not installed, or the address cannot be used.
            RemoteError: the cluster does not answer, or has another version.
        """
        check()
        # before Ray is imported, which reads them then
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
            import ray.data
        except ImportError as error:
            message = f"{_MISSING} ({error})"
            raise ConfigError(message) from error
        if ray.is_initialized():
            return
        quiet: dict[str, Any] = {
            "log_to_driver": False,
            "logging_level": logging.ERROR,
        }
        address = os.environ.get("RAY_ADDRESS", "")
        if address:
            _answers(address)
        try:
            ray.init(address=address or "auto", **quiet)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            if address:
                raise RemoteError(_unreachable(address, error)) from error
            self._start(jobs, quiet)
        self._ours = True
        nodes = _nodes()
        cores = sum(cpus for cpus, _ in nodes)
        gpus = sum(found for _, found in nodes)
        told = f"{_some(len(nodes), 'node')}, {_some(cores, 'core')}"
        self.say(f"ray: {told}, {_some(gpus, 'GPU')}")

    def _start(self, jobs: int, quiet: dict[str, Any]) -> None:
        """Start a Ray on this machine alone."""
        import ray

        self.say("ray: no cluster runs here; one of this machine alone is started")
        # short: sockets are in it, and their paths may have 107 bytes
        self._folder = Path(tempfile.mkdtemp(prefix="counterset-ray-"))
        ray.init(
            address="local",
            num_cpus=jobs,
            include_dashboard=False,
            _temp_dir=str(self._folder),
            **quiet,
        )


def check() -> None:
    """Find out whether Ray is installed and the address is one that can be used.

    Raises:
        ConfigError: it is not.
    """
    found = importlib.util.find_spec("ray")
    if found is None or found.origin is None:  # a folder of that name has none
        raise ConfigError(_MISSING)
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        message = (
            f"RAY_ADDRESS={address}: addresses with ray:// cannot be used; run on a "
            "node of the cluster with RAY_ADDRESS=auto, or with `ray job submit`"
        )
        raise ConfigError(message)


def _nodes() -> list[tuple[int, int]]:
    """Cores and GPUs of each node that is alive."""
    import ray

    nodes: Any = ray.nodes  # has no types
    return [
        (int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0)))
        for node in nodes()
        if node["Alive"]
    ]


def _shape(*, decodes: bool) -> Shape:
    """The actors that suit the cluster as it is now.

    Raises:
        RemoteError: it has no core to offer.
    """
    nodes = _nodes()
    cores = sum(cpus for cpus, _ in nodes)
    gpus = sum(found for _, found in nodes)
    if not cores:
        message = "the Ray cluster has no node with a core to offer; start one"
        raise RemoteError(message)
    if decodes:
        return Shape(cores, 1, 0)
    if gpus:
        with_gpu = [(cpus, found) for cpus, found in nodes if found]
        each = min(cpus // found for cpus, found in with_gpu)
        return Shape(gpus, max(1, min(GPU_CORES, each)), 1)
    each = min(CORES, min(cpus for cpus, _ in nodes if cpus))
    return Shape(sum(cpus // each for cpus, _ in nodes), each, 0)


def _quiet(context: Any) -> None:  # noqa: ANN401 - Ray's, imported by whoever calls
    """Settings of Ray Data for the rounds that follow."""
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = _STUCK
    # workers answer with their errors: what Ray counts as one is a worker lost
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def _some(number: int, what: str) -> str:
    """A number of things.

    Example:
        >>> _some(1, "node"), _some(2, "core")
        ('1 node', '2 cores')
    """
    return f"{number} {what}{'s' * (number != 1)}"


def _last_line(error: Exception) -> str:
    """What an error of Ray says, of all that it tells."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


def _given_up(left: list[Work], said: str) -> str:
    stage, photo = left[0].stage, left[0].photos.column("photo_id")[0].as_py()
    return (
        f"{stage}: {len(left)} parts lost their worker {TRIES} times; the first begins "
        f"with photo {photo[:12]}. {said or 'Ray gave no reason'}. A node may have too "
        "little memory, or no counterset: Ray's logs on it say more. What was computed "
        "is kept, run again to go on"
    )


def _answers(address: str) -> None:
    """Find out in seconds that nobody answers; Ray would try for a minute.

    Raises:
        RemoteError: nobody answers.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        return  # auto, local
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACHED).close()
    except OSError as error:
        raise RemoteError(_unreachable(address, error)) from error


def _unreachable(address: str, error: Exception) -> str:
    said = " ".join(str(error).split())
    if "ersion mismatch" in said:
        return (
            f"the Ray cluster at {address} has other versions than this machine: "
            f"{said[:400]}"
        )
    return (
        f"no Ray cluster can be used at RAY_ADDRESS={address} ({said[:400]}); "
        "`ray status` on this machine tells whether one runs"
    )
