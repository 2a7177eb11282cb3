"""Asks one URL until there is an answer: redirects, attempts, waiting.

Of `requests` only the adapter is used: no cookies, no passwords from files, and no
redirect that was not looked at.
"""

import os
import threading
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar
from urllib.parse import urljoin

import requests
from requests import PreparedRequest, Response
from requests.exceptions import SSLError
from requests.utils import get_environ_proxies

from curation.config import Http
from curation.http.answers import Again, Final, backoff, judge
from curation.http.guard import Guard, GuardedAdapter, Resolve
from curation.http.hosts import BLOCK, REST, Hosts
from curation.http.urls import Place, RefusedUrl, place, shown

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOPS = 5
_T = TypeVar("_T")


class Client:
    """What every kind of question has in common; safe to use from many threads."""

    def __init__(
        self,
        http: Http,
        *,
        contact: str,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
        resolve: Resolve | None = None,
    ) -> None:
        self.http, self.contact = http, contact
        self.sleep, self.clock = sleep, clock
        allowed = frozenset(
            host.name.lower().strip("[]") for host in http.hosts if host.private
        )
        self.guard = Guard(allowed, resolve=resolve)
        self.hosts = Hosts(sleep=sleep, clock=clock)
        self._adapter = GuardedAdapter(self.guard, connections=http.connections + 2)
        self._proxies: dict[str, Mapping[str, str]] = {}
        self._lock = threading.Lock()
        self._agent = _agent(contact)

    def close(self) -> None:
        """Close all connections."""
        self._adapter.close()

    def ask(
        self,
        url: str,
        read: Callable[[Response, Place], _T],
        *,
        photo: bool = False,
        keep: bool = False,
        headers: Mapping[str, str],
    ) -> _T:
        """Ask until `read` takes an answer.

        Args:
            url: with query.
            read: makes something of an answer; raises Again or Final.
            photo: what is asked for is a photo.
            keep: leave an answer open that `read` took.
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
                    url, read, photo=photo, keep=keep, headers=headers, asked=asked
                )
            except RefusedUrl as error:
                raise Final(str(error), attempts=attempt) from error
            except Final as error:
                self._given_up(error, asked[-1], photo=photo)
                error.attempts = attempt
                raise
            except Again as trouble:
                self._wait(trouble, asked[-1], attempt)
                if attempt >= self.http.attempts:
                    raise Final(
                        str(trouble), status=trouble.status, attempts=attempt
                    ) from trouble

    def _given_up(self, error: Final, where: Place, *, photo: bool) -> None:
        """Leave a host alone that refuses us rather than this request."""
        blocked = error.blocked
        if photo and error.status == 403:
            blocked = self.hosts.refused(where.service, where.url)
        if blocked:
            seconds = BLOCK if error.wait is None else error.wait
            raise self.hosts.block(where.service, where.url, seconds, str(error))

    def _wait(self, trouble: Again, where: Place, attempt: int) -> None:
        """Wait before the next attempt; a host that is down or busy is left alone."""
        service, last = where.service, attempt >= self.http.attempts
        if trouble.busy:
            seconds = backoff(attempt) if trouble.wait is None else trouble.wait
            if last:
                seconds = max(seconds, REST)
                raise self.hosts.block(service, where.url, seconds, str(trouble))
            # the next `Hosts.wait` waits, or raises when it is too long
            self.hosts.pause(service, seconds, str(trouble))
        elif not last:
            self.sleep(max(backoff(attempt), min(trouble.wait or 0.0, 60.0)))
        elif trouble.silent and self.hosts.silent(service, where.url):
            raise self.hosts.block(service, where.url, REST, str(trouble))

    def _hops(
        self,
        url: str,
        read: Callable[[Response, Place], _T],
        *,
        photo: bool,
        keep: bool,
        headers: Mapping[str, str],
        asked: list[Place],
    ) -> _T:
        """Follow redirects by hand, each looked at as the first URL was."""
        for _ in range(_HOPS + 1):
            where = place(url, self.guard.allowed)
            if asked and asked[-1].scheme == "https" and where.scheme == "http":
                reason = f"redirected from https to http: {shown(url)}"
                raise Final(reason)
            self.guard.check(where.host)
            asked.append(where)
            self.hosts.wait(where.service, where.url)
            response, taken = self._send(where, headers), False
            try:
                target = response.headers.get("Location")
                if response.status_code in _REDIRECTS and target:
                    url = urljoin(where.url, _text(target))
                    continue
                self._judge(response, photo=photo)
                value = read(response, where)
                taken = True
            finally:
                if not (taken and keep):
                    response.close()
            self.hosts.answered(where.service)
            return value
        reason = f"more than {_HOPS} redirects"
        raise Final(reason)

    def _judge(self, response: Response, *, photo: bool) -> None:
        status, headers = response.status_code, response.headers
        if trouble := judge(status, headers, self.clock(), photo=photo):
            raise trouble

    def _send(self, where: Place, headers: Mapping[str, str]) -> Response:
        request = PreparedRequest()
        request.prepare(
            method="GET", url=where.url, headers={"User-Agent": self._agent, **headers}
        )
        timeout = self.http.timeout
        try:
            return self._adapter.send(
                request,
                stream=True,
                timeout=(timeout, timeout),
                verify=_certificates(),
                proxies=self._proxies_for(where),
            )
        except SSLError as error:
            reason = f"{where.service}: no secure connection: {_cause(error)}"
            raise Final(reason) from error
        except requests.RequestException as error:
            reason = f"{where.service}: {_cause(error)}"
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


def _text(header: str) -> str:
    """A header that is UTF-8 under the hood, as some send it in Location."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header


def _cause(error: Exception) -> str:
    """Why there was no answer, in words without addresses of memory or URLs."""
    text = str(error)
    if "NameResolution" in text or "Name or service" in text:
        return "the name has no address"
    if "timed out" in text or "timeout" in type(error).__name__.lower():
        return "no answer in time"
    if "refused" in text:
        return "the connection was refused"
    if "certificate" in text.lower():
        return "the certificate is not trusted"
    if "closed connection" in text or "reset" in text or "aborted" in text.lower():
        return "the connection broke off"
    return type(error).__name__
