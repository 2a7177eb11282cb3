"""Names of files as text that any table can hold, whatever bytes they are made of."""

import os
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

_RAW = "percent:"


def encoded(path: Path | str) -> str:
    r"""A relative path as text; bytes that are not UTF-8 are written percent-encoded.

    Example:
        >>> encoded(Path("белый медведь.jpg")), encoded(Path("caf\udce9.jpg"))
        ('белый медведь.jpg', 'percent:caf%E9.jpg')
    """
    raw = os.fsencode(path)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return _RAW + quote_from_bytes(raw)
    # a name that begins like a percent-encoded one would be taken for it
    return _RAW + quote_from_bytes(raw) if text.startswith(_RAW) else text


def decoded(name: str) -> Path:
    """The path that `encoded` gave a name.

    Example:
        >>> decoded(encoded(Path("percent:1.jpg")))
        PosixPath('percent:1.jpg')
    """
    if name.startswith(_RAW):
        return Path(os.fsdecode(unquote_to_bytes(name.removeprefix(_RAW))))
    return Path(name)
