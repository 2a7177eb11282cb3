"""`counterset labels serve`: the pictures, for browsers on this machine.

It listens on a loopback address only. A picture's path is a secret of the work folder
and cannot be guessed; there is no listing, and everything else is 404. What a path says
is compared, never opened: a photo is read by the id whose proof came with it.
"""

import errno
import hashlib
import hmac
import ipaddress
import json
import re
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from curation.errors import ConfigError, InputError
from curation.labelling import pictures

if TYPE_CHECKING:
    from curation.pipeline import Route
    from curation.shelf import Shelf

SECRET = "pictures"
SERVICE = "counterset labels serve"

_PATH = re.compile(r"/([0-9a-f]{64})/([0-9a-f]{64})\.jpg")
_PATIENCE = 30.0
_FRESH = 3600


def proof(secret: bytes, text: str) -> str:
    """What only this work folder can say of a text, 64 hex digits."""
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def path(secret: bytes, photo_id: str) -> str:
    """Path under which a photo is served.

    Example:
        >>> path(b"", "ab" * 32)[-69:]
        '/abababababababababababababababababababababababababababababababab.jpg'
    """
    return f"/{proof(secret, photo_id)}/{photo_id}.jpg"


def asked(secret: bytes, target: str) -> str | None:
    """The photo_id whose very path this is; None for everything else."""
    found = _PATH.fullmatch(target)
    if found is None:
        return None
    same = hmac.compare_digest(found[1], proof(secret, found[2]))
    return found[2] if same else None


def identity(shelf: "Shelf") -> str:
    """Stands for a work folder at `/health`; says nothing about its pictures' paths."""
    return proof(shelf.secret(SECRET), "health")[:16]


def place(address: str) -> tuple[str, int]:
    """Host and port to listen on.

    Raises:
        ConfigError: labels.address is no plain http address of this machine.

    Example:
        >>> place("http://127.0.0.1:8099")
        ('127.0.0.1', 8099)
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme != "http" or not host or not port or rest:
        message = (
            f"labels.address: found {address!r}; it must be http://HOST:PORT with "
            "nothing behind it, such as http://127.0.0.1:8099"
        )
        raise ConfigError(message)
    if not loopback(host):
        message = (
            f"labels.address: {host} is not this machine's own address. `counterset "
            "labels serve` shows pictures on 127.0.0.1 only, for a browser on this "
            'machine; for a team use labels.images = "local" or "s3"'
        )
        raise ConfigError(message)
    return host, port


def loopback(host: str) -> bool:
    """Whether a host's name or address means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def who(address: str, mine: str) -> Literal["ours", "other", "stranger", "nobody"]:
    """Who answers at an address: us for this work folder, or for another, or not us."""
    import requests

    try:
        with requests.Session() as asking:
            asking.trust_env = False  # a proxy would be asked for its own loopback
            answer = asking.get(f"{address.rstrip('/')}/health", timeout=5)
    except requests.ConnectionError as error:
        # somebody who listens and does not speak HTTP is not nobody
        spoke = not isinstance(error, requests.exceptions.ConnectTimeout)
        return "stranger" if spoke and "refused" not in str(error) else "nobody"
    except requests.RequestException:
        return "stranger"
    try:
        said = answer.json()
    except ValueError:
        return "stranger"
    if not isinstance(said, dict) or said.get("service") != SERVICE:
        return "stranger"
    return "ours" if said.get("folder") == mine else "other"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, place: tuple[str, int], shelf: "Shelf", limit: int) -> None:
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        self.address_family = family
        self.shelf, self.limit = shelf, limit
        self.secret, self.identity = shelf.secret(SECRET), identity(shelf)
        self.converting = threading.Lock()
        super().__init__(place, _Handler)

    def server_bind(self) -> None:
        # the library's own looks up the machine's name, which may take seconds
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "counterset", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """A browser that went away is no news."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def picture(self, photo_id: str) -> tuple[bytes, str] | None:
        """Bytes and media type; None when the photo is gone or cannot be shown."""
        try:
            data = self.shelf.read_photo(photo_id)
            name = pictures.suffix(data, max_pixels=self.limit)
            if name is not None:
                return data, pictures.KIND[name]
            with self.converting:  # one at a time: each may take 300 MB
                return pictures.jpeg(data, max_pixels=self.limit), "image/jpeg"
        except InputError:
            return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE
    server: _Server

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        if self.path == "/health":
            said = {"service": SERVICE, "folder": self.server.identity}
            data = json.dumps(said).encode()
            self._send(HTTPStatus.OK, data, "application/json", body=body)
            return
        photo_id = asked(self.server.secret, self.path)
        if photo_id is None:
            self._missing(body=body)
            return
        tag = f'"{photo_id[:32]}"'
        known = tag in self.headers.get("If-None-Match", "")
        if known and self.server.shelf.blob(photo_id).exists():
            self._send(HTTPStatus.NOT_MODIFIED, None, "", body=False, tag=tag)
            return
        found = self.server.picture(photo_id)
        if found is None:
            self._missing(body=body)
            return
        self._send(HTTPStatus.OK, *found, body=body, tag=tag)

    def _missing(self, *, body: bool) -> None:
        self._send(HTTPStatus.NOT_FOUND, b"not found\n", "text/plain", body=body)

    def _send(
        self,
        status: HTTPStatus,
        data: bytes | None,
        kind: str,
        *,
        body: bool,
        tag: str = "",
    ) -> None:
        self.send_response(status)
        if data is not None:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
        if tag:
            self.send_header("ETag", tag)
        fresh = f"private, max-age={_FRESH}" if tag else "no-store"
        self.send_header("Cache-Control", fresh)
        # Label Studio's page is another origin, and reads the pixels
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Cross-Origin-Resource-Policy", "cross-origin")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        if body and data is not None:
            self.wfile.write(data)

    def version_string(self) -> str:
        return "counterset"

    def log_message(self, format: str, *args: object) -> None:
        """Paths are secrets: they are not logged."""


def listening(route: "Route") -> ThreadingHTTPServer:
    """A server that is bound and waits for `serve_forever`.

    Raises:
        ConfigError: labels.address is not of this machine, or its port is taken.
    """
    labels = route.config.labels
    host, port = place(labels.address)
    make = partial(_Server, shelf=route.shelf, limit=route.config.fetch.max_pixels)
    try:
        return make((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = _taken(labels.address, identity(route.shelf))
        else:
            message = (
                f"labels.address: cannot listen on {host}:{port} ({error.strerror}); "
                "choose a port above 1023"
            )
        raise ConfigError(message) from error


def _taken(address: str, mine: str) -> str:
    found = who(address, mine)
    if found == "ours":
        return f"{address}: these pictures are served there already; nothing to do"
    other = {
        "other": "`counterset labels serve` of another work folder",
        "stranger": "another program",
        "nobody": "a program that does not answer",
    }[found]
    return f"labels.address: {address} is taken by {other}; choose another port"


def serve(route: "Route", *, say: Callable[[str], None]) -> None:
    """Show the pictures until interrupted.

    Args:
        route: the route, only read.
        say: called with a line for people.

    Raises:
        ConfigError: as `listening`, or labels.images says otherwise.
    """
    labels = route.config.labels
    if labels.images != "serve":
        message = (
            f'labels.images is "{labels.images}", so nobody asks for these pictures; '
            'set labels.images = "serve" in dataset.toml and push again'
        )
        raise ConfigError(message)
    with listening(route) as server:
        say(f"pictures for annotators on this machine: {labels.address}; Ctrl-C ends")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("stopped; pictures no longer show")
