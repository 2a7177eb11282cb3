"""`rebuild`: a list of URLs → the photos, in the folders the paper published.

<out>/<class>/<group>-<background>/<photo_id[:16]>.<ext>    the files as fetched
<out>/ATTRIBUTION.csv       of the photos that are there: licence, author, source
<out>/missing.csv           of those that are not: why

A photo is written only when its bytes have the sha256 that the list states, so what is
there is what was published. Whatever is there already and verifies is kept: a run that
was killed is taken up where it ended.

Whoever lists URLs has asked nobody, so robots.txt and X-Robots-Tag are honoured, as in
the source `urls`.
"""

import fcntl
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.config import Fetch, Http, Run, load
from curation.errors import (
    CounterSetError,
    DecodeError,
    FetchError,
    HostBlocked,
    InputError,
    RemoteError,
    TooManyFailedRows,
    WorkFolderError,
)
from curation.fetching import Row, fetch
from curation.http import Door
from curation.http.urls import masked
from curation.progress import Say, progress
from curation.release.folders import place_of
from curation.release.metadata import EXTENSIONS
from curation.release.urls import Photo, read_urls, write_rows
from evaluation.images import sniff

ATTRIBUTION, MISSING = "ATTRIBUTION.csv", "missing.csv"
_LOCK = ".rebuild.lock"
_CREDIT = (
    "file", "photo_id", "licence", "licence_url", "author", "source_url",
    "attribution", "url",
)  # fmt: skip
_LOST = ("photo_id", "class", "background", "group", "url", "state", "reason")

STATES = {
    "gone": "its host does not offer it any more",
    "changed": "its host offers other bytes now",
    "no-url": "the list has no URL of it",
    "refused": "it may not or cannot be fetched",
    "later": "its host failed or does not answer for now; run again",
}
"""What may be wrong with a photo: column `state` of missing.csv."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came of a list.

    Attributes:
        photos: in the list.
        kept: there already, and verified.
        fetched: fetched and verified by this run.
        missing: state → photos that are not there.
        unlisted: photos in the folder that the list does not have.
        blocked: what hosts that will not answer us for now said.
    """

    photos: int
    kept: int
    fetched: int
    missing: dict[str, int]
    unlisted: int
    blocked: tuple[str, ...]

    @property
    def lost(self) -> int:
        """Photos that are not there."""
        return sum(self.missing.values())


@dataclass(frozen=True, slots=True)
class _Lost:
    """Why a photo is not there."""

    state: str
    reason: str


def rebuild(
    listing: Path,
    out: Path,
    *,
    door: Door,
    http: Http,
    limits: Fetch,
    say: Say,
    index: bool = False,
) -> Rebuilt:
    """Fetch the photos of a list that are not there yet, and verify all.

    Args:
        listing: as `counterset release --urls` writes it.
        out: folder; what is in it stays, but for files that are named as a photo of
            the list and are not it.
        door: what asks the hosts.
        http: how many are fetched at once.
        limits: on the files that are let in.
        say: told how far it is.
        index: as `release.export_folders` takes it.

    Returns: what is there and what is not; missing.csv has every reason.

    Raises:
        InputError: the list is not as it must be, or `out` is no folder.
        WorkFolderError: `out` cannot be written, or another run writes it.
    """
    listed = read_urls(listing)
    try:
        with _held(out):
            return _Run(listed, out, limits, index=index).run(door, http, say)
    except OSError as error:
        message = f"{out}: cannot be written ({error.strerror or error})"
        raise WorkFolderError(message) from error


def through_http(
    listing: Path,
    out: Path,
    *,
    config: Path | None,
    index: bool,
    jobs: int,
    say: Say,
) -> tuple[dict[str, Any], CounterSetError | None]:
    """Rebuild with the limits of a dataset.toml, or without one the usual limits.

    Args:
        listing: as `rebuild` takes it.
        out: likewise.
        config: file whose sections http, fetch and run hold; None: none.
        index: as `rebuild` takes it.
        jobs: photos fetched at once; 0: `http.connections`.
        say: likewise.

    Returns: what came of it, and an error to raise when that was told: more photos are
        missing than `run.max_failed` allows, or a host does not answer us for now.

    Raises:
        ConfigError, InputError, WorkFolderError: as `config.load` and `rebuild`.
    """
    from curation.http.door import HttpDoor

    http, limits, most = Http(), Fetch(), Run().max_failed
    if config is not None:
        dataset = load(config)
        http, limits, most = dataset.http, dataset.fetch, dataset.run.max_failed
    if jobs:
        http = http.model_copy(update={"connections": jobs})
    with HttpDoor(http) as door:
        found = rebuild(
            listing, out, door=door, http=http, limits=limits, say=say, index=index
        )
    result = {
        "out": str(out),
        "photos": found.photos,
        "kept": found.kept,
        "fetched": found.fetched,
        "missing": found.lost,
        "states": found.missing,
        "unlisted": found.unlisted,
    }
    where = f"reasons are in {out / MISSING}"
    if found.lost > most * found.photos:
        message = (
            f"{found.lost} of {found.photos} photos are missing, more than "
            f"run.max_failed = {most:g}; {where}"
        )
        return result, TooManyFailedRows(message)
    if found.blocked:
        message = f"{'; '.join(found.blocked)}. {where}; run again to go on"
        return result, RemoteError(message)
    return result, None


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Hold a folder, made if need be, for this process alone."""
    if out.exists() and not out.is_dir():
        message = f"{out} is no folder; name one that may be written to"
        raise InputError(message)
    out.mkdir(parents=True, exist_ok=True)
    with (out / _LOCK).open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"{out} is being written by another run; wait for it"
            raise WorkFolderError(message) from error
        yield


class _Run:
    """One rebuild: what is there by photo_id, and why the others are not."""

    def __init__(
        self, listed: Sequence[Photo], out: Path, limits: Fetch, *, index: bool
    ) -> None:
        self._listed, self._out = listed, out
        self._limits, self._index = limits, index
        starts = Counter(photo.photo_id[:16] for photo in listed)
        self._stems = {
            photo.photo_id: photo.photo_id[
                : 16 if starts[photo.photo_id[:16]] < 2 else 64
            ]
            for photo in listed
        }
        self._there: dict[str, Path] = {}
        self._lost: dict[str, _Lost] = {}

    def run(self, door: Door, http: Http, say: Say) -> Rebuilt:
        unlisted = self._look()
        kept = len(self._there)
        blocked = self._fetch(door, http, say)
        self._write_texts()
        return Rebuilt(
            photos=len(self._listed),
            kept=kept,
            fetched=len(self._there) - kept,
            missing=dict(Counter(lost.state for lost in self._lost.values())),
            unlisted=unlisted,
            blocked=tuple(sorted(blocked)),
        )

    def _folder(self, photo: Photo) -> Path:
        return self._out / place_of(photo.facts, index=self._index)

    def _look(self) -> int:
        """Take in what is there; how many photos the list does not have.

        Halves that a killed run left, and files that are not what their names say, are
        taken away.
        """
        wanted = {
            self._folder(photo) / self._stems[photo.photo_id]: photo.photo_id
            for photo in self._listed
        }
        unlisted = 0
        for path in sorted(self._out.glob("*/*-*/*")):
            photo_id = wanted.get(path.with_suffix(""))
            if path.name.startswith(".") and path.suffix == ".partial":
                path.unlink()
            elif photo_id is None:
                unlisted += path.is_file()
            elif photo_id not in self._there and _sha256(path) == photo_id:
                self._there[photo_id] = path
            else:
                path.unlink()
        return unlisted

    def _fetch(self, door: Door, http: Http, say: Say) -> list[str]:
        """Fetch what is not there; what hosts said that do not answer us now."""
        lanes: dict[str, list[Row]] = {}
        for photo in self._listed:
            if photo.photo_id in self._there:
                continue
            if not photo.url:
                self._lost[photo.photo_id] = _Lost("no-url", STATES["no-url"])
                continue
            lanes.setdefault(_host(photo.url), []).append({"photo": photo})
        total = sum(len(rows) for rows in lanes.values())
        if not total:
            return []
        with progress(total, step="rebuild", say=say) as seen:
            blocked = fetch(
                {host: iter(rows) for host, rows in lanes.items()},
                lambda row: self._attempt(row["photo"], door),
                threads=min(http.connections, total),
                keep=self._keep,
                progress=seen,
            )
        self._put_off(lanes, blocked)
        return [masked(str(error)) for error in blocked.values()]

    def _attempt(self, photo: Photo, door: Door) -> Row:
        """Fetch one photo; in many threads at once."""
        row: Row = {"photo": photo, "status": "failed"}
        try:
            data = door.photo(photo.url, limit=self._limits.max_bytes, robots=True)
            digest = hashlib.sha256(data).hexdigest()
            if digest != photo.photo_id:
                reason = f"{STATES['changed']}: their sha256 is {digest}"
                return row | {"lost": _Lost("changed", reason)}
            kind = sniff(data, max_pixels=self._limits.max_pixels).format
        except FetchError as error:
            state = "gone" if error.gone else "later" if error.passing else "refused"
            return row | {"lost": _Lost(state, masked(str(error)))}
        except DecodeError as error:
            return row | {"lost": _Lost("refused", str(error))}
        suffix = EXTENSIONS.get(kind, kind.lower())
        path = self._folder(photo) / f"{self._stems[photo.photo_id]}.{suffix}"
        _write(path, data)
        return row | {"status": "ok", "path": path, "bytes": len(data)}

    def _keep(self, rows: Sequence[Row]) -> None:
        for row in rows:
            photo_id = row["photo"].photo_id
            if row["status"] == "ok":
                self._there[photo_id] = row["path"]
            else:
                self._lost[photo_id] = row["lost"]

    def _put_off(
        self, lanes: dict[str, list[Row]], blocked: dict[str, HostBlocked]
    ) -> None:
        """Photos of hosts that do not answer us wait for another run."""
        for host, error in blocked.items():
            for row in lanes[host]:
                photo_id = row["photo"].photo_id
                if photo_id not in self._there and photo_id not in self._lost:
                    self._lost[photo_id] = _Lost("later", masked(str(error)))

    def _write_texts(self) -> None:
        """Credit for what is there, reasons for what is not."""
        credit, missing = [], []
        for photo in self._listed:
            row = dict(photo.facts)
            if path := self._there.get(photo.photo_id):
                credit.append(row | {"file": path.relative_to(self._out).as_posix()})
            else:
                lost = self._lost[photo.photo_id]
                missing.append(row | {"state": lost.state, "reason": lost.reason})
        for name, columns, rows in (
            (ATTRIBUTION, _CREDIT, credit),
            (MISSING, _LOST, missing),
        ):
            partial = self._out / f".{name}.partial"
            write_rows(partial, columns, rows)
            partial.replace(self._out / name)


def _host(url: str) -> str:
    """Whose turn a URL takes; what cannot be asked is refused by the door."""
    from curation.http.urls import RefusedUrl, place

    try:
        return place(url).service
    except RefusedUrl:
        return ""


def _write(path: Path, data: bytes) -> None:
    """Write a photo so that under its name there is all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
