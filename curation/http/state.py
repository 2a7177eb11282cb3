"""What is remembered of hosts between runs, and shared by runs at the same time.

One SQLite file. Each question to it is one transaction that takes the write lock first,
so that two processes never count the same request as the last allowed one. A rollback
journal is used, not a write-ahead log, because home folders may be on a network disk.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from curation.errors import WorkFolderError

_log = logging.getLogger(__name__)
_VERSION = 1
_TABLES = f"""
CREATE TABLE IF NOT EXISTS asked (budget TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS asked_at ON asked (budget, at);
CREATE TABLE IF NOT EXISTS spent (
    budget TEXT NOT NULL, minute INTEGER NOT NULL,
    requests INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (budget, minute)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocked (
    service TEXT PRIMARY KEY, until REAL NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""


def default_path() -> Path:
    """`counterset/hosts.sqlite` in the user's state folder."""
    home = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(home) if Path(home).is_absolute() else Path.home() / ".local/state"
    return folder / "counterset" / "hosts.sqlite"


class State:
    """The file; opened when it is first needed. Safe to use from many threads."""

    def __init__(self, path: Path | None, *, clock: Callable[[], float]) -> None:
        self.path = path or default_path()
        self._clock = clock
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    @contextmanager
    def change(self) -> Iterator[tuple[sqlite3.Connection, float]]:
        """A transaction, and the time at which it began to hold the write lock.

        Raises:
            WorkFolderError: the file cannot be written.
        """
        with self._lock:
            try:
                if self._db is None:
                    self._db = self._open()
                db = self._db
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db, self._clock()
                    db.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        db.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError) as error:
                message = (
                    f"{self.path}: cannot remember what hosts were asked ({error}); "
                    "set XDG_STATE_HOME to a folder that can be written"
                )
                raise WorkFolderError(message) from error

    def blocks(self) -> dict[str, tuple[float, str]]:
        """Hosts that are left alone now: until when, and why."""
        if not self.path.exists():
            return {}
        with self.change() as (db, now):
            rows = db.execute(
                "SELECT service, until, reason FROM blocked WHERE until > ?", (now,)
            )
            return {service: (until, reason) for service, until, reason in rows}

    def block(self, service: str, until: float, reason: str) -> None:
        """Remember that a host is left alone."""
        with self.change() as (db, _):
            db.execute(
                "INSERT INTO blocked VALUES (?, ?, ?) ON CONFLICT (service) DO UPDATE "
                "SET until = excluded.until, reason = excluded.reason "
                "WHERE excluded.until > until",
                (service, until, reason),
            )

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # busy, read-only, full: the file itself may be sound
            aside = self.path.with_suffix(".damaged")
            _log.warning("%s is damaged: moved to %s", self.path, aside.name)
            self.path.replace(aside)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        # transactions are begun by hand; the lock above makes threads take turns
        db = sqlite3.connect(
            self.path, timeout=60, isolation_level=None, check_same_thread=False
        )
        try:
            # safe against a killed process; a power cut may cost the file, no more
            db.execute("PRAGMA synchronous = OFF")
            db.execute("PRAGMA journal_mode = PERSIST")
            db.execute("BEGIN IMMEDIATE")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                message = f"written by a newer counterset (version {version})"
                raise OSError(message)
            for statement in _TABLES.split(";"):
                db.execute(statement)
            _forget(db, self._clock())
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db


def _forget(db: sqlite3.Connection, now: float) -> None:
    """Drop what no limit asks for any more: windows are of a day at most."""
    db.execute("DELETE FROM asked WHERE at < ?", (now - 2 * 86_400,))
    db.execute("DELETE FROM spent WHERE minute < ?", (int(now // 60) - 2 * 1440,))
    db.execute("DELETE FROM blocked WHERE until < ?", (now,))
