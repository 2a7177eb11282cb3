"""Hashing on both decoding paths beside imagehash.phash: photos per CPU-second.

    python -m benchmarks.hashing [FOLDER] [--photos 300] [--peer imagededup=PYTHON]

JPEGs of 500 to 1024 px on the longer side as they are in the folder, and some of them
enlarged to 12 megapixels, since no folder of originals is at hand: as they come out,
smooth and in small files, and with grain added, which makes files of a camera's size.
The more bytes a pixel has, the more of the time goes into reading them. The fast path
loads a compiled reader once a process has been given enough of large files: that is
measured by itself, and the rates are those of a process that has it. Everybody starts
from the file's bytes, in one thread, in turn; CPU time. imagehash makes one pHash a
photo; ours makes eight, dHash and contrast, and the full path also the hash of the
pixels, sharpness and noise. Then the same with one and with two processes, by the
clock.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Self

import imagehash
import numpy as np
from PIL import Image

from benchmarks._figures import Figure, peers, show
from benchmarks._interleaved import machine, middle, ratios, table
from benchmarks._planted import ORIGINALS
from curation.duplicates import hashing

SUFFIXES = (".jpg", ".jpeg")
SMALLEST, LARGEST = 500, 1024
MEGAPIXELS = 12
MAX_PIXELS = 100_000_000
IMAGEHASH = "imagehash"
TASK = 16  # photos that a process is given at once
GRAIN = 6  # a camera's file of 12 megapixels then: about 3 MB
AGAIN = 2  # times as many photos that processes are timed on

IMAGEDEDUP = """
import json, sys, time, types
from importlib.metadata import version

# loading the package's neural part fetches weights, which hashes do not need
sys.modules["imagededup.methods.cnn"] = types.ModuleType("imagededup.methods.cnn")
sys.modules["imagededup.methods.cnn"].CNN = None
from imagededup.methods import PHash

hasher = PHash(verbose=False)
print(json.dumps(version("imagededup")), flush=True)
for line in sys.stdin:
    files = json.loads(line)
    started = time.process_time()
    for file in files:
        hasher.encode_image(image_file=file)
    print(json.dumps(time.process_time() - started), flush=True)
"""


LOADING = """
import sys, time
from pathlib import Path
from curation.duplicates import hashing

data = Path(sys.argv[1]).read_bytes()
started = time.process_time()
from evaluation import eighths

assert eighths.read(data) is not None
print(time.process_time() - started)
"""


class Elsewhere:
    """imagededup's PHash in an environment of its own, which measures its CPU time."""

    def __init__(self, python: Path, files: Sequence[Path]) -> None:
        self._process = subprocess.Popen(
            [python, "-c", IMAGEDEDUP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._files = json.dumps([str(file) for file in files])
        self.version = str(self._answer())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def __call__(self) -> float:
        """Hash all files once; CPU seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(self._files + "\n")
        self._process.stdin.flush()
        return float(str(self._answer()))

    def _answer(self) -> object:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            message = "imagededup ended: is the environment right?"
            raise SystemExit(message)
        return json.loads(line)


def chosen_photos(folder: Path, count: int) -> list[bytes]:
    """JPEGs of the sizes that count, evenly over the folder."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            with Image.open(path) as image:
                if SMALLEST <= max(image.size) <= LARGEST:
                    found.append(path)
    if not found:
        message = f"{folder}: no JPEG of {SMALLEST}-{LARGEST} px"
        raise SystemExit(message)
    return [path.read_bytes() for path in found[:: max(1, len(found) // count)][:count]]


def enlarged(data: bytes, *, grain: int = 0) -> bytes:
    """The photo as a JPEG of about 12 megapixels.

    Args:
        data: the photo's bytes.
        grain: grey levels that are added at most to a pixel, or taken away; 0 leaves
            the smooth picture that enlarging gives, whose file is small.
    """
    image = Image.open(io.BytesIO(data)).convert("RGB")
    factor = (MEGAPIXELS * 1e6 / (image.width * image.height)) ** 0.5
    size = round(image.width * factor), round(image.height * factor)
    image = image.resize(size, Image.Resampling.BICUBIC)
    if grain:
        shape = image.height, image.width, 1
        rng = np.random.default_rng(0)
        added = rng.integers(-grain, grain, shape, np.int8, endpoint=True)
        levels = np.asarray(image).astype(np.int16) + added
        image = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92)
    return file.getvalue()


def on_cpu(work: Callable[[], object]) -> Callable[[], float]:
    """The CPU seconds of one go of `work`."""

    def timed() -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    return timed


def in_turn(
    contenders: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, tuple[float, ...]]:
    """Each contender once in every round, after one to warm up; seconds."""
    took: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(rounds + 1):
        for name, work in contenders.items():
            seconds = work()
            if round_:
                took[name].append(seconds)
    return {name: tuple(some) for name, some in took.items()}


def rates(
    case: str,
    files: Sequence[bytes],
    place: Path,
    *,
    rounds: int,
    python: Path | None,
) -> Iterator[Figure]:
    """Photos per CPU-second of both paths, beside the peers."""
    kind = f"{len(files)} JPEGs of {case_in_words(case, files)}"
    contenders: dict[str, Callable[[], float]] = {
        IMAGEHASH: on_cpu(
            lambda: [imagehash.phash(Image.open(io.BytesIO(one))) for one in files]
        )
    }
    for name, path in hashing.PATHS.items():
        contenders[name] = on_cpu(partial(hashed, files, path))
    names = {IMAGEHASH: f"imagehash {version('imagehash')}"}
    with ExitStack() as stack:
        if python:
            written = write(files, place / case)
            other = stack.enter_context(Elsewhere(python, written))
            contenders["imagededup"] = other
            names["imagededup"] = f"imagededup {other.version}, PHash"
        took = in_turn(contenders, rounds)
    speeds = {
        name: tuple(len(files) / one for one in some) for name, some in took.items()
    }
    for peer, title in names.items():
        for path in hashing.PATHS:
            last = "" if peer == IMAGEHASH else f".{peer}"
            yield Figure(
                name=f"hashing.{case}.{path}{last}",
                what=f"hashing {kind}, path {path}",
                unit="photos/CPU-s",
                ours=speeds[path],
                peer=title,
                theirs=speeds[peer],
            )
    yield from bits(case, kind, files)


def case_in_words(case: str, files: Sequence[bytes]) -> str:
    """What sizes the photos have."""
    each = f"{np.mean([len(one) for one in files]) / 1e6:.2g} MB each"
    if case == "small":
        sides = [max(Image.open(io.BytesIO(one)).size) for one in files]
        return f"{min(sides)}-{max(sides)} px, {each}"
    how = "enlarged, grain added" if case == "grainy" else "enlarged"
    return f"{MEGAPIXELS} megapixels, {how}, {each}"


def enough(files: Sequence[bytes]) -> Sequence[bytes]:
    """The files, so many times over that their compiled reader is loaded."""
    return list(files) * -(-hashing.REPAYS // sum(map(len, files)))


def loading(files: Sequence[bytes], place: Path, *, rounds: int) -> Iterator[Figure]:
    """CPU seconds until the first large file is read by compiled code."""
    (path,) = write(files[:1], place / "first")
    command = [sys.executable, "-c", LOADING, str(path)]
    took = [float(subprocess.check_output(command)) for _ in range(rounds + 1)]
    yield Figure(
        name="hashing.loading",
        what="loading the reader of large JPEGs, which a process does once it was "
        f"given {hashing.REPAYS / 1e6:.0f} MB of them, and reading the first",
        unit="CPU s",
        ours=tuple(took[1:]),
        less=True,
    )


def hashed(files: Sequence[bytes], path: str) -> list[dict[str, object]]:
    """Hash files by one path."""
    return hashing.rows(files, path=path, max_pixels=MAX_PIXELS)


def bits(case: str, kind: str, files: Sequence[bytes]) -> Iterator[Figure]:
    """How far our hashes are from imagehash's."""
    theirs = [
        int(str(imagehash.phash(Image.open(io.BytesIO(one)))), 16) for one in files
    ]
    for name, path in hashing.PATHS.items():
        mine = [int(codes(row)[0]) for row in hashed(files, path)]
        apart = [(a ^ b).bit_count() for a, b in zip(mine, theirs, strict=True)]
        for most, key, words in (
            (0, "equal", "equal to"),
            (4, "within_4_bits", "within 4 bits of"),
        ):
            yield Figure(
                name=f"hashing.{case}.{name}.{key}",
                what=f"pHashes of {kind}, path {name}, {words} imagehash's",
                unit="share",
                ours=(float(np.mean(np.array(apart) <= most)),),
                note="imagehash does not apply EXIF orientation",
            )


def codes(row: Mapping[str, object]) -> Sequence[int]:
    """The pHashes of a row."""
    found = row["phash"]
    assert isinstance(found, list), row["error"]
    return found


# --- one process, and two ------------------------------------------------------------


def write(files: Sequence[bytes], folder: Path) -> list[Path]:
    """Put files where other processes can read them."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{place:05d}.jpg" for place in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    return paths


def task(paths: Sequence[Path], path: str) -> int:
    """Read and hash some files, in a process of its own."""
    return len(hashed([file.read_bytes() for file in paths], path))


def processes(
    files: Sequence[bytes], place: Path, *, rounds: int, busy: int
) -> Iterator[Figure]:
    """What a second process brings, by the clock, on `busy` photos."""
    written = write(files, place / "shared")
    many = written * -(-busy // len(written))
    tasks = [many[start : start + TASK] for start in range(0, len(many), TASK)]
    with ExitStack() as stack:
        pools = {
            count: stack.enter_context(
                ProcessPoolExecutor(count, mp_context=get_context("spawn"))
            )
            for count in (1, 2)
        }

        def clocked(count: int, path: str) -> Callable[[], float]:
            def work() -> float:
                started = time.perf_counter()
                done = sum(pools[count].map(task, tasks, [path] * len(tasks)))
                assert done == len(many)
                return time.perf_counter() - started

            return work

        took = in_turn(
            {
                f"{count} {name}": clocked(count, path)
                for name, path in hashing.PATHS.items()
                for count in pools
            },
            rounds,
        )
    for name in hashing.PATHS:
        one, two = (
            tuple(len(many) / spent for spent in took[f"{count} {name}"])
            for count in (1, 2)
        )
        yield Figure(
            name=f"hashing.processes.{name}",
            what=f"hashing {len(many)} JPEGs with 2 processes, path {name}",
            unit="photos/s",
            ours=two,
            peer="1 process",
            theirs=one,
            note="by the clock",
        )


def report(figures: Sequence[Figure]) -> str:
    """The figures for people."""
    rows = [
        [
            one.what,
            f"{middle(one.ours):.3g} {one.unit}",
            f"{middle(one.theirs):.3g} ({one.peer})" if one.theirs else "",
            ratios(one.ours, one.theirs) if one.theirs else "",
        ]
        for one in figures
    ]
    return table(["", "ours", "theirs", "times better"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ORIGINALS)
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--json", action="store_true", help="figures, one a line")
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    python = peers(chosen.peer).get("imagededup")
    small = chosen_photos(chosen.folder, chosen.photos)
    few = small[:: max(1, len(small) // 8)][: max(2, min(8, len(small) // 12))]
    cases = {
        "small": small,
        "large": [enlarged(one) for one in few],
        "grainy": [enlarged(one, grain=GRAIN) for one in few],
    }
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for case, files in cases.items():
            if case != "small":
                hashed(enough(files), hashing.FAST)
            figures += rates(case, files, place, rounds=chosen.rounds, python=python)
        figures += loading(cases["grainy"], place, rounds=chosen.rounds)
        busy = AGAIN * chosen.photos
        figures += processes(small, place, rounds=chosen.rounds, busy=busy)
    if chosen.json:
        show(figures)
    else:
        print(f"{machine('pillow', 'imagehash', 'numpy', 'scipy')}\n")
        print(report(figures))


if __name__ == "__main__":
    main()
