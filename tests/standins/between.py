"""A proxy before a real server that spoils chosen answers, to see who asks again."""

import http.client
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.standins.loopback import Loopback

Spoil = str | tuple[int, bytes] | None
"""What becomes of a request: None (passed on), "cut" (half of the answer), "drop"
(passed on, and the line closed without an answer), or a status and body to answer
in the server's place; "after 500": passed on, and 500 answered."""


class Between(Loopback):
    """Stands at an address of its own, below a path if one is given.

    `asked` are method and path of each request.
    """

    def __init__(
        self, url: str, spoil: Callable[[str, str], Spoil], *, prefix: str = ""
    ) -> None:
        self.asked: list[str] = []
        self._host, self._spoil, self._prefix = urlsplit(url).netloc, spoil, prefix
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do(self):
                between._pass(self)

            do_GET = do_POST = do_PATCH = do_DELETE = do

            def log_message(self, *args):
                pass

        super().__init__(Handler)

    @property
    def url(self) -> str:
        """With the path below which it stands."""
        return super().url + self._prefix

    def times(self, asked: str) -> int:
        """How often a method and path were asked."""
        return self.asked.count(asked)

    def _pass(self, handler: BaseHTTPRequestHandler) -> None:
        if not handler.path.startswith(f"{self._prefix}/"):
            _answer(handler, 404, b"outside")
            return
        handler.path = handler.path.removeprefix(self._prefix)
        path = urlsplit(handler.path).path
        self.asked.append(f"{handler.command} {path}")
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        spoil = self._spoil(handler.command, path)
        if isinstance(spoil, tuple):
            _answer(handler, *spoil)
            return
        line = http.client.HTTPConnection(self._host, timeout=60)
        headers = {k: v for k, v in handler.headers.items() if k.lower() != "host"}
        line.request(handler.command, handler.path, body, headers)
        answer = line.getresponse()
        data = answer.read()
        line.close()
        if spoil == "drop":
            handler.close_connection = True
        elif spoil == "after 500":
            _answer(handler, 500, b'{"detail": "spoilt"}')
        elif spoil == "cut":
            _answer(handler, answer.status, data[: len(data) // 2], length=len(data))
            handler.close_connection = True
        else:
            kind = answer.getheader("Content-Type", "application/json")
            _answer(handler, answer.status, data, kind=kind)


def _answer(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    *,
    kind: str = "application/json",
    length: int | None = None,
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    if status != 204:
        handler.send_header(
            "Content-Length", str(len(body) if length is None else length)
        )
    handler.end_headers()
    handler.wfile.write(body)
