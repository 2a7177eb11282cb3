"""Photos in a folder: a sub-folder per class, or a CSV that lists them.

Symbolic links are never followed: a link out of the folder would let a dataset carry
files its maker never saw, and a loop never ends. Names may hold anything a file system
allows; bytes that are not UTF-8 are written percent-encoded in keys and paths.
"""

import csv
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from curation.config import Collect, SourceSpec
from curation.errors import FetchError, InputError
from curation.filenames import decoded, encoded
from curation.licences import normalise
from curation.sources import Candidate, Page, Target

if TYPE_CHECKING:
    from curation.http import Door

REMOTE = False
PER_CLASS = False

PAGE = 8192
"""Records in a page."""

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
    """The folder in its order, read anew each time; a cursor is how many came before.

    Raises:
        InputError: see `candidates`.
    """
    done = int(cursor or 0)
    found = islice(candidates(spec, [one.name for one in targets]), done, None)
    page = list(islice(found, PAGE))
    while True:
        following = list(islice(found, PAGE))
        done += len(page)
        yield Page(page, str(done) if following else None)
        if not following:
            return
        page = following


def candidates(spec: Spec, classes: Sequence[str]) -> Iterator[Candidate]:
    """Every file of the folder, or every row of its CSV.

    Raises:
        InputError: the folder or CSV is not there, or the CSV lacks a column.
    """
    if not spec.path.is_dir():
        message = f"source folder {spec.path} is not there (dataset.toml, sources.path)"
        raise InputError(message)
    known = set(classes)
    if spec.csv:
        for path, row in _listed(spec):
            place = spec.path / path
            reason = _outside(place, spec.path)
            yield _candidate(
                (os.fspath(path), os.fspath(place)), row, spec, known, reason
            )
        return
    for name in _walked(spec.path):
        head, sign, _ = name.partition("/")
        row = {"class": encoded(head) if sign else ""}
        yield _candidate((name, f"{spec.path}/{name}"), row, spec, known)


def read(url: str, spec: Spec, limit: int) -> bytes:
    """Bytes of one file, of at most `limit` bytes, following no link.

    Raises:
        FetchError: it is no regular file of the folder, unreadable, or too large.
    """
    path = spec.path / decoded(url)
    reason = _outside(path, spec.path)
    if reason:
        raise FetchError(reason)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise FetchError(message) from error
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            message = "not a regular file"
            raise FetchError(message)
        # not at once: as much memory as is asked for is set aside
        data = file.read(min(facts.st_size, limit) + 1)
        if facts.st_size < len(data) <= limit:  # it grows
            data += file.read(limit + 1 - len(data))
    if len(data) > limit:
        message = f"larger than {limit:,} bytes (fetch.max_bytes)"
        raise FetchError(message)
    return data


def _candidate(
    paths: tuple[str, str],
    row: Mapping[str, str],
    spec: Spec,
    known: set[str],
    refused: str | None = None,
) -> Candidate:
    """The record of a file, by its path in the folder and on this machine."""
    name = encoded(paths[0])
    class_ = row.get("class") or ""
    revision, link = _revision(paths[1])
    refused = refused or (_LINK if link else None)
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
        revision=revision,
        class_=class_,
        url=name,
        source_url=row.get("source_url") or None,
        title=row.get("title") or None,
        author=row.get("author") or spec.author or None,
        licence=_normalised(licence),
        licence_text=licence,
        observation_id=row.get("observation_id") or None,
        composed=(row.get("composed") or "").strip().lower() in ("1", "true", "yes"),
        note=row.get("note") or None,
        refused=refused,
    )


@lru_cache(maxsize=1024)
def _normalised(licence: str | None) -> str | None:
    return normalise(licence)


def _walked(folder: Path) -> list[str]:
    """Paths of the files below a folder, sorted by their bytes; no link is followed."""

    def unreadable(error: OSError) -> None:
        message = f"source folder {error.filename} cannot be read: {error.strerror}"
        raise InputError(message)

    found = []
    root = os.fspath(folder)
    for where, folders, files in os.walk(root, onerror=unreadable):
        links = [name for name in folders if (Path(where) / name).is_symlink()]
        folders[:] = [n for n in folders if not n.startswith(".") and n not in links]
        home = where[len(root) :].strip("/")
        found += [
            f"{home}/{name}" if home else name
            for name in (*files, *links)
            if not name.startswith(".")
        ]
    return sorted(found, key=os.fsencode)


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
    inside, root = os.path.normpath(path), os.fspath(folder)
    if inside != root and not inside.startswith(f"{root.rstrip('/')}/"):
        return "outside the source folder"
    while len(inside) > len(root):
        try:
            if stat.S_ISLNK(os.lstat(inside).st_mode):
                return _LINK
        except (OSError, ValueError):
            pass  # not there: whoever reads it is told
        inside = inside.rpartition("/")[0]
    return None


def _revision(path: str) -> tuple[str, bool]:
    """What changes when the file does, and whether it is a link.

    chmod counts as a change, for it can make a file readable.
    """
    try:
        facts = os.lstat(path)
    except OSError:
        return "missing", False
    stamp = f"{facts.st_size}-{facts.st_mtime_ns}-{facts.st_ctime_ns}"
    return stamp, stat.S_ISLNK(facts.st_mode)
