"""What a site asks of programs: robots.txt (RFC 9309) and the header X-Robots-Tag."""

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from requests import Response

from curation.http.answers import Final
from curation.http.bodies import whole
from curation.http.hosts import REST
from curation.http.urls import Place

if TYPE_CHECKING:
    from curation.http.client import Client

AGENT = "counterset"
SIZE = 500 * 1024
"""Bytes of a robots.txt that count, the least the standard asks for."""
_LARGEST = 10_000_000
_REFUSING = frozenset({"noai", "noimageai", "none"})
_LONGEST = 2_000  # characters of a rule that are looked at


@dataclass(frozen=True, slots=True)
class Rules:
    """What one robots.txt says to us: (allowed, path pattern), in any order."""

    rules: tuple[tuple[bool, str], ...] = ()

    def allow(self, url: str) -> bool:
        r"""Whether a URL may be fetched: the longest rule decides, of equals `allow`.

        Example:
            >>> rules = parse("User-agent: *\nDisallow: /private\nAllow: /private/a")
            >>> rules.allow("https://x.org/private/b.jpg")
            False
            >>> rules.allow("https://x.org/private/a.jpg")
            True
        """
        parts = urlsplit(url)
        path = _spelled(parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        best = (-1, True)
        for allowed, pattern in self.rules:
            if _matches(pattern, path):
                best = max(best, (len(pattern), allowed))
        return best[1]


EVERYTHING = Rules()
"""What holds where there is no robots.txt."""


def parse(text: str) -> Rules:
    """The rules of a robots.txt for us: those for our name, else those for all."""
    groups: dict[str, list[tuple[bool, str]]] = {}
    agents: list[str] = []
    heading = False
    for line in text.removeprefix("\ufeff").splitlines():
        key, colon, value = line.partition("#")[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if not colon:
            continue
        if key == "user-agent":
            # names one after the other share the rules that follow
            agents = [*agents, _product(value)] if heading else [_product(value)]
            heading = True
            groups.setdefault(agents[-1], [])
        elif key in ("allow", "disallow"):
            heading = False
            if value and len(value) <= _LONGEST:
                for agent in agents:
                    groups[agent].append((key == "allow", _spelled(value)))
    return Rules(tuple(groups.get(AGENT, groups.get("*", []))))


def _product(agent: str) -> str:
    """Name of a program, without version."""
    if agent.startswith("*"):
        return "*"
    found = re.match(r"[A-Za-z_-]+", agent)
    return found.group().lower() if found else ""


def _spelled(path: str) -> str:
    """A path in one spelling, whatever was percent-encoded."""
    return quote(unquote(path), safe="/:@!$&'()*+,;=-._~?%")


def _matches(pattern: str, path: str) -> bool:
    """Whether a path begins as a pattern; `*` is anything, a last `$` the end.

    Walked part by part, as a regular expression with many `*` can take for ever.
    """
    ends = pattern.endswith("$")
    first, *rest = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    place = len(first)
    if not rest:
        return not ends or place == len(path)
    for part in rest[:-1]:
        place = path.find(part, place)
        if place < 0:
            return False
        place += len(part)
    last = rest[-1]
    if ends:
        return len(path) - len(last) >= place and path.endswith(last)
    return path.find(last, place) >= 0


def refusing_tag(headers: Iterable[str]) -> str | None:
    """The word of X-Robots-Tag that keeps a photo from us; None when there is none.

    Words for other programs, such as `googlebot: none`, do not count.

    Example:
        >>> refusing_tag(["noindex, NoAI"])
        'noai'
        >>> refusing_tag(["otherbot: noai", "unavailable_after: 25 Jun 2030 15:00:00"])
    """
    for header in headers:
        agent = "*"
        for word in header.split(","):
            name, colon, rest = word.strip().lower().partition(":")
            if colon and name.strip() != "unavailable_after":
                agent, name = name.strip(), rest
            if agent in ("*", AGENT) and name.strip() in _REFUSING:
                return name.strip()
    return None


class Robots:
    """The robots.txt of every host that was asked, read once; for many threads."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._known: dict[str, Rules] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def may(self, where: Place) -> None:
        """Refuse what a host's robots.txt keeps from us.

        Raises:
            Final: it does, or it cannot be read.
            HostBlocked: it cannot be read now: the host fails, and is left alone.
        """
        origin = f"{where.scheme}://{where.service}"
        with self._lock:
            lock = self._locks.setdefault(origin, threading.Lock())
        with lock:  # other threads wait for the one that reads it
            rules = self._known.get(origin)
            if rules is None:
                rules = self._known[origin] = self._read(where)
        if not rules.allow(where.url):
            reason = "robots.txt does not allow it"
            raise Final(reason)

    def _read(self, where: Place) -> Rules:
        url = f"{where.scheme}://{where.service}/robots.txt"

        def read(response: Response, _: Place) -> Rules:
            if response.status_code >= 400:
                return EVERYTHING
            timeout = self._client.http.timeout
            text = whole(response, limit=_LARGEST, timeout=timeout)[:SIZE]
            return parse(text.decode("utf-8", "replace"))

        try:
            return self._client.ask(url, read, headers={"Accept": "text/plain,*/*"})
        except Final as error:
            if error.gone:
                return EVERYTHING
            reason = f"robots.txt cannot be read: {error}"
            if error.attempts < self._client.http.attempts:
                raise Final(reason, status=error.status) from error
            hosts = self._client.hosts
            raise hosts.block(where.service, url, REST, reason=reason) from error


def check_tag(response: Response) -> None:
    """Refuse a photo whose X-Robots-Tag keeps it from us.

    Raises:
        Final: it does.
    """
    # requests joins headers of one name by ", "
    if word := refusing_tag([response.headers.get("X-Robots-Tag", "")]):
        reason = f"X-Robots-Tag: {word}"
        raise Final(reason, status=response.status_code)
