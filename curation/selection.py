"""Which of the records that sources know become photos: pure, row after row.

A record passes when its licence is let in, its photo is not known from an earlier
record of the same class, its observation, observer and observer's day have not given
their share, and its class has not enough. What does not pass stays a row, and `refused`
says why. The same records in the same order give the same rows.

Two records of one photo in different classes both pass: that a photo is filed under two
classes is a contradiction which later stages must see.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.config import Collect
from curation.licences import normalise

Keys = NDArray[np.uint64]
Counts = NDArray[np.int32]

_NONE = "no licence is stated"


class Selection:
    """Judges records in the order they come; remembers what it let through.

    Memory grows with the records let through, by less than 100 bytes each.
    """

    def __init__(
        self, settings: Collect, classes: Iterable[str], *, limit: int = 0
    ) -> None:
        """Start with nothing seen.

        Args:
            settings: quotas, caps and licences.
            classes: names that dataset.toml knows.
            limit: photos of a class from all sources together; 0: any number.
        """
        self._settings, self._classes, self._limit = settings, set(classes), limit
        self._licences = Licences(settings.licences)
        self._passed: Counter[tuple[int, str]] = Counter()  # by source and class
        self._total: Counter[str] = Counter()
        self._photos = _Cap(1)
        self._observations = _Cap(settings.per_observation)
        self._observers = _Cap(settings.per_observer)
        self._days = _Cap(settings.per_observer_day)
        self._caps = (self._photos, self._observations, self._observers, self._days)

    def passed(self, class_: str, *, place: int) -> int:
        """Records of a class that one source gave and that passed."""
        return self._passed[place, class_]

    def wanted(self, class_: str, *, place: int) -> int:
        """How many more records of a class one source should give."""
        left = self._settings.per_class - self._passed[place, class_]
        if self._limit:
            left = min(left, self._limit - self._total[class_])
        return max(0, left)

    def enough(self, classes: Iterable[str], *, place: int) -> bool:
        """Whether one source need not be asked for more of these classes."""
        return not any(self.wanted(name, place=place) for name in classes)

    def unselected(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows that pass as they are, but for the limit: those of a folder."""
        if not self._limit:
            return rows
        keep = []
        for name in rows["class"]:
            self._total[name] += 1
            keep.append(self._total[name] <= self._limit)
        return rows.filter(pl.Series(keep, dtype=pl.Boolean))

    def take(
        self, rows: pl.DataFrame, *, place: int, classes: Sequence[str]
    ) -> pl.DataFrame:
        """Judge records of one source.

        Args:
            rows: columns of the table `candidates`, the source's `refused` included.
            place: which source.
            classes: what was asked for; when there is enough of each of them the rest
                of the rows is left out.

        Returns: rows up to where there is enough, `refused` saying why one did not
            pass.
        """
        reasons: list[str | None] = []
        open_ = {name for name in classes if self.wanted(name, place=place)}
        keys = rows.select(_KEYS)
        for cap, key in zip(self._caps, keys, strict=True):
            cap.begin(key)
        facts = (rows[name].to_list() for name in _JUDGED)
        for row, (name, *said) in enumerate(zip(*facts, strict=True)):
            if not open_:
                break
            reason = self._refusal(row, place, name, *said)
            reasons.append(reason)
            if reason is None and name in open_ and not self.wanted(name, place=place):
                open_.discard(name)
        for cap in self._caps:
            cap.end()
        refused = pl.Series("refused", reasons, dtype=pl.String)
        return rows.head(len(reasons)).with_columns(refused)

    def _refusal(
        self,
        row: int,
        place: int,
        name: str,
        refused: str | None,
        licence: str | None,
        text: str | None,
    ) -> str | None:
        """Why a record does not pass; None when it does, which is remembered."""
        if refused is not None:
            return refused
        if name not in self._classes:
            return f"class {name!r} is not in dataset.toml"
        if (reason := self._licences.refusal(licence, text)) is not None:
            return reason
        if self._photos.full(row):
            return "the same photo as an earlier record (photo_key)"
        if not self.wanted(name, place=place):
            return "enough photos of its class (collect.per_class)"
        if self._observations.full(row):
            return "enough photos of its observation (collect.per_observation)"
        if self._observers.full(row):
            return "enough photos of its observer (collect.per_observer)"
        if self._days.full(row):
            return "enough photos of its observer's day (collect.per_observer_day)"
        for cap in self._caps:
            cap.count(row)
        self._passed[place, name] += 1
        self._total[name] += 1
        return None


class Licences:
    """An allow-list; a name without version stands for every version.

    Example:
        >>> allowed = Licences(["CC-BY", "CC-BY-SA-4.0"])
        >>> allowed.refusal("CC-BY-2.0", None) is None
        True
        >>> allowed.refusal("CC-BY-SA-3.0", None)
        'licence CC-BY-SA-3.0 is not let in (collect.licences)'
    """

    def __init__(self, names: Iterable[str]) -> None:
        listed = (re.escape(normalise(name) or name.strip()) for name in names)
        self._allowed = re.compile(rf"(?:{'|'.join(listed)})(?:-\d.*)?", re.IGNORECASE)
        self._known = lru_cache(maxsize=4096)(self._let_in)

    def _let_in(self, licence: str) -> bool:
        return self._allowed.fullmatch(licence) is not None

    def refusal(self, licence: str | None, text: str | None) -> str | None:
        """Why a licence is not let in; None when it is.

        Args:
            licence: SPDX-like; None when missing or not recognised.
            text: as the source spells it.
        """
        if licence is None:
            stated = (text or "").strip()
            return f"licence not recognised: {stated}" if stated else _NONE
        if self._known(licence):
            return None
        return f"licence {licence} is not let in (collect.licences)"


class Tally:
    """How often keys of 64 bits were counted, in 12 bytes each.

    Keys are hashes: among a million, two meet by chance once in 37 million times, and
    strings in a dictionary would take ten times the memory.
    """

    def __init__(self) -> None:
        # sorted keys with their counts, each run larger than the next
        self._runs: list[tuple[Keys, Counts]] = []

    def counts(self, keys: Keys) -> Counts:
        """How often each key was counted: (N,) int32 for (N,) uint64."""
        found = np.zeros(len(keys), dtype=np.int32)
        for known, counts in self._runs:
            at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            found += np.where(known[at] == keys, counts[at], 0)
        return found

    def add(self, keys: Keys, counts: Counts | None = None) -> None:
        """Count keys, each once or so many times."""
        if not len(keys):
            return
        if counts is None:
            counts = np.ones(len(keys), dtype=np.int32)
        run = _summed(keys, counts)
        while self._runs and len(self._runs[-1][0]) <= len(run[0]):
            known, before = self._runs.pop()
            run = _summed(
                np.concatenate([known, run[0]]), np.concatenate([before, run[1]])
            )
        self._runs.append(run)


class _Cap:
    """At most so many of one key; 0 means any number."""

    def __init__(self, cap: int) -> None:
        self._cap, self._tally = cap, Tally()
        self._keys: list[int | None] = []
        self._before: list[int] = []
        self._now: Counter[int] = Counter()

    def begin(self, keys: pl.Series) -> None:
        """Look at rows by their keys; null has no cap."""
        if self._cap:
            self._keys = keys.to_list()
            known = keys.fill_null(0).to_numpy()
            self._before = self._tally.counts(known).tolist()

    def full(self, row: int) -> bool:
        """Whether no more of a row's key may pass."""
        if not self._cap or (key := self._keys[row]) is None:
            return False
        return self._before[row] + self._now[key] >= self._cap

    def count(self, row: int) -> None:
        """A row passed."""
        if self._cap and (key := self._keys[row]) is not None:
            self._now[key] += 1

    def end(self) -> None:
        """Remember what passed."""
        keys = np.fromiter(self._now.keys(), np.uint64, len(self._now))
        counts = np.fromiter(self._now.values(), np.int32, len(self._now))
        self._tally.add(keys, counts)
        self._now = Counter()


def _summed(keys: Keys, counts: Counts) -> tuple[Keys, Counts]:
    """Keys sorted and distinct, their counts added up."""
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    return keys[starts], np.add.reduceat(counts, starts, dtype=np.int32)


def _hashed(name: str, key: pl.Expr, seed: int) -> pl.Expr:
    """A hash of a key within a class; null where there is no key."""
    whole = pl.concat_str("class", key, separator="\x1f")
    return pl.when(key.is_not_null()).then(whole.hash(seed)).alias(name)


_JUDGED = ("class", "refused", "licence", "licence_text")
# in the order of Selection's caps; a photo without a key is known by its URL
_KEYS = (
    _hashed("photo", pl.coalesce("photo_key", pl.format("url:{}", "url")), 1),
    _hashed("observation", pl.col("observation_id"), 2),
    _hashed("observer", pl.col("observer"), 3),
    _hashed("day", pl.concat_str("observer", "observed_on", separator="\x1f"), 4),
)
