"""What is never connected to: private, loopback, link-local and other inner addresses.

The check is made on the address that is connected to: a name is resolved once, its
addresses are checked, and the connection goes to a checked address. A name server that
answers otherwise a moment later changes nothing.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.response import HTTPResponse
from urllib3.util.timeout import _DEFAULT_TIMEOUT

from curation.http.urls import RefusedUrl, address
from curation.http.watch import Watch

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[tuple[Any, ...]]]
"""Name and port to what `socket.getaddrinfo` gives."""

_INNER: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "a provider's inner network (CGNAT)"),
    ("127.0.0.0/8", "loopback"),
    ("168.63.129.16/32", "a cloud's metadata service"),
    ("169.254.0.0/16", "link-local (metadata services live there)"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "for documentation"),
    ("192.31.196.0/24", "reserved"),
    ("192.52.193.0/24", "reserved"),
    ("192.88.99.0/24", "a 6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("192.175.48.0/24", "reserved"),
    ("198.18.0.0/15", "for benchmarks"),
    ("198.51.100.0/24", "for documentation"),
    ("203.0.113.0/24", "for documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved or broadcast"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::/96", "IPv4 in an IPv6 spelling"),
    ("64:ff9b:1::/48", "a local translation of IPv4"),
    ("100::/64", "discarded"),
    ("2001::/32", "Teredo, a tunnel for IPv4"),
    ("2001::/23", "reserved"),
    ("2001:db8::/32", "for documentation"),
    ("2002::/16", "6to4, a tunnel for IPv4"),
    ("3fff::/20", "for documentation"),
    ("5f00::/16", "reserved"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
_NETWORKS = tuple((ipaddress.ip_network(net), what) for net, what in _INNER)
_GLOBAL = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def inner(found: Address) -> str | None:
    """What an address is when it is not a public one; None for a public one.

    Example:
        >>> inner(ipaddress.ip_address("169.254.169.254"))
        'link-local (metadata services live there)'
        >>> inner(ipaddress.ip_address("::ffff:10.0.0.1"))
        'private'
        >>> inner(ipaddress.ip_address("1.1.1.1"))
    """
    if isinstance(found, ipaddress.IPv6Address):
        # networks without IPv4 of their own reach all of it through NAT64
        within = found.ipv4_mapped or (
            ipaddress.IPv4Address(found.packed[-4:]) if found in _NAT64 else None
        )
        if within is not None:
            return inner(within)
    for network, what in _NETWORKS:
        if found.version == network.version and found in network:
            return what
    if isinstance(found, ipaddress.IPv6Address) and found not in _GLOBAL:
        return "reserved"
    return None


class Guard:
    """Opens connections, to public addresses and to hosts that are allowed by name."""

    def __init__(
        self, allowed: frozenset[str] = frozenset(), *, resolve: Resolve | None = None
    ) -> None:
        self.allowed = allowed
        self._resolve: Resolve = resolve or _system

    def check(self, host: str) -> None:
        """Refuse a host that is written as an inner address.

        Raises:
            RefusedUrl: it is one.
        """
        found = address(host)
        if found is not None and host not in self.allowed and (what := inner(found)):
            message = f"{host} is not a public address: {what}"
            raise RefusedUrl(message)

    def connect(
        self,
        host: str,
        port: int,
        *,
        timeout: Any,  # noqa: ANN401 - seconds, None, or urllib3's mark for neither
        options: Sequence[tuple[int, int, int | bytes]] = (),
    ) -> socket.socket:
        """Connect to the first address of a host that answers.

        Raises:
            RefusedUrl: one of its addresses is not public.
            OSError: no name, or no address answered.
        """
        name = host.strip("[]").rstrip(".").lower()
        infos = self._resolve(name, port)
        if name not in self.allowed:
            for info in infos:
                self._refuse_inner(name, str(info[4][0]))
        trouble: OSError = OSError("the name has no address")
        for family, kind, protocol, _, target in infos:
            made = None
            try:
                made = socket.socket(family, kind, protocol)
                for option in options:
                    made.setsockopt(*option)
                if timeout is not _DEFAULT_TIMEOUT:
                    made.settimeout(timeout)
                made.connect(target)
            except OSError as error:
                trouble = error
                if made is not None:
                    made.close()
            else:
                return made
        raise trouble

    def _refuse_inner(self, name: str, found: str) -> None:
        known = address(found)
        what = "not an address" if known is None else inner(known)
        if what:
            message = f"{name} leads to {found}, not a public address: {what}"
            raise RefusedUrl(message)


def _system(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class _Plain(HTTPConnection):
    """A connection that the guard opens, and whose answers must begin in time."""

    guard: ClassVar[Guard]
    watch: ClassVar[Watch]

    def _new_conn(self) -> socket.socket:
        return _opened(self, self.guard)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        with self.watch.over(self.sock):
            return super().getresponse()


class _Secure(HTTPSConnection):
    """The same, with TLS, whose handshake has a time as well."""

    guard: ClassVar[Guard]
    watch: ClassVar[Watch]

    def connect(self) -> None:
        with ExitStack() as stack:
            self._handshake = stack
            super().connect()

    def _new_conn(self) -> socket.socket:
        opened = _opened(self, self.guard)
        # TLS takes the socket over: the second one stays for the watch to shut down
        second = self._handshake.enter_context(opened.dup())
        self._handshake.enter_context(self.watch.over(second))
        return opened

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        with self.watch.over(self.sock):
            return super().getresponse()


def _opened(connection: HTTPConnection, guard: Guard) -> socket.socket:
    """What `HTTPConnection._new_conn` does, by way of the guard."""
    try:
        return guard.connect(
            connection.host,
            connection.port,
            timeout=connection.timeout,
            options=connection.socket_options or (),
        )
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, "timed out") from error
    except OSError as error:
        raise NewConnectionError(connection, str(error)) from error


class GuardedAdapter(HTTPAdapter):
    """Of `requests`: its connections are opened by a guard, unless a proxy does it."""

    def __init__(self, guard: Guard, watch: Watch, *, connections: int) -> None:
        super().__init__(pool_connections=32, pool_maxsize=connections)
        plain = type("Plain", (_Plain,), {"guard": guard, "watch": watch})
        secure = type("Secure", (_Secure,), {"guard": guard, "watch": watch})
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("Pool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("SPool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }
