"""What is never connected to, however it is spelled and whenever it is looked up."""

import ipaddress
import re
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.config import Host, Http
from curation.errors import FetchError
from curation.http.door import HttpDoor
from curation.http.guard import inner
from curation.http.urls import RefusedUrl, masked, place
from tests.standins.faults import PHOTO
from tests.standins.server import Answer, Asked, Server

# what a spelling leads to by itself, and words that its refusal must have
SPELLINGS = {
    "http://127.0.0.1/": "loopback",
    "http://127.0.0.1:8080/": "loopback",
    "http://127.0.0.1./": "loopback",
    "http://127.255.255.254/": "loopback",
    "http://127.1/": "unusual spelling",
    "http://127.0.1/": "unusual spelling",
    "http://2130706433/": "unusual spelling",
    "http://0x7f000001/": "unusual spelling",
    "http://0x7f.0x0.0x0.0x1/": "unusual spelling",
    "http://0X7F.1/": "unusual spelling",
    "http://017700000001/": "unusual spelling",
    "http://0177.0.0.01/": "unusual spelling",
    "http://127.000.000.001/": "unusual spelling",
    "http://127.0.0.1.5/": "unusual spelling",
    "http://4294967297/": "unusual spelling",
    "http://0/": "unusual spelling",
    "http://0.0.0.0/": "this network",
    "http://255.255.255.255/": "broadcast",
    "http://10.0.0.1/": "private",
    "http://172.16.0.1/": "private",
    "http://172.31.255.255/": "private",
    "http://192.168.0.1/": "private",
    "http://100.64.0.1/": "CGNAT",
    "http://100.100.100.200/latest/meta-data/": "CGNAT",
    "http://169.254.169.254/latest/meta-data/": "link-local",
    "http://2852039166/": "unusual spelling",
    "http://0xA9FEA9FE/": "unusual spelling",
    "http://0251.0376.0251.0376/": "unusual spelling",
    "http://168.63.129.16/": "metadata",
    "http://192.0.0.192/": "reserved",
    "http://198.18.0.1/": "benchmarks",
    "http://224.0.0.1/": "multicast",
    "http://240.0.0.1/": "reserved",
    "http://[::]/": "unspecified",
    "http://[::1]/": "loopback",
    "http://[0:0:0:0:0:0:0:1]/": "loopback",
    "http://[::ffff:127.0.0.1]/": "loopback",
    "http://[::ffff:7f00:1]/": "loopback",
    "http://[0:0:0:0:0:ffff:169.254.169.254]/": "link-local",
    "http://[::127.0.0.1]/": "IPv4 in an IPv6 spelling",
    "http://[64:ff9b::127.0.0.1]/": "loopback",
    "http://[64:ff9b::a9fe:a9fe]/": "link-local",
    "http://[64:ff9b:1::7f00:1]/": "translation",
    "http://[2002:7f00:1::]/": "6to4",
    "http://[2001:0:7f00:1::]/": "Teredo",
    "http://[fe80::1]/": "link-local",
    "http://[fe80::1%25eth0]/": "link-local",
    "http://[fc00::1]/": "private",
    "http://[fd00:ec2::254]/": "private",
    "http://[fec0::1]/": "site-local",
    "http://[ff02::1]/": "multicast",
    "http://[2001:db8::1]/": "documentation",
    "http://[4000::1]/": "reserved",
    "http://localhost/": "private network",
    "http://LOCALHOST./": "private network",
    "http://app.localhost/": "private network",
    "http://printer/": "private network",
    "http://printer.local/": "private network",
    "http://metadata.google.internal/": "private network",
    "http://router.home.arpa/": "private network",
    "http://example.org@127.0.0.1/": "user name",
    "http://127.0.0.1@example.org/": "user name",
    "http://@127.0.0.1/": "user name",
    "http://:@127.0.0.1/": "user name",
    "http://example.org:pass@127.0.0.1/": "user name",
    "http://example.org\\@127.0.0.1/": "backslash",
    "http://127.0.0.1\\.example.org/": "backslash",
    "http://example.org\r\nHost: 127.0.0.1/": "control character",
    "http://127.0.0.1\t/": "control character",
    "http://127.0.0.1\x00.example.org/": "control character",
    "http://%31%32%37.0.0.1/": "host name",
    "http://127.0.0.1%2eexample.org/": "host name",
    "http://①②⑦.⓪.⓪.①/": "not a",
    "http://127。0。0。1/": "",
    "http://ｌｏｃａｌｈｏｓｔ/": "",
    "http:///127.0.0.1/": "",
    "http://[::1/": "not a valid URL",
    "http://[127.0.0.1]/": "",
    "http://..../": "host name",
    "http://a..example.org/": "host name",
    "http:127.0.0.1/": "",
    "//127.0.0.1/": "no scheme",
    "127.0.0.1/": "",
    "file:///etc/passwd": "only http and https",
    "FILE:///etc/passwd": "only http and https",
    "ftp://example.org/": "only http and https",
    "gopher://127.0.0.1:6379/_FLUSHALL": "only http and https",
    "data:image/png;base64,AAAA": "only http and https",
    "jar:http://127.0.0.1!/": "only http and https",
    "http://example.org:22/": "port 22",
    "http://example.org:25/": "port 25",
    "http://example.org:0/": "port 0",
    "https://example.org:6667/": "port 6667",
    "http://example.org:99999/": "",
    "http://example.org:-80/": "",
    "": "no scheme",
}


class Names:
    """A name server that a test decides; remembers what was looked up."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[tuple[Any, ...]]:
        self.asked.append(host)
        known = self._answers.pop(0) if self._answers else ()
        if not known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [_info(address, port) for address in known]


def _info(address: str, port: int) -> tuple[Any, ...]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    target = (address, port, 0, 0) if ":" in address else (address, port)
    return (family, socket.SOCK_STREAM, 6, "", target)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    def reply(asked: Asked) -> Answer:
        if "to" in asked.query:
            to = asked.query["to"].encode().decode("latin-1")  # UTF-8, as it is sent
            return Answer(302, headers={"Location": to})
        return Answer(body=PHOTO)

    with Server(reply) as running:
        yield running


def opened(tmp_path: Path, names: Names, *hosts: str) -> HttpDoor:
    return HttpDoor(
        Http(
            hosts=[Host(name=name, private=True) for name in hosts],
            timeout=5,
            attempts=2,
        ),
        state=tmp_path / "hosts.sqlite",
        sleep=lambda seconds: None,
        resolve=names,
    )


@pytest.mark.parametrize("url", SPELLINGS)
def test_spellings_are_refused(tmp_path: Path, url: str) -> None:
    names = Names()
    with opened(tmp_path, names) as door, pytest.raises(FetchError) as caught:
        door.photo(url, limit=1000)
    assert SPELLINGS[url] in str(caught.value)
    assert str(caught.value)
    assert names.asked == []  # not even looked up


# "http:///x" and "http:x" stay on the host that redirects; a header is one line
@pytest.mark.parametrize(
    "url",
    [
        url
        for url in SPELLINGS
        if url.isprintable() and re.match(r"[a-z]+:(//[^/]|[^/])", url, re.I)
        if url != "http:127.0.0.1/"
    ],
)
def test_spellings_are_refused_as_targets_of_a_redirect(
    tmp_path: Path, server: Server, url: str
) -> None:
    names = Names(["127.0.0.1"])
    port = server.url.rpartition(":")[2]
    first = f"http://mirror.example.org:{port}/?to={quote(url, safe='')}"
    with (
        opened(tmp_path, names, "mirror.example.org") as door,
        pytest.raises(FetchError) as caught,
    ):
        door.photo(first, limit=9_999)
    assert SPELLINGS[url] in str(caught.value)
    assert len(server.asked) == len(names.asked) == 1


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "0.0.0.0",
        "::1",
        "::ffff:127.0.0.1",
        "fd00:ec2::254",
        "fe80::1",
        "64:ff9b::7f00:1",
        "fe80::1%eth0",
        "nonsense",
    ],
)
def test_names_that_lead_inside_are_refused(tmp_path: Path, address: str) -> None:
    names = Names([address])
    with (
        opened(tmp_path, names) as door,
        pytest.raises(FetchError, match="not a public address") as caught,
    ):
        door.photo("https://photos.example.org/1.jpg", limit=1000)
    assert caught.value.attempts == 1
    assert names.asked == ["photos.example.org"]


def test_one_inner_address_among_public_ones_is_enough(tmp_path: Path) -> None:
    names = Names(["93.184.216.34", "127.0.0.1"])
    with (
        opened(tmp_path, names) as door,
        pytest.raises(FetchError, match=r"leads to 127\.0\.0\.1"),
    ):
        door.photo("http://photos.example.org/1.jpg", limit=1000)


def test_what_is_checked_is_what_is_connected_to(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that answers otherwise a moment later changes nothing."""
    connected: list[Any] = []

    def connect(self: socket.socket, address: Any) -> None:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    port = int(server.url.rpartition(":")[2])
    names = Names(["93.184.216.34"], ["127.0.0.1"])
    with (
        opened(tmp_path, names) as door,
        pytest.raises(FetchError, match=r"leads to 127\.0\.0\.1"),
    ):
        door.photo(f"http://rebind.example.org:{port}/", limit=1000)
    # the first attempt went to the public address that was checked, the second was
    # looked up, checked and refused; no other look-up was made
    assert connected == [("93.184.216.34", port)]
    assert names.asked == ["rebind.example.org"] * 2
    assert server.asked == []


def test_a_redirect_is_looked_up_and_checked_again(
    tmp_path: Path, server: Server
) -> None:
    port = server.url.rpartition(":")[2]
    names = Names(["127.0.0.1"], ["192.168.1.1"])
    url = f"http://mirror.example.org:{port}/?to=http://inside.example.org/"
    with (
        opened(tmp_path, names, "mirror.example.org") as door,
        pytest.raises(FetchError, match="inside.example.org leads to 192.168.1.1"),
    ):
        door.photo(url, limit=1000)


def test_hosts_are_allowed_by_name(tmp_path: Path, server: Server) -> None:
    port = server.url.rpartition(":")[2]
    names = Names(["127.0.0.1"], ["127.0.0.1"])
    with opened(tmp_path, names, "Mirror.Example.org.") as door:
        url = f"http://mirror.example.org:{port}/1.jpg"
        assert door.photo(url, limit=10_000) == PHOTO
        # the address of an allowed name is not allowed under another name
        with pytest.raises(FetchError, match="loopback"):
            door.photo(f"http://127.0.0.1:{port}/1.jpg", limit=10_000)
        with pytest.raises(FetchError, match="loopback"):
            door.photo(f"http://other.example.org:{port}/1.jpg", limit=10_000)


def test_the_next_address_is_tried_when_one_does_not_answer(
    tmp_path: Path, server: Server
) -> None:
    port = server.url.rpartition(":")[2]
    with opened(tmp_path, Names(["127.0.0.2", "127.0.0.1"]), "two.example.org") as door:
        url = f"http://two.example.org:{port}/1.jpg"
        assert door.photo(url, limit=10_000) == PHOTO


def test_no_way_back_from_https(tmp_path: Path, monkeypatch: Any) -> None:
    from curation.http import client

    asked: list[str] = []

    class Moved:
        status_code, headers = 301, {"Location": "http://photos.example.org/1.jpg"}
        raw = type("Raw", (), {"tell": staticmethod(lambda: 0)})

        def close(self) -> None:
            pass

    def send(self: object, where: Any, headers: object) -> Moved:
        asked.append(where.url)
        return Moved()

    monkeypatch.setattr(client.Client, "_send", send)
    with (
        opened(tmp_path, Names()) as door,
        pytest.raises(FetchError, match="from https to http"),
    ):
        door.photo("https://photos.example.org/1.jpg", limit=1000)
    assert asked == ["https://photos.example.org/1.jpg"]


@given(st.ip_addresses())
def test_what_python_calls_inner_is_refused(
    found: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    within = found.ipv4_mapped if found.version == 6 else None
    if inner(found) is None and not within:
        assert found.is_global
        assert not found.is_multicast
        assert not found.is_reserved or found in ipaddress.ip_network("64:ff9b::/96")


@given(st.ip_addresses(v=4))
def test_an_address_in_another_spelling_is_what_it_is(
    found: ipaddress.IPv4Address,
) -> None:
    for start in ("::ffff:", "64:ff9b::"):
        assert inner(ipaddress.ip_address(f"{start}{found}")) == inner(found)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "151.101.1.1", "2606:4700::1111", "64:ff9b::1.1.1.1", "172.32.0.1"],
)
def test_public_addresses_are_public(address: str) -> None:
    assert inner(ipaddress.ip_address(address)) is None


@pytest.mark.parametrize(
    ("url", "host", "port", "service"),
    [
        ("https://Example.ORG/a b.jpg#part", "example.org", 443, "example.org"),
        ("http://example.org.:8080/", "example.org", 8080, "example.org:8080"),
        ("https://bücher.example/", "xn--bcher-kva.example", 443, None),
        ("http://a_b.example.org/?q=1", "a_b.example.org", 80, "a_b.example.org"),
        (
            "https://[2606:4700::1111]:8443/",
            "2606:4700::1111",
            8443,
            "[2606:4700::1111]:8443",
        ),
    ],
)
def test_places(url: str, host: str, port: int, service: str | None) -> None:
    found = place(url)
    assert (found.host, found.port) == (host, port)
    assert found.service == (service or host)
    assert "#" not in found.url


@given(st.text(), st.sampled_from(["", "http://", "https://", "http://a.org/"]))
def test_any_text_is_a_place_or_refused(text: str, start: str) -> None:
    try:
        found = place(start + text)
    except RefusedUrl:
        return
    assert found.scheme in ("http", "https")
    assert place(found.url) == found


@pytest.mark.parametrize(
    "text",
    [
        "https://x.org/?key=s3cret",
        "https://x.org/?a=1&api_key=s3cret&b=2",
        "https://x.org/?access_token=s3cret#x",
        "https://x.org/?X-Amz-Signature=s3cret",
        "https://user:s3cret@x.org/",
        "{'Authorization': 'Bearer s3cret.s3cret'}",
        "Authorization: Basic s3cret==",
        "mail s3cret@example.org",
        "https://x.org/?mail=s3cret%40example.org",
        "token: s3cret",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    assert "s3cret" not in masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://x.org/photos/12345@N00/678",
        "https://x.org/?taxon_id=42&keyword=bear&per_page=200",
        "https://commons.wikimedia.org/wiki/File:Monkey=fun.jpg",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text
