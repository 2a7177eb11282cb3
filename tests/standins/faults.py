"""A host of photos and records where everything goes wrong that does in the world.

`reply` is a reply for `Server`; each path below is one fault. Paths that begin with a
number of failures, such as `/flaky/2/…`, fail that often and then answer well.
"""

import gzip
import io
import itertools
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator

from PIL import Image

from tests.standins.server import Answer, Asked

WINDOW = (
    b'{"error":"Result window is too large, page x size must be less than or equal to '
    b"[10000]. Please narrow your search, or use a sliding window approach with "
    b'id_above or id_below params.","status":403}'
)


def jpeg(seed: int = 0, side: int = 64) -> bytes:
    """A small real photo; another one for each seed."""
    out = io.BytesIO()
    colour = (seed * 37 % 256, seed * 91 % 256, 128)
    Image.new("RGB", (side, side), colour).save(out, "JPEG")
    return out.getvalue()


def huge_png(side: int = 50_000) -> bytes:
    """A PNG of a few bytes whose header claims side × side pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(side * 3 + 1)))
        + chunk(b"IEND", b"")
    )


def drip(data: bytes, pause: float) -> Iterator[bytes]:
    """A body of one byte now and then."""
    for byte in data:
        time.sleep(pause)
        yield bytes([byte])


def endless() -> Iterator[bytes]:
    """A body that never ends, and begins as a JPEG does."""
    yield jpeg()
    yield from itertools.repeat(bytes(65_536), 10_000)


def broken_chunks() -> Iterator[bytes]:
    """A chunked body whose second chunk never comes."""
    yield b"4\r\n\xff\xd8\xff\xe0\r\n"


BOMB = gzip.compress(jpeg() + bytes(50_000_000))
PHOTO = jpeg()


class Faults:
    """Counts what was asked, so that a fault can pass."""

    def __init__(self, *, pause: float = 0.3) -> None:
        self.seen: Counter[str] = Counter()
        self._pause = pause
        self._lock = threading.Lock()

    def reply(self, asked: Asked) -> Answer:
        """A reply for `Server`."""
        with self._lock:
            self.seen[asked.path] += 1
            times = self.seen[asked.path]
        if asked.path.startswith("/flaky/"):
            _, _, often, status = asked.path.split("/")
            return Answer(int(status)) if times <= int(often) else Answer(body=PHOTO)
        make = self._known().get(asked.path)
        return make(times) if make else Answer(404)

    def _known(self) -> dict[str, Callable[[int], Answer]]:
        half = PHOTO[: len(PHOTO) // 2]
        image = {"Content-Type": "image/jpeg"}
        page = b"<!DOCTYPE html><html><body>Please log in</body></html>"

        def moved(target: str, status: int = 302) -> Callable[[int], Answer]:
            return lambda times: Answer(status, headers={"Location": target})

        def fixed(answer: Answer) -> Callable[[int], Answer]:
            return lambda times: answer

        def once(first: Answer, later: Answer) -> Callable[[int], Answer]:
            return lambda times: first if times == 1 else later

        well = Answer(body=PHOTO, headers=image)
        gzipped = {"Content-Encoding": "gzip"}
        return {
            "/ok.jpg": fixed(well),
            "/gone": fixed(Answer(410)),
            "/refused": fixed(Answer(403, b"<Error>AccessDenied</Error>")),
            "/unavailable-for-legal-reasons": fixed(Answer(451)),
            "/busy": once(Answer(429, headers={"Retry-After": "7"}), well),
            "/busy-long": fixed(Answer(429, headers={"Retry-After": "7200"})),
            "/busy-until": fixed(
                Answer(429, headers={"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"})
            ),
            "/always-busy": fixed(Answer(429)),
            "/unavailable": once(Answer(503, headers={"Retry-After": "3"}), well),
            "/failing": fixed(Answer(500)),
            "/truncated": fixed(Answer(body=half, length=len(PHOTO))),
            "/truncated-once": once(Answer(body=half, length=len(PHOTO)), well),
            "/broken-chunks": lambda times: Answer(
                body=broken_chunks(), headers={"Transfer-Encoding": "chunked"}
            ),
            "/longer": fixed(Answer(body=PHOTO + bytes(1000), length=len(PHOTO))),
            "/claims-more": fixed(Answer(body=PHOTO, length=10**12)),
            "/endless": lambda times: Answer(body=endless()),
            "/drip": lambda times: Answer(
                body=drip(PHOTO, self._pause), length=len(PHOTO)
            ),
            "/empty": fixed(Answer(body=b"")),
            "/page": fixed(Answer(body=page, headers={"Content-Type": "image/jpeg"})),
            "/svg": fixed(Answer(body=b"<svg xmlns='x'/>")),
            "/huge.png": fixed(Answer(body=huge_png())),
            "/bomb": fixed(Answer(body=BOMB, headers=gzipped)),
            "/gzipped": fixed(Answer(body=gzip.compress(PHOTO), headers=gzipped)),
            "/gzip-cut": fixed(
                Answer(body=gzip.compress(PHOTO)[:-20], headers=gzipped)
            ),
            "/gzip-damaged": fixed(Answer(body=b"\x1f\x8bnot gzip", headers=gzipped)),
            "/brotli": fixed(Answer(body=b"?", headers={"Content-Encoding": "br"})),
            "/noai": fixed(
                Answer(body=PHOTO, headers={"X-Robots-Tag": "noindex, noai"})
            ),
            "/to-photo": moved("/ok.jpg", 301),
            "/to-metadata": moved("http://169.254.169.254/latest/meta-data/"),
            "/to-loopback": moved("http://localhost/"),
            "/to-file": moved("file:///etc/passwd"),
            "/to-data": moved("data:image/png;base64,AAAA"),
            "/to-user": moved("http://user:pass@127.0.0.1/ok.jpg"),
            "/to-nowhere": moved("http://["),
            "/loop": moved("/loop"),
            "/hop/5": moved("/hop/4"),
            "/hop/4": moved("/hop/3"),
            "/hop/3": moved("/hop/2"),
            "/hop/2": moved("/hop/1"),
            "/hop/1": moved("/ok.jpg"),
            "/hop/6": moved("/hop/5"),
            "/good.json": fixed(Answer(body=b'{"results": [1]}')),
            "/truncated.json": once(
                Answer(body=b'{"results": [1'), Answer(body=b'{"results": [1]}')
            ),
            "/wrong.json": fixed(Answer(body=b'{"results": [1')),
            "/page.json": fixed(Answer(body=page)),
            "/deep.json": fixed(Answer(body=b"[" * 200_000)),
            "/window.json": fixed(Answer(403, WINDOW)),
            "/blocked.json": fixed(Answer(403, b"<html>You are blocked.</html>")),
            "/banned.json": fixed(Answer(403, b'{"error": "your address is blocked"}')),
            "/unauthorised.json": fixed(
                Answer(401, b'{"detail": "page_size must be at most 20"}')
            ),
            "/maxlag.json": once(
                Answer(
                    body=b'{"error": {"code": "maxlag"}}',
                    headers={"MediaWiki-API-Error": "maxlag", "Retry-After": "5"},
                ),
                Answer(body=b'{"query": {}}'),
            ),
        }
