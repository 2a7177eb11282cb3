"""Photos per second of hashing and embedding, by engine and number of workers.

    python -m benchmarks.engines [FOLDER] [--photos 1024] [--workers 1 2] [--rounds 3]

Files are the folder's JPEGs, made distinct by eight bytes after their end, which no
decoder reads. Every case is a process of its own that computes one part, then all
parts: the difference is the rate, and what one part took beyond it is the start-up of
Ray, workers and models. Ray gets a cluster of as many nodes on this machine as there
are workers, each with one core. CPU time is that of the process and all it started, so
it means something on a machine that has other work, too. Then follows what ten million
photos would cost: core hours of CPU time, and bytes.

`--json` hands on every rate, and beside each other in the same rounds: processes and
Ray against `local` on as many cores, and several workers against one.
"""

import argparse
import hashlib
import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks._figures import Figure, show
from benchmarks._interleaved import machine
from benchmarks._planted import ORIGINALS
from curation import engines
from curation.engines import ENGINES
from curation.schemas import from_rows
from curation.stages import embed
from curation.stages import hash as hashing
from evaluation.models import identity

MILLIONS = 10_000_000

STORE = 80_000_000
"""Bytes of a Ray node's object store; 75 MB is the least."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is run.

    Attributes:
        stage: hash or embed.
        engine: its name.
        workers: cores that it may use; nodes of one core for Ray.
    """

    stage: str
    engine: str
    workers: int

    @property
    def told(self) -> str:
        """The engine and what it has, in words."""
        plural = "s" * (self.workers != 1)
        what = f"node{plural} of a core" if self.engine == "ray" else f"core{plural}"
        return f"--engine {self.engine}, {self.workers} {what}"


@dataclass(frozen=True, slots=True)
class Took:
    """What it took.

    Attributes:
        start: seconds before photos are computed at the rate.
        rate: photos per second after that.
        cpu: CPU seconds per photo after that.
        starting: CPU seconds before that.
        table: bytes of Parquet per photo.
    """

    start: float
    rate: float
    cpu: float
    starting: float
    table: float


def distinct(folder: Path, into: Path, count: int) -> list[Path]:
    """So many files with the photos of a folder, each named by its sha256."""
    originals = [
        path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in (".jpg", ".jpeg")
    ]
    if not originals:
        message = f"{folder}: no JPEG is in it"
        raise SystemExit(message)
    made = []
    for place in range(count):
        data = originals[place % len(originals)] + place.to_bytes(8, "big")
        path = into / hashlib.sha256(data).hexdigest()
        path.write_bytes(data)
        made.append(path)
    return made


def works(
    stage: str, model: str, blobs: Sequence[Path], part: int
) -> list[engines.Work]:
    """Parts of a stage, of so many photos each, as the route cuts them."""
    settings: object
    if stage == "hash":
        settings = hashing.Settings(max_pixels=10**8)
    else:
        settings = embed.Settings(model, identity(model), 10**8)
    home = blobs[0].parent
    rows = [
        {
            "photo_id": blob.name, "candidate_id": blob.name, "class": "any",
            "classes": [], "observation_id": blob.name, "composed": False,
            "bytes": blob.stat().st_size, "format": "JPEG", "width": 0, "height": 0,
            "order": place,
        }
        for place, blob in enumerate(blobs)
    ]  # fmt: skip
    return [
        engines.Work(
            stage, settings, some, [home / key for key in some["photo_id"].to_pylist()]
        )
        for some in engines.parts(from_rows(rows, "photos"), part)
    ]


@contextmanager
def cluster(nodes: int) -> Iterator[None]:
    """A Ray cluster of nodes of one core on this machine, for the engine to find."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {
        "num_cpus": 1, "num_gpus": 0, "object_store_memory": STORE,
        "include_dashboard": False,
    }  # fmt: skip
    started: Any = Cluster(initialize_head=True, head_node_args=node)
    try:
        for _ in range(nodes - 1):
            started.add_node(**node)
        os.environ["RAY_ADDRESS"] = started.address
        yield
    finally:
        started.shutdown()


def measured(case: Case, model: str, blobs: Sequence[Path], part: int) -> Took:
    """Run a case on one part, then on all."""
    if case.engine != "ray":
        return _measured(case, model, blobs, part)
    start, spent = time.perf_counter(), cpu_seconds()
    with cluster(case.workers):
        wall, cpu = time.perf_counter() - start, cpu_seconds() - spent
        found = _measured(case, model, blobs, part)
    return replace(found, start=found.start + wall, starting=found.starting + cpu)


def _measured(case: Case, model: str, blobs: Sequence[Path], part: int) -> Took:
    listed = works(case.stage, model, blobs, part)
    written: list[int] = []

    def keep(table: pa.Table) -> None:
        file = io.BytesIO()
        pq.write_table(table, file, compression="zstd")
        written.append(file.tell())

    def timed(some: list[engines.Work]) -> tuple[float, float]:
        start, spent = time.perf_counter(), cpu_seconds()
        engine.compute(
            some, jobs=case.workers, processes=case.stage == "hash", keep=keep
        )
        return time.perf_counter() - start, cpu_seconds() - spent

    with engines.opened(case.engine) as engine:
        # each computation starts its workers anew
        first, second = timed(listed[:1]), timed(listed)
        again = timed(listed[:1])
    rest = len(blobs) - part
    rate = rest / max(second[0] - again[0], 1e-9)
    cpu = max(second[1] - again[1], 1e-9) / rest
    return Took(
        start=max(0.0, first[0] - part / rate),
        rate=rate,
        cpu=cpu,
        starting=max(0.0, first[1] - part * cpu),
        table=sum(written[1:-1]) / len(blobs),
    )


def cpu_seconds() -> float:
    """CPU time of this process and all that descend from it, ended or not."""
    spent, parent = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        spent[int(path.parent.name)] = sum(map(int, words[11:15]))
        parent[int(path.parent.name)] = int(words[1])
    ours = {os.getpid()}
    while more := {one for one, above in parent.items() if above in ours} - ours:
        ours |= more
    return sum(spent.get(one, 0) for one in ours) / os.sysconf("SC_CLK_TCK")


def apart(case: Case, model: str, folder: Path, part: int) -> Took:
    """`measured` in a process of its own, with as many threads as there are workers."""
    command = [sys.executable, "-m", "benchmarks.engines", str(folder), "--case"]
    command += [case.stage, case.engine, str(case.workers)]
    # a worker of Ray has a core, and would take this number of threads for itself
    threads = 1 if case.engine == "ray" else case.workers
    done = subprocess.run(
        [*command, "--model", model, "--part", str(part)],
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Took(**json.loads(done.stdout.splitlines()[-1]))


def figures(found: Mapping[Case, Sequence[Took]], what: str) -> Iterator[Figure]:
    """Rates and start-up of every case, then cases side by side.

    Args:
        found: what each case took in each round.
        what: the photos, in words.
    """
    for case, rounds in found.items():
        for value, unit, less in (
            ("rate", "photos/s", False),
            ("cpu", "CPU s", True),
            ("start", "s", True),
        ):
            yield Figure(
                name=f"engines.{case.stage}.{case.engine}.{case.workers}.{value}",
                what=f"{case.stage}, {case.told}, {value}: {what}",
                unit=unit,
                ours=tuple(getattr(took, value) for took in rounds),
                less=less,
            )
    for case, other in itertools.permutations(found, 2):
        alike = case.stage == other.stage
        engine = case.workers == other.workers and other.engine == "local"
        scale = case.engine == other.engine and case.workers > other.workers == 1
        if alike and (engine or scale):
            yield Figure(
                name=f"engines.{case.stage}.{case.engine}.{case.workers}"
                f".beside.{other.engine}.{other.workers}",
                what=f"{case.stage}, {case.told}: {what}",
                unit="photos/s",
                ours=tuple(took.rate for took in found[case]),
                peer=other.told,
                theirs=tuple(took.rate for took in found[other]),
                note="without start-up",
            )


def costs(
    found: Mapping[Case, Sequence[Took]], photo_bytes: float
) -> Iterator[tuple[str, str]]:
    """What ten million photos cost at the rates found, in words."""
    stages: dict[str, float] = {}
    for case, rounds in found.items():
        table = statistics.median(took.table for took in rounds)
        hours = MILLIONS * statistics.median(took.cpu for took in rounds) / 3600
        stages.setdefault(case.stage, table)
        yield f"{case.stage}, {case.told}", f"{hours:,.0f} core hours"
    yield "photos", f"{MILLIONS * photo_bytes / 1e12:.1f} TB to read, by each stage"
    for stage, table in stages.items():
        yield f"table of {stage}", f"{MILLIONS * table / 1e9:.1f} GB"


def arguments() -> argparse.Namespace:
    summary, _, text = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary,
        epilog=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, nargs="?", default=ORIGINALS)
    parser.add_argument("--photos", type=int, default=1024)
    parser.add_argument(
        "--part", type=int, default=engines.PART, help="photos computed together"
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--stages", nargs="+", default=["hash", "embed"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="demo:lite0")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    if asked.case:
        stage, engine, workers = asked.case
        case = Case(stage, engine, int(workers))
        blobs = sorted(path for path in asked.folder.iterdir() if path.is_file())
        print(json.dumps(asdict(measured(case, asked.model, blobs, asked.part))))
        return
    cases = [
        Case(stage, engine, workers)
        for stage in asked.stages
        for engine in asked.engines
        for workers in asked.workers
    ]
    found: dict[Case, list[Took]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as name:
        blobs = distinct(asked.folder, Path(name), max(asked.photos, 2 * asked.part))
        size = statistics.mean(blob.stat().st_size for blob in blobs)
        for _ in range(asked.rounds):
            for case in cases:
                found[case].append(apart(case, asked.model, Path(name), asked.part))
    what = f"{len(blobs)} photos of {size / 1000:.0f} kB, model {asked.model}"
    if asked.json:
        show(figures(found, what))
        return
    print(machine("counterset", "pillow", "torch", "ray"))
    print(f"\n{what}, medians of {asked.rounds} rounds\n")
    for case, rounds in found.items():
        rates = [took.rate for took in rounds]
        middle = {
            name: statistics.median(getattr(took, name) for took in rounds)
            for name in ("rate", "cpu", "start", "starting")
        }
        print(
            f"{case.stage:<6} {case.told:<38} "
            f"{middle['rate']:8.1f} photos/s ({min(rates):.1f}-{max(rates):.1f}), "
            f"start-up {middle['start']:4.1f} s; {1000 * middle['cpu']:.1f} CPU ms "
            f"each, start-up {middle['starting']:.1f} CPU s"
        )
    print(f"\nTen million photos of {size / 1000:.0f} kB at these rates\n")
    for line, cost in costs(found, size):
        print(f"{line:<40} {cost}")


if __name__ == "__main__":
    main()
