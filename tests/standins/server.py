"""A small HTTP server on loopback whose answers a test decides."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from tests.standins.loopback import Loopback


@dataclass(slots=True)
class Asked:
    """One request as it arrived; names of headers are lower-case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    at: float


@dataclass(slots=True)
class Answer:
    """What to send.

    Attributes:
        status: HTTP status.
        body: bytes, or pieces that are sent one by one (an iterator may sleep).
        headers: in addition to Content-Length, which `length` may falsify.
        length: Content-Length to claim; None: the true one; -1: none, and the end of
            the connection is the end of the body.
        delay: seconds before the first byte.
    """

    status: int = 200
    body: bytes | Iterator[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    delay: float = 0.0


class Server(Loopback):
    """Answers each GET or HEAD with what `reply` returns; remembers what was asked."""

    def __init__(self, reply: Callable[[Asked], Answer], *, latency: float = 0) -> None:
        self.asked: list[Asked] = []
        self._reply, self._latency = reply, latency
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                server._answer(self)

            do_HEAD = do_GET

            def log_message(self, *args):
                pass

        super().__init__(Handler)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        query = {k: v[-1] for k, v in parse_qs(parts.query, True).items()}
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.command, parts.path, query, headers, time.monotonic())
        with self._lock:
            self.asked.append(asked)
        answer = self._reply(asked)
        time.sleep(self._latency + answer.delay)
        try:
            _send(handler, answer)
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True


def _send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    handler.send_response(answer.status)
    for name, value in answer.headers.items():
        handler.send_header(name, value)
    length = answer.length
    if length is None:
        length = len(answer.body) if isinstance(answer.body, bytes) else -1
    if length >= 0:
        handler.send_header("Content-Length", str(length))
    else:
        handler.send_header("Connection", "close")
        handler.close_connection = True
    handler.end_headers()
    if handler.command == "HEAD":
        return
    if isinstance(answer.body, bytes):
        handler.wfile.write(answer.body)
        if length > len(answer.body):
            handler.close_connection = True  # the rest never comes
    else:
        for piece in answer.body:
            handler.wfile.write(piece)
            handler.wfile.flush()
