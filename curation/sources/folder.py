"""Photos in a folder: a sub-folder per class, or a CSV that lists them.

Symbolic links are never followed: a link out of the folder would let a dataset carry
files its maker never saw, and a loop never ends. Names may hold anything a file system
allows; bytes that are not UTF-8 are written percent-encoded in keys and paths.
"""

import csv
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import Field

from curation.config import Collect, SourceSpec
from curation.errors import FetchError, InputError
from curation.licences import normalise
from curation.sources import Candidate, Page, Target

if TYPE_CHECKING:
    from curation.http import Door

REMOTE = False
PER_CLASS = False

_RAW = "percent:"
_LINK = "symbolic link, not followed"


class Spec(SourceSpec):
    """Photos in a folder: a sub-folder per class, or listed in a CSV file."""

    kind: Literal["folder"] = Field(description="a folder on this machine")
    path: Path = Field(description="folder, relative to dataset.toml")
    csv: Path | None = Field(
        None,
        description="CSV in that folder: file, class and, where known, licence, "
        "author, source_url, title, observation_id, composed, note",
    )
    licence: str = Field("", description="licence of photos the CSV gives none for")
    author: str = Field("", description="author of photos the CSV gives none for")


def pages(
    spec: Spec,
    targets: Sequence[Target],
    *,
    settings: Collect,
    cursor: str | None,
    door: "Door | None",
) -> Iterator[Page]:
    """The whole folder as one page: it is read anew each time.

    Raises:
        InputError: see `candidates`.
    """
    yield Page(list(candidates(spec, [target.name for target in targets])), None)


def candidates(spec: Spec, classes: Sequence[str]) -> Iterator[Candidate]:
    """Every file of the folder, or every row of its CSV.

    Raises:
        InputError: the folder or CSV is not there, or the CSV lacks a column.
    """
    if not spec.path.is_dir():
        message = f"source folder {spec.path} is not there (dataset.toml, sources.path)"
        raise InputError(message)
    known = set(classes)
    listed = _listed(spec) if spec.csv else _walked(spec.path)
    for path, row in listed:
        yield _candidate(path, row, spec, known)


def read(url: str, spec: Spec, limit: int) -> bytes:
    """Bytes of one file, of at most `limit` bytes, following no link.

    Raises:
        FetchError: it is no regular file of the folder, unreadable, or too large.
    """
    path = spec.path / _decoded(url)
    reason = _outside(path, spec.path)
    if reason:
        raise FetchError(reason)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise FetchError(message) from error
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            message = "not a regular file"
            raise FetchError(message)
        data = file.read(limit + 1)
    if len(data) > limit:
        message = f"larger than {limit:,} bytes (fetch.max_bytes)"
        raise FetchError(message)
    return data


def _candidate(
    path: Path, row: Mapping[str, str], spec: Spec, known: set[str]
) -> Candidate:
    name = _encoded(path)
    class_ = row.get("class") or ""
    refused = _outside(spec.path / path, spec.path)
    if not refused and class_ not in known:
        refused = (
            f"class {class_!r} is not in dataset.toml"
            if class_
            else "not in the sub-folder of a class"
        )
    licence = row.get("licence") or spec.licence or None
    return Candidate(
        source="folder",
        key=name,
        revision=_revision(spec.path / path),
        class_=class_,
        url=name,
        source_url=row.get("source_url") or None,
        title=row.get("title") or None,
        author=row.get("author") or spec.author or None,
        licence=normalise(licence),
        licence_text=licence,
        observation_id=row.get("observation_id") or None,
        composed=(row.get("composed") or "").strip().lower() in ("1", "true", "yes"),
        note=row.get("note") or None,
        refused=refused,
    )


def _walked(folder: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Files below a folder, sorted by path; the first sub-folder is the class."""

    def unreadable(error: OSError) -> None:
        message = f"source folder {error.filename} cannot be read: {error.strerror}"
        raise InputError(message)

    found = []
    for where, folders, files in os.walk(folder, onerror=unreadable):
        links = [name for name in folders if (Path(where) / name).is_symlink()]
        folders[:] = [n for n in folders if not n.startswith(".") and n not in links]
        for name in (*files, *links):
            if not name.startswith("."):
                found.append((Path(where) / name).relative_to(folder))
    for path in sorted(found, key=lambda path: os.fsencode(path)):
        yield path, {"class": _encoded(path.parts[0]) if len(path.parts) > 1 else ""}


def _listed(spec: Spec) -> Iterator[tuple[Path, dict[str, str]]]:
    """Rows of the CSV, in its order."""
    assert spec.csv is not None
    where = spec.path / spec.csv
    try:
        with where.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            missing = {"file", "class"} - set(columns)
            if missing:
                message = (
                    f"{where}: column {' and '.join(sorted(missing))} is missing; "
                    f"found {', '.join(columns) or 'nothing'}"
                )
                raise InputError(message)
            for row in reader:
                if not row["file"]:
                    message = f"{where}, line {reader.line_num}: file is empty"
                    raise InputError(message)
                yield Path(row["file"]), row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        message = f"{where} cannot be read as CSV: {error}"
        raise InputError(message) from error


def _outside(path: Path, folder: Path) -> str | None:
    """Why a path is not plainly a file of the folder; None when it is."""
    inside = Path(os.path.normpath(path))
    if not inside.is_relative_to(folder):
        return "outside the source folder"
    for step in (inside, *inside.parents):
        if step == folder:
            return None
        if step.is_symlink():
            return _LINK
    return None


def _revision(path: Path) -> str:
    """Changes when the file does; chmod counts, for it can make a file readable."""
    try:
        facts = path.lstat()
    except OSError:
        return "missing"
    return f"{facts.st_size}-{facts.st_mtime_ns}-{facts.st_ctime_ns}"


def _encoded(path: Path | str) -> str:
    """A path as text that any table can hold."""
    raw = os.fsencode(path)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return _RAW + quote_from_bytes(raw)


def _decoded(text: str) -> Path:
    if text.startswith(_RAW):
        return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(_RAW))))
    return Path(text)
