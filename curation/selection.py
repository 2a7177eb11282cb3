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
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.config import Collect
from curation.licences import normalise

_NONE = "no licence is stated"


class Selection:
    """Judges records in the order they come; remembers what it let through.

    Memory grows with the records let through, by about 200 bytes each.
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
        # by hashes of 64 bits: a million of them meet by chance once in 37 million
        # runs, and strings would take three times the memory
        self._photos: dict[int, None] = {}
        self._observations: Counter[int] = Counter()
        self._observers: Counter[int] = Counter()
        self._days: Counter[int] = Counter()

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
        for name, *facts in _facts(rows):
            if not open_:
                break
            reason = self._refusal(place, name, *facts)
            reasons.append(reason)
            if reason is None and name in open_ and not self.wanted(name, place=place):
                open_.discard(name)
        refused = pl.Series("refused", reasons, dtype=pl.String)
        return rows.head(len(reasons)).with_columns(refused)

    def _refusal(
        self,
        place: int,
        name: str,
        refused: str | None,
        licence: str | None,
        text: str | None,
        photo: int,
        observation: int | None,
        observer: int | None,
        day: int | None,
    ) -> str | None:
        """Why a record does not pass; None when it does, which is remembered."""
        asked = self._settings
        if refused is not None:
            return refused
        if name not in self._classes:
            return f"class {name!r} is not in dataset.toml"
        if (reason := self._licences.refusal(licence, text)) is not None:
            return reason
        if photo in self._photos:
            return "the same photo as an earlier record (photo_key)"
        if not self.wanted(name, place=place):
            return "enough photos of its class (collect.per_class)"
        if self._full(self._observations, observation, asked.per_observation):
            return "enough photos of its observation (collect.per_observation)"
        if self._full(self._observers, observer, asked.per_observer):
            return "enough photos of its observer (collect.per_observer)"
        if self._full(self._days, day, asked.per_observer_day):
            return "enough photos of its observer's day (collect.per_observer_day)"
        self._photos[photo] = None
        for counts, key in (
            (self._observations, observation),
            (self._observers, observer),
            (self._days, day),
        ):
            if key is not None:
                counts[key] += 1
        self._passed[place, name] += 1
        self._total[name] += 1
        return None

    @staticmethod
    def _full(counts: Counter[int], key: int | None, cap: int) -> bool:
        return key is not None and cap > 0 and counts[key] >= cap


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


class Seen:
    """Keys of 64 bits that came by, in 8 bytes each."""

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []  # sorted, each larger than the next

    def known(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of the keys were added before: (N,) bool for (N,) uint64."""
        found = np.zeros(len(keys), dtype=bool)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, keys), len(run) - 1)
            found |= run[at] == keys
        return found

    def add(self, keys: NDArray[np.uint64]) -> None:
        """Remember keys."""
        if not len(keys):
            return
        run = np.sort(keys)
        while self._runs and len(self._runs[-1]) <= len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]))
        self._runs.append(run)


def _facts(rows: pl.DataFrame) -> Iterator[tuple[Any, ...]]:
    """What is judged of each row; photo, observation, observer and day as hashes.

    A photo without a key is known by its URL. Each counts within its class.
    """
    photo = pl.coalesce("photo_key", pl.concat_str(pl.lit("url:"), "url"))
    columns = rows.select(
        "class",
        "refused",
        "licence",
        "licence_text",
        _hashed("photo", photo, 1),
        _hashed("observation", pl.col("observation_id"), 2),
        _hashed("observer", pl.col("observer"), 3),
        _hashed("day", pl.concat_str("observer", "observed_on", separator="\x1f"), 4),
    )
    return zip(*(column.to_list() for column in columns), strict=True)


def _hashed(name: str, key: pl.Expr, seed: int) -> pl.Expr:
    """A hash of a key within a class; null where there is no key."""
    whole = pl.concat_str("class", key, separator="\x1f")
    return pl.when(key.is_not_null()).then(whole.hash(seed)).alias(name)
