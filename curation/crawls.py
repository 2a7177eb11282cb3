"""Crawls: what a source answered, kept page by page as it came.

A crawl is a source's answers to one question: for one class where the source is asked
class by class, else for all. It depends on the question alone, never on quotas, so a
changed quota only reads it again, or goes on where it ended. Each part holds its pages'
rows together with the cursor that follows them: both are there or neither is.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curation.config import Collect, SourceSpec
from curation.errors import InputError
from curation.schemas import schema
from curation.shelf import BATCH, CrawlPart, Shelf
from curation.sources import Candidate, Source, Target

_OURS = ("candidate_id", "place", "order")
COLUMNS = pl.Schema(
    {
        name: type_
        for name, type_ in pl.Schema(schema("candidates")).items()
        if name not in _OURS
    }
)
"""What a source says of a record: the table `candidates` without our own columns."""

SETTINGS = ("order", "seed", "licences", "coordinates")
"""Of `collect`, what answers may depend on; a source's own SETTINGS may say less."""

_FACTS = attrgetter(*("class_" if name == "class" else name for name in COLUMNS))
_CURSOR = b"counterset.cursor"
_SMALL = 64
_READ = 16_384
_ROWS_PENDING = 10_000
_SECONDS_PENDING = 1.0
_SLOW = 0.02
"""Seconds: a page that took longer to come came over a network."""


def identity(
    module: Source, spec: SourceSpec, targets: Sequence[Target], settings: Collect
) -> str:
    """Name of a crawl: what was asked, and nothing else.

    Files that the source reads from this machine count with their size and time.
    """
    names = set(getattr(module, "SETTINGS", SETTINGS))
    whose: str | None = getattr(module, "TAXA", None)
    if settings.order != "random":
        names.discard("seed")
    stamps = {
        name: _stamp(value)
        for name, value in spec
        if name in spec.LOCATED and isinstance(value, Path)
    }
    asked = [
        getattr(module, "VERSION", 1),
        spec.model_dump(mode="json"),
        stamps,
        # where there is a taxon, words are not asked for, nor other taxa
        [
            [
                one.name,
                one.taxa.get(whose) if whose else [one.query, one.scientific_name],
            ]
            for one in targets
        ],
        settings.model_dump(mode="json", include=names),
    ]
    text = json.dumps(asked, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def frame(
    candidates: Sequence[Candidate], *, coordinates: str = "drop"
) -> pl.DataFrame:
    """Records as rows; places are left out or coarse, whatever the source gave.

    Raises:
        InputError: a value is of another type than its column.
    """
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    if candidates:
        facts = zip(*map(_FACTS, candidates), strict=True)
        columns = {name: list(one) for name, one in zip(COLUMNS, facts, strict=True)}
    for name in ("latitude", "longitude"):
        columns[name] = [
            None if value is None or coordinates == "drop" else round(value, 1)
            for value in columns[name]
        ]
    try:
        rows = pl.DataFrame(columns, schema=COLUMNS)
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell
        whole = {name: [_text(v) for v in values] for name, values in columns.items()}
        rows = pl.DataFrame(whole, schema=COLUMNS)
    except TypeError as error:
        message = (
            f"source {candidates[0].source} gave a record that fits no row: {error}"
        )
        raise InputError(message) from error
    return rows


class Crawl:
    """A crawl on the shelf; `add` needs the work folder to be held for writing.

    Attributes:
        cursor: where the source goes on; None at its start and when it is whole.
        whole: the source has no more.
        asked: pages that were added since it was opened.
    """

    def __init__(self, shelf: Shelf, name: str) -> None:
        self.name, self._shelf = name, shelf
        self._parts = shelf.crawl_parts(name)
        self.cursor: str | None = None
        self.whole, self.asked = False, 0
        if self._parts:
            self.cursor = _cursor(self._parts[-1])
            self.whole = self.cursor is None
        self._small: list[CrawlPart] = []
        for part in reversed(self._parts):
            if _rows(part) >= BATCH:
                break
            self._small.insert(0, part)
        self._pending: list[pl.DataFrame] = []
        self._first = self._parts[-1].last + 1 if self._parts else 0
        self._next = self._first
        self._held = 0
        self._kept = time.monotonic()
        self._cost = 0.0

    def batches(self) -> Iterator[pl.DataFrame]:
        """Rows that are kept, in the source's order.

        Raises:
            InputError: a part cannot be read.
        """
        for part in self._parts:
            try:
                for rows in pq.ParquetFile(part.path).iter_batches(
                    _READ, use_threads=False
                ):
                    yield _conformed(pl.DataFrame(pl.from_arrow(rows)))
            except (OSError, pa.ArrowInvalid) as error:
                raise _unreadable(part.path, error) from error

    def add(self, rows: pl.DataFrame, cursor: str | None, *, took: float = 1.0) -> None:
        """Add a page; it is on disk when this returns, if it took long to come.

        Pages that come faster than they are written are gathered, for about a second:
        those are had again as quickly.

        Args:
            rows: see `frame`.
            cursor: where the source goes on; None after its last page.
            took: seconds that the source needed for the page.
        """
        self._pending.append(rows)
        self._held += rows.height
        self._next += 1
        self.asked += 1
        self.cursor, self.whole = cursor, cursor is None
        if (
            self.whole
            or took >= min(self._cost, _SLOW)
            or self._held >= _ROWS_PENDING
            or time.monotonic() - self._kept >= _SECONDS_PENDING
        ):
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        if self._next == self._first:
            return
        start = time.monotonic()
        rows = pl.concat(self._pending)
        part = self._put((self._first, self._next - 1), rows)
        self._first, self._pending, self._held = self._next, [], 0
        self._parts.append(part)
        if rows.height < BATCH:
            self._small.append(part)
        self._kept = time.monotonic()
        self._cost = self._kept - start
        if len(self._small) >= _SMALL:
            self._merge()

    def _merge(self) -> None:
        """Make one part of the small ones at the end."""
        small = self._small
        rows = pl.concat(
            [
                _conformed(pl.DataFrame(pl.from_arrow(pq.ParquetFile(one.path).read())))
                for one in small
            ]
        )
        part = self._put((small[0].first, small[-1].last), rows)
        self._parts[-len(small) :] = [part]
        self._small = [part] if rows.height < BATCH else []

    def _put(self, pages: tuple[int, int], rows: pl.DataFrame) -> CrawlPart:
        metadata = {_CURSOR: json.dumps(self.cursor).encode()}
        table = rows.to_arrow(
            compat_level=pl.CompatLevel.oldest()
        ).replace_schema_metadata(metadata)
        return self._shelf.put_crawl_part(self.name, pages, table)


def _cursor(part: CrawlPart) -> str | None:
    try:
        metadata = pq.ParquetFile(part.path).schema_arrow.metadata or {}
        cursor: str | None = json.loads(metadata[_CURSOR])
    except (OSError, pa.ArrowInvalid, KeyError, ValueError) as error:
        raise _unreadable(part.path, error) from error
    return cursor


def _rows(part: CrawlPart) -> int:
    try:
        return int(pq.ParquetFile(part.path).metadata.num_rows)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(part.path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    message = (
        f"{path} cannot be read ({error}); delete it, and the source is asked again "
        "from there on"
    )
    return InputError(message)


def _conformed(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of an earlier version get the columns they lack, empty."""
    missing = [
        pl.lit(None, type_).alias(name)
        for name, type_ in COLUMNS.items()
        if name not in rows.columns
    ]
    return rows.with_columns(missing).select(COLUMNS.names()).cast(COLUMNS)


def _text(value: Any) -> Any:  # noqa: ANN401 - any column's value
    """Text that UTF-8 can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return value


def _stamp(path: Path) -> list[list[Any]]:
    """Changes when a file does, or one directly in a folder."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stamps: list[list[Any]] = []
    for file in files:
        try:
            facts = file.stat()
        except OSError:
            stamps.append([file.name, "missing"])
        else:
            stamps.append([file.name, facts.st_size, facts.st_mtime_ns])
    return stamps
