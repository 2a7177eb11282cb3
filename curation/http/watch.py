"""Ends connections that take too long to say anything whole.

A time-out per read does not help against a server that sends its headers, or shakes
hands, one byte at a time; here the whole has a time.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Watch:
    """One thread that looks at the sockets that are waiting for an answer's headers.

    Args:
        seconds: a socket may wait.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: dict[int, tuple[float, socket.socket]] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, sock: socket.socket | None) -> Iterator[None]:
        """Shut a socket down when what follows takes too long.

        Raises:
            TimeoutError: it was shut down: what was read may only look whole.
        """
        if sock is None:
            yield
            return
        key = id(sock)
        with self._lock:
            self._waiting[key] = (time.monotonic() + self._seconds, sock)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                left = self._waiting.pop(key, None)
        if left is None:
            message = "timed out"
            raise TimeoutError(message)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _look(self) -> None:
        while not self._closed.wait(min(1.0, self._seconds / 4)):
            now = time.monotonic()
            with self._lock:
                late = [key for key, (end, _) in self._waiting.items() if end < now]
                for key in late:
                    _, sock = self._waiting.pop(key)
                    with suppress(OSError):
                        # not the TLS socket's own, which forgets its state
                        socket.socket.shutdown(sock, socket.SHUT_RDWR)
