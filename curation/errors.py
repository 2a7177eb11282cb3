"""Errors of `curation`: those of `evaluation`, and the ones only curating can meet.

CounterSetError                     (evaluation.errors draws the whole tree)
├ ConfigError        exit 2
├ InputError         exit 3
│ ├ DecodeError
│ ├ FetchError                one photo cannot be had: becomes a row (curation.sources)
│ └ WorkFolderError           the work folder is busy, read-only or full
├ RemoteError        exit 4
└ TooManyFailedRows  exit 5
"""

from evaluation.errors import (
    ConfigError,
    CounterSetError,
    DecodeError,
    InputError,
    RemoteError,
    TooManyFailedRows,
    nearest,
)

__all__ = [
    "ConfigError",
    "CounterSetError",
    "DecodeError",
    "InputError",
    "RemoteError",
    "TooManyFailedRows",
    "WorkFolderError",
    "nearest",
]


class WorkFolderError(InputError):
    """The work folder is busy, read-only, full, or written by another version."""
