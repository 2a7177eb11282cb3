"""Errors a user can act on.

CounterSetError
├ ConfigError        exit 2   a setting, option or name is wrong
├ InputError         exit 3   data is missing or cannot be read
│ ├ DecodeError               one picture cannot be decoded: becomes a row, not an exit
│ └ MetricError               a measure is undefined for these numbers
├ RemoteError        exit 4   a service or a download failed, retries included
└ TooManyFailedRows  exit 5   the run finished, but more rows failed than allowed

Anything else that escapes is our bug: exit 1 with a traceback.
A message says what happened, where, and what to do next.
"""

import difflib
from collections.abc import Iterable


class CounterSetError(Exception):
    """Base of every error meant for the user; `exit_code` is the process's."""

    exit_code = 1


class ConfigError(CounterSetError):
    """A setting, option or name is wrong: says what was found and what is allowed."""

    exit_code = 2


class InputError(CounterSetError):
    """Data is missing, corrupt or of the wrong shape."""

    exit_code = 3


class DecodeError(InputError):
    """One picture cannot be decoded; `str(error)` is the reason kept in its row."""


class MetricError(InputError):
    """A measure is undefined for these numbers, such as accuracy of no photos."""


class RemoteError(CounterSetError):
    """A service, or a download of weights, failed after retries."""

    exit_code = 4


class TooManyFailedRows(CounterSetError):
    """The run finished, but more rows failed than `max_failed` allows."""

    exit_code = 5


def nearest(name: str, known: Iterable[str]) -> str:
    """Sentence part that names the closest known names, or all when few.

    Example:
        >>> nearest("embedd", ["embed", "hash"])
        'did you mean embed? Known: embed, hash'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    shown = ", ".join(names[:12]) + (f", … ({len(names)} in all)" * (len(names) > 12))
    return f"{hint}Known: {shown}"
