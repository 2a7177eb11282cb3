"""Records of services on the network: read without trusting them, class after class.

What a service answers may hold anything: other types than documented, HTML, control
characters, halves of surrogate pairs, e-mail addresses. What leaves these functions can
be kept in any table and shown.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urlsplit

from curation.errors import InputError
from curation.licences import normalise
from curation.sources import Candidate, Page, Target

Crawl = Callable[[Target, Any], Iterator[tuple[Sequence[Candidate], Any]]]
"""Answers of one class from a place on (None: the start): its candidates and the place
after them, as JSON values; None after the last. There is at least one answer."""

NO_ADDRESS = "no address that can be used is stated"
NO_LICENCE = "no licence is stated"

_MAIL = re.compile(
    r"[\w.+-]+@(?:[\w-]+\.)+(?!(?:jpe?g|png|gif|webp|tiff?|svg)\b)[a-z]{2,}", re.I
)
_MAILLESS = "[e-mail address left out]"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]")
_INATURALIST = re.compile(
    r"https?://(?:(?:www\.)?inaturalist\.org|static\.inaturalist\.org|"
    r"inaturalist-open-data\.s3[\w.-]*\.amazonaws\.com)/photos/(\d{1,15})(?!\d)"
)
_FLICKR = re.compile(
    r"https?://(?:(?:www\.)?flickr\.com/photos/[^/?#]+/(\d{1,15})(?!\d)"
    r"|(?:live|farm\d+)\.static\.?flickr\.com/(?:\d+/)*(\d{1,15})_)"
)
_COMMONS = re.compile(
    r"https?://commons\.(?:m\.)?wikimedia\.org/[^#]*[?&]curid=(\d{1,15})(?!\d)"
)


def by_class(
    targets: Sequence[Target], cursor: str | None, *, crawl: Crawl
) -> Iterator[Page]:
    """Pages of all classes, one class after the other.

    Raises:
        InputError: the cursor is not one of these classes'.
    """
    names = [target.name for target in targets]
    place, at = 0, None
    if cursor is not None:
        try:
            state = json.loads(cursor)
            place, at = names.index(state["class"]), state["at"]
        except (ValueError, TypeError, KeyError) as error:
            message = f"the place where collecting stopped cannot be read: {cursor!r}"
            raise InputError(message) from error
    for number in range(place, len(targets)):
        for candidates, after in crawl(targets[number], at):
            follow = None
            if after is not None:
                follow = {"class": names[number], "at": after}
            elif number + 1 < len(targets):
                follow = {"class": names[number + 1], "at": None}
            yield Page(candidates, json.dumps(follow) if follow else None)
        at = None


def mapping(value: object) -> Mapping[str, Any]:
    """The value when it is an object, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def listing(value: object) -> Sequence[Any]:
    """The value when it is an array, otherwise an empty one."""
    return value if isinstance(value, list) else ()


def text(value: object, limit: int = 500) -> str | None:
    r"""One line of at most `limit` characters, without e-mail addresses; None if empty.

    Example:
        >>> text(" Jane\n Roe,  jane@example.org ")
        'Jane Roe, [e-mail address left out]'
        >>> text({}) is None
        True
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    line = str(value)[: limit * 20].encode("utf-8", "replace").decode("utf-8")
    line = _MAIL.sub(_MAILLESS, " ".join(_CONTROL.sub(" ", line).split()))
    return (line if len(line) <= limit else line[: limit - 1] + "…") or None


def plain(value: object) -> str | None:
    """The text of a piece of HTML, as `text` gives it: no tag, no script.

    Example:
        >>> plain('<a href="//x">Jane</a> &amp; <script>no()</script> Co')
        'Jane & Co'
    """
    if not isinstance(value, str):
        return text(value)
    reader = _Text()
    # a tag that does not end would be taken for text
    reader.feed(re.sub(r"<[a-zA-Z/!][^>]*$", "", value[:20_000]))
    reader.close()
    # what was written as an entity must not become a tag where it is shown
    return text(re.sub(r"[<>]", " ", "".join(reader.parts)))


class _Text(HTMLParser):
    """Collects what a reader of the page would see."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden, self._depth = "", 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._depth:
            self._depth += tag == self._hidden
        elif tag in ("script", "style") or any(
            name == "style" and re.search(r"display\s*:\s*none", value or "")
            for name, value in attrs
        ):
            self._hidden, self._depth = tag, 1
        if tag in ("br", "p", "div", "li", "td", "tr", "hr"):
            self.parts.append(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if self._depth and tag == self._hidden:
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        if not self._depth:
            self.parts.append(data)


def number(value: object) -> float | None:
    """A finite number, also where it is written as text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) else None


def whole(value: object) -> int | None:
    """An id or a count: 0 to 10^15, also where it is written as text.

    Example:
        >>> whole("42"), whole(4.5), whole(True)
        (42, None, None)
    """
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,16}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= 10**15 else None


def web(value: object) -> str | None:
    """An address that begins with http or https and names a host; None otherwise.

    One that carries a password or an e-mail address is none.
    """
    if not isinstance(value, str):
        return None
    address = value.strip()
    if address.startswith("//"):
        address = f"https:{address}"
    if len(address) > 2000 or re.search(r"[\s\x00-\x1f\x7f\ud800-\udfff]", address):
        return None
    try:
        parts = urlsplit(address)
        named = parts.scheme in ("http", "https") and bool(parts.hostname)
        usable = named and parts.username is None and parts.port != 0
    except ValueError:
        return None
    return address if usable and not _MAIL.search(unquote(address)) else None


def host_of(address: str) -> str:
    """The host a service's address names."""
    return urlsplit(address).hostname or address


def day(value: object) -> str | None:
    """The day of an ISO date or time as YYYY-MM-DD; None for spans and parts of dates.

    Example:
        >>> day("2019-01-09T16:06:54"), day("2019-01"), day("2019-01-09/2019-02-01")
        ('2019-01-09', None, None)
    """
    if not isinstance(value, str):
        return None
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[T ][0-9:.,+Z -]*)?", value.strip())
    try:
        return date.fromisoformat(found[1]).isoformat() if found else None
    except ValueError:
        return None


def coarse(latitude: object, longitude: object) -> tuple[float | None, float | None]:
    """Degrees rounded to 0.1; nothing where one of them is no place on earth."""
    north, east = number(latitude), number(longitude)
    if north is None or east is None or abs(north) > 90 or abs(east) > 180:
        return None, None
    return round(north, 1), round(east, 1)


def key_of(record: object) -> str:
    """A key for a record that states none: the same for the same content."""
    content = json.dumps(record, sort_keys=True).encode()
    return f"unreadable:{hashlib.sha256(content).hexdigest()[:32]}"


def licence_of(stated: str | None) -> tuple[str | None, str | None]:
    """A licence's name, and why there is none.

    Example:
        >>> licence_of("cc-by-4.0"), licence_of(None), licence_of("ask me")
        (('CC-BY-4.0', None), (None, 'no licence is stated'), \
(None, 'licence not recognised: ask me'))
    """
    if not stated:
        return None, NO_LICENCE
    name = normalise(stated)
    return name, None if name else f"licence not recognised: {stated}"


def photo_key(*addresses: str | None) -> str | None:
    """Names a photo by the site it was first put on, from any address of it.

    Example:
        >>> photo_key("https://www.inaturalist.org/photos/30065447")
        'inaturalist:30065447'
        >>> photo_key("https://commons.wikimedia.org/w/index.php?curid=7")
        'commons:7'
    """
    for site, pattern in (
        ("inaturalist", _INATURALIST),
        ("commons", _COMMONS),
        ("flickr", _FLICKR),
    ):
        for address in addresses:
            if address and (found := pattern.match(address)):
                return f"{site}:{next(part for part in found.groups() if part)}"
    return None


def position(cursor: str | None) -> int:
    """A cursor that is a number: how far a source came; 0 at its start.

    Raises:
        InputError: it is none.
    """
    if cursor is None:
        return 0
    if not (cursor.isdecimal() and cursor.isascii()):
        message = f"the place where collecting stopped cannot be read: {cursor!r}"
        raise InputError(message)
    return int(cursor)
