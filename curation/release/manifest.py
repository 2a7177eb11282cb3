"""manifest.csv: every photo of a release with what it is published as.

Columns photo_id, class, background, group (common, counter or unused) and licence;
sorted by photo_id. Two of them are what `diff` compares.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from curation.errors import InputError
from curation.schemas import GROUPS

NAME = "manifest.csv"
LABELS = ("class", "background", "group")
"""Columns that say what a photo is an example of."""
CREDITS = ("author", "source_url", "title", "changes", "note")
"""Columns of LICENSES.csv that are compared besides, where both sides have them."""
COLUMNS = ("photo_id", *LABELS, "licence")


Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The photos of a release.

    Attributes:
        rows: by photo_id: class, background, group, licence.
        credits: by photo_id: what LICENSES.csv says besides; empty where it was not
            at hand.
    """

    rows: Mapping[str, Row]
    credits: Mapping[str, Row] = field(default_factory=dict)


def render(rows: pl.DataFrame) -> str:
    """The file's text.

    Args:
        rows: photos with the file's columns.
    """
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows.select(COLUMNS).sort("photo_id").iter_rows())
    return file.getvalue()


def parse(text: str, *, name: str) -> Manifest:
    """Read the file's text.

    Args:
        text: the file.
        name: what errors call it.

    Raises:
        InputError: a column is missing, a photo_id is there twice or is none, or a
            group is none of ours.
    """
    rows: dict[str, Row] = {}
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
    if missing:
        message = f"{name}: no manifest of a release: column {missing[0]!r} is missing"
        raise InputError(message)
    for row in reader:
        key = row["photo_id"] or ""
        if len(key) != 64 or key.strip("0123456789abcdef"):
            message = f"{name}, line {reader.line_num}: {key[:70]!r} is no photo_id"
            raise InputError(message)
        if row["group"] not in GROUPS:
            message = f"{name}, line {reader.line_num}: no group {row['group']!r}"
            raise InputError(message)
        if key in rows:
            message = f"{name}, line {reader.line_num}: {key} is there twice"
            raise InputError(message)
        rows[key] = {column: row[column] or "" for column in COLUMNS[1:]}
    return Manifest(rows)


def read(path: Path) -> Manifest:
    """Read a manifest.csv, or that of a release folder with its LICENSES.csv.

    Raises:
        InputError: there is none, or it cannot be understood.
    """
    file = path / NAME if path.is_dir() else path
    try:
        found = parse(file.read_text(encoding="utf-8-sig"), name=str(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        message = (
            f"{file}: cannot be read ({error}); name a release folder, a manifest.csv "
            "or hub:<org>/<name>[@<revision>]"
        )
        raise InputError(message) from error
    credits_of = path / "LICENSES.csv"
    if not path.is_dir() or not credits_of.is_file():
        return found
    try:
        with credits_of.open(encoding="utf-8", newline="") as text:
            credit = {
                row["photo_id"]: {name: row.get(name) or "" for name in CREDITS}
                for row in csv.DictReader(text)
            }
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        message = f"{credits_of}: cannot be read ({error!r})"
        raise InputError(message) from error
    return Manifest(found.rows, credit)
