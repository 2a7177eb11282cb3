"""The door as everything else sees it: JSON, lines of large files, and photos.

Errors are raised without the ones that caused them: those of `requests` tell the whole
URL, tokens included.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from requests import Response

from curation.config import Http
from curation.errors import ConfigError, FetchError, SourceError
from curation.http import Door
from curation.http.answers import Again, Final, forbidden, kind_of
from curation.http.bodies import whole
from curation.http.client import Client
from curation.http.guard import Resolve
from curation.http.lines import lines
from curation.http.robots import Robots, check_tag
from curation.http.state import State
from curation.http.urls import Place, shown

_JSON_LIMIT = 100_000_000
_ERROR_LIMIT = 100_000


class HttpDoor:
    """Implements `curation.http.Door` on `requests`; a context manager.

    Args:
        http: section of dataset.toml.
        contact: how to reach us; `http.contact` when empty.
        state: file that remembers what hosts were asked, shared with other runs;
            by default in the user's state folder.
        sleep: waits some seconds.
        clock: seconds since 1970 (UTC).
        resolve: in place of the system's name server.
    """

    def __init__(
        self,
        http: Http,
        *,
        contact: str = "",
        state: Path | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
        resolve: Resolve | None = None,
    ) -> None:
        self._http, self._contact = http, contact or http.contact
        self._client = Client(
            http,
            contact=self._contact,
            state=State(state, clock=clock),
            sleep=sleep,
            clock=clock,
            resolve=resolve,
        )
        self._robots = Robots(self._client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def json(
        self,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        contact: bool = False,
    ) -> Any:  # noqa: ANN401 - what a service answers
        """See `Door.json`."""
        if contact and not self._contact:
            message = (
                f"http.contact: missing; {shown(url)} demands an e-mail address or web "
                "page where you can be reached"
            )
            raise ConfigError(message)
        if params:
            url += ("&" if "?" in url else "?") + urlencode(dict(params))
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        try:
            return self._client.ask(url, self._read_json, headers=headers)
        except Final as error:
            raise _source_error(error, url) from None

    def _read_json(self, response: Response, where: Place) -> Any:  # noqa: ANN401
        timeout, status = self._http.timeout, response.status_code
        if status >= 400:
            body = whole(response, limit=_ERROR_LIMIT, timeout=timeout)
            now = self._client.clock()
            raise forbidden(status, response.headers, body, now)
        body = whole(response, limit=_JSON_LIMIT, timeout=timeout)
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            found = "a web page" if body.lstrip()[:1] == b"<" else f"{len(body)} bytes"
            reason = f"HTTP {status}, but not JSON: {found}"
            raise Again(reason, status=status) from error

    def lines(self, url: str) -> Iterator[bytes]:
        """See `Door.lines`."""
        try:
            yield from lines(self._client, url)
        except Final as error:
            raise _source_error(error, url) from None

    def photo(self, url: str, *, limit: int, robots: bool = False) -> bytes:
        """See `Door.photo`."""

        def read(response: Response, where: Place) -> bytes:
            if robots:
                check_tag(response)
            data = whole(response, limit=limit, timeout=self._http.timeout)
            if not data:
                reason = "an empty file"
                raise Again(reason, status=response.status_code)
            if found := kind_of(data):
                reason = f"not a picture: {found}"
                raise Final(reason, status=response.status_code)
            return data

        headers = {"Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
        try:
            return self._client.ask(
                url,
                read,
                photo=True,
                may=self._robots.may if robots else None,
                headers=headers,
            )
        except Final as error:
            raise FetchError(
                str(error),
                attempts=error.attempts,
                gone=error.gone,
                passing=error.passing,
            ) from None


def _source_error(error: Final, url: str) -> SourceError:
    message = f"{shown(url)}: {error} (attempts: {error.attempts})"
    return SourceError(
        message, url=shown(url), status=error.status, attempts=error.attempts
    )


if TYPE_CHECKING:
    _: type[Door] = HttpDoor
