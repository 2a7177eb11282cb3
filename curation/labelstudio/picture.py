"""A task's picture, fetched as the labelling page of a logged-in browser would."""

import base64
import binascii
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import httpx

from curation.errors import LabelStudioError
from curation.labelstudio import Picture, host
from curation.labelstudio.link import Link, loopback

LARGEST = 64 * 2**20
"""Bytes that are read of one picture; the rest is left."""

_HOPS = 5


def fetch(link: Link, image: str, *, task: int) -> Picture:
    """The picture at an address that stands in a task.

    Raises:
        LabelStudioError: nothing answers at the address.
    """
    if image.startswith("data:"):
        return _inside(image)
    home = _origin(link.url)
    if image.startswith("/"):
        url = home + image
    elif urlsplit(image).scheme in ("http", "https"):
        url = image
    else:  # of a storage: the server says where it is
        coded = base64.urlsafe_b64encode(image.encode()).decode()
        url = f"{link.url}/tasks/{task}/resolve/?fileuri={coded}"
    for _ in range(_HOPS):
        own = _origin(url) == home
        headers = {"Origin": home} | (link.headers() if own else {})
        answer, data = _get(url, headers)
        if not answer.is_redirect:
            break
        url = urljoin(url, answer.headers.get("location", ""))
    return Picture(
        status=answer.status_code,
        kind=answer.headers.get("content-type", "").partition(";")[0].strip(),
        data=data,
        url=url.partition("?")[0],
        shown_to_others=own or _open(answer, url, home),
    )


def _get(url: str, headers: dict[str, str]) -> tuple[httpx.Response, bytes]:
    """One answer and its bytes; no cookies, nothing followed."""
    try:
        with (
            httpx.Client(
                trust_env=not loopback(url),
                timeout=httpx.Timeout(60.0, connect=10.0),
                follow_redirects=False,
            ) as http,
            http.stream("GET", url, headers=headers) as answer,
        ):
            data = bytearray()
            for part in answer.iter_bytes():
                data += part
                if len(data) >= LARGEST:
                    break
            return answer, bytes(data[:LARGEST])
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        place = url.partition("?")[0]
        message = f"no picture from {place}: {type(error).__name__}"
        raise LabelStudioError(message, url=place) from None


def _open(answer: httpx.Response, url: str, home: str) -> bool:
    """Whether a page of the server's origin may show what another origin answered."""
    if home.startswith("https:") and url.startswith("http:") and not loopback(url):
        return False  # browsers hold plain content back from encrypted pages
    return answer.headers.get("access-control-allow-origin", "") in ("*", home)


def _inside(image: str) -> Picture:
    """A picture that is its own address."""
    head, _, body = image.removeprefix("data:").partition(",")
    kind, coded = head.partition(";")[0], head.endswith(";base64")
    try:
        data = base64.b64decode(body) if coded else unquote_to_bytes(body)
    except binascii.Error:
        data = b""
    return Picture(
        status=200, kind=kind, data=data, url=f"data:{kind}", shown_to_others=True
    )


def _origin(url: str) -> str:
    """What a browser compares: scheme, host and port.

    Example:
        >>> _origin("http://127.0.0.1:8080/label?x=1")
        'http://127.0.0.1:8080'
    """
    return f"{urlsplit(url).scheme}://{host(url)}"
