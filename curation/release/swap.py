"""Put a finished folder in the place of an older one, so that one of them is there.

On Linux both change places in one step (`renameat2`). Elsewhere the old folder is first
moved aside; if that is all that happened, the next `settle` moves it back.
"""

import ctypes
import errno
import os
import shutil
import sys
from pathlib import Path

_AT_CWD, _EXCHANGE = -100, 2


def partial(folder: Path) -> Path:
    """Where the folder is built: beside it, on the same disk."""
    return folder.with_name(f".{folder.name}.partial")


def settle(folder: Path) -> None:
    """Clear what a killed run left: the old folder back in place, a half one gone."""
    aside = _aside(folder)
    if aside.exists():
        if folder.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(folder)
    if partial(folder).exists():
        shutil.rmtree(partial(folder))


def replace(folder: Path) -> None:
    """Move `partial(folder)` to `folder`; an older folder there is deleted."""
    new = partial(folder)
    _flush(new)
    if not folder.exists():
        new.rename(folder)
    elif _exchange(new, folder):
        shutil.rmtree(new)
    else:
        folder.rename(_aside(folder))
        new.rename(folder)
        shutil.rmtree(_aside(folder))
    _sync(folder.parent)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places at once; False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_CWD, os.fsencode(one), _AT_CWD, os.fsencode(other), _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV, errno.EPERM):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _flush(folder: Path) -> None:
    """Bytes to disk before the name that promises them."""
    for path in [folder, *folder.rglob("*")]:
        _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
