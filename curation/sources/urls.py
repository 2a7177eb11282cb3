"""Photos listed in a file: their URL and class, and what is known of them.

The file is CSV (tab-separated where its name ends in .tsv) or Parquet, and is read a
page at a time, whatever its length. Whoever lists URLs has asked nobody: robots.txt and
X-Robots-Tag are honoured when they are fetched (`ROBOTS`).

A row that can never become a photo is a candidate with a reason, whatever is wrong with
it. `sha256`, where the list states it, says which bytes were meant: it is the record's
revision, so a row with another one is another record. It is not compared with what
arrives, whose sha256 is the photo's id.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from curation.config import Collect, SourceSpec
from curation.errors import FetchError, HostBlocked, InputError
from curation.sources import Candidate, Cost, Page, Standing, Target
from curation.sources._records import (
    day,
    host_of,
    licence_of,
    photo_key,
    position,
    text,
    web,
)

if TYPE_CHECKING:
    from curation.http import Door

VERSION = 1
REMOTE = True
PER_CLASS = False
ROBOTS = True
"""Whether robots.txt and X-Robots-Tag of the photos' hosts are honoured."""
SETTINGS = ()
"""What a list says depends on nothing of `collect`."""

AGAIN_AT_ONCE = 10_000
"""Keys that `again` should be given at once: the list is read for each time."""

PAGE = 1000
"""Rows in a page."""

NEEDED = ("url", "class")
KNOWN = (
    "licence", "author", "source_url", "title", "observation_id", "observer",
    "observed_on", "attribution", "note", "sha256",
)  # fmt: skip
"""Columns that are read where the list has them; others are left alone."""

_BYTES = 1_000_000  # of a photo, about, for estimates
_AT_ONCE = 8
_FIRST = 10_000
_MAGIC = b"PAR1"
_ESCAPED = re.compile(
    "[\udc80-\udcff]"
)  # bytes that are not UTF-8, as Python reads them
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_BROKEN = "\0broken"

Row = Mapping[str, str]


class Spec(SourceSpec):
    """Photos by their URLs, listed in a CSV or Parquet file."""

    kind: Literal["urls"] = Field(description="a list of URLs")
    path: Path = Field(
        description="CSV (.tsv: tab-separated) or Parquet, relative to dataset.toml: "
        "url, class and, where known, licence, author, source_url, title, "
        "observation_id, observer, observed_on, attribution, note, sha256"
    )
    licence: str = Field("", description="licence of photos the list gives none for")
    author: str = Field("", description="author of photos the list gives none for")


def pages(
    spec: Spec,
    targets: Sequence[Target],
    *,
    settings: Collect,
    cursor: str | None,
    door: "Door | None",
) -> Iterator[Page]:
    """The list in its order; a cursor is the number of rows before it.

    Raises:
        InputError: the file cannot be read, lacks a column, or the cursor is none.
    """
    classes = {target.name for target in targets}
    done = position(cursor)
    rows = islice(_rows(spec.path), done, None)
    batch = list(islice(rows, PAGE))
    while True:
        following = list(islice(rows, PAGE))
        done += len(batch)
        found = [_candidate(number, row, spec, classes) for number, row in batch]
        yield Page(found, str(done) if following else None)
        if not following:
            return
        batch = following


def cost(spec: Spec, targets: Sequence[Target], *, settings: Collect) -> Cost:
    """No request for records; photos at most as many as rows.

    Raises:
        InputError: the file cannot be read or lacks a column.
    """
    hosts: Counter[str] = Counter()
    count = 0
    for _, row in _rows(spec.path):
        count += 1
        if count <= _FIRST:
            hosts[host_of(row["url"])] += 1
    photos = min(count, settings.per_class * len(targets))
    host = hosts.most_common(1)[0][0] if hosts else "no host"
    return Cost({}, photos, host, photos * _BYTES)


def again(spec: Spec, keys: Sequence[str], *, door: "Door") -> Iterator[Standing]:
    """How records stand: whether the list still has them, and their URL still answers.

    A record that was taken out of the list is gone; its licence is what the list says
    now. Of each photo one byte is asked for: a photo is gone when its host says so, and
    taken to be there when the host gives any other answer, or none.

    Raises:
        InputError: the file cannot be read or lacks a column.
        HostBlocked: a host will not answer for some time; raised when all that can be
            said of photos of other hosts is said.
    """
    wanted, listed = set(keys), {}
    for number, row in _rows(spec.path):
        found = _candidate(number, row, spec, {row["class"]})
        if found.key in wanted:
            listed[found.key] = found.licence_text
    blocked: dict[str, HostBlocked] = {}

    def stands(key: str) -> Standing | None:
        if key not in listed or web(key) is None:
            return Standing(key, "gone")
        if host_of(key) in blocked:
            return None
        try:
            door.photo(key, limit=1, robots=True)
        except HostBlocked as error:
            blocked[host_of(key)] = error
            return None
        except FetchError as error:
            if error.gone:
                return Standing(key, "gone")
        return Standing(key, "there", listed[key])

    left = iter(keys)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while batch := list(islice(left, 8 * _AT_ONCE)):
            yield from (found for found in pool.map(stands, batch) if found)
    for error in blocked.values():
        raise error


def _candidate(number: int, row: Row, spec: Spec, classes: set[str]) -> Candidate:
    """The record of a row; `number` is its place in the file."""
    class_, digest = row["class"], row.get("sha256", "").strip()
    url = web(row["url"])
    licence_text, licence, unlicensed = _licence(row.get("licence") or spec.licence)
    refused = row.get(_BROKEN) or (None if url else _no_url(row["url"]))
    if not refused and class_ not in classes:
        refused = (
            f"class {class_!r} is not in dataset.toml" if class_ else "class is empty"
        )
    if digest and not _SHA256.fullmatch(digest):
        refused, digest = refused or "sha256 is not 64 hexadecimal digits", ""

    def said(name: str) -> str | None:
        return text(row[name]) if row.get(name) else None

    return Candidate(
        source="urls",
        key=url or f"row {number}",
        revision=digest.lower(),
        class_=class_,
        url=url or "",
        photo_key=(photo_key(url) or f"url:{url}") if url else None,
        source_url=web(row.get("source_url")),
        title=said("title"),
        author=said("author") or text(spec.author),
        licence=licence,
        licence_text=licence_text,
        attribution=said("attribution"),
        observation_id=said("observation_id"),
        observer=said("observer"),
        observed_on=day(row.get("observed_on")),
        note=said("note"),
        refused=refused or unlicensed,
    )


@lru_cache(maxsize=4096)  # lists repeat a few spellings
def _licence(stated: str) -> tuple[str | None, str | None, str | None]:
    """As spelled, its name, and why it has none."""
    spelled = text(stated)
    return spelled, *licence_of(spelled)


def _no_url(stated: str) -> str:
    """Why what a row states is no URL; it is not repeated, for it may hold a secret."""
    if not stated.strip():
        return "url is empty"
    try:
        parts = urlsplit(stated.strip())
    except ValueError:
        return "url is not well-formed"
    if parts.scheme not in ("http", "https"):
        return "url does not begin with http:// or https://"
    if parts.username is not None:
        return "url holds a user name or password"
    return "url is not well-formed, too long, or holds an e-mail address"


# files ----------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows with their line (CSV) or number (Parquet), as text, missing fields empty.

    Raises:
        InputError: the file cannot be read or lacks a column.
    """
    try:
        with path.open("rb") as file:
            parquet = file.read(len(_MAGIC)) == _MAGIC
        yield from _parquet_rows(path) if parquet else _csv_rows(path)
    except (OSError, pa.ArrowException) as error:
        message = f"{path} cannot be read: {error} (dataset.toml, sources.path)"
        raise InputError(message) from error


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    # bytes that are not UTF-8 are the fault of a row, not of the file
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        try:
            header = next(reader, [])
            columns = _columns(header, f"{path}, line 1")
            for fields in reader:
                if fields:
                    row = _row(fields, columns, len(header), reader.line_num)
                    yield reader.line_num, row
        except csv.Error as error:
            message = f"{path}, line {reader.line_num}: not CSV: {error}"
            raise InputError(message) from error


def _row(
    fields: list[str], columns: Mapping[str, int], width: int, line: int
) -> dict[str, str]:
    """A row of text; `_BROKEN` says what is wrong with it as a row."""
    fields_here = len(fields)
    fields += [""] * (width - fields_here)
    row = {name: fields[place] for name, place in columns.items()}
    if fields_here != width:
        row[_BROKEN] = f"line {line}: {fields_here} fields, the header has {width}"
    for name, value in list(row.items()):
        if not value.isascii() and _ESCAPED.search(value):
            row[name] = _mended(value)
            row[_BROKEN] = f"line {line}, column {name}: not UTF-8"
    return row


def _mended(value: str) -> str:
    """Text that any table can hold."""
    return value.encode(errors="surrogateescape").decode(errors="replace")


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with pq.ParquetFile(path) as file:
        stated = file.schema_arrow.names
        places = _columns(stated, str(path))
        wanted, number = [stated[place] for place in places.values()], 0
        for batch in file.iter_batches(PAGE, columns=wanted, use_threads=False):
            columns = [_as_text(batch.column(name), name, path) for name in wanted]
            for values in zip(*columns, strict=True):
                number += 1
                yield number, dict(zip(places, values, strict=True))


def _as_text(column: pa.Array, name: str, path: Path) -> list[str]:
    try:
        return [value or "" for value in column.cast(pa.string()).to_pylist()]
    except pa.ArrowException as error:
        message = f"{path}, column {name}: {column.type} is not text: {error}"
        raise InputError(message) from error


def _columns(found: Sequence[str], where: str) -> dict[str, int]:
    """Places of the columns that are read, by our name of them."""
    found = ["licence" if name == "license" else _mended(name) for name in found]
    twice = [name for name in (*NEEDED, *KNOWN) if found.count(name) > 1]
    missing = [name for name in NEEDED if name not in found]
    for names, fault in ((missing, "missing"), (twice, "there twice")):
        if names:
            message = (
                f"{where}: column {' and '.join(names)} is {fault}; "
                f"found {', '.join(found)[:200] or 'nothing'}"
            )
            raise InputError(message)
    return {name: found.index(name) for name in (*NEEDED, *KNOWN) if name in found}
