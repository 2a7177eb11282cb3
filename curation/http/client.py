"""Asks one URL until there is an answer: redirects, attempts, waiting.

Of `requests` only the adapter is used: no cookies, no passwords from files, and no
redirect that was not looked at.

Proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`) are used. A proxy looks names up
itself, so that behind one only the names and addresses in URLs are checked, and it is
the proxy's part not to lead into its own network.
"""

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Generic, TypeVar
from urllib.parse import urljoin

import requests
from requests import PreparedRequest, Response
from requests.exceptions import ProxyError
from requests.utils import get_environ_proxies

from curation.config import Http
from curation.http.answers import Again, Final, backoff, judge
from curation.http.guard import Guard, GuardedAdapter, Resolve
from curation.http.hosts import BLOCK, PATIENCE, REST, Hosts
from curation.http.limits import table
from curation.http.pace import Pace, Ticket
from curation.http.state import State
from curation.http.urls import Place, RefusedUrl, masked, place, shown
from curation.http.watch import Watch

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOPS = 5
_UNTRUSTED = "the certificate is not trusted"
_BROKEN = "the connection broke off"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Question(Generic[_T]):
    """What `Client.ask` is asked for."""

    url: str
    read: Callable[[Response, Place], _T]
    photo: bool
    keep: bool
    may: Callable[[Place], None] | None
    headers: Mapping[str, str]


class _Masked(logging.Filter):
    """urllib3 logs what it asks, at level DEBUG: without tokens and addresses."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = masked(record.getMessage()), ()
        return True


_MASKED = _Masked()


class Client:
    """What every kind of question has in common; safe to use from many threads."""

    def __init__(
        self,
        http: Http,
        *,
        contact: str,
        state: State,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
        resolve: Resolve | None = None,
    ) -> None:
        self.http, self.clock = http, clock
        self._sleep, self._closing = sleep, threading.Event()
        self._limits = table(http.hosts)
        self._state, self._pace = state, Pace(state)
        self._slots = {
            limits.budget: threading.Semaphore(limits.at_once)
            for limits in self._limits.values()
            if limits.at_once
        }
        self.guard = Guard(_allowed(http), resolve=resolve)
        self.hosts = Hosts(state, sleep=self.sleep, clock=clock)
        self._watch = Watch(2 * http.timeout)
        self._adapter = GuardedAdapter(
            self.guard, self._watch, connections=http.connections + 2
        )
        self._proxies: dict[str, Mapping[str, str]] = {}
        self._agent = _agent(contact)
        self._certificates = _certificates()
        for name in ("urllib3.connectionpool", "urllib3.util.retry"):
            logging.getLogger(name).addFilter(_MASKED)

    def close(self) -> None:
        """Close all connections; threads that wait for a host give up."""
        self._closing.set()
        self._adapter.close()
        self._watch.close()
        self._state.close()

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            Final: meanwhile the door was closed.
        """
        if self._sleep is not time.sleep:
            self._sleep(seconds)
        elif self._closing.wait(seconds):
            reason = "stopped while it waited for a host"
            raise Final(reason)

    def ask(
        self,
        url: str,
        read: Callable[[Response, Place], _T],
        *,
        photo: bool = False,
        keep: bool = False,
        may: Callable[[Place], None] | None = None,
        headers: Mapping[str, str],
    ) -> _T:
        """Ask until `read` takes an answer.

        Args:
            url: with query.
            read: makes something of an answer; raises Again or Final.
            photo: what is asked for is a photo.
            keep: leave an answer open that `read` took.
            may: raises where a place must not be asked; also on each redirect.
            headers: beside User-Agent.

        Raises:
            Final: there is no such answer, retries included.
            HostBlocked: the host is left alone for some time.
        """
        attempt = 0
        while True:
            attempt += 1
            asked: list[Place] = []
            try:
                return self._hops(
                    _Question(url, read, photo, keep, may, headers), asked
                )
            except RefusedUrl as error:
                raise Final(str(error), attempts=attempt) from error
            except Final as error:
                error.attempts = attempt
                if asked:
                    if error.status is not None:
                        self.hosts.heard(asked[-1].service)
                    self._given_up(error, asked[-1], photo=photo)
                raise
            except Again as trouble:
                self._wait(trouble, asked[-1], attempt)
                if attempt >= self.http.attempts:
                    raise Final(
                        str(trouble),
                        status=trouble.status,
                        attempts=attempt,
                        passing=True,
                    ) from trouble

    def _given_up(self, error: Final, where: Place, *, photo: bool) -> None:
        """Leave a host alone that refuses us rather than this request."""
        blocked = error.blocked
        if photo and error.status == 403:
            blocked = self.hosts.refused(where.service, where.url)
        if blocked:
            seconds = BLOCK if error.wait is None else error.wait
            raise self.hosts.block(
                where.service, where.url, seconds, reason=str(error), remember=True
            ) from None

    def _wait(self, trouble: Again, where: Place, attempt: int) -> None:
        """Wait before the next attempt; a host that is down or busy is left alone."""
        service, last = where.service, attempt >= self.http.attempts
        reason = str(trouble)
        if trouble.busy:
            seconds = backoff(attempt) if trouble.wait is None else trouble.wait
            if last:
                seconds = max(seconds, REST)
            if seconds > PATIENCE:
                raise self.hosts.block(
                    service, where.url, seconds, reason=reason, remember=True
                ) from None
            # every thread waits; not all come back at the same moment
            self.hosts.pause(service, seconds, reason)
            self.sleep(seconds + random.uniform(0, 1))
        elif not last:
            self.sleep(max(backoff(attempt), min(trouble.wait or 0.0, PATIENCE)))
        elif trouble.silent and self.hosts.silent(service, where.url):
            # not remembered: it may be our own network that is down
            raise self.hosts.block(service, where.url, REST, reason=reason) from None

    def _hops(self, what: "_Question[_T]", asked: list[Place]) -> _T:
        """Follow redirects by hand, each looked at as the first URL was."""
        url = what.url
        for _ in range(_HOPS + 1):
            where = place(url, self.guard.allowed)
            if asked and asked[-1].scheme == "https" and where.scheme == "http":
                reason = f"redirected from https to http: {shown(url)}"
                raise Final(reason)
            self.guard.check(where.host)
            if what.may:
                what.may(where)
            asked.append(where)
            with (
                self._slot(where),
                self._answer(what, where) as response,
            ):
                target = response.headers.get("Location")
                if response.status_code in _REDIRECTS and target:
                    url = _joined(where.url, target)
                    continue
                self._judge(response, photo=what.photo)
                value = what.read(response, where)
            self.hosts.answered(where.service)
            return value
        reason = f"more than {_HOPS} redirects"
        raise Final(reason)

    def _slot(self, where: Place) -> AbstractContextManager[object]:
        """Room for one more request to a host that wants few at the same time."""
        limits = self._limits.get(where.host)
        slots = self._slots.get(limits.budget) if limits else None
        return slots or nullcontext()

    @contextmanager
    def _answer(self, what: "_Question[_T]", where: Place) -> Iterator[Response]:
        """One answer, asked for when limits allow it; closed, unless kept."""
        self.hosts.wait(where.service, where.url)
        ticket = self._admitted(where, photo=what.photo)
        response, received, keep = None, 0, what.keep
        try:
            response = self._send(where, what.headers)
            # a redirect is never kept
            keep = keep and response.status_code not in _REDIRECTS
            yield response
        except BaseException:
            keep = False
            raise
        finally:
            if response is not None and not keep:
                received = response.raw.tell()
                response.close()
            if ticket is not None and ticket.aside:
                self._pace.settle(ticket, received)

    def _admitted(self, where: Place, *, photo: bool) -> Ticket | None:
        """Wait until the limits of a host let one more request through."""
        limits = self._limits.get(where.host)
        if limits is None or not limits.counted:
            return None
        with self._pace.turn(limits.budget):
            while True:
                answer = self._pace.admit(limits, where.service, photo=photo)
                if isinstance(answer, Ticket):
                    break
                if answer.why and answer.wait > PATIENCE:
                    raise self.hosts.block(
                        where.service, where.url, answer.wait, reason=answer.why
                    )
                self.sleep(answer.wait)
        # while this thread waited, another may have been told to stay away
        self.hosts.wait(where.service, where.url)
        return answer

    def count(self, where: Place, received: int) -> float:
        """Count bytes of a large text; seconds to wait before more is read."""
        limits = self._limits.get(where.host)
        if limits is None or not limits.counted or limits.media:
            return 0.0
        return self._pace.count(limits, received)

    def _judge(self, response: Response, *, photo: bool) -> None:
        status, headers = response.status_code, response.headers
        if trouble := judge(status, headers, self.clock(), photo=photo):
            raise trouble

    def _send(self, where: Place, headers: Mapping[str, str]) -> Response:
        request = PreparedRequest()
        headers, timeout = {"User-Agent": self._agent, **headers}, self.http.timeout
        try:
            request.prepare(method="GET", url=where.url, headers=headers)
        except (requests.RequestException, UnicodeError) as error:
            message = "not a valid URL"
            raise RefusedUrl(message) from error
        try:
            return self._adapter.send(
                request,
                stream=True,
                timeout=(timeout, timeout),
                verify=self._certificates,
                proxies=self._proxies_for(where),
            )
        except requests.RequestException as error:
            reason = f"{where.service}: {_cause(error)}"
            if _UNTRUSTED in reason:
                raise Final(reason) from error
            raise Again(reason, silent=True) from error
        except (OSError, ValueError) as error:
            reason = f"{where.service}: {type(error).__name__}"
            raise Again(reason, silent=True) from error

    def _proxies_for(self, where: Place) -> Mapping[str, str]:
        """The user's proxies, from the environment."""
        key = f"{where.scheme}://{where.service}"
        found = self._proxies.get(key)
        if found is None:
            found = self._proxies[key] = get_environ_proxies(where.url)
        return found


def _allowed(http: Http) -> frozenset[str]:
    names = (host.name for host in http.hosts if host.private)
    return frozenset(name.lower().strip("[]").rstrip(".") for name in names)


def _agent(contact: str) -> str:
    try:
        name = f"counterset/{version('counterset')}"
    except PackageNotFoundError:  # a copy that was never installed
        name = "counterset"
    said = "".join(c for c in contact if c.isascii() and c.isprintable())
    return f"{name} (+{said})" if said else name


def _certificates() -> str | bool:
    """Certificates the user trusts, named as `requests` has it."""
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    return next((os.environ[name] for name in names if os.environ.get(name)), True)


def _joined(url: str, target: str) -> str:
    """Where a redirect leads; its header may be UTF-8 under the hood."""
    with suppress(UnicodeError):
        target = target.encode("latin-1").decode("utf-8")
    try:
        return urljoin(url, target)
    except ValueError as error:
        message = "redirected to what is not a valid URL"
        raise RefusedUrl(message) from error


def _cause(error: Exception) -> str:
    """Why there was no answer, in words without URLs or addresses of memory."""
    text = str(error).lower()
    if isinstance(error, ProxyError) or "proxy" in text:
        return "the proxy of this machine cannot be used"
    known = (
        ("certificate", _UNTRUSTED),
        ("nameresolution", "the name has no address"),
        ("no address", "the name has no address"),
        ("timed out", "no answer in time"),
        ("refused", "the connection was refused"),
        ("closed connection", _BROKEN),
        ("reset", _BROKEN),
        ("aborted", _BROKEN),
        ("broken pipe", _BROKEN),
        ("unreachable", "the network is unreachable"),
        ("ssl", "no secure connection"),
    )
    return next((words for part, words in known if part in text), type(error).__name__)
