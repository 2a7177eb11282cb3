"""The join of iNaturalist's open data: from taxa to photos and who is credited.

Each table is read once, a block at a time:

    taxa          a class's taxon and everything below it, by ancestry
    observations  of these taxa and this quality; of each class the first in the order
                  asked for, as many as `Choice.bound` says
    photos        of these observations
    observers     who is credited

What is kept are numbers: 42 bytes an observation, 18 a photo, whatever the number of
classes. Observations are found by 64 bits of hash, then compared by their whole uuid.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curation.config import Collect
from curation.licences import normalise
from curation.selection import Licences
from curation.sources._tsv import Table, Words, integers, texts
from curation.sources._uuids import Numbers, halves, keys_of, matches, mixed

OBSERVATIONS = 2_000_000
"""Observations kept of all classes together, where quotas do not ask for more."""

DEPTH = 3
"""What is kept of a class, in quotas: more than the collector can turn down."""

NEVER = -(2**31)
"""As a day: none is stated."""

T = TypeVar("T")

_SEEN = np.dtype(
    [
        ("key", "u8"), ("high", "u8"), ("low", "u8"), ("observer", "i8"),
        ("taxon", "i4"), ("day", "i4"), ("class", "u2"),
    ]
)  # fmt: skip
_PHOTO = np.dtype(
    [
        ("photo", "i8"), ("seen", "i4"), ("position", "i2"), ("licence", "u2"),
        ("extension", "u2"),
    ]
)  # fmt: skip
_TAXA = {"taxon": pl.Int64, "name": pl.String, "class": pl.UInt16}
_MORE = 8
_SIEVE = 24  # bits of a key by which most photos of other taxa are told apart


class Read(Protocol):
    """Opens a table and has it read."""

    def __call__(
        self, name: str, columns: Sequence[str], reading: Callable[[Table], T], /
    ) -> T:
        """What `reading` makes of the table `name`, of which it needs `columns`."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Photos, a row each and class, sorted by level, then class.

    Attributes:
        rows: level (place in its class, from 0), class (number), photo, licence and
            extension (numbers), high and low (halves of the observation's uuid),
            observer, day (since 1970, or `NEVER`), taxon.
        licences: as the tables spell them, by number.
        extensions: by number.
        taxa: scientific name by taxon id, where one is stated.
        observers: name, or login where there is none, by observer id.
        absent: numbers of classes of which no taxon is in the tables.
        short: numbers of classes that are short of their quota, though the tables have
            more observations of them than were kept.
    """

    rows: pl.DataFrame
    licences: Sequence[str]
    extensions: Sequence[str]
    taxa: Mapping[int, str]
    observers: Mapping[int, str]
    absent: frozenset[int]
    short: frozenset[int]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which observations and photos are kept.

    Attributes:
        classes: how many there are.
        grade: quality grade of observations; "any" for every grade.
        settings: quotas, caps and order.
        times: how often more than usual is kept of a class.
    """

    classes: int
    grade: str
    settings: Collect
    times: int = 1

    @property
    def bound(self) -> int:
        """Observations kept of a class: licences and caps are not known yet."""
        usual = max(OBSERVATIONS // self.classes, DEPTH * self.settings.per_class)
        return self.times * usual

    def ranks(self, keys: Numbers, on: Numbers) -> Numbers:
        """Where observations come in their class, (N,) uint64, smallest first.

        Args:
            keys: their hashes, (N,) uint64.
            on: their days, (N,) int32.
        """
        seed = np.array([self.settings.seed & (2**64 - 1)], np.uint64)
        chance = mixed(keys ^ mixed(seed))
        if self.settings.order == "random":
            return chance
        days = on.astype(np.int64)
        late = days if self.settings.order == "oldest" else -days
        place = np.where(days == NEVER, 2**31, np.clip(late, -(2**30), 2**30) + 2**30)
        return (place.astype(np.uint64) << np.uint64(32)) | (chance >> np.uint64(32))


def join(read: Read, roots: Sequence[int], choice: Choice) -> Joined:
    """Photos of classes, as many as quotas could use.

    Args:
        read: reads a table.
        roots: taxon id of each class; two may share one, or lie below each other.
        choice: what is kept.
    """
    of_taxon = read("taxa", ("taxon_id", "ancestry", "name"), lambda t: _taxa(t, roots))
    rows, licences, extensions, short = _chosen(read, of_taxon, choice)
    if short:
        # hardly any of its photos is let in: look at more of its observations
        more = replace(choice, times=_MORE)
        rows, licences, extensions, short = _chosen(read, of_taxon, more)
    credited = rows["observer"].unique().sort().to_numpy()
    observers = read(
        "observers", ("observer_id", "login", "name"), lambda t: _names(t, credited)
    )
    named = of_taxon.filter(
        pl.col("taxon").is_in(rows["taxon"].unique().implode()), pl.col("name") != ""
    )
    names = dict(named.select("taxon", "name").iter_rows())
    absent = frozenset(range(len(roots))) - set(of_taxon["class"])
    return Joined(rows, licences, extensions, names, observers, absent, short)


def _chosen(
    read: Read, of_taxon: pl.DataFrame, choice: Choice
) -> tuple[pl.DataFrame, list[str], list[str], frozenset[int]]:
    """Rows, licences, extensions and `short` of `Joined`."""
    seen, cut = read(
        "observations",
        ("observation_uuid", "observer_id", "taxon_id", "quality_grade", "observed_on"),
        lambda t: _observations(t, of_taxon, choice),
    )
    photos, licences, extensions = read(
        "photos",
        ("photo_id", "observation_uuid", "license", "extension", "position"),
        lambda t: _photos(t, seen),
    )
    rows, short = _ordered(photos, seen, licences, choice)
    return rows, licences, extensions, frozenset(cut & short)


def licences_of(table: Table, photos: Sequence[int]) -> dict[int, str]:
    """Licences of those photos that the table `photos` still has."""
    wanted = np.unique(np.array(photos, np.int64))
    found: dict[int, str] = {}
    for block in table:
        ids = integers(block["photo_id"])
        (hits,) = np.nonzero(np.isin(ids, wanted))
        if hits.size:
            stated = texts(block["license"].take(pa.array(hits))).to_list()
            found.update(zip(ids[hits].tolist(), stated, strict=True))
    return found


# tables ---------------------------------------------------------------------------


def _taxa(table: Table, roots: Sequence[int]) -> pl.DataFrame:
    """Taxa at or below a root: taxon, class and name, sorted by taxon."""
    classes = pl.DataFrame(
        {"root": roots, "class": range(len(roots))},
        schema={"root": pl.Int64, "class": pl.UInt16},
    )
    frames = [pl.DataFrame(schema=_TAXA)]
    for block in table:
        above = texts(block["ancestry"]).str.replace_all("\\", "/", literal=True)
        frame = pl.DataFrame(
            {
                "taxon": integers(block["taxon_id"]),
                "name": texts(block["name"]),
                "root": above,
            }
        ).filter(pl.col("taxon") >= 0)
        line = pl.format("{}/{}", "root", "taxon").str.split("/").alias("root")
        found = (
            frame.with_columns(line)
            .explode("root")
            .with_columns(pl.col("root").cast(pl.Int64, strict=False))
            .join(classes, on="root")
        )
        frames.append(found.select(*_TAXA))
    return pl.concat(frames).unique(["taxon", "class"]).sort("taxon", "class")


def _observations(
    table: Table, of_taxon: pl.DataFrame, choice: Choice
) -> tuple[Numbers, set[int]]:
    """Observations of the taxa, sorted by key; and classes that have more than these.

    Of each class the first in its order are kept.
    """
    taxa, classes = of_taxon["taxon"].to_numpy(), of_taxon["class"].to_numpy()
    wanted = np.zeros(int(taxa.max(initial=0)) + 1, bool)
    wanted[taxa] = True
    kept: Numbers = np.empty(0, _SEEN)
    cut: set[int] = set()
    new: list[Numbers] = []
    limit = choice.bound * choice.classes
    for block in table:
        taxon = integers(block["taxon_id"])
        hit = (taxon >= 0) & (taxon < wanted.size)
        hit[hit] = wanted[taxon[hit]]
        if choice.grade != "any":
            grades = pc.equal(block["quality_grade"], choice.grade.encode())
            hit &= grades.to_numpy(zero_copy_only=False)
        new.append(_seen(block.take(pa.array(np.flatnonzero(hit))), taxa, classes))
        if sum(part.size for part in new) > limit // 2:
            kept, new = _first(np.concatenate([kept, *new]), choice, cut), []
    kept = _first(np.concatenate([kept, *new]), choice, cut)
    return kept[np.argsort(kept["key"], kind="stable")], cut


def _seen(block: pa.Table, taxa: Numbers, classes: Numbers) -> Numbers:
    """Observations of a block, once for each class their taxon is in."""
    keys, whole = keys_of(block["observation_uuid"])
    high, low, valid = halves(block["observation_uuid"].filter(pa.array(whole)))
    rows = np.flatnonzero(whole)[valid]
    taxon = integers(block["taxon_id"])[rows]
    place, found = matches(taxa, taxon)
    seen = np.empty(place.size, _SEEN)
    seen["key"], seen["high"], seen["low"] = (
        keys[valid][place], high[valid][place], low[valid][place],
    )  # fmt: skip
    seen["observer"] = integers(block["observer_id"])[rows][place]
    seen["taxon"], seen["class"] = taxon[place], classes[found]
    days = texts(block["observed_on"]).str.to_date("%Y-%m-%d", strict=False)
    numbers = days.to_physical().fill_null(NEVER).to_numpy()
    seen["day"] = numbers[rows][place]
    return seen


def _first(seen: Numbers, choice: Choice, cut: set[int]) -> Numbers:
    """Of each class with more observations than the bound the first; adds it to cut."""
    counts = np.bincount(seen["class"], minlength=choice.classes)
    over = np.flatnonzero(counts > choice.bound)
    if not over.size:
        return seen
    keep = np.ones(seen.size, bool)
    cut.update(over.tolist())
    for place in over:
        (rows,) = np.nonzero(seen["class"] == place)
        ranks = choice.ranks(seen["key"][rows], seen["day"][rows])
        keep[rows[np.argpartition(ranks, choice.bound)[choice.bound :]]] = False
    first: Numbers = seen[keep]
    return first


def _photos(table: Table, seen: Numbers) -> tuple[Numbers, list[str], list[str]]:
    """Photos of the observations; the licences and the extensions they number."""
    licences, extensions = Words(), Words()
    sieve = np.zeros(1 << _SIEVE, bool)
    shift = np.uint64(64 - _SIEVE)
    sieve[seen["key"] >> shift] = True
    index = np.ascontiguousarray(seen["key"])
    parts: list[Numbers] = []
    for block in table:
        keys, whole = keys_of(block["observation_uuid"])
        passed = sieve[keys >> shift]
        rows = np.flatnonzero(whole)[passed]
        sub = block.take(pa.array(rows))
        place, found = matches(index, keys[passed])
        high, low, valid = halves(sub["observation_uuid"])
        same = (
            (high[place] == seen["high"][found])
            & (low[place] == seen["low"][found])
            & valid[place]
        )
        ids = integers(sub["photo_id"])
        same &= ids[place] >= 0
        place, found = place[same], found[same]
        part = np.empty(place.size, _PHOTO)
        part["photo"], part["seen"] = ids[place], found
        positions = integers(sub["position"])
        unstated = (positions < 0) | (positions > 32_767)
        part["position"] = np.where(unstated, 32_767, positions)[place]
        part["licence"] = licences.numbers(sub["license"])[place]
        part["extension"] = extensions.numbers(sub["extension"])[place]
        parts.append(part)
    photos = np.concatenate(parts) if parts else np.empty(0, _PHOTO)
    return photos, list(licences.known), list(extensions.known)


def _names(table: Table, wanted: Numbers) -> dict[int, str]:
    """Name, or login, of those observers."""
    found: dict[int, str] = {}
    for block in table:
        ids = integers(block["observer_id"])
        rows = pa.array(np.flatnonzero(np.isin(ids, wanted)))
        logins = texts(block["login"].take(rows)).to_list()
        names = texts(block["name"].take(rows)).to_list()
        for one, login, name in zip(ids[rows].tolist(), logins, names, strict=True):
            found[one] = " ".join((name.strip() or login).split())
    return {one: name for one, name in found.items() if name}


# the order ------------------------------------------------------------------------


def _ordered(
    photos: Numbers, seen: Numbers, licences: Sequence[str], choice: Choice
) -> tuple[pl.DataFrame, set[int]]:
    """Rows of `Joined`, as many as quotas could use; and classes short of theirs."""
    allowed = _allowed(licences, choice.settings)
    turn = np.empty(seen.size, np.int32)  # of each observation: by class, then rank
    ranks = choice.ranks(seen["key"], seen["day"])
    turn[np.lexsort((ranks, seen["class"]))] = np.arange(seen.size)
    turns = turn[photos["seen"]]
    photos = photos[np.lexsort((photos["photo"], photos["position"], turns))]
    del turn, turns, ranks
    classes = seen["class"][photos["seen"]]
    ends = np.searchsorted(classes, np.arange(choice.classes + 1))
    frames, short = [_rows(photos[:0], seen, 0)], set[int]()
    for place in range(choice.classes):
        part = photos[ends[place] : ends[place + 1]]
        _, first = np.unique(part["photo"], return_index=True)
        part = part[np.sort(first)]
        depth, passing = _depth(part, seen, allowed, choice.settings)
        if passing < choice.settings.per_class:
            short.add(place)
        frames.append(_rows(part[:depth], seen, place))
    return pl.concat(frames).sort("level", "class", maintain_order=True), short


def _depth(
    part: Numbers, seen: Numbers, allowed: Numbers, settings: Collect
) -> tuple[int, int]:
    """How many of a class's photos, in order, hold `DEPTH` quotas of what caps let in.

    And how many of these are let in: fewer where there are no more photos.

    Each cap leaves out of a photo's observation, day or observer all but the first:
    the wider cap then sees only what the narrower let in.
    """
    wanted = DEPTH * settings.per_class
    looked = 2 * wanted
    while True:
        rows = _let_in(part[:looked], seen, allowed, settings)
        if rows.size >= wanted:
            return int(rows[wanted - 1]) + 1, wanted
        if looked >= part.size:
            return part.size, rows.size
        looked *= 4


def _let_in(
    part: Numbers, seen: Numbers, allowed: Numbers, settings: Collect
) -> Numbers:
    """Places of those photos, in order, that licences and caps let in, (N,) int64."""
    seen_by, on = pl.col("observer"), pl.col("day")
    caps = (
        (settings.per_observation, ["seen"], pl.lit(value=True)),
        (settings.per_observer_day, ["observer", "day"], (seen_by >= 0) & (on > NEVER)),
        (settings.per_observer, ["observer"], seen_by >= 0),
    )
    frame = pl.DataFrame(
        {
            "row": np.arange(part.size),
            "seen": part["seen"],
            "observer": seen["observer"][part["seen"]],
            "day": seen["day"][part["seen"]],
        }
    ).filter(allowed[part["licence"]])
    for cap, columns, known in caps:
        if cap:
            frame = frame.filter((pl.int_range(pl.len()).over(columns) < cap) | ~known)
    return frame["row"].to_numpy()


def _rows(part: Numbers, seen: Numbers, place: int) -> pl.DataFrame:
    columns = {name: np.ascontiguousarray(part[name]) for name in ("photo", "licence")}
    columns["extension"] = np.ascontiguousarray(part["extension"])
    for name in ("high", "low", "observer", "day", "taxon"):
        columns[name] = seen[name][part["seen"]]
    level = pl.Series("level", np.arange(part.size, dtype=np.int64))
    which = pl.Series("class", np.full(part.size, place, np.uint16))
    return pl.DataFrame([level, which]).with_columns(
        pl.Series(name, values) for name, values in columns.items()
    )


def _allowed(licences: Sequence[str], settings: Collect) -> Numbers:
    """Which licences, by number, the collector lets in: (N,) bool."""
    listed = Licences(settings.licences)
    fits = [listed.refusal(normalise(text), text) is None for text in licences]
    return np.array(fits, bool)
