"""What was tried and what is to be tried: the log of fetches against the candidates.

Made for a million records in a few hundred megabytes: ids are 32 bytes in arrays
instead of 64 letters in strings, the log is read in pieces, and of each record only the
last attempt is held. Records are found by the first 64 bits of their id: among a
million, two share them by chance once in 37 million runs.
"""

import io
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from curation.errors import InputError
from curation.shelf import Shelf

COLUMNS = (
    "candidate_id", "url", "place", "photo_key", "licence", "licence_text", "refused",
)  # fmt: skip
"""Columns of `candidates` that fetching needs."""

Bools = NDArray[np.bool_]
Keys = NDArray[np.uint64]

_READ = {
    "candidate_id": pl.String,
    "status": pl.String,
    "photo_id": pl.String,
    "bytes": pl.Int64,
    "format": pl.String,
    "width": pl.Int64,
    "height": pl.Int64,
    "limits": pl.String,
    "again": pl.Boolean,
    "attempts": pl.Int64,
    "photo_key": pl.String,
}
_NONE = "0" * 64


@dataclass(frozen=True, slots=True)
class Log:
    """The last attempt of each record: arrays of equal length, sorted by `key`.

    Attributes:
        key: first 64 bits of candidate_id.
        ok: the photo arrived.
        failed: it did not; neither holds of a photo whose bytes were lost later.
        tried: it was asked for; a record that was refused as it is was not.
        again: what failed may pass.
        limits: number of the limits that were in force, by `words`.
        photo: (N, 32) bytes of photo_id; zeros where there is none.
        size: bytes of the file; 0 where there is none, as in the next three.
        format: number of the format, by `words`.
        width: pixels.
        height: pixels.
        photo_key: hash of the photo's name in every source; 0 where there is none.
        words: formats and limits by their number.
    """

    key: Keys
    ok: Bools
    failed: Bools
    tried: Bools
    again: Bools
    limits: NDArray[np.int32]
    photo: NDArray[np.uint8]
    size: NDArray[np.int64]
    format: NDArray[np.int32]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    photo_key: Keys
    words: tuple[str, ...]

    def find(self, key: Keys) -> NDArray[np.int64]:
        """Places of records by their keys: (N,) int64; -1 for those never tried."""
        if not len(self.key):
            return np.full(len(key), -1, np.int64)
        at = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return np.where(self.key[at] == key, at, -1)

    def facts(self, place: int) -> dict[str, Any]:
        """What is known of the photo that arrived in an attempt."""
        return {
            "photo_id": self.photo[place].tobytes().hex(),
            "bytes": int(self.size[place]),
            "format": self.words[self.format[place]],
            "width": int(self.width[place]),
            "height": int(self.height[place]),
        }


def last(shelf: Shelf) -> Log:
    """The last attempt of each record.

    Raises:
        InputError: a line is not JSON, or an id is not hexadecimal.
    """
    words: dict[str, int] = {"": 0}
    # counted first: arrays that grow, or are put together, are held twice
    lines = sum(piece.count(b"\n") for piece in shelf.log_pieces("fetches"))
    none = _parsed(pl.DataFrame(schema=_READ), words)
    whole = {
        name: np.empty((lines, *part.shape[1:]), part.dtype)
        for name, part in none.items()
    }
    done = 0
    for piece in shelf.log_pieces("fetches"):
        try:
            rows = pl.read_ndjson(io.BytesIO(piece), schema=_READ)
            parsed = _parsed(rows, words)
        except (pl.exceptions.PolarsError, ValueError) as error:
            shelf.read_log("fetches")  # says which line it is
            message = f"the log of fetches is corrupt: {error}"
            raise InputError(message) from error
        for name, part in parsed.items():
            whole[name][done : done + rows.height] = part
        done += rows.height
    # empty lines are no rows
    order = np.argsort(whole["key"][:done], kind="stable").astype(np.int32)
    key = whole["key"][order]
    order = order[np.append(key[1:] != key[:-1], True)[:done]]
    for name in whole:
        whole[name] = whole[name][order]
    return Log(**whole, words=tuple(words))


def _parsed(rows: pl.DataFrame, words: dict[str, int]) -> dict[str, NDArray[Any]]:
    """Rows of the log as arrays, by the names of `Log`."""
    status = rows["status"]

    def numbered(name: str) -> NDArray[np.int32]:
        column = rows[name].fill_null("")
        for word in column.unique(maintain_order=True):
            words.setdefault(word, len(words))
        return column.replace_strict(words, return_dtype=pl.Int32).to_numpy()

    def number(name: str, kind: type[np.generic]) -> NDArray[Any]:
        return rows[name].fill_null(0).to_numpy().astype(kind)

    return {
        "key": keys(digests(rows["candidate_id"])),
        "ok": (status == "ok").to_numpy(),
        "failed": (status == "failed").to_numpy(),
        "tried": (rows["attempts"].fill_null(1) != 0).to_numpy(),
        "again": rows["again"].fill_null(value=False).to_numpy(),
        "limits": numbered("limits"),
        "photo": digests(rows["photo_id"]),
        "size": number("bytes", np.int64),
        "format": numbered("format"),
        "width": number("width", np.int32),
        "height": number("height", np.int32),
        "photo_key": photo_keys(rows["photo_key"]),
    }


def digests(ids: pl.Series) -> NDArray[np.uint8]:
    """Ids of 64 hexadecimal digits as (N, 32) bytes; zeros for null.

    Raises:
        ValueError: an id is none.
    """
    filled = ids.fill_null(_NONE)
    if not (filled.str.len_bytes() == len(_NONE)).all():
        message = f"{ids.name}: not 64 hexadecimal digits"
        raise ValueError(message)
    raw = bytes.fromhex("".join(filled))
    return np.frombuffer(raw, np.uint8).reshape(-1, 32)


def keys(raw: NDArray[np.uint8]) -> Keys:
    """First 64 bits of digests."""
    return np.ascontiguousarray(raw[:, :8]).view(np.uint64).ravel()


def photo_keys(names: pl.Series) -> Keys:
    """Hashes of photos' names in every source: (N,) uint64; 0 for null."""
    hashes = names.hash(3).to_numpy()
    return np.where(names.is_null().to_numpy(), np.uint64(0), hashes)


class Records:
    """Rows of `candidates` whose photos are wanted, in their order."""

    def __init__(self, parts: Iterable[tuple[pl.DataFrame, NDArray[np.uint8]]]) -> None:
        """Make them of rows without candidate_id, and these as (N, 32) bytes."""
        kept = [(frame, raw) for frame, raw in parts if frame.height]
        self._frames = [frame for frame, _ in kept]
        self._ids = [raw for _, raw in kept]
        self._ends = list(accumulate(frame.height for frame in self._frames))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def row(self, number: int) -> dict[str, Any]:
        """One record, ids as text."""
        at = bisect_right(self._ends, number)
        frame, ids = self._frames[at], self._ids[at]
        place = number - self._ends[at] + frame.height
        row = frame.row(place, named=True)
        return row | {"candidate_id": ids[place].tobytes().hex()}

    def rows(self) -> Iterator[dict[str, Any]]:
        """All records, one by one."""
        return map(self.row, range(len(self)))

    def photo_keys(self) -> Keys:
        """Of each record, as `Log.photo_key`."""
        return _joined([photo_keys(frame["photo_key"]) for frame in self._frames])

    def only(self, mask: Bools) -> "Records":
        """Those where `mask`, (N,) bool, holds."""
        if mask.all():
            return self
        parts = np.split(mask, self._ends[:-1])
        pairs = zip(self._frames, self._ids, parts, strict=True)
        return Records((f.filter(pl.Series(m)), ids[m]) for f, ids, m in pairs)

    def lanes(self, remote: Collection[int]) -> dict[str, Iterator[dict[str, Any]]]:
        """Records by the host that has their photo; by the source where it is local.

        Args:
            remote: places of sources that are on the network.

        Returns: for each host its records in their order, one by one.
        """
        if not self._frames:
            return {}
        host = pl.col("url").str.extract(r"(?i)^[a-z]+://([^/?#]*)").str.to_lowercase()
        lane = (
            pl.when(pl.col("place").is_in(list(remote)))
            .then(host.fill_null(""))
            .otherwise(pl.format("source {}", "place"))
        )
        numbers: dict[str, int] = {}
        parts = []
        for frame in self._frames:
            names = frame.select(lane).to_series()
            for name in names.unique(maintain_order=True):
                numbers.setdefault(name, len(numbers))
            code = names.replace_strict(numbers, return_dtype=pl.Int32)
            parts.append(code.to_numpy())
        codes = np.concatenate(parts)
        order = np.argsort(codes, kind="stable").astype(np.int32)
        ends = np.cumsum(np.bincount(codes, minlength=len(numbers)))
        split = np.split(order, ends[:-1])
        return {
            name: self._picked(rows) for name, rows in zip(numbers, split, strict=True)
        }

    def _picked(self, numbers: NDArray[np.int32]) -> Iterator[dict[str, Any]]:
        return (self.row(int(number)) for number in numbers)


def _joined(parts: list[Keys]) -> Keys:
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


def todo(
    batches: Iterable[pl.DataFrame],
    log: Log,
    *,
    limits: str,
    remote: Collection[int],
) -> tuple[Records, Records]:
    """Records to be fetched: never tried, or to be tried again.

    Args:
        batches: rows of `candidates` with the columns `COLUMNS`.
        log: what `last` gave.
        limits: those in force: what failed under others is tried again.
        remote: places of sources that are on the network.

    Returns: those records, and records of local sources that can never be fetched and
        are not in the log. A refusal by our own choice of records from the network may
        be taken back, so it is no attempt.
    """
    now = log.words.index(limits) if limits in log.words else -1
    final = log.failed & (log.limits == now) & ~log.again & log.tried
    settled = np.append(log.ok | final, False)  # the last is for -1: never tried
    open_, shut = [], []
    for batch in batches:
        raw = digests(batch["candidate_id"])
        at = log.find(keys(raw))
        refused = batch["refused"].is_not_null().to_numpy()
        local = ~batch["place"].is_in(list(remote)).to_numpy()
        wanted, never = ~refused & ~settled[at], refused & local & (at < 0)
        open_.append((_compact(batch.filter(wanted).drop("refused")), raw[wanted]))
        shut.append((_compact(batch.filter(never)), raw[never]))
        pa.default_memory_pool().release_unused()  # a batch's worth each time
    return Records(open_), Records(shut)


def _compact(records: pl.DataFrame) -> pl.DataFrame:
    few = pl.Categorical()  # a few words, a million times
    return records.drop("candidate_id").with_columns(
        pl.col("licence", "licence_text").cast(few), pl.col("place").cast(pl.UInt16)
    )


def had(records: Records, log: Log) -> NDArray[np.int64]:
    """For each record the attempt that brought its photo under another one, or -1."""
    known = np.flatnonzero(log.ok & (log.photo_key != 0))
    known = known[np.argsort(log.photo_key[known], kind="stable")]
    if not len(known):
        return np.full(len(records), -1, np.int64)
    names, sought = log.photo_key[known], records.photo_keys()
    at = np.minimum(np.searchsorted(names, sought), len(names) - 1)
    return np.where((names[at] == sought) & (sought != 0), known[at], -1)


def first(records: Records) -> Bools:
    """Which records are the first of their photo; (N,) bool."""
    names = records.photo_keys()
    mask: Bools = names == 0
    mask[np.unique(names, return_index=True)[1]] = True
    return mask
