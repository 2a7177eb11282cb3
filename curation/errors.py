"""Errors of `curation`: those of `evaluation`, and the ones only curating can meet.

CounterSetError                     (evaluation.errors draws the whole tree)
├ ConfigError        exit 2
├ InputError         exit 3
│ ├ DecodeError
│ ├ FetchError                one photo cannot be had: becomes a row
│ └ WorkFolderError           the work folder is busy, read-only or full
├ RemoteError        exit 4
│ ├ SourceError               a service of photos failed: which URL, how, how often
│ │ └ HostBlocked             it will not answer us for some time
│ ├ LabelStudioError          the labelling server failed, or is another than it was
│ └ HubError                  the Hub failed, refused, or holds something else
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
    "FetchError",
    "HostBlocked",
    "HubError",
    "InputError",
    "LabelStudioError",
    "RemoteError",
    "SourceError",
    "TooManyFailedRows",
    "WorkFolderError",
    "nearest",
]


class WorkFolderError(InputError):
    """The work folder is busy, read-only, full, or written by another version."""


class FetchError(InputError):
    """One photo cannot be had; `str(error)` is the reason kept in its row.

    Attributes:
        attempts: how often it was tried.
        gone: the service says that it is not offered any more.
        passing: attempts ran out on trouble that may be over another day.
    """

    def __init__(
        self,
        message: str,
        *,
        attempts: int = 1,
        gone: bool = False,
        passing: bool = False,
    ) -> None:
        super().__init__(message)
        self.attempts, self.gone, self.passing = attempts, gone, passing


class SourceError(RemoteError):
    """A service of photos failed after retries.

    Attributes:
        url: what was asked, without tokens.
        status: HTTP status of the last answer; None when there was none.
        attempts: how often it was tried.
    """

    def __init__(
        self, message: str, *, url: str, status: int | None = None, attempts: int = 1
    ) -> None:
        super().__init__(message)
        self.url, self.status, self.attempts = url, status, attempts


class HostBlocked(SourceError):
    """A host will not answer us for some time: only this host is left alone.

    Attributes:
        host: its name.
        until: when to ask again, seconds since 1970 (UTC).
    """

    def __init__(self, message: str, *, url: str, host: str, until: float) -> None:
        super().__init__(message, url=url)
        self.host, self.until = host, until


class LabelStudioError(RemoteError):
    """The labelling server failed after retries, or is not what it was.

    Attributes:
        url: what was asked, without tokens.
        status: HTTP status of the last answer; None when there was none.
    """

    def __init__(self, message: str, *, url: str, status: int | None = None) -> None:
        super().__init__(message)
        self.url, self.status = url, status


class HubError(RemoteError):
    """The Hub failed after retries, refused, or holds something else than it should.

    Attributes:
        url: what was asked, without tokens and queries.
        status: HTTP status of the last answer; None when there was none.
    """

    def __init__(self, message: str, *, url: str, status: int | None = None) -> None:
        super().__init__(message)
        self.url, self.status = url, status
