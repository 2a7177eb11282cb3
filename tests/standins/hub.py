"""A stand-in Hugging Face Hub on loopback, for the real clients.

It keeps dataset repositories (commits, branches, tags, pull requests), takes uploads by
LFS, in one or in several parts, or to a local Xet store, and answers as the Hub does
what `huggingface_hub` and `datasets` ask. Faults are injected by request.
"""

import hashlib
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit

from tests.standins import hub_accounts as who
from tests.standins import hub_files, hub_refs  # noqa: F401  their routes
from tests.standins.hub_api import Call, Reply, answer
from tests.standins.hub_faults import Cut, Fault
from tests.standins.hub_objects import Objects
from tests.standins.hub_repos import RefusedError, Repository
from tests.standins.loopback import Loopback

PIECE = 1 << 20


@dataclass(slots=True)
class Request:
    """A request that was asked; `status` 0: the connection was cut."""

    method: str
    path: str
    query: dict[str, str]
    received: int = 0
    status: int = 0


class CutError(Exception):
    """The connection is closed without a reply."""


class Hub(Loopback):
    """A running stand-in; everything it keeps is below `folder`.

    Attributes:
        token, reader, stranger: tokens of `ann`, who may write to `ann` and `org`; of
            ann again, to read only; of somebody else.
        repos: repositories by id.
        requests: what was asked, in order of arrival.
        page: entries of a page of a listing.
        part: bytes of a part where uploads go in several; None: all in one.
    """

    token, reader, stranger = who.TOKEN, who.READER, who.STRANGER

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects = Objects(folder)
        self.accounts = who.accounts()
        self.repos: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self.page, self.part = 1000, None
        hub = self

        class Handler(_Handler):
            def serve(self) -> None:
                hub._serve(self)

        super().__init__(Handler)

    @property
    def elsewhere(self) -> str:
        """The same server under another name: to clients, another host."""
        return f"http://localhost:{self._http.server_address[1]}"

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.objects.forget()

    # for tests

    def environment(
        self, token: str | None = who.TOKEN, *, xet: bool = False, home: str = "home"
    ) -> dict[str, str]:
        """What a program's environment must be to take this for the Hub.

        Args:
            token: None: nobody.
            xet: uploads and downloads go through the local Xet store.
            home: name of the client's cache; another name is another computer.
        """
        import os

        gone = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE")
        gone += ("HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE")
        gone += ("HF_HUB_DISABLE_XET", "HF_DATASETS_CACHE", "HF_XET_CACHE")
        kept = {name: value for name, value in os.environ.items() if name not in gone}
        kept |= {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(self.folder / home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0",
            "DO_NOT_TRACK": "1",
            "NO_PROXY": "localhost,127.0.0.1,::1",
            "no_proxy": "localhost,127.0.0.1,::1",
        }
        if token:
            kept["HF_TOKEN"] = token
        if not xet:
            kept["HF_HUB_DISABLE_XET"] = "1"
        return kept

    def fail(
        self,
        path: str = "",
        *,
        method: str = "",
        skip: int = 0,
        times: int | None = 1,
        status: int | None = None,
        headers: dict[str, str] | None = None,
        message: str = "a fault of the test",
        cut: Cut | None = None,
        delay: float = 0.0,
    ) -> Fault:
        """Make requests fail; see `hub_faults.Fault`."""
        fault = Fault(path, method, skip, times, status, headers or {}, message)
        fault.cut, fault.delay = cut, delay
        self.faults.append(fault)
        return fault

    def create(
        self, id: str, *, private: bool = False, gated: str | bool = False
    ) -> Repository:
        """An empty repository, as if `ann` had made it."""
        self.repos[id] = Repository(id, "ann", private=private, gated=gated)
        return self.repos[id]

    def files(self, id: str, revision: str = "main") -> dict[str, bytes]:
        """Every file of a commit."""
        files = self.repos[id].find(revision).files
        return {
            path: entry.data
            if entry.sha256 is None
            else self.objects.file(entry.sha256, entry.size).read_bytes()
            for path, entry in sorted(files.items())
        }

    def refs(self, id: str) -> dict[str, str]:
        """Commits by full name: `refs/heads/main`, `refs/tags/v1.0.0`, `refs/pr/1`."""
        return self.repos[id].refs()

    def commits(self, id: str, revision: str = "main") -> list[str]:
        """Titles of commits, newest first."""
        return [commit.title for commit in self.repos[id].history(revision)]

    def asked(self, path: str = "", method: str = "") -> list[Request]:
        """Requests so far whose path matches."""
        return [
            request
            for request in self.requests
            if method in ("", request.method) and re.search(path, request.path)
        ]

    @property
    def received(self) -> int:
        """Bytes of the bodies of all requests so far, without Xet's own."""
        return sum(request.received for request in self.requests)

    # for routes

    def repository(self, id: str, call: Call) -> Repository:
        """The repository, for who may see it."""
        return who.see(self.repos.get(id), call.account)

    def writable(self, id: str, call: Call) -> Repository:
        """The repository, for who may write it."""
        repo = self.repository(id, call)
        who.write(repo.owner, call.account)
        return repo

    # the server

    def _serve(self, handler: "_Handler") -> None:
        parts = urlsplit(handler.path)
        query = {k: v[-1] for k, v in parse_qs(parts.query, True).items()}
        request = Request(handler.command, parts.path, query)
        with self.lock:
            self.requests.append(request)
            hits = [f for f in self.faults if f.hit(request.method, request.path)]
        try:
            reply = self._reply(handler, request, hits[0] if hits else Fault())
        except (CutError, ConnectionError):
            handler.close_connection = True
            return
        request.status = reply.status
        try:
            _send(handler, reply)
        except ConnectionError:
            handler.close_connection = True

    def _reply(self, handler: "_Handler", request: Request, fault: Fault) -> Reply:
        time.sleep(fault.delay)
        body, file = b"", None
        length = int(handler.headers.get("Content-Length", 0))
        if fault.cut == "early":
            request.received = len(handler.rfile.read(length // 2))
            raise CutError
        digest = hashlib.sha256()
        if request.method == "PUT" and request.path.startswith("/upload/"):
            file = self.objects.folder / f"arriving-{secrets.token_hex(8)}"
            with file.open("wb") as out:
                for piece in handler.pieces():
                    digest.update(piece)
                    request.received += out.write(piece)
        else:
            body = b"".join(handler.pieces())
            request.received = len(body)
        if fault.cut == "before":
            raise CutError
        try:
            if fault.status:
                raise RefusedError(fault.status, fault.message, **fault.headers)
            headers = {k.lower(): v for k, v in handler.headers.items()}
            call = Call(
                request.method, request.path, request.query, headers,
                self._account(headers), body, file, digest.hexdigest(),
            )  # fmt: skip
            reply = answer(self, call)
        except RefusedError as error:
            reply = _refused(error)
        finally:
            if file:
                file.unlink(missing_ok=True)
        if fault.cut == "after":
            raise CutError
        return reply

    def _account(self, headers: dict[str, str]) -> who.Account | None:
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.accounts:
            raise RefusedError(401, "Invalid credentials in Authorization header")
        return self.accounts.get(token)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def serve(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def pieces(self):
        """The body."""
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            piece = self.rfile.read(min(left, PIECE))
            if not piece:
                raise ConnectionResetError
            left -= len(piece)
            yield piece

    def log_message(self, *args: object) -> None:
        pass


def _refused(error: RefusedError) -> Reply:
    message = str(error)
    headers = {"X-Error-Message": message, "Content-Type": "application/json"}
    if error.code:
        headers["X-Error-Code"] = error.code
    headers |= {name: str(value) for name, value in error.more.items()}
    return Reply(error.status, json.dumps({"error": message}).encode(), headers)


def _send(handler: _Handler, reply: Reply) -> None:
    size = reply.file.stat().st_size if reply.file else len(reply.body)
    start, stop, status = 0, size, reply.status
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", handler.headers.get("Range", ""))
    if asked and status == 200 and handler.command == "GET":
        first, last = asked.groups()
        start = int(first) if first else max(0, size - int(last))
        stop = min(size, int(last) + 1) if first and last else size
        status = 206 if start < size else 416
        reply.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        if status == 416:
            reply.headers["Content-Range"] = f"bytes */{size}"
            start = stop = size
    handler.send_response(status)
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(stop - start))
    handler.end_headers()
    if handler.command == "HEAD":
        return
    if reply.file:
        with reply.file.open("rb") as file:
            _copy(handler, file, start, stop)
    else:
        handler.wfile.write(reply.body[start:stop])


def _copy(handler: _Handler, file: BinaryIO, start: int, stop: int) -> None:
    if stop > start:
        handler.connection.sendfile(file, start, stop - start)
