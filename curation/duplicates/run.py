"""What the commands `dedup` and `hash` do, from a folder's name to what is told."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation import filenames
from curation.duplicates import folder, hashing
from curation.duplicates.crew import Crew
from curation.errors import InputError
from curation.progress import Say

if TYPE_CHECKING:
    from curation.duplicates.findings import Findings

_FEW = 24  # files that another process is not worth its start for


@dataclass(frozen=True, slots=True)
class Hashed:
    """What `hash_folder` wrote.

    Attributes:
        table: the file.
        photos: rows with hashes.
        failed: name and reason of files without.
        ignored: files that are no pictures by name or content: no rows.
    """

    table: Path
    photos: int
    failed: Sequence[tuple[str, str]]
    ignored: int

    def as_object(self) -> dict[str, Any]:
        """The object of `counterset hash --json`."""
        failed = [{"path": name, "error": error} for name, error in self.failed]
        told = {"table": filenames.encoded(self.table), "photos": self.photos}
        return told | {"failed": failed, "ignored": self.ignored}

    def text(self) -> str:
        """The same for people."""
        name = folder.printable
        lines = [
            f"not hashed: {name(one)}: {name(error)}" for one, error in self.failed
        ]
        lines.append(f"{self.photos:,} photos hashed: {name(str(self.table))}")
        lines.append("compare: counterset dedup FOLDER --against with this table")
        return "\n".join(lines)


def dedup(
    where: Path,
    *,
    say: Say,
    against: Sequence[Path] = (),
    html: Path | None = None,
    exact: bool = False,
    model: str = "",
    max_pixels: int = folder.MAX_PIXELS,
    jobs: int = 0,
) -> "Findings":
    """Find what a folder holds more than once; nothing in it is changed.

    Args:
        where: the folder.
        say: takes lines of progress.
        against: hash tables of other sets, to tell what they have too.
        html: page to write.
        exact: decode every pixel, so that hashes are imagehash's.
        model: name of a model that confirms and suggests; "" for none.
        max_pixels: larger pictures are refused.
        jobs: processes; 0 for one per core.

    Raises:
        InputError: the folder or a table is not there or is none, or the page cannot
            be written.
        ConfigError: there is no such model.
    """
    _writable(html)
    listing = folder.listed(where)
    how = folder.How(hashing.FULL if exact else hashing.FAST, max_pixels)
    with Crew(_jobs(jobs, len(listing.files))) as crew:
        # imported while the crew starts: they take as long
        from curation.duplicates import compare

        options = compare.Options(how, against=against, model=model)
        found = compare.find(where, listing, crew, options, say=say)
        if html:
            from curation.duplicates import gallery

            say(f"write {folder.printable(str(html))}")
            gallery.write(html, found, crew, how)
    return found


def hash_folder(
    where: Path,
    out: Path,
    *,
    say: Say,
    exact: bool = False,
    max_pixels: int = folder.MAX_PIXELS,
    jobs: int = 0,
) -> Hashed:
    """Write the hash table of a folder.

    Args:
        where: the folder.
        out: the table; a hash table that is there is replaced.
        say: takes lines of progress.
        exact: as `dedup`.
        max_pixels: as `dedup`.
        jobs: as `dedup`.

    Raises:
        InputError: the folder is not there or is none, or the table cannot be written.
    """
    _writable(out)
    listing = folder.listed(where)
    how = folder.How(hashing.FULL if exact else hashing.FAST, max_pixels)
    with Crew(_jobs(jobs, len(listing.files))) as crew:
        from curation.duplicates import tables
        from curation.duplicates.compare import Rows

        if out.exists():
            tables.read_schema(out)
        rows = Rows(listing, crew, how, say=say)
        count = tables.write(out, rows)
    failed = folder.by_name([*rows.failed, *listing.refused])
    return Hashed(out, count - len(rows.failed), failed, rows.ignored)


def _jobs(asked: int, files: int) -> int:
    """Processes that are of use."""
    return max(1, min(asked or os.cpu_count() or 1, -(-files // _FEW)))


def _writable(file: Path | None) -> None:
    """Say before the long work that a file could not be written after it."""
    if file is None:
        return
    name = folder.printable(str(file))
    if file.is_dir():
        message = f"{name} is a folder; name a file to write"
        raise InputError(message)
    if not file.parent.is_dir():
        message = f"{name} cannot be written: its folder is not there"
        raise InputError(message)
