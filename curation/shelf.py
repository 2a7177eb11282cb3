"""The work folder: the only file that touches it.

    shelf.json                    format version
    lock                          held while something writes
    blobs/ab/<sha256>             photos as they were fetched
    logs/<name>.jsonl             append-only, see `LOGS`
    tables/<stage>/<recipe>/      one derived table: Parquet parts, then done.json
    crawls/<crawl>/               what a source answered: Parquet parts with cursors
    features/                     what models made of photos
    labels/                       pictures that a labelling server may show
    secrets/                      random bytes, for their owner alone
    release/ report/              what people look at; can always be made again
    published/<version>/          what was published: manifest.csv, where.json

Nothing is changed in place. A file is written beside its place, flushed to disk, then
renamed into it, and a table counts only once its done.json is there, so a run killed
at any moment leaves whole files. A log row is durable when `append` returns; a torn
last line (never acknowledged) is cut off when the folder is next locked.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from curation.errors import InputError, WorkFolderError
from curation.flushing import flushing
from curation.schemas import conform, empty

FORMAT = 2
BATCH = 65_536
"""Rows of a large table held in memory at once."""
LOGS = (
    "fetches", "rechecks", "takedowns",
    "label_events", "label_projects", "label_tasks", "annotations", "pulls",
)  # fmt: skip
PIECE = 1 << 22
"""Bytes of a log that are read at once."""

_DRAFT = "next"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNLINKED = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}
_SHUT = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}


@dataclass(frozen=True, slots=True)
class Done:
    """What done.json says of a finished table.

    Attributes:
        inputs: fingerprint of each input the table was made from.
        rows: rows in it.
        failed: rows whose status is failed.
        fingerprint: stands for the table's content.
    """

    inputs: Mapping[str, str]
    rows: int
    failed: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CrawlPart:
    """A file of a crawl: its pages from `first` to `last`."""

    path: Path
    first: int
    last: int


class Shelf:
    """A work folder, open for reading, or with `lock()` for writing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: int | None = None

    @classmethod
    def open(cls, folder: Path) -> Self:
        """A work folder that exists.

        Raises:
            WorkFolderError: it is no work folder, or of another format version.
        """
        marker = folder / "shelf.json"
        try:
            found = json.loads(marker.read_text()).get("format")
        except (OSError, ValueError) as error:
            message = (
                f"{folder} is no work folder (no readable shelf.json); "
                "`counterset run` makes one"
            )
            raise WorkFolderError(message) from error
        if found != FORMAT:
            message = (
                f"{folder} has format {found}, this version reads {FORMAT}; "
                "use a new work folder, label events can be exported and imported"
            )
            raise WorkFolderError(message)
        return cls(folder)

    @contextmanager
    def lock(self) -> Iterator[Self]:
        """Make the folder if need be and hold it for writing.

        Raises:
            WorkFolderError: another run holds it, it cannot be written, the disk is
                full, or the format is another version's.
        """
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(handle, 20, 0).decode(errors="replace").strip()
                message = (
                    f"{self.folder} is in use by another run (process {holder}); "
                    "wait for it, or choose another --work"
                )
                raise WorkFolderError(message) from error
            with explained(self.folder):
                os.ftruncate(handle, 0)
                os.pwrite(handle, str(os.getpid()).encode(), 0)
                self._prepare()
                yield self
        finally:
            os.close(handle)

    def _prepare(self) -> None:
        if (self.folder / "shelf.json").exists():
            type(self).open(self.folder)
        else:
            self.put(self.folder / "shelf.json", _json({"format": FORMAT}))
        for name in LOGS:
            _mend(self._log(name))
        for left in (
            *self.folder.glob("*.part"),
            *self.folder.glob("tables/*/*/*.part"),
            *self.folder.glob("crawls/*/*.part"),
        ):
            left.unlink()

    def keep_config(self, content: Mapping[str, Any]) -> None:
        """Remember the configuration, so that looking needs none."""
        self.put(self.folder / "config.json", _json(content))

    def config(self) -> dict[str, Any]:
        """The configuration of the last run.

        Raises:
            WorkFolderError: nothing ran here yet.
        """
        try:
            content: dict[str, Any] = json.loads(
                (self.folder / "config.json").read_text()
            )
        except (OSError, ValueError) as error:
            message = f"{self.folder}: nothing ran here yet; give --config"
            raise WorkFolderError(message) from error
        return content

    # files -------------------------------------------------------------------------

    def put(self, path: Path, data: bytes, *, flush: bool = True) -> None:
        """Write a whole file of the work folder, or nothing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            if flush:
                os.fsync(file.fileno())
        part.replace(path)

    # photos ------------------------------------------------------------------------

    def blob(self, photo_id: str) -> Path:
        """Where a photo's bytes are."""
        # in one piece: asked for each photo, many times
        return Path(f"{self.folder}/blobs/{photo_id[:2]}/{photo_id}")

    def add_photo(self, photo_id: str, data: bytes) -> None:
        """Keep a photo's bytes; the same bytes are kept once.

        They are on disk when this returns. Safe to call from many threads at once, with
        the same photo too.
        """
        with self.adding() as add:
            add(photo_id, data)

    @contextmanager
    def adding(self) -> Iterator[Callable[[str, bytes], None]]:
        """Keep several photos and wait for the disk once.

        Gives what takes a photo_id and its bytes; the same bytes are kept once. All are
        on disk when the block ends; where it fails, none of them is kept. Safe to use
        from many threads and processes at once, with the same photos too.
        """
        parts: dict[Path, Path] = {}
        mark = f"{os.getpid()}-{threading.get_ident()}"

        def add(photo_id: str, data: bytes) -> None:
            path = self.blob(photo_id)
            if path in parts or path.exists():
                return
            # beside its place: to rename within a folder costs half as much as across
            part = parts[path] = Path(f"{path}.{mark}.part")
            try:
                part.write_bytes(data)
            except FileNotFoundError:
                part.parent.mkdir(parents=True, exist_ok=True)
                part.write_bytes(data)

        try:
            with flushing(self.folder) as flush:
                yield add
                flush(parts.values())
            for path, part in parts.items():
                part.replace(path)
        except BaseException:
            for part in parts.values():
                part.unlink(missing_ok=True)
            raise

    def read_photo(self, photo_id: str) -> bytes:
        """A photo's bytes.

        Raises:
            InputError: the blob is gone.
        """
        try:
            return self.blob(photo_id).read_bytes()
        except OSError as error:
            message = f"photo {photo_id}: its blob cannot be read ({error.strerror})"
            raise InputError(message) from error

    def tidy(self) -> None:
        """Delete what interrupted fetching left half-written; looks at every photo."""
        for left in self.folder.glob("blobs/??/*.part"):
            left.unlink()

    def photo_ids(self) -> Iterator[str]:
        """Every photo_id there is a blob of, sorted."""
        for path in sorted((self.folder / "blobs").glob("??/*")):
            if not path.name.endswith(".part"):
                yield path.name

    def secret(self, name: str) -> bytes:
        """32 random bytes of this work folder, made at first use; its owner alone."""
        path = self.folder / "secrets" / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = path.with_name(f"{name}.{os.getpid()}.part")
            part.touch(mode=0o600)
            part.write_bytes(os.urandom(32))
            with suppress(FileExistsError):
                os.link(part, path)  # who comes second takes the first one's
            part.unlink()
        return path.read_bytes()

    def lend(self, photo_id: str, path: Path) -> None:
        """Put a photo's file at a path: linked, or copied where that cannot be.

        Raises:
            InputError: the blob is gone.
        """
        path.unlink(missing_ok=True)
        try:
            os.link(self.blob(photo_id), path)
        except FileNotFoundError:
            self.put(path, self.read_photo(photo_id))  # says it if the blob is gone
        except OSError as error:
            if error.errno not in _UNLINKED:
                raise
            self.put(path, self.read_photo(photo_id))

    # logs --------------------------------------------------------------------------

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.jsonl"

    def append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows to a log; they are on disk when this returns."""
        path = self._log(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = b"".join(_json(row) + b"\n" for row in rows)
        with path.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def read_log(self, name: str) -> list[dict[str, Any]]:
        """Rows of a log, oldest first; an unacknowledged torn last line is left out.

        Raises:
            InputError: a line in the middle is not JSON.
        """
        path = self._log(name)
        if not path.exists():
            return []
        rows = []
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                message = f"{path}, line {number} is corrupt: {error}"
                raise InputError(message) from error
        return rows

    def log_pieces(self, name: str) -> Iterator[bytes]:
        """Whole lines of a log, oldest first, some megabytes at once.

        For logs that are too long to be read as rows. A torn last line is left out.
        """
        path = self._log(name)
        if not path.exists():
            return
        with path.open("rb") as file:
            rest = b""
            while data := file.read(PIECE):
                end = data.rfind(b"\n") + 1
                if end:
                    yield rest + data[:end]
                    rest = data[end:]
                else:
                    rest += data

    def log_fingerprint(self, name: str) -> str:
        """Stands for a log's content: as nothing is changed in it, size and tail do."""
        path = self._log(name)
        if not path.exists():
            return "0"
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - 65536))
            return f"{size}-{hashlib.sha256(file.read()).hexdigest()[:16]}"

    # tables ------------------------------------------------------------------------

    def table_folder(self, stage: str, recipe: str) -> Path:
        """Folder of one derived table."""
        return self.folder / "tables" / stage / recipe

    def write_part(self, stage: str, recipe: str, table: pa.Table) -> None:
        """Add a part to a map stage's table."""
        keys = "".join(table.column("photo_id").to_pylist())
        name = hashlib.sha256(keys.encode()).hexdigest()[:16]
        path = self.table_folder(stage, recipe) / f"{name}.parquet"
        self.put(path, _parquet(table))

    def write_table(self, stage: str, recipe: str, table: pa.Table) -> str:
        """Replace a reduce stage's table; returns its fingerprint."""
        data = _parquet(table)
        self.put(self.table_folder(stage, recipe) / "table.parquet", data)
        return hashlib.sha256(data).hexdigest()[:32]

    def read_table(
        self,
        stage: str,
        recipe: str,
        *,
        name: str,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """All parts of a table, rows in no particular order.

        Args:
            stage: the stage that made it.
            recipe: the recipe it was made by.
            name: the table's name in `curation.schemas`.
            columns: only these.

        Raises:
            InputError: a part cannot be read, or does not fit its schema.
        """
        parts = []
        for path in sorted(self.table_folder(stage, recipe).glob("*.parquet")):
            try:
                # ParquetFile, for read_table would import pandas
                # and in this thread: parts are small, others would cost more
                part = pq.ParquetFile(path).read(
                    list(columns) if columns else None, use_threads=False
                )
            except (OSError, pa.ArrowInvalid) as error:
                message = f"{path} cannot be read ({error}); delete it and run again"
                raise InputError(message) from error
            parts.append(part if columns else conform(part, name))
        if parts:
            return pa.concat_tables(parts)
        table = empty(name)
        return table.select(list(columns)) if columns else table

    def batches(
        self,
        stage: str,
        recipe: str,
        *,
        name: str,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Rows of a table part by part, at most `BATCH` at once.

        Args:
            stage: the stage that made it.
            recipe: the recipe it was made by.
            name: the table's name in `curation.schemas`.
            columns: only these.

        Raises:
            InputError: a part cannot be read, or does not fit its schema.
        """
        for path in sorted(self.table_folder(stage, recipe).glob("*.parquet")):
            try:
                file = pq.ParquetFile(path)
                for rows in file.iter_batches(
                    BATCH, columns=list(columns) if columns else None, use_threads=False
                ):
                    table = pa.Table.from_batches([rows])
                    data = table if columns else conform(table, name)
                    yield pl.DataFrame(pl.from_arrow(data))
            except (OSError, pa.ArrowInvalid) as error:
                message = f"{path} cannot be read ({error}); delete it and run again"
                raise InputError(message) from error

    def draft(self, stage: str, recipe: str, number: int, table: pa.Table) -> str:
        """Write part `number` of a table that `replace` will put in place.

        Parts are numbered from 0, and part 0 throws earlier drafts away. Returns what
        stands for the part's content.
        """
        folder = self.table_folder(stage, recipe) / _DRAFT
        if number == 0 and folder.exists():
            shutil.rmtree(folder)
        data = _parquet(table)
        self.put(folder / f"{number:06d}.parquet", data)
        return hashlib.sha256(data).hexdigest()

    def replace(self, stage: str, recipe: str) -> None:
        """Put drafted parts in place of a table's parts.

        Killed in between, the table is not done: it never mixes old parts with new.
        """
        folder = self.table_folder(stage, recipe)
        (folder / "done.json").unlink(missing_ok=True)
        for path in folder.glob("*.parquet"):
            path.unlink()
        for path in sorted((folder / _DRAFT).glob("*.parquet")):
            path.replace(folder / path.name)
        self.scrap(stage, recipe)

    def scrap(self, stage: str, recipe: str) -> None:
        """Throw drafted parts away."""
        shutil.rmtree(self.table_folder(stage, recipe) / _DRAFT, ignore_errors=True)

    def remark(self, stage: str, recipe: str, content: Mapping[str, Any]) -> None:
        """Keep a remark beside a table: what it was made of, beyond its inputs."""
        self.put(self.table_folder(stage, recipe) / "remark.json", _json(content))

    def remarked(self, stage: str, recipe: str) -> dict[str, Any]:
        """The remark beside a table; empty when there is none."""
        path = self.table_folder(stage, recipe) / "remark.json"
        try:
            content: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            return {}
        return content

    def finish(self, stage: str, recipe: str, done: Done) -> None:
        """Mark a table as whole; written last."""
        content = {
            "inputs": dict(done.inputs),
            "rows": done.rows,
            "failed": done.failed,
            "fingerprint": done.fingerprint,
        }
        self.put(self.table_folder(stage, recipe) / "done.json", _json(content))

    def done(self, stage: str, recipe: str) -> Done | None:
        """What was marked whole, or None."""
        path = self.table_folder(stage, recipe) / "done.json"
        try:
            return Done(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def discard(self, stage: str, recipe: str, *, part: Path | None = None) -> None:
        """Let a table be made again; with `part`, that part is deleted."""
        if part:
            part.unlink(missing_ok=True)
        (self.table_folder(stage, recipe) / "done.json").unlink(missing_ok=True)

    def started(self, stage: str, recipe: str) -> bool:
        """Whether any part of a table is there."""
        return any(self.table_folder(stage, recipe).glob("*.parquet"))

    def parts(self) -> list[Path]:
        """Every Parquet part of every table, sorted."""
        return sorted(self.folder.glob("tables/*/*/*.parquet"))

    # published versions ------------------------------------------------------------

    def keep_published(
        self, version: str, manifest: bytes, where: Mapping[str, Any]
    ) -> None:
        """Remember what was published as a version, and where."""
        folder = self.folder / "published" / version
        self.put(folder / "manifest.csv", manifest)
        self.put(folder / "where.json", _json(where))

    def published(self, version: str) -> tuple[bytes, dict[str, Any]] | None:
        """The manifest published as a version, and where; None when none was."""
        folder = self.folder / "published" / version
        try:
            where: dict[str, Any] = json.loads((folder / "where.json").read_text())
            return (folder / "manifest.csv").read_bytes(), where
        except (OSError, ValueError):
            return None

    # crawls ------------------------------------------------------------------------

    def crawl_parts(self, crawl: str | None = None) -> list[CrawlPart]:
        """Parts of a crawl, or of all, in order; what a merged part covers is left out.

        A crawl's parts follow each other without a gap: behind one there is nothing.
        """
        parts: list[CrawlPart] = []
        for path in sorted(self.folder.glob(f"crawls/{crawl or '*'}/*-*.parquet")):
            first, last = map(int, path.stem.split("-"))
            part = CrawlPart(path, first, last)
            before = parts[-1] if parts else None
            if before is None or before.path.parent != path.parent:
                if first == 0:
                    parts.append(part)
            elif first == before.first:  # names sort by length: this one covers more
                parts[-1] = part
            elif first == before.last + 1:
                parts.append(part)
        return parts

    def put_crawl_part(
        self, crawl: str, pages: tuple[int, int], table: pa.Table
    ) -> CrawlPart:
        """Keep the pages from the first to the last number as the last part.

        Parts that it covers are deleted once it is there, parts behind it before.
        Metadata of the table's schema are kept with it.
        """
        first, last = pages
        path = self.folder / "crawls" / crawl / f"{first:08d}-{last:08d}.parquet"
        others = [
            (other, int(other.name.split("-")[0]))
            for other in path.parent.glob("*-*.parquet")
            if other != path
        ]
        for other, start in others:
            if start > last:
                other.unlink()
        self.put(path, _parquet(table))
        for other, start in others:
            if first <= start <= last:
                other.unlink()
        return CrawlPart(path, first, last)

    # taking down -------------------------------------------------------------------

    def purge(self, photo_id: str) -> int:
        """Delete a photo's blob and its rows in every table; returns rows deleted."""
        path = self.blob(photo_id)
        shown = self.folder.glob(f"labels/*/{photo_id}.*")
        for file in (path, *path.parent.glob(f"{photo_id}.*.part"), *shown):
            file.unlink(missing_ok=True)
        deleted = 0
        for path in (*self.parts(), *sorted(self.folder.glob("features/**/*.parquet"))):
            file = pq.ParquetFile(path)
            if "photo_id" not in file.schema_arrow.names:
                continue
            table = file.read()
            keep = pa.compute.not_equal(table.column("photo_id"), photo_id)
            left = table.filter(keep)
            if left.num_rows < table.num_rows:
                deleted += table.num_rows - left.num_rows
                self.put(path, _parquet(left))
        return deleted


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn a full disk or a folder that cannot be written into a WorkFolderError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            message = (
                f"{folder}: the disk is full ({error.strerror}). Nothing finished is "
                "lost: free some room and run the same command again"
            )
        elif error.errno in _SHUT:
            message = (
                f"{folder}: cannot be written ({error.strerror}: "
                f"{error.filename or folder}); choose another --work"
            )
        else:
            raise
        raise WorkFolderError(message) from error


def _mend(path: Path) -> None:
    """Cut off a torn last line: a row that was never acknowledged."""
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("rb+") as file:
        size = whole = file.seek(0, os.SEEK_END)
        # backwards, a piece at a time: logs grow to hundreds of megabytes
        while whole:
            start = max(0, whole - PIECE)
            file.seek(start)
            end = file.read(whole - start).rfind(b"\n")
            whole = start + end + 1
            if end >= 0:
                break
        if whole < size:
            file.truncate(whole)
            os.fsync(file.fileno())


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, sort_keys=True).encode()


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data
