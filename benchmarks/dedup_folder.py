"""`counterset dedup` on a folder of planted copies, beside its peers: time and memory.

    python -m benchmarks.dedup_folder [FOLDER] [--photos 790] [--peer NAME=PYTHON ...]

Of every five photos one is an original; every other original has eight copies:
recompressed, at half the size, brighter, with a tenth cut off, mirrored, and turned by
90°, 180° and 270°. Originals are the photos of FOLDER at 500 to 900 px; where there are
not enough of them, each is cut into quarters first.

Everybody runs as a new process on the same folder, in turn, and all that it needs to
start counts: seconds by the clock, CPU seconds of all its processes, and the most
memory they held together. A copy is found if it is in one group with its original, or
named as its duplicate; a pair of different originals in one group is wrong.

Peers are cleanvision, czkawka (the binding on PyPI) and imagededup (PHash, radius 10),
each in an environment of its own: `python -m benchmarks.peers NAME` makes it.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageEnhance

from benchmarks._figures import Figure, peers, show
from benchmarks._interleaved import machine, middle, table
from benchmarks._planted import ORIGINALS
from benchmarks._processes import family

Edit = Callable[[Image.Image, random.Random], Image.Image]
Pair = frozenset[str]

SHORTEST, LONGEST = 500, 900
EVERY = 0.02  # seconds between two looks at the memory
OURS = "counterset"

IMAGEDEDUP = """
import json, sys, types
from importlib.metadata import version

# loading the package's neural part fetches weights, which hashes do not need
sys.modules["imagededup.methods.cnn"] = types.ModuleType("imagededup.methods.cnn")
sys.modules["imagededup.methods.cnn"].CNN = None
from imagededup.methods import PHash

if __name__ == "__main__":
    found = PHash(verbose=False).find_duplicates(
        image_dir=sys.argv[1], max_distance_threshold=10
    )
    pairs = [[one, other] for one, some in found.items() for other in some]
    print(json.dumps({"version": version("imagededup"), "groups": pairs}))
"""

CLEANVISION = """
import contextlib, json, os, sys
from importlib.metadata import version
from cleanvision import Imagelab

if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        lab = Imagelab(data_path=sys.argv[1])
        kinds = {"exact_duplicates": {}, "near_duplicates": {}}
        lab.find_issues(kinds, verbose=False)
    groups = [
        [os.path.basename(str(one)) for one in group]
        for kind in kinds for group in lab.info[kind]["sets"]
    ]
    print(json.dumps({"version": version("cleanvision"), "groups": groups}))
"""

CZKAWKA = """
import json, pathlib, sys
from importlib.metadata import version
import czkawka

if __name__ == "__main__":
    finder = czkawka.ImageSimilarity()
    finder.set_directories([pathlib.Path(sys.argv[1])])
    groups = [[one.name for one in group] for group in finder.find_similar()]
    print(json.dumps({"version": version("czkawka"), "groups": groups}))
"""

SCRIPTS = {"imagededup": IMAGEDEDUP, "cleanvision": CLEANVISION, "czkawka": CZKAWKA}


def _crop(image: Image.Image, rng: random.Random) -> Image.Image:
    width, height = (round(0.95 * side) for side in image.size)  # 0.95² = 0.9
    left = rng.randint(0, image.width - width)
    top = rng.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))


def _turned(how: Image.Transpose) -> Edit:
    return lambda image, _: image.transpose(how)


COPIES: Mapping[str, tuple[Edit, int]] = {
    "recompressed": (lambda image, _: image, 40),
    "half the size": (lambda i, _: i.resize((i.width // 2, i.height // 2)), 85),
    "brighter": (lambda image, _: ImageEnhance.Brightness(image).enhance(1.2), 85),
    "a tenth cut off": (_crop, 85),
    "mirrored": (_turned(Image.Transpose.FLIP_LEFT_RIGHT), 85),
    "turned by 90°": (_turned(Image.Transpose.ROTATE_90), 85),
    "turned by 180°": (_turned(Image.Transpose.ROTATE_180), 85),
    "turned by 270°": (_turned(Image.Transpose.ROTATE_270), 85),
}
"""Kinds of copies, with the quality they are saved at."""


@dataclass(frozen=True, slots=True)
class Planted:
    """Copies by kind: name of the copy and of its original."""

    copies: Mapping[str, Sequence[tuple[str, str]]]
    original: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Took:
    """What one run took: seconds, CPU seconds, MB; and what it printed."""

    wall: float
    cpu: float
    memory: float
    told: Mapping[str, Any]


def plant(source: Path, folder: Path, photos: int) -> Planted:
    """Write originals and copies under names that say nothing."""
    rng = random.Random(0)
    wanted = max(2, photos // 5)
    copies: dict[str, list[tuple[str, str]]] = {kind: [] for kind in COPIES}
    original: dict[str, str] = {}
    names = itertools.count(1)
    for place, image in enumerate(_originals(source, wanted, rng)):
        first = f"{next(names):05}.jpg"
        image.save(folder / first, quality=92)
        original[first] = first
        for kind, (edit, quality) in COPIES.items() if place % 2 else ():
            name = f"{next(names):05}.jpg"
            edit(image, rng).save(folder / name, quality=quality)
            original[name] = first
            copies[kind].append((name, first))
    return Planted(copies, original)


def _originals(source: Path, wanted: int, rng: random.Random) -> Iterator[Image.Image]:
    suffixes = (".jpg", ".jpeg", ".png")
    files = sorted(p for p in source.rglob("*") if p.suffix.lower() in suffixes)
    quarters = len(files) < wanted
    if len(files) * (4 if quarters else 1) < wanted:
        message = f"{source}: {len(files)} photos do not give {wanted} originals"
        raise SystemExit(message)
    rng.shuffle(files)
    made = 0
    for file in files:
        with Image.open(file) as opened:
            whole = opened.convert("RGB")
        for box in _boxes(whole.size) if quarters else [(0, 0, *whole.size)]:
            if made == wanted:
                return
            made += 1
            part = whole.crop(box)
            scale = rng.randint(SHORTEST, LONGEST) / max(part.size)
            size = round(part.width * scale), round(part.height * scale)
            yield part.resize(size, Image.Resampling.LANCZOS)


def _boxes(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    width, height = size[0] // 2, size[1] // 2
    return [(x, y, x + width, y + height) for y in (0, height) for x in (0, width)]


def run(words: Sequence[str | Path]) -> Took:
    """Run a program to its end, and watch it."""
    started, largest = time.perf_counter(), 0.0
    environment = os.environ | {"MPLBACKEND": "Agg"}
    with (
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(words, stdout=out, stderr=log, env=environment) as process,
    ):
        while True:
            largest = max(largest, sum(map(_resident, family(process.pid))))
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            time.sleep(EVERY)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        log.seek(0)
        if process.returncode:
            message = f"{words[0]} ended with {process.returncode}: {log.read()[-600:]}"
            raise SystemExit(message)
        told = json.loads(out.read().splitlines()[-1])
    return Took(wall, usage.ru_utime + usage.ru_stime, largest / 1e6, told)


def _resident(process: int) -> int:
    """Bytes in memory; what processes share is counted once for each."""
    try:
        text = Path(f"/proc/{process}/statm").read_text("utf-8")
    except OSError:
        return 0
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def groups(told: Mapping[str, Any]) -> list[list[str]]:
    """Names that one run takes for the same picture."""
    if "groups" in told:
        return [list(group) for group in told["groups"]]
    return [
        [cluster["keeper"], *(member["path"] for member in cluster["members"])]
        for cluster in told["clusters"]
    ]


def judged(planted: Planted, told: Mapping[str, Any]) -> tuple[dict[str, float], int]:
    """Share of copies found, by kind, and wrong pairs."""
    pairs = {
        Pair(pair)
        for group in groups(told)
        for pair in itertools.combinations(set(group), 2)
    }
    recall = {
        kind: sum(Pair(pair) in pairs for pair in some) / len(some)
        for kind, some in planted.copies.items()
    }
    wrong = sum(len({planted.original[one] for one in pair}) > 1 for pair in pairs)
    return recall, wrong


def figures(planted: Planted, took: Mapping[str, Sequence[Took]]) -> Iterator[Figure]:
    """What `--json` prints."""
    ours, count = took[OURS], len(planted.original)
    what = f"dedup of {count} photos of {SHORTEST}-{LONGEST} px, from a cold start"
    others = [name for name in took if name != OURS] or [""]
    for field, unit in (("wall", "s"), ("cpu", "CPU s"), ("memory", "MB")):
        for name in others:
            theirs = took[name] if name else ()
            yield Figure(
                name=f"dedup_folder.{field}",
                what=f"{what}: {field}",
                unit=unit,
                ours=tuple(getattr(one, field) for one in ours),
                peer=f"{name} {theirs[0].told['version']}" if theirs else "",
                theirs=tuple(getattr(one, field) for one in theirs),
                less=True,
            )
    found = {name: judged(planted, some[0].told) for name, some in took.items()}
    for kind in COPIES:
        told = [f"{name} {found[name][0][kind]:.3f}" for name in others if name]
        yield Figure(
            name=f"dedup_folder.recall.{kind}",
            what=f"copies found, {kind}",
            unit="share",
            ours=(found[OURS][0][kind],),
            note=", ".join(told),
        )
    told = [f"{name} {found[name][1]}" for name in others if name]
    yield Figure(
        name="dedup_folder.wrong",
        what="pairs of different originals taken for one",
        unit="pairs",
        ours=(float(found[OURS][1]),),
        less=True,
        note=", ".join(told),
    )


def text(planted: Planted, took: Mapping[str, Sequence[Took]]) -> str:
    """What is printed for people."""
    rows = []
    for name, some in took.items():
        recall, wrong = judged(planted, some[0].told)
        version = some[0].told.get("version", "")
        measured = [
            f"{middle([getattr(one, field) for one in some]):.{digits}f}"
            for field, digits in (("wall", 2), ("cpu", 2), ("memory", 0))
        ]
        shares = [f"{recall[kind]:.3f}" for kind in COPIES]
        rows.append([f"{name} {version}".strip(), *measured, *shares, wrong])
    head = ["", "wall s", "CPU s", "MB", *COPIES, "wrong pairs"]
    return table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=ORIGINALS)
    parser.add_argument("--photos", type=int, default=790)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    named = peers(given.peer)
    unknown = sorted(named.keys() - SCRIPTS.keys())
    if unknown:
        message = f"--peer {unknown[0]}: known are {', '.join(sorted(SCRIPTS))}"
        raise SystemExit(message)
    with tempfile.TemporaryDirectory(prefix="counterset-dedup-") as place:
        planted = plant(given.folder, Path(place), given.photos)
        command = Path(sys.executable).parent / "counterset"
        contenders = {OURS: [command, "dedup", place, "--json", "--quiet"]}
        for name, python in named.items():
            contenders[name] = [python, "-c", SCRIPTS[name], place]
        took: dict[str, list[Took]] = {name: [] for name in contenders}
        for _ in range(given.rounds):
            for name, words in contenders.items():
                took[name].append(run(words))
    if given.json:
        show(figures(planted, took))
        return
    print(machine("counterset", "pillow", "numpy"))
    print(f"{len(planted.original)} photos, medians of {given.rounds} runs in turn")
    print(text(planted, took))


if __name__ == "__main__":
    main()
