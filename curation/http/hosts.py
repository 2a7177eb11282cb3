"""What is known of each host: when it may be asked again, and how often it failed us.

A host that refuses us is left alone for a while, and only that host.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from curation.errors import HostBlocked
from curation.http.state import State
from curation.http.urls import shown

REFUSALS = 20
"""Photos in a row that a host refuses (403) before that is taken for a block."""
SILENCES = 5
"""Photos in a row that a host does not answer at all before it is left alone."""
BLOCK = 3600.0
"""Seconds a host is left alone that refuses us and does not say for how long."""
REST = 900.0
"""Seconds a host is left alone that is down, or stays too busy."""
PATIENCE = 60.0
"""Seconds that are waited for a host; when it would take longer, it is blocked."""


@dataclass(slots=True)
class _Host:
    until: float = 0.0
    reason: str = ""
    refused: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)


class Hosts:
    """Safe to use from many threads.

    A host is named by `Place.service`: another port is another service.
    """

    def __init__(
        self,
        state: State,
        *,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._state, self._sleep, self._clock = state, sleep, clock
        self._hosts: dict[str, _Host] | None = None
        self._lock = threading.Lock()

    def _host(self, service: str) -> _Host:
        with self._lock:
            if self._hosts is None:  # what earlier runs were told, read once
                self._hosts = {
                    name: _Host(until, reason)
                    for name, (until, reason) in self._state.blocks().items()
                }
            return self._hosts.setdefault(service, _Host())

    def wait(self, service: str, url: str) -> None:
        """Wait until a host may be asked.

        Raises:
            HostBlocked: that would take more than a minute.
        """
        host = self._host(service)
        waited = 0.0
        while host.until > waited and (left := host.until - self._clock()) > 0:
            if left > PATIENCE:
                raise self._blocked(service, url, host)
            waited = host.until
            self._sleep(left)

    def pause(self, service: str, seconds: float, reason: str) -> None:
        """Let every thread wait before it asks a host again."""
        host = self._host(service)
        with self._lock:
            until = self._clock() + seconds
            if until > host.until:
                host.until, host.reason = until, reason

    def block(
        self,
        service: str,
        url: str,
        seconds: float,
        *,
        reason: str,
        remember: bool = False,
    ) -> HostBlocked:
        """Leave a host alone; gives the error that says so.

        Args:
            service: the host.
            url: what it was asked.
            seconds: for how long; at least so long that nobody waits for it.
            reason: in words.
            remember: for other runs as well: the host itself said so.
        """
        self.pause(service, max(seconds, PATIENCE + 1), reason)
        host = self._host(service)
        if remember:
            self._state.block(service, host.until, host.reason)
        return self._blocked(service, url, host)

    def answered(self, service: str) -> None:
        """A host gave what was asked for: what it refused before was no block."""
        host = self._host(service)
        if host.refused or host.silent:
            host.silent, host.refused = set(), set()

    def heard(self, service: str) -> None:
        """A host answered, if not with what was asked for: it is not down."""
        host = self._host(service)
        if host.silent:
            host.silent = set()

    def refused(self, service: str, url: str) -> bool:
        """A host refused a photo; whether that makes it a block."""
        host = self._host(service)
        with self._lock:
            host.refused.add(url)
            return len(host.refused) >= REFUSALS

    def silent(self, service: str, url: str) -> bool:
        """A host did not answer; whether it must be taken for down."""
        host = self._host(service)
        with self._lock:
            host.silent.add(url)
            return len(host.silent) >= SILENCES

    def _blocked(self, service: str, url: str, host: _Host) -> HostBlocked:
        when = datetime.fromtimestamp(host.until, UTC).isoformat(timespec="seconds")
        message = f"{service} is left alone until {when}: {host.reason}"
        return HostBlocked(message, url=shown(url), host=service, until=host.until)
