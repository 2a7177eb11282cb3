"""The line to a Label Studio server: its key, patience, and what went wrong.

The SDK's own retries are switched off: they send an import again after an answer of
500, or when the line breaks, and every task is then there twice. Here a request is sent
again only when it never arrived, or when twice is the same as once.
"""

import ipaddress
import json
import logging
import math
import re
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
from label_studio_sdk import LabelStudio
from label_studio_sdk.core.api_error import ApiError
from label_studio_sdk.tokens.client_ext import TokensClientExt
from label_studio_sdk.types.token_refresh_response import TokenRefreshResponse

from curation.errors import ConfigError, LabelStudioError
from curation.labelstudio import host, keys

TIMEOUT = httpx.Timeout(120.0, connect=10.0)
STRANGER = 3.0
"""Seconds to wait where no server has answered yet: the address may be wrong."""

_REFRESH = "/api/token/refresh/"
_TWICE_IS_ONCE = (_REFRESH, "/api/projects/validate/")
_BUSY = (429, 502, 503, 504)
_LONGEST = 5.0
_log = logging.getLogger(__name__)


class Patient(httpx.Client):
    """An HTTP client that outlasts a restart of a server it has met.

    Attributes:
        asked: method and path of the latest request, for messages.
        renew: puts a fresh access token into a request that was answered with 401;
            False when there is none to be had.
    """

    def __init__(self, *, patience: float, **options: Any) -> None:  # noqa: ANN401
        super().__init__(timeout=TIMEOUT, follow_redirects=False, **options)
        self.asked = ""
        self.renew: Callable[[httpx.Request], bool] = lambda _: False
        self._patience, self._met = patience, False

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:  # noqa: ANN401
        """Send a request until it is answered, or patience ends."""
        began, pause, renewed, told = 0.0, 0.2, False, False
        while True:
            self.asked = f"{request.method} {request.url.path}"
            answer, failure = None, None
            try:
                answer = super().send(request, **options)
            except httpx.TransportError as error:
                if "SSL" in str(error) or not (_unsent(error) or _again(request)):
                    raise
                failure = error
            if answer is not None:
                self._met |= answer.status_code < 500
                if answer.status_code == 401 and not renewed:
                    renewed = True
                    if self.renew(request):
                        continue
                    self.asked = f"{request.method} {request.url.path}"
                if not _passing(request, answer):
                    return answer
                pause = max(pause, _told_to_wait(answer))
            now = time.monotonic()
            began = began or now
            patience = min(self._patience, math.inf if self._met else STRANGER)
            if now + pause - began > patience:
                if answer is not None:
                    return answer
                assert failure is not None
                raise failure
            if pause > 1 and not told:
                told = True
                _log.warning("waiting for %s", request.url.host)
            time.sleep(pause)
            pause = min(pause * 1.6, _LONGEST)


class Exchange(TokensClientExt):
    """Gets access tokens for a personal access token.

    The SDK's own way drops a path that stands before /api, fails on an answer that is
    not JSON, and warns of its own use of a deprecated call.
    """

    def refresh(self, refresh_token: str | None = None) -> TokenRefreshResponse:
        """A new access token, kept nowhere."""
        http: Patient = self._client_wrapper.httpx_client.httpx_client
        answer = http.post(
            self._base_url.rstrip("/") + _REFRESH,
            json={"refresh": refresh_token or self._api_key},
        )
        body = _body(answer)
        if not answer.is_success or not isinstance(body, dict) or "access" not in body:
            raise ApiError(status_code=answer.status_code, body=body)
        return TokenRefreshResponse(access=body["access"])

    def renew(self, request: httpx.Request) -> bool:
        """Put a new access token into a request: the server's clock decides."""
        if self._use_legacy_token or request.url.path.endswith(_REFRESH):
            return False
        self._access_token = None
        request.headers["Authorization"] = f"Bearer {self.api_key}"
        return True


class Link:
    """A server, its SDK and a plain client, with one key for both.

    Args:
        url: where the server is.
        key: personal access token or legacy token.
        patience: seconds to wait for a server that does not answer.

    Attributes:
        url: without a slash at the end.
        sdk: Label Studio's own client.
    """

    def __init__(self, url: str, key: str, *, patience: float) -> None:
        self.url = address(url)
        self._key = key.strip()
        self._kind = keys.kind(self._key)
        self._http = Patient(patience=patience, trust_env=not loopback(self.url))
        weakref.finalize(self, self._http.close)
        try:
            self.sdk = LabelStudio(  # type: ignore[no-untyped-call]
                base_url=self.url,
                api_key=self._key,
                httpx_client=self._http,
                max_retries=0,
            )
            wrapper = self.sdk._client_wrapper
            self._tokens = Exchange(self.url, self._key, wrapper)
        except ApiError:  # it looks into a personal access token
            raise keys.damaged() from None
        if self._tokens._use_legacy_token is not (self._kind == "legacy"):
            raise keys.damaged()
        wrapper._tokens_client = self._tokens
        self._http.renew = self._tokens.renew

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def headers(self) -> dict[str, str]:
        """What a request must carry to be ours."""
        with self.explained():
            found: dict[str, str] = self.sdk._client_wrapper.get_headers()
        return found

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Any = None,  # noqa: ANN401
        content: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """One plain request; the JSON that came back, None when nothing did.

        Raises:
            LabelStudioError: any answer but success.
        """
        headers = self.headers()
        with self.explained():
            answer = self._http.request(
                method, self.url + path, params=params, json=content, headers=headers
            )
            body = _body(answer)
            if answer.is_success and isinstance(body, str):
                raise ApiError(status_code=answer.status_code, body=body)
            if not answer.is_success:
                raise ApiError(
                    status_code=answer.status_code,
                    headers=dict(answer.headers),
                    body=body,
                )
            return body

    def version(self) -> str:
        """Of the server; an error when it is no Label Studio."""
        try:
            about = self.ask("GET", "/api/version")
        except LabelStudioError as error:
            if error.status != 404:
                raise
            what = "404, there is no such page"
            raise self.strange(what) from None
        if not isinstance(about, dict) or "label-studio-os-package" not in about:
            raise self.strange(json.dumps(about)[:100])
        return str(about.get("release", "unknown"))

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what the SDK and the line raise into errors a user can act on."""
        try:
            yield
        except ApiError as error:
            raise self._wrong(error) from None
        except httpx.RequestError as error:
            raise self._silent(error) from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # the SDK checks no answer: other JSON fails where it is looked into
            what = f"in another form ({type(error).__name__})"
            raise self.strange(what) from None

    def _wrong(self, error: ApiError) -> Exception:
        status, body = error.status_code, error.body
        said = self.clean(words(body))
        asked = self._http.asked
        if status == 401:
            return keys.refused(
                self._kind, said, host(self.url), exchanged=_REFRESH not in asked
            )
        if status is None or status < 300:
            return self.strange(said)
        if status < 400:
            place = (error.headers or {}).get("location", "")
            there = self.clean(host(place)) or "a page"
            text = f"{asked} on {host(self.url)} is sent on to {there}: set "
            text += "LABEL_STUDIO_URL to the server's own address"
        else:
            text = f"{asked} on {host(self.url)}: {status}, {said}"
        url = self.url + asked.partition(" ")[2]
        return LabelStudioError(text, url=url, status=status)

    def _silent(self, error: httpx.RequestError) -> LabelStudioError:
        asked = self._http.asked
        method, _, path = asked.partition(" ")
        if _unsent(error):
            text = f"nothing answers at {self.url}: is Label Studio running there?"
            text += f" ({error})" if str(error) else ""
        else:
            text = f"{asked} on {host(self.url)} broke off ({type(error).__name__})"
            if method == "POST" and not path.endswith(_TWICE_IS_ONCE):
                text += "; whether it was done is unknown, so it was not sent again"
        return LabelStudioError(text, url=self.url + path)

    def strange(self, what: str) -> LabelStudioError:
        """An answer that Label Studio would not give."""
        asked = self._http.asked
        text = (
            f"{self.url} answers {asked} as Label Studio would not: {self.clean(what)}"
            "; is another service at that address?"
        )
        return LabelStudioError(text, url=self.url + asked.partition(" ")[2])

    def clean(self, text: str) -> str:
        """Without our key or what it was exchanged for, should an answer repeat it."""
        for secret in (self._key, self._tokens._access_token):
            text = text.replace(secret, "…") if secret else text
        return text


def address(url: str) -> str:
    """A server's address as it is used: checked, and without a slash at the end.

    Raises:
        ConfigError: it is none, or it carries more than an address.

    Example:
        >>> address(" http://127.0.0.1:8080/ ")
        'http://127.0.0.1:8080'
    """
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = "LABEL_STUDIO_URL is no address such as http://127.0.0.1:8080"
        raise ConfigError(message)
    if "@" in parts.netloc or parts.query or parts.fragment:
        message = (
            "LABEL_STUDIO_URL is to be an address alone, without user, password or "
            f"query: {parts.scheme}://{host(url)}"
        )
        raise ConfigError(message)
    return url


def loopback(url: str) -> bool:
    """Whether a URL is of this machine, where a proxy has no business.

    Example:
        >>> loopback("http://127.0.0.1:8080"), loopback("https://example.org")
        (True, False)
    """
    name = urlsplit(url).hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def words(body: Any, *, most: int = 300) -> str:  # noqa: ANN401
    """What an answer says, in one short line.

    Example:
        >>> words({"detail": "Validation error", "validation_errors": {"a": ["no"]}})
        'a: no'
        >>> words("<html><title>Not here</title></html>")
        'a page "Not here"'
    """
    if isinstance(body, dict):
        errors = body.get("validation_errors")
        if isinstance(errors, dict) and errors:
            text = "; ".join(
                (f"{name}: " if name != "non_field_errors" else "")
                + (" ".join(map(str, said)) if isinstance(said, list) else str(said))
                for name, said in errors.items()
            )
        else:
            text = str(body.get("detail") or body.get("error") or json.dumps(body))
    else:
        text = str(body or "an empty answer")
        if "<" in text[:200]:
            title = re.search(r"<title>\s*(.*?)\s*</title>", text, re.S | re.I)
            text = f'a page "{title[1]}"' if title else "a page"
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _body(answer: httpx.Response) -> Any:  # noqa: ANN401
    """JSON of an answer, its text when it is none, None when there is nothing."""
    try:
        return answer.json() if answer.content else None
    except ValueError:
        return answer.text


def _unsent(error: Exception) -> bool:
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)


def _again(request: httpx.Request) -> bool:
    return request.method != "POST" or request.url.path.endswith(_TWICE_IS_ONCE)


def _passing(request: httpx.Request, answer: httpx.Response) -> bool:
    """Whether the same request may soon be answered otherwise, and may be repeated."""
    if answer.status_code == 429:  # turned away: it was not done
        return True
    if not _again(request):
        return False
    return answer.status_code in _BUSY or (
        answer.status_code == 500 and b"database is locked" in answer.content
    )


def _told_to_wait(answer: httpx.Response) -> float:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0
