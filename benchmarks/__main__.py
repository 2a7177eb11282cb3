"""Every ratio that the README claims, side by side with the peer, and how cost grows.

    python -m benchmarks [--size full|small] [--only NAME ...] [--install] [--json]

Runs the programs that hand on figures, one after another, and prints one table: ours,
the peer's in the same rounds, and how many times better ours is. `--list` names the
programs. A peer that the development environment lacks is measured where its
environment was made (`python -m benchmarks.peers NAME`, or `--install` makes them all);
what could not be measured is listed with the reason, and the exit status is then 1 when
a program failed, 0 when only a peer is missing. `--size small` needs no other
environment and takes about a minute; its programs run side by side, so its figures say
that everything works, not how fast it is.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import peers
from benchmarks._figures import Figure, read
from benchmarks._interleaved import machine, table
from benchmarks._planted import ORIGINALS

PACKAGES = ("counterset", "numpy", "pillow", "pyarrow", "polars", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that hands on figures.

    Attributes:
        small: its arguments where it only has to work; {folder} and {work} stand for
            the folder of photos and one to keep things in.
        full: its arguments where figures count.
        peers: those it is told of with `--peer`.
        own: peers that the development environment has itself, by the same name.
    """

    small: str
    full: str
    peers: tuple[str, ...] = ()
    own: tuple[str, ...] = ()


PROGRAMS: Mapping[str, Program] = {
    "hashing": Program(
        small="{folder} --photos 24 --rounds 1",
        full="{folder}",
        peers=("imagededup",),
    ),
    "pairs": Program(
        small="--codes 1000 10000 --radius 8 --repeats 2 --folder {folder}",
        full="--codes 1e3 1e4 1e5 1e6 1e7 --radius 6 8 --folder {folder}",
        peers=("faiss",),
    ),
    "dedup_folder": Program(
        small="{folder} --photos 60 --rounds 1",
        full="{folder}",
        peers=("imagededup", "cleanvision", "czkawka"),
    ),
    "route": Program(
        small="--photos 400 --scale 1",
        full="--photos 1000 10000 100000 --keep {work}",
    ),
    "engines": Program(
        small="{folder} --photos 64 --part 16 --rounds 1 --stages hash "
        "--engines local processes --workers 2",
        full="{folder} --photos 768",
    ),
    "preprocess": Program(
        small="{folder} --photos 8 --repeats 1", full="{folder} --photos 300"
    ),
    "tower": Program(
        small="--model ViT-S-32-alt --photos 4 --repeats 1", full="--photos 64"
    ),
    "clip_benchmark": Program(
        small="{folder} --work {work} --model ViT-S-32-alt --models 1 --precision fp32 "
        "--photos 10 --repeats 1",
        full="{folder} --work {work} --models 1 4",
        peers=("clip-benchmark",),
        own=("clip-benchmark",),
    ),
    "fetch": Program(
        small="--photos 60 --kilobytes 20 --runs 1 --connections 16",
        full="--photos 2000",
        peers=("img2dataset",),
    ),
}  # fmt: skip


@dataclass(slots=True)
class Found:
    """What the programs said.

    Attributes:
        figures: all of them, in order.
        missing: what was not measured, and why.
        failed: whether a program failed.
    """

    figures: list[Figure] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for on the command line."""

    size: str
    install: bool
    folder: Path
    work: Path


def everything(names: Sequence[str], asked: Asked) -> Found:
    """Run programs: one after another, for they are measured; small ones at once."""

    def one(name: str) -> Found:
        print(f"{name} …", file=sys.stderr, flush=True)
        mine = Found()
        run(name, asked, mine)
        return mine

    at_once = 1 if asked.size == "full" else os.cpu_count() or 1
    whole = Found()
    with ThreadPoolExecutor(at_once) as threads:
        for found in threads.map(one, names):
            whole.figures += found.figures
            whole.missing += found.missing
            whole.failed |= found.failed
    return whole


def environments(name: str, asked: Asked, found: Found) -> list[str]:
    """Arguments that name a program's peers to it; what is not there is noted."""
    words, program = [], PROGRAMS[name]
    for peer in program.peers:
        here = Path(sys.executable) if peer in program.own else None
        if asked.size == "small":
            there = here
        else:
            there = peers.python(peer)
            if there is None and asked.install:
                try:
                    there = peers.make(peer)
                except peers.Unavailable as error:
                    found.missing.append((f"{name}, {peer}", str(error)))
                    continue
            there = there or here
        if there:
            words += ["--peer", f"{peer}={there}"]
        else:
            reason = "its environment is not made: python -m benchmarks.peers " + peer
            if asked.size == "small":
                reason = "needs an environment of its own: not at size small"
            found.missing.append((f"{name}, {peer}", reason))
    return words


def run(name: str, asked: Asked, found: Found) -> None:
    """Run one program and take its figures in."""
    program = PROGRAMS[name]
    text = program.small if asked.size == "small" else program.full
    words = [
        word.format(folder=asked.folder, work=asked.work / name)
        for word in text.split()
    ]
    words += ["--json", *environments(name, asked, found)]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *words],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            check=False,
        )
        said.seek(0)
        lines = said.read().strip().splitlines()
    try:
        found.figures += read(done.stdout.splitlines())
    except ValueError as error:
        found.missing.append((name, f"printed something else than figures: {error}"))
        found.failed = True
    if done.returncode:
        last = lines[-1] if lines else "said nothing"
        found.missing.append((name, f"ended with {done.returncode}: {last}"))
        found.failed = True


def about(asked: Asked) -> dict[str, Any]:
    """Machine, versions and date."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "size": asked.size,
        "machine": machine(),
        "memory_gb": round(pages * size / 1e9, 1),
        "versions": {name: version(name) for name in PACKAGES},
    }


def number(value: float) -> str:
    """A value with three digits that count.

    Example:
        >>> number(0.01234), number(5.678), number(56789.1)
        ('0.0123', '5.68', '56,789')
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def compared(figures: Sequence[Figure]) -> Iterator[list[str]]:
    """Rows of the table of ratios."""
    for one in figures:
        ratios = one.ratios()
        if not ratios:
            continue
        size = f", N = {one.size:,}" if one.size else ""
        yield [
            one.name,
            f"{one.what}{size}",
            number(median(one.ours)),
            number(median(one.theirs)),
            one.unit,
            one.peer,
            f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            str(len(ratios)),
            one.note,
        ]


def alone(figures: Sequence[Figure]) -> Iterator[list[str]]:
    """Rows of the table of what is compared with nobody: growth, memory, recall."""
    for one in figures:
        if one.theirs:
            continue
        spread = f"{number(min(one.ours))}-{number(max(one.ours))}"
        yield [
            one.name,
            one.what,
            f"{one.size:,}" if one.size else "",
            number(median(one.ours)),
            one.unit,
            spread if len(one.ours) > 1 else "",
            one.note,
        ]


def markdown(found: Found, facts: Mapping[str, Any]) -> str:
    """The whole report for people."""
    versions = ", ".join(f"{name} {one}" for name, one in facts["versions"].items())
    parts = [
        f"{facts['machine']}, {facts['memory_gb']} GB; {facts['date']}; "
        f"size {facts['size']}\n{versions}"
    ]
    ratios, others = list(compared(found.figures)), list(alone(found.figures))
    if ratios:
        head = ["figure", "what", "ours", "theirs", "unit", "peer"]
        head += ["times better", "rounds", "note"]
        parts.append(table(head, ratios))
    if others:
        head = ["figure", "what", "N", "ours", "unit", "spread", "note"]
        parts.append(table(head, others))
    if found.missing:
        lines = (f"- {what}: {why}" for what, why in found.missing)
        parts.append("Not measured:\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(PROGRAMS))
    parser.add_argument("--list", action="store_true", help="name the programs")
    parser.add_argument("--install", action="store_true", help="make peers' places")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--folder", type=Path, default=ORIGINALS, help="of photos")
    parser.add_argument("--work", type=Path, help="kept between runs")
    chosen = parser.parse_args()
    if chosen.list:
        for name, program in PROGRAMS.items():
            print(f"{name}: {', '.join(program.peers) or 'needs no other environment'}")
        return
    with tempfile.TemporaryDirectory(prefix="counterset-benchmarks-") as place:
        work = (chosen.work or Path(place)).resolve()
        asked = Asked(chosen.size, chosen.install, chosen.folder.resolve(), work)
        found = everything(chosen.only or list(PROGRAMS), asked)
    facts = about(asked)
    if chosen.json:
        figures = [one.as_json() for one in found.figures]
        missing = [{"what": what, "why": why} for what, why in found.missing]
        print(json.dumps({"about": facts, "figures": figures, "missing": missing}))
    else:
        print(markdown(found, facts))
    sys.exit(found.failed)


if __name__ == "__main__":
    main()
