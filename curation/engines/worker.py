"""What runs on the nodes of a cluster: parts come as bytes, tables go as bytes.

A worker answers every part, with a table or with why there is none, so that what Ray
itself reports is always a worker or a node that was lost.
"""

import io
import pickle
import platform
import socket
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc

from curation.engines.alone import Alone, DiedError, one_by_one
from curation.engines.storage import Storage
from curation.engines.work import Work, run, same_weights
from curation.errors import CounterSetError, InputError

ASKED = pa.schema([pa.field("place", pa.int64()), pa.field("work", pa.large_binary())])
"""A block that a worker is given: one part, and its number."""

ANSWERED = pa.schema(
    [
        pa.field("place", pa.int64()),
        pa.field("table", pa.large_binary()),
        pa.field("error", pa.large_binary()),
    ]
)
"""What it gives back: a table in Arrow's stream format, or a pickled `Failure`."""

_LIBRARIES = (
    "counterset", "pillow", "numpy", "scipy", "numba", "torch", "torchvision",
    "open_clip_torch", "timm",
)  # fmt: skip
"""Those whose versions change what comes of a photo."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a part has no table.

    Attributes:
        node: name of the machine it was computed on.
        error: what was raised; None where it cannot be sent.
        told: its traceback.
        unread: file that could not be read; None when it was something else.
    """

    node: str
    error: Exception | None
    told: str
    unread: Path | None = None


def versions() -> dict[str, str]:
    """What must be equal on every node, for tables to have the same bytes."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class Worker:
    """Computes parts; a stage that decodes is run in a process that may die of it.

    Args:
        storage: where photos are; None where every node sees the work folder.
        decodes: whether the stage decodes and nothing else.
        expected: `versions()` of who asks.
    """

    def __init__(
        self, storage: Storage | None, decodes: bool, expected: Mapping[str, str]
    ) -> None:
        self._read: Callable[[Path], bytes] = storage.read if storage else _read
        self._decodes = decodes
        self._alone: Alone | None = None
        self._refusal = _difference(expected, versions())

    def __call__(self, asked: pa.Table) -> pa.Table:
        """Answer one part (`ASKED`) with one row (`ANSWERED`)."""
        place = asked.column("place").to_pylist()
        answers = [self._answer(data) for data in asked.column("work").to_pylist()]
        rows = {
            "place": place,
            "table": [table for table, _ in answers],
            "error": [error for _, error in answers],
        }
        return pa.table(rows, schema=ANSWERED)

    def _answer(self, data: bytes) -> tuple[bytes | None, bytes | None]:
        try:
            if self._refusal:
                raise InputError(self._refusal)
            table = self._compute(pickle.loads(data))
        except Exception as error:  # told to the driver, which raises it
            return None, _pickled(error)
        return to_bytes(table), None

    def _compute(self, work: Work) -> pa.Table:
        if not self._decodes:
            if hasattr(work.settings, "identity"):
                same_weights(work.settings.model, work.settings.identity)
            return run(work, self._read)
        if self._alone is None:
            self._alone = Alone(self._read)
        try:
            return self._alone.run(work)
        except DiedError:
            self._alone = None
            return one_by_one(work, self._read)


class UnreadError(Exception):
    """A photo's file cannot be read on this machine.

    Attributes:
        blob: the file.
        reason: what the system said.
    """

    def __init__(self, blob: Path, reason: str) -> None:
        super().__init__(blob, reason)
        self.blob, self.reason = blob, reason


def _read(blob: Path) -> bytes:
    try:
        return blob.read_bytes()
    except OSError as error:
        raise UnreadError(blob, error.strerror or str(error)) from error


def _difference(wanted: Mapping[str, str], have: Mapping[str, str]) -> str:
    """How versions differ, in words; empty when they do not."""
    different = [
        f"{name} {have.get(name, 'is missing')} instead of {wanted.get(name, 'none')}"
        for name in sorted(wanted.keys() | have.keys())
        if wanted.get(name) != have.get(name)
    ]
    if not different:
        return ""
    return (
        f"this node has {', '.join(different)}: photos would come out otherwise; "
        "install the same versions on every node"
    )


def _pickled(error: Exception) -> bytes:
    told = "".join(traceback.format_exception(error))
    unread = error.blob if isinstance(error, UnreadError) else None
    sent = Failure(socket.gethostname(), error, told, unread)
    try:
        data = pickle.dumps(sent)
        pickle.loads(data)  # some errors can be sent, but not received
    except Exception:
        plain = type(error)(str(error)) if _is_plain(error) else None
        data = pickle.dumps(Failure(sent.node, plain, told, unread))
    return data


def _is_plain(error: Exception) -> bool:
    """Whether an error of ours can be made from its message alone."""
    if not isinstance(error, CounterSetError):
        return False
    try:
        type(error)(str(error))
    except TypeError:
        return False
    return True


def to_bytes(table: pa.Table) -> bytes:
    """A table in Arrow's stream format."""
    file = io.BytesIO()
    with pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def from_bytes(data: bytes) -> pa.Table:
    """A table from Arrow's stream format."""
    with pyarrow.ipc.open_stream(data) as reader:
        return reader.read_all()
