"""A release without its photos: where each is to be had, and under which licence.

For those who may not pass photos on. `counterset rebuild` fetches them and compares
each with `photo_id`, the sha256 of the file as it was fetched.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from curation import licences
from curation.errors import InputError, WorkFolderError
from curation.http.urls import RefusedUrl, masked, place
from curation.release.contents import SPLITS, frame
from curation.release.folders import rows, shards_of

COLUMNS = (
    "photo_id", "url", "class", "imagenet_index", "background", "group", "licence",
    "licence_url", "author", "source_url", "attribution", "bytes",
)  # fmt: skip
_OF_RELEASE = [
    "photo_id", "label", "imagenet_index", "background", "group", "licence", "author",
    "source_url",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Listed:
    """What was written: rows, and how many of them have no URL."""

    photos: int
    without_url: int


def write_urls(release: Path, out: Path, tables: Mapping[str, pa.Table]) -> Listed:
    """Write the list, sorted by photo_id; equal inputs give equal bytes.

    A photo's URL is that of the record it is credited to. Photos of a folder have
    none, nor have those whose URL holds a token or is no address of the public web:
    their rows have an empty `url`.

    Args:
        release: a release folder.
        out: a CSV, replaced when it is there.
        tables: photos and candidates, that the release was made of.

    Raises:
        InputError: no release there, or of other photos than the tables.
        WorkFolderError: the file cannot be written.
    """
    records = _records(tables)
    shards = [path for side in SPLITS for path in shards_of(release, side)]
    listed = sorted(_released(shards), key=lambda row: str(row["photo_id"]))
    strange = [row["photo_id"] for row in listed if row["photo_id"] not in records]
    if strange:
        message = (
            f"{release} has {len(strange)} photos that the work folder does not know, "
            f"such as {strange[0]}; run `counterset release` again"
        )
        raise InputError(message)
    complete = [row | records[str(row["photo_id"])] for row in listed]
    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_rows(partial, COLUMNS, complete)
        partial.replace(out)
    except OSError as error:
        message = f"{out}: cannot be written ({error.strerror or error})"
        raise WorkFolderError(message) from error
    return Listed(len(complete), sum(not row["url"] for row in complete))


def write_rows(
    path: Path, columns: Iterable[str], content: Iterable[Mapping[str, object]]
) -> None:
    """Write a CSV; columns that a row lacks are empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(
            file, list(columns), extrasaction="ignore", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(content)


def _released(shards: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """What the release says of its photos."""
    for row in rows(shards, _OF_RELEASE):
        yield row | {"licence_url": licences.url(row["licence"])}


def _records(tables: Mapping[str, pa.Table]) -> dict[str, dict[str, Any]]:
    """URL, attribution and size by photo_id."""
    photos = frame(tables, "photos").select("photo_id", "candidate_id", "bytes")
    records = frame(tables, "candidates").select("candidate_id", "url", "attribution")
    joined = photos.join(records, on="candidate_id", how="left")
    urls = [public(url) for url in joined["url"]]
    joined = joined.with_columns(pl.Series("url", urls, pl.String))
    return {row.pop("photo_id"): row for row in joined.iter_rows(named=True)}


def public(url: str | None) -> str:
    """The URL when anyone may ask for it, otherwise nothing.

    Example:
        >>> public("https://example.org/1.jpg")
        'https://example.org/1.jpg'
        >>> public("bears/1.jpg"), public("https://example.org/1.jpg?token=s3cret")
        ('', '')
    """
    if url is None or "://" not in url or masked(url) != url:
        return ""
    try:
        return place(url).url
    except RefusedUrl:
        return ""


# reading ----------------------------------------------------------------------------

NEEDED = ("photo_id", "url", "class", "background", "group")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHOWN = 5  # faults that are told; the rest is counted


@dataclass(frozen=True, slots=True)
class Photo:
    """A row of a list: where a photo is to be had, and what is known of it.

    Attributes:
        facts: every column the list has, as text.
    """

    photo_id: str
    url: str
    class_name: str
    background: str
    group: str
    facts: Mapping[str, str]


def read_urls(path: Path) -> list[Photo]:
    """Read a list as `write_urls` writes it; further columns are let in.

    Raises:
        InputError: not there, not CSV, a column missing, or rows that are wrong: which
            lines, and how.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = list(_lines(path, csv.reader(file, strict=True)))
    except UnicodeDecodeError as error:
        message = f"{path}: not UTF-8 ({error.reason} at byte {error.start})"
        raise InputError(message) from error
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
        raise InputError(message) from error
    faults, seen = [], dict[str, int]()
    for number, row in found:
        fault = _fault(row)
        if not fault and (before := seen.setdefault(row["photo_id"], number)) != number:
            fault = f"photo_id is that of line {before}"
        if fault:
            faults.append(f"line {number}: {fault}")
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        message = f"{path}: {'; '.join(faults[:_SHOWN])}{more}"
        raise InputError(message)
    if not found:
        message = f"{path}: no photo is listed"
        raise InputError(message)
    return [
        Photo(
            photo_id=row["photo_id"],
            url=row["url"].strip(),
            class_name=row["class"],
            background=row["background"],
            group=row["group"],
            facts=row,
        )
        for _, row in found
    ]


def _lines(path: Path, reader: Any) -> Iterator[tuple[int, dict[str, str]]]:  # noqa: ANN401
    """Rows with the line they end on; a row of another width has the key ""."""
    try:
        header: list[str] = next(reader, [])
        missing = [name for name in NEEDED if name not in header]
        if missing or len(set(header)) < len(header):
            fault = f"column {' and '.join(missing)} is missing"
            message = (
                f"{path}, line 1: {fault if missing else 'a column is there twice'}; "
                f"found {', '.join(header)[:200] or 'nothing'}. A list is what "
                "`counterset release --urls FILE` writes"
            )
            raise InputError(message)
        for fields in reader:
            if fields:
                row = dict(zip(header, fields, strict=False))
                if len(fields) != len(header):
                    row[""] = f"{len(fields)} fields, the header has {len(header)}"
                yield reader.line_num, row
    except csv.Error as error:
        message = f"{path}, line {reader.line_num}: not CSV: {error}"
        raise InputError(message) from error


def _fault(row: Mapping[str, str]) -> str:
    """What is wrong with a row; empty when nothing is."""
    if "" in row:
        return row[""]
    if not _SHA256.fullmatch(row["photo_id"]):
        return "photo_id is not 64 hexadecimal digits in lower case"
    if row["group"] not in SPLITS:
        return f"group {row['group'][:40]!r} is neither {' nor '.join(SPLITS)}"
    empty = [name for name in ("class", "background") if not row[name].strip()]
    return f"{empty[0]} is empty" if empty else ""
