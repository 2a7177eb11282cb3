"""Finds what a folder holds twice: lists, hashes, decides, and puts names to it.

The keeper of a cluster is the picture of most pixels, then of most bytes, then the
first by name. Everything is in an order that the files give, not the processes that
hash them, so a folder has one answer.
"""

import os
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curation import filenames
from curation.duplicates import decision, folder, tables
from curation.duplicates.crew import Crew
from curation.duplicates.findings import (
    Cluster,
    Findings,
    Leak,
    Member,
    Photo,
    Suggestion,
)
from curation.duplicates.folder import How, Listing, Row
from curation.duplicates.neighbours import Vectors
from curation.duplicates.pictures import Thumbs
from curation.progress import Say, progress
from curation.rows import numbers, places

_COMPARED = ("path", "pixels", "phash", "thumb", "texture")


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked.

    Attributes:
        how: how pictures are hashed.
        settings: when two are the same; those of a configuration that states none.
        against: hash tables to compare with.
        model: name of a model that confirms and suggests; "" for none.
    """

    how: How
    settings: decision.Settings = decision.Settings()
    against: Sequence[Path] = ()
    model: str = ""


class Rows:
    """Rows of the files of a folder; what is no picture is only counted.

    Attributes:
        ignored: files that are no pictures, of those that have passed.
        failed: name and reason of those that cannot be hashed.
    """

    def __init__(self, listing: Listing, crew: Crew, how: How, *, say: Say) -> None:
        self._listing, self._crew, self._how = listing, crew, how
        self._say, self.ignored = say, 0
        self.failed: list[tuple[str, str]] = []

    def __iter__(self) -> Iterator[Row]:
        files = self._listing.files
        with progress(len(files), step="hash", say=self._say) as bar:
            for part in folder.rows(self._listing, self._crew, self._how):
                kept = [row for row in part if row["status"] != folder.IGNORED]
                self.ignored += len(part) - len(kept)
                failed = [row for row in kept if row["status"] == "failed"]
                self.failed += [(row["name"], row["error"]) for row in failed]
                size = sum(row["bytes"] for row in kept)
                bar.add(len(part), failed=len(failed), size=size)
                yield from kept


def find(
    where: Path, listing: Listing, crew: Crew, options: Options, *, say: Say
) -> Findings:
    """Compare all photos of a folder with one another, and with other sets.

    Args:
        where: the folder, as it is to be named.
        listing: what is in it.
        crew: processes that open the files.
        options: what is asked.
        say: takes lines of progress.

    Raises:
        InputError: a table to compare with is none.
    """
    # first: a name that is misspelt is told before the long work
    others = [
        (filenames.encoded(Path(path.stem)), tables.read(path))
        for path in options.against
    ]
    rows = Rows(listing, crew, options.how, say=say)
    table = tables.table(rows)
    good = tables.good(table)
    same = _by_sha256(good, listing)
    best = sorted((photos[0] for photos in same.values()), key=_keeper_first)
    hashes = _hashes(good, best)
    say(f"compare: {len(best):,} different files")
    pixels = _SamePixels(good, same, crew, options)
    duplicates = decision.decide(
        hashes,
        options.settings,
        vectors=_vectors(best, crew, options, say),
        same_pixels=pixels,
    )
    clusters, suggestions = assembled(duplicates, same, equal=pixels.noted())
    leaks: list[Leak] = []
    for name, other in others:
        found = decision.leaks(hashes, other, options.settings, name=name)
        leaks += _leaks(found, same)
    return Findings(
        folder=where,
        photos=good.num_rows,
        failed=folder.by_name([*rows.failed, *listing.refused]),
        clusters=clusters,
        suggestions=suggestions,
        leaks=sorted(leaks, key=lambda one: (one.photo.name, one.set, one.name)),
        animated=[
            (row["name"], row["frames"])
            for row in good.select(["name", "frames"]).to_pylist()
            if row["frames"] > 1
        ],
        ignored=rows.ignored,
        hidden=listing.hidden,
        path=options.how.path,
        against=[name for name, _ in others],
    )


def assembled(
    duplicates: pa.Table,
    same: dict[str, list[Photo]],
    *,
    equal: Container[tuple[str, str]] = (),
) -> tuple[list[Cluster], list[Suggestion]]:
    """Decisions on different bytes, turned into clusters of files.

    Args:
        duplicates: a table of that schema; photo_id is the sha256 of bytes.
        same: files by the sha256 of their bytes, the one to keep first.
        equal: keepers and photos found to have equal pixels.

    Returns: clusters by the keeper's name, and suggestions, the nearest first.
    """
    merged: dict[str, list[dict[str, Any]]] = {}
    suggestions = []
    for row in duplicates.to_pylist():
        if row["decision"] == "merge":
            if (row["keeper"], row["photo_id"]) in equal:
                row |= {"reason": "pixels", "distance": 0.0}
            merged.setdefault(row["keeper"], []).append(row)
            continue
        a, b = same[row["keeper"]][0], same[row["photo_id"]][0]
        reason, distance = _reason(row["reason"]), row["distance"]
        suggestions.append(Suggestion(a, b, reason, distance, row["variant"]))
    away = {row["photo_id"] for rows in merged.values() for row in rows}
    clusters = []
    for key, photos in same.items():
        if key in away or (len(photos) == 1 and key not in merged):
            continue
        members = [Member(one, "bytes", 0.0, "identity") for one in photos[1:]]
        for row in merged.get(key, []):
            members += _alike(row, same[row["photo_id"]])
        members.sort(key=lambda one: os.fsencode(one.photo.path))
        clusters.append(Cluster(photos[0], members))
    clusters.sort(key=lambda one: os.fsencode(one.keeper.path))
    suggestions.sort(key=_nearest_first)
    return clusters, suggestions


def _nearest_first(one: Suggestion) -> tuple[bool, float, str, str]:
    return one.reason == "embedding", one.distance, one.a.name, one.b.name


def _leaks(found: pa.Table, same: dict[str, list[Photo]]) -> Iterator[Leak]:
    """Rows of the table `leaks`, for every name of the photo."""
    columns = ["set", "name", "reason", "distance", "variant"]
    keys = found["photo_id"].to_pylist()
    for key, row in zip(keys, found.select(columns).to_pylist(), strict=True):
        yield from (Leak(photo, **row) for photo in same[key])


def _vectors(
    best: Sequence[Photo], crew: Crew, options: Options, say: Say
) -> tuple[list[str], Vectors] | None:
    if not options.model:
        return None
    from curation.duplicates import embedding

    return embedding.vectors(best, options.model, crew, options.how, say=say)


def _alike(row: dict[str, Any], photos: Sequence[Photo]) -> Iterator[Member]:
    """A photo that has a keeper, under all its names."""
    for photo in photos:
        twin = None if photo is photos[0] else photos[0].name
        reason = _reason(row["reason"])
        yield Member(photo, reason, row["distance"], row["variant"], twin)


class _SamePixels:
    """Whether photos have the same pixels, decoding as few of them as can be.

    Most pairs are told apart without: by their sizes, and JPEGs by their thumbs, for
    equal pixels come from equal coefficients. What is left is decoded by all processes:
    of photos without contrast before anything is decided, as they are merged by their
    pixels alone; of others afterwards, as it only changes the reason.
    """

    def __init__(
        self,
        good: pa.Table,
        same: dict[str, list[Photo]],
        crew: Crew,
        options: Options,
    ) -> None:
        self._same, self._crew, self._how = same, crew, options.how
        keys = good["sha256"].to_pylist()
        self._thumb = dict(
            zip(keys, Thumbs.read(good["thumb"]).firsts().tolist(), strict=True)
        )
        flat = numbers(good["texture"]) < options.settings.min_texture
        self._flat = {keys[place] for place in np.flatnonzero(flat)}
        self._asked: list[tuple[str, str]] = []
        groups: dict[tuple[int, int, int], list[str]] = {}
        for key in self._flat:
            groups.setdefault(self._looks(key), []).append(key)
        self._digests: dict[str, str | None] = {}
        self._decode(key for some in groups.values() if len(some) > 1 for key in some)

    def __call__(self, a: str, b: str) -> bool:
        """What `decide` asks; of photos with contrast it is only noted."""
        if not self._may_be(a, b):
            return False
        if a in self._flat and b in self._flat:
            self._decode((a, b))
            return self._are(a, b)
        self._asked.append((a, b))
        return False

    def noted(self) -> set[tuple[str, str]]:
        """Of the pairs that were noted, those of equal pixels."""
        self._decode(chain.from_iterable(self._asked))
        return {pair for pair in self._asked if self._are(*pair)}

    def _looks(self, key: str) -> tuple[int, int, int]:
        photo = self._same[key][0]
        return photo.width, photo.height, self._thumb[key]

    def _may_be(self, a: str, b: str) -> bool:
        jpegs = {self._same[a][0].format, self._same[b][0].format} == {"JPEG"}
        return (
            self._looks(a)[: 3 if jpegs else 2] == self._looks(b)[: 3 if jpegs else 2]
        )

    def _are(self, a: str, b: str) -> bool:
        return self._digests[a] is not None and self._digests[a] == self._digests[b]

    def _decode(self, keys: Iterable[str]) -> None:
        missing = sorted(set(keys) - self._digests.keys())
        files = [(self._same[key][0].path, key) for key in missing]
        found = folder.pixels(files, self._crew, self._how) if files else []
        self._digests |= zip(missing, found, strict=True)


def _by_sha256(good: pa.Table, listing: Listing) -> dict[str, list[Photo]]:
    """Files by the sha256 of their bytes, each list in the order of names."""
    paths = {file.name: file.path for file in listing.files}
    columns = ["name", "sha256", "bytes", "width", "height", "format", "frames"]
    same: dict[str, list[Photo]] = {}
    for row in good.select(columns).to_pylist():
        photo = Photo(path=paths[row["name"]], **row)
        same.setdefault(photo.sha256, []).append(photo)
    return same


def _keeper_first(photo: Photo) -> tuple[int, int, bytes]:
    return -photo.width * photo.height, -photo.bytes, os.fsencode(photo.path)


def _hashes(good: pa.Table, best: Sequence[Photo]) -> pa.Table:
    """What `decide` compares: a row for each of the best, in their order."""
    place: dict[str, int] = {}
    for at, key in enumerate(good["sha256"].to_pylist()):
        place.setdefault(key, at)
    order = np.array([place[one.sha256] for one in best], np.int64)
    chosen = good.take(places(order))
    columns = {"photo_id": chosen["sha256"], "status": chosen["status"]}
    return pa.table(columns | {name: chosen[name] for name in _COMPARED})


def _reason(told: str) -> str:
    """One of the reasons people are told."""
    return "embedding" if told == "confirmed" else told
