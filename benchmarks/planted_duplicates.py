"""Recall and precision of `dedup` on planted copies of the photos in a folder.

    python -m benchmarks.planted_duplicates FOLDER [--path full|fast] [--seed 0]
        [--most N] [--same A=B ...]

Photos are halved by a hash of their names, scenes and animals of composed look-alikes
by their place. On one half the two thresholds of `curation.duplicates.matches` are
chosen: the largest `AGREE` of a grid with which nothing wrong is merged, less one step.
Everything is reported on the other half, with the thresholds chosen and with those that
are in force, each share with its 95 % interval (Wilson). All originals, copies and
look-alikes of a half are one set; no embeddings are used. A copy counts as found when
it is in one cluster with its original; a merge is wrong when the keeper shows another
picture. Folders have copies of their own: `--same` names two files that a person has
looked at and found to be one picture.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks._copies import ASSETS, EDITS, File, half, look_alikes, photos, planted
from curation.duplicates import hashing, matches
from curation.duplicates.decision import Settings, decide, merged
from curation.schemas import from_rows
from evaluation.intervals import wilson

GRID = tuple(round(0.35 + 0.05 * step, 2) for step in range(11))
BLACK, WHITE = 2, 253
"""Grey levels from which on nearly all of what a pixel of a thumb shows was clipped."""

BETWEEN = 0.10
"""How far `CONTRADICT` lies above `AGREE` while thresholds are chosen."""


@dataclass(frozen=True, slots=True)
class Half:
    """Hashed files of one half, and what they show, by sha256."""

    hashes: list[dict[str, object]]
    files: dict[str, File]


def main() -> None:
    """Choose on one half, print the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--path", choices=tuple(hashing.PATHS), default="full")
    parser.add_argument("--most", type=int, default=0, help="photos; 0: all")
    parser.add_argument("--same", action="append", default=[], metavar="A=B")
    options = parser.parse_args()
    same = dict(pair.split("=", 1)[::-1] for pair in options.same)
    paths = photos(options.folder)[: options.most or None]
    path = hashing.PATHS[options.path]
    halves = []
    for number in (0, 1):
        # what is one picture is in one half
        mine = [one for one in paths if half(same.get(one.name, one.name)) == number]
        files = [*planted(mine, seed=options.seed), *_alike(number)]
        halves.append(_hashed(files, path, same))
        print(f"half {number}: {len(mine)} photos, {len(halves[-1].files)} files")
    chosen = choose(halves[0])
    print(f"chosen on half 0: AGREE {chosen[0]}, CONTRADICT {chosen[1]}")
    in_force = matches.AGREE, matches.CONTRADICT
    for name, thresholds in (("chosen", chosen), ("in force", in_force)):
        print(f"half 1, thresholds {name}: {thresholds[0]}, {thresholds[1]}")
        report(halves[1], thresholds)


def _alike(number: int) -> Iterable[File]:
    """Look-alikes of one half: other scenes and other animals than the other's."""
    scenes = sorted((ASSETS / "backgrounds").glob("*.jpg"))[number::6]
    cutouts = sorted((ASSETS / "cutouts").glob("*.webp"))[number::6]
    return look_alikes(scenes, cutouts)


def _hashed(files: Iterable[File], path: str, same: dict[str, str]) -> Half:
    rows: list[dict[str, object]] = []
    known: dict[str, File] = {}
    for file in files:
        if file.key not in known:
            known[file.key] = replace(file, of=same.get(file.of, file.of))
            (row,) = hashing.rows([file.data], path=path, max_pixels=10**8)
            rows.append(row | {"photo_id": file.key})
    return Half(rows, known)


def _keepers(half_: Half, thresholds: tuple[float, float]) -> dict[str, str]:
    usual = matches.AGREE, matches.CONTRADICT
    matches.AGREE, matches.CONTRADICT = thresholds
    try:
        return merged(decide(from_rows(half_.hashes, "hashes"), Settings()))
    finally:
        matches.AGREE, matches.CONTRADICT = usual


def _wrong(half_: Half, keepers: dict[str, str]) -> list[tuple[File, File]]:
    both = ((half_.files[a], half_.files[b]) for a, b in keepers.items())
    return [(a, b) for a, b in both if a.of != b.of]


def choose(half_: Half) -> tuple[float, float]:
    """The thresholds that merge most and nothing wrong, less a step for safety."""
    right = 0
    for step, agree in enumerate(GRID):
        keepers = _keepers(half_, (agree, agree + BETWEEN))
        wrong = _wrong(half_, keepers)
        print(f"  AGREE {agree:.2f}: merged {len(keepers)}, wrong {len(wrong)}")
        if wrong:
            break
        right = step
    agree = GRID[max(0, right - 1)]
    return agree, round(agree + BETWEEN, 2)


def report(half_: Half, thresholds: tuple[float, float]) -> None:
    """Print recall by kind of copy, and what was merged wrongly."""
    started = time.process_time()
    keepers = _keepers(half_, thresholds)
    spent = time.process_time() - started
    first: dict[str, str] = {}
    for key, file in half_.files.items():
        if file.kind == "original":
            first.setdefault(file.of, key)
    cluster = {key: keepers.get(key, key) for key in half_.files}
    found, total = Counter[str](), Counter[str]()
    for key, file in half_.files.items():
        if file.kind in EDITS:
            total[file.kind] += 1
            found[file.kind] += cluster[key] == cluster[first[file.of]]
    spoilt = _spoilt(half_)
    for kind in EDITS:
        print(f"  {kind:26} recall {_share(found[kind], total[kind])}")
        keys = [key for key in spoilt if half_.files[key].kind == kind]
        if keys:
            hits = sum(
                cluster[key] == cluster[first[half_.files[key].of]] for key in keys
            )
            rest = _share(found[kind] - hits, total[kind] - len(keys))
            print(f"  {f'without {len(keys)} spoilt':>26} recall {rest}")
    wrong = _wrong(half_, keepers)
    merges = len(keepers)
    print(f"  {'merges that are right':26} {_share(merges - len(wrong), merges)}")
    count = len(half_.files)
    of = Counter(file.of for file in half_.files.values())
    unrelated = (count**2 - sum(n**2 for n in of.values())) // 2
    print(f"  {'unrelated pairs merged':26} {len(wrong)} of {unrelated:,}")
    for a, b in wrong[:20]:
        print(f"    {a.of} ({a.kind}) into {b.of} ({b.kind})")
    print(f"  decided in {spent:.1f} s of CPU, {count} files")


def _spoilt(half_: Half) -> list[str]:
    """Copies of which too little is left: they, or their originals.

    They have less contrast than is compared by hash, or less than a quarter of the
    pixels of their thumbs is neither black nor white.
    """
    little = {str(row["photo_id"]) for row in half_.hashes if _is_little(row)}
    pictures = {
        half_.files[key].of for key in little if half_.files[key].kind == "original"
    }
    return [
        key
        for key, file in half_.files.items()
        if file.kind in EDITS and (key in little or file.of in pictures)
    ]


def _is_little(row: dict[str, object]) -> bool:
    thumb = row["thumb"]
    assert isinstance(thumb, bytes)
    levels = np.frombuffer(thumb, np.uint8)
    clear = (levels > BLACK) & (levels < WHITE)
    return float(str(row["texture"])) < Settings().min_texture or clear.mean() < 0.25


def _share(hits: int, number: int) -> str:
    low, high = wilson(hits, number)
    return f"{hits / number:.3f} ({float(low):.3f}-{float(high):.3f}) of {number}"


if __name__ == "__main__":
    main()
