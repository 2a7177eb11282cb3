"""Lines of large texts: read as they come, gone on with where a connection broke."""

import zlib
from collections.abc import Iterator

from requests import Response

from curation.http.answers import Again, Final, backoff, forbidden
from curation.http.bodies import whole, wire
from curation.http.client import Client
from curation.http.urls import Place

_LONGEST_LINE = 10_000_000
_LARGEST = 1 << 50
_OUT = 1 << 20
_ERROR_LIMIT = 100_000
_COUNTED = 8_000_000


def lines(client: Client, url: str) -> Iterator[bytes]:
    """Lines of the text at a URL, without their ends.

    Raises:
        Final: failed after retries, cut short, damaged, or a line without end.
        HostBlocked: the host will not answer for some time.
    """
    rest = b""
    for piece in _inflated(_bytes(client, url)):
        head, end, tail = piece.rpartition(b"\n")
        if not end:
            rest += tail
        else:
            # keeps "\r" inside of lines, unlike `splitlines`
            for line in (rest + head).split(b"\n"):
                yield line.removesuffix(b"\r")
            rest = tail
        if len(rest) > _LONGEST_LINE:
            reason = f"a line is longer than {_LONGEST_LINE} bytes"
            raise Final(reason)
    if rest:
        yield rest.removesuffix(b"\r")


def _inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress when the bytes begin as gzip does; several members are one text."""
    first = b""
    for piece in pieces:
        first += piece
        if len(first) >= 2:
            break
    if first[:2] != b"\x1f\x8b":
        yield first
        yield from pieces
        return
    unpack, inside = zlib.decompressobj(wbits=31), False
    todo: bytes | None = first
    while todo is not None:
        while todo:
            try:
                yield unpack.decompress(todo, _OUT)
            except zlib.error as error:
                reason = "the compressed text is damaged"
                raise Final(reason) from error
            todo, inside = unpack.unconsumed_tail, not unpack.eof
            if unpack.eof:
                todo = unpack.unused_data
                unpack = zlib.decompressobj(wbits=31)
        todo = next(pieces, None)
    if inside:
        reason = "the compressed text ends too early"
        raise Final(reason)


def _bytes(client: Client, url: str) -> Iterator[bytes]:
    """The text as it is sent; a broken connection is taken up where it broke."""
    done = failed = uncounted = 0
    first: Response | None = None
    while True:
        response, where = _opened(client, url, done, first)
        first = first or response
        skip = done if response.status_code != 206 else 0
        before = done
        try:
            with response:
                pieces = wire(response, limit=_LARGEST, timeout=client.http.timeout)
                for piece in pieces:
                    fresh, skip = piece[skip:], max(0, skip - len(piece))
                    done += len(fresh)
                    uncounted += len(piece)
                    if uncounted > _COUNTED:
                        wait = client.count(where, uncounted)
                        uncounted = 0
                        if wait:
                            client.sleep(wait)
                    if fresh:
                        yield fresh
            if not done and not _stated(response):
                reason = "the connection broke off before the body"
                raise Again(reason)
            return
        except Again as trouble:
            failed = 1 if done > before else failed + 1
            if failed >= client.http.attempts:
                raise Final(str(trouble), attempts=failed) from trouble
            client.sleep(backoff(failed))
        finally:
            if uncounted:  # not waited for: the reader may have gone away
                client.count(where, uncounted)
                uncounted = 0


def _opened(
    client: Client, url: str, done: int, first: Response | None
) -> tuple[Response, Place]:
    """An answer whose body, or what is left of it, is still to be read."""

    def read(response: Response, where: Place) -> tuple[Response, Place]:
        status = response.status_code
        if status >= 400:
            timeout = client.http.timeout
            body = whole(response, limit=_ERROR_LIMIT, timeout=timeout)
            raise forbidden(status, response.headers, body, client.clock())
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding not in ("identity", "gzip", "x-gzip"):
            reason = f"Content-Encoding {encoding[:40]!r} was not asked for"
            raise Final(reason, status=status)
        if first is not None and _version(first) != _version(response):
            reason = f"the file was changed after {done} bytes of it were read"
            raise Final(reason, status=status)
        start = response.headers.get("Content-Range", f"bytes {done}-")
        if status == 206 and not start.replace("=", " ").startswith(f"bytes {done}-"):
            reason = f"another part was sent than the one from byte {done}"
            raise Final(reason, status=status)
        return response, where

    headers = {"Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    return client.ask(url, read, headers=headers, keep=True)


def _stated(response: Response) -> bool:
    """Whether an answer says how long its body is: else an empty one is suspicious."""
    return not {"Content-Length", "Transfer-Encoding"}.isdisjoint(
        name.title() for name in response.headers
    )


def _version(response: Response) -> tuple[str | None, str | None]:
    return response.headers.get("ETag"), response.headers.get("Last-Modified")
