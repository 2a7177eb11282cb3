"""URLs: which are asked at all, and how they are shown without secrets."""

import ipaddress
import re
import socket
from dataclasses import dataclass

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

_PORTS = {"http": 80, "https": 443}
_SERVICES = frozenset(
    [1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6679, 6697]
    + [*range(6665, 6670), 10080]
)
"""Ports above 1023 on which something other than a web server listens."""
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", re.ASCII)
_INSIDE = ("localhost", "local", "internal", "intranet", "lan", "home.arpa")
"""Last parts of names that only mean something inside a network."""

_SECRET = r"(?:api[_-]?key|key|(?:access[_-]?|auth[_-]?)?token|secret|client_secret"
_SECRET += r"|password|passwd|pwd|signature|sig|x-amz-[a-z-]+|authorization)"
_HIDDEN = (
    (re.compile(r"(?i)\b(bearer|basic|token)\s+[a-z0-9._~+/=-]{6,}"), r"\1 ***"),
    (re.compile(rf"(?i)\b({_SECRET}[\"']?\s*[=:]\s*[\"']?)[^&#\s\"'<>,;)]+"), r"\1***"),
    (re.compile(r"(?i)(?<=//)[^/?#\s@]*@"), "***@"),
    (re.compile(r"[\w.+%-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+"), "<e-mail>"),
)


class RefusedUrl(Exception):
    """A URL or an address is never asked; `str(error)` says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL leads.

    Attributes:
        url: as it is asked, without fragment.
        scheme: "http" or "https".
        host: lower-case name without a closing dot, or an address without brackets.
        port: 1 to 65535.
    """

    url: str
    scheme: str
    host: str
    port: int

    @property
    def service(self) -> str:
        """Host, with the port where it is not the usual one: who is asked."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def masked(text: str) -> str:
    """A text without tokens, passwords and e-mail addresses.

    Example:
        >>> masked("https://api.example.org/?q=bear&api_key=s3cret")
        'https://api.example.org/?q=bear&api_key=***'
        >>> masked("written by someone@example.org")
        'written by <e-mail>'
    """
    for pattern, instead in _HIDDEN:
        text = pattern.sub(instead, text)
    return text


def shown(url: str) -> str:
    """A URL for messages: masked, without control characters, not endless."""
    text = masked("".join(c if c.isprintable() else "?" for c in url))
    return text if len(text) <= 300 else text[:297] + "…"


def place(url: str, allowed: frozenset[str] = frozenset()) -> Place:
    """Take a URL apart.

    Args:
        url: absolute.
        allowed: hosts that may be private.

    Returns: where it leads.

    Raises:
        RefusedUrl: not http or https, with a user or password, a port or name that no
            public web server has, or an address in an unusual spelling.
    """
    url = url.strip()
    if not url.isprintable() or "\\" in url:
        message = "the URL has a control character or a backslash"
        raise RefusedUrl(message)
    try:
        parts = parse_url(url)
    except (LocationParseError, ValueError, RecursionError) as error:
        message = "not a valid URL"
        raise RefusedUrl(message) from error
    scheme = parts.scheme or ""
    if scheme not in _PORTS:
        message = f"{scheme[:20] or 'no scheme'}: only http and https are asked"
        raise RefusedUrl(message)
    authority = re.split(r"[/?#]", url.partition("//")[2], maxsplit=1)[0]
    if parts.auth is not None or "@" in authority:
        message = "the URL has a user name or password"
        raise RefusedUrl(message)
    if "%" in authority and not authority.startswith("["):
        message = f"{authority[:60]!r} is not a host name"
        raise RefusedUrl(message)
    host = (parts.host or "").lower().rstrip(".")
    if host.startswith("["):
        host = host[1:-1]
    port = _PORTS[scheme] if parts.port is None else parts.port
    if host not in allowed:
        _usual(host, port)
    if not 0 < port < 65536:
        message = f"port {port} is no port"
        raise RefusedUrl(message)
    return Place(parts._replace(fragment=None).url, scheme, host, port)


def _usual(host: str, port: int) -> None:
    """Refuse names and ports that no public web server has."""
    if port not in _PORTS.values() and (port < 1024 or port in _SERVICES):
        message = f"port {port} is not a web server's"
        raise RefusedUrl(message)
    if address(host) is not None:
        return
    labels = host.split(".")
    if labels[-1].isdigit() or labels[-1].startswith("0x") or _is_number(host):
        message = f"{host[:60]}: an address in an unusual spelling"
        raise RefusedUrl(message)
    well = all(len(label) <= 63 and _NAME.fullmatch(label) for label in labels)
    if not well or len(host) > 253:
        message = f"{host[:60]!r} is not a host name"
        raise RefusedUrl(message)
    inside = any(host == end or host.endswith(f".{end}") for end in _INSIDE)
    if inside or len(labels) == 1:
        message = f"{host}: a name inside a private network"
        raise RefusedUrl(message)


def address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address a host is written as, in its one usual spelling; None for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _is_number(host: str) -> bool:
    """Whether the system would read a name as an IPv4 address: 127.1, 0x7f000001."""
    try:
        socket.inet_aton(host)
    except (OSError, UnicodeError):
        return False
    return True
