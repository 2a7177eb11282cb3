"""Pull again and again; the server may say that it is time.

A webhook carries no answers here: what it sends is thrown away, as it is not sent again
when it is lost. It only shortens the wait for the next pull.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from curation.errors import ConfigError, LabelStudioError, RemoteError, WorkFolderError
from curation.labelstudio import LabelStudio

SETTLE_S = 0.5
"""Seconds to wait after a nudge: answers come several at a time."""

LONGEST_S = 600.0
"""Seconds to wait at most after pulls that failed."""

PATH = "/counterset"
_DISCARDED = 1 << 16


def watch(
    once: Callable[[], dict[str, Any]],
    studio: LabelStudio,
    *,
    projects: Sequence[int],
    every: float,
    listen: str,
) -> Iterator[dict[str, Any]]:
    """Pull until interrupted.

    A pull that fails because of the server is told and tried again, after twice the
    time each time; so is one for which the work folder was busy, at the next turn.

    Args:
        once: one pull.
        studio: the server.
        projects: numbers of the projects whose changes are listened for.
        every: seconds between two pulls.
        listen: HOST:PORT where the server may say that something changed, the host
            being loopback when left out; empty: nowhere.

    Yields: the first result, then those in which something is new; `failed` with the
        error, and `again_in_s`, when a pull failed.

    Raises:
        ConfigError: `listen` is no address, or cannot be listened at.
        CounterSetError: any other error of a pull.
    """
    changed = threading.Event()
    with _listening(listen, changed) as url:
        if url:
            yield from _registered(studio, projects, url)
        yield from _turns(once, changed, every)


def _turns(
    once: Callable[[], dict[str, Any]], changed: threading.Event, every: float
) -> Iterator[dict[str, Any]]:
    known: dict[str, Any] | None = None
    failures = 0
    while True:
        changed.clear()  # what comes from here on is for the next turn
        wait = every
        try:
            result = once()
        except RemoteError as error:
            failures += 1
            wait = min(every * 2**failures, max(every, LONGEST_S))
            yield {"failed": str(error), "again_in_s": wait}
        except WorkFolderError as error:
            if not isinstance(error.__cause__, BlockingIOError):
                raise
            yield {"failed": str(error), "again_in_s": wait}
        else:
            failures = 0
            if known is None or _news(result, known):
                yield result
            known = result
        if changed.wait(wait):
            time.sleep(min(SETTLE_S, every))


def _news(result: dict[str, Any], known: dict[str, Any]) -> bool:
    """Whether a result tells anything that the one before it did not."""
    did = ("annotations", "events", "tasks_deleted")
    same = ("faults", "notices")
    return any(result.get(name) for name in did) or any(
        result.get(name) != known.get(name) for name in same
    )


def _registered(
    studio: LabelStudio, projects: Sequence[int], url: str
) -> Iterator[dict[str, Any]]:
    """Ask the server to call; without that, time alone decides."""
    for project in projects:
        try:
            studio.nudge(project, url)
        except LabelStudioError as error:
            yield {"failed": f"the server will not say when something changes: {error}"}


@contextmanager
def _listening(listen: str, changed: threading.Event) -> Iterator[str]:
    """A receiver of webhooks, and its URL; empty when none is wanted."""
    if not listen:
        yield ""
        return
    host, port = _address(listen)

    class Receiver(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            """Take note; throw away what was sent."""
            text = self.headers.get("Content-Length", "")
            left = min(int(text), _DISCARDED) if text.isdecimal() else 0
            if left:
                self.rfile.read(left)  # unread, it would break the connection
            known = self.path == PATH
            if known:
                changed.set()
            self.send_response(204 if known else 404)
            self.send_header("Connection", "close")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    try:
        server = ThreadingHTTPServer((host, port), Receiver)
    except OSError as error:
        message = f"--listen {listen}: cannot listen there ({error.strerror or error})"
        raise ConfigError(message) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}{PATH}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _address(listen: str) -> tuple[str, int]:
    """Host and port of HOST:PORT, :PORT or PORT."""
    text = f":{listen}" if listen.isdecimal() else listen
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:
        port = None
    if port is None or parts.path:
        message = f"--listen {listen}: HOST:PORT is needed, such as 127.0.0.1:8101"
        raise ConfigError(message)
    return parts.hostname or "127.0.0.1", port
