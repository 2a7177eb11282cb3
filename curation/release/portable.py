"""Leave this machine's folders out of what is published."""

import math
from pathlib import PurePosixPath
from typing import overload


@overload
def portable(value: str) -> str: ...
@overload
def portable(value: object) -> object: ...
def portable(value: object) -> object:
    """The value with absolute paths, alone or at the end of a model name, cut.

    Dictionaries and lists are gone through; addresses (`https://…`) stay. A number that
    is not finite becomes None, since JSON has no word for it.

    Example:
        >>> portable({"path": "/home/me/photos"})
        {'path': 'photos'}
        >>> portable("open_clip:ViT-B-32//home/me/weights.pt")
        'open_clip:ViT-B-32/weights.pt'
    """
    if isinstance(value, dict):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [portable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, str) or "://" in value or "\n" in value:
        return value
    start, slashes, _ = value.partition("//")
    if value.startswith("/"):
        return PurePosixPath(value).name
    if slashes and ":" in start:
        return f"{start}/{PurePosixPath(value).name}"
    if ":/" in value:
        return f"{value.partition(':/')[0]}:{PurePosixPath(value).name}"
    return value
