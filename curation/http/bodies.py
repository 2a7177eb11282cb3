"""Bodies: read piece by piece, never more than allowed, never slower than allowed."""

import time
import zlib
from collections.abc import Iterator

from requests import Response
from urllib3.exceptions import HTTPError

from curation.http.answers import Again, Final

_PIECE = 1 << 16
SLOWEST = 2_000
"""Bytes a second a body must have had on average, once `timeout` seconds are over."""


def wire(response: Response, *, limit: int, timeout: float) -> Iterator[bytes]:
    """A body as it is sent, in pieces as they arrive.

    Args:
        response: whose body was not read.
        limit: bytes.
        timeout: seconds after which a body that trickles is given up.

    Raises:
        Final: longer than `limit`.
        Again: cut short, too slow, or the connection broke.
    """
    seconds, received = 0.0, 0  # without the time that the reader of pieces takes
    stated = response.headers.get("Content-Length", "")
    if stated.isdecimal() and int(stated) > limit:
        reason = f"{stated} bytes, allowed are {limit}"
        raise Final(reason)
    while True:
        began = time.monotonic()
        try:
            piece: bytes = response.raw.read1(_PIECE, decode_content=False)
        except (HTTPError, OSError, ValueError) as error:
            raise Again(_broken(error, received)) from error
        if not piece:
            return
        received += len(piece)
        if received > limit:
            reason = f"more than {limit} bytes"
            raise Final(reason)
        seconds += time.monotonic() - began
        if seconds > timeout and received < SLOWEST * seconds:
            reason = f"too slow: {received} bytes in {seconds:.0f} s"
            raise Again(reason)
        yield piece


def _broken(error: Exception, received: int) -> str:
    if "timed out" in str(error):
        return f"timed out after {received} bytes of the body"
    return f"the body broke off after {received} bytes"


def whole(response: Response, *, limit: int, timeout: float) -> bytes:
    """A body, decompressed; `limit` holds before and after.

    Args:
        response: whose body was not read.
        limit: bytes.
        timeout: as in `wire`.

    Raises:
        Final: longer than `limit`, or in an encoding that was not asked for.
        Again: as `wire`, or the compression is damaged.
    """
    unpack = _unpacking(response)
    parts: list[bytes] = []
    have = 0
    for piece in wire(response, limit=limit, timeout=timeout):
        part = _unpacked(unpack, piece, limit - have, limit) if unpack else piece
        have += len(part)
        parts.append(part)
    if unpack is not None and not unpack.eof and parts:
        reason = "the compressed body broke off"
        raise Again(reason)
    return b"".join(parts)


def _unpacking(response: Response) -> "zlib._Decompress | None":
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return zlib.decompressobj(wbits=47)  # 32 + 15: gzip or zlib, by its header
    reason = f"Content-Encoding {encoding[:40]!r} was not asked for"
    raise Final(reason)


def _unpacked(unpack: "zlib._Decompress", piece: bytes, room: int, limit: int) -> bytes:
    """A piece decompressed, at most `room` bytes: a bomb is not let off."""
    try:
        data = unpack.decompress(piece, room + 1)
    except zlib.error as error:
        reason = "the compressed body is damaged"
        raise Again(reason) from error
    if len(data) > room or unpack.unconsumed_tail:
        reason = f"more than {limit} bytes when decompressed"
        raise Final(reason)
    return data
