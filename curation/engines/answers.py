"""What workers answered, as the machine that asked takes it: a table, or an error."""

import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.engines.work import Work
from curation.engines.worker import Failure, UnreadError, from_bytes
from curation.errors import ConfigError, CounterSetError, InputError, RemoteError


def opened(row: dict[str, Any], asked: dict[int, Work]) -> tuple[int, pa.Table]:
    """A worker's answer: a part's place and its table.

    Args:
        row: of `worker.ANSWERED`.
        asked: parts by place.

    Raises:
        InputError: the node cannot read a photo, has other versions or other weights.
        ConfigError: it lacks a model.
        RemoteError: storage failed, or weights cannot be fetched.
        Exception: what the stage raised, a bug of ours.
    """
    if row["error"] is not None:
        raise _raised(pickle.loads(row["error"]), asked[row["place"]])
    return row["place"], from_bytes(row["table"])


def _raised(failure: Failure, work: Work) -> Exception:
    """What is raised here for what a worker could not do."""
    where = f"node {failure.node}"
    if failure.unread is not None:
        reason = failure.error.reason if isinstance(failure.error, UnreadError) else ""
        return InputError(_unread(where, failure.unread, reason))
    if isinstance(failure.error, CounterSetError):
        message = (
            f"{where}, {work.stage}: {failure.error}. What a model needs must be on "
            "every node: its weights in each node's cache, or at the same path"
            if "." in work.stage or work.stage == "embed"
            else f"{where}, {work.stage}: {failure.error}"
        )
        return _like(failure.error, message)
    if failure.error is not None:
        failure.error.add_note(f"on {where}:\n{failure.told}")
        return failure.error
    return RuntimeError(f"{where}, {work.stage}:\n{failure.told}")


def _like(error: CounterSetError, message: str) -> CounterSetError:
    """An error with the same exit code."""
    for kind in (ConfigError, InputError, RemoteError):
        if isinstance(error, kind):
            return kind(message)
    return CounterSetError(message)


def _unread(where: str, blob: Path, reason: str) -> str:
    if not blob.exists():
        return f"photo {blob.name}: its blob cannot be read ({reason})"
    return (
        f"{where} cannot read {blob} ({reason}): put the work folder on a disk that "
        "every node has at this path, or copy photos with --storage s3://bucket/folder"
    )
