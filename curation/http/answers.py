"""What an answer means: taken, asked again, waited for, or given up."""

import json
import random
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from curation.http.urls import masked

GONE = frozenset({404, 410, 451})
"""What was asked for is not offered, now or any more."""
BUSY = frozenset({420, 429})
"""We ask too much; 420 is how GBIF says it."""
PASSING = frozenset({408, 425, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524})
"""Trouble on their side that may pass."""
_BUSY_CODES = frozenset({"maxlag", "ratelimited"})  # MediaWiki says these with a 200
_BLOCK = re.compile(
    r"(?i)\b(block|bann?ed|abus|forbidden by|rate|throttl|too many|captcha|denied)"
)
_LONGEST = 400 * 86_400.0


class Again(Exception):
    """Worth another attempt.

    Attributes:
        status: HTTP status; None when there was no answer.
        wait: seconds the service asks us to wait; None when it does not say.
        busy: it says that we ask too much.
        silent: nothing was answered: the host may be down.
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        wait: float | None = None,
        busy: bool = False,
        silent: bool = False,
    ) -> None:
        super().__init__(reason)
        self.status, self.wait, self.busy, self.silent = status, wait, busy, silent


class Final(Exception):
    """Asking again would give the same.

    Attributes:
        status: HTTP status; None when nothing was asked.
        gone: the service says that it does not offer this.
        blocked: the service refuses us, not this request.
        wait: seconds the service asks us to wait; None when it does not say.
        attempts: how often it was tried.
        passing: attempts ran out on trouble that may be over another day.
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        gone: bool = False,
        blocked: bool = False,
        wait: float | None = None,
        attempts: int = 1,
        passing: bool = False,
    ) -> None:
        super().__init__(reason)
        self.status, self.gone, self.blocked = status, gone, blocked
        self.wait, self.attempts, self.passing = wait, attempts, passing


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds a service asks us to wait, from `Retry-After` in either of its forms.

    Args:
        headers: of the answer.
        now: seconds since 1970 (UTC).

    Returns: 0 or more; None where nothing usable is said.

    Example:
        >>> retry_after({"Retry-After": "120"}, 0)
        120.0
        >>> retry_after({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, 50)
        10.0
    """
    said = headers.get("Retry-After", "").strip()
    try:
        wait = float(said)
    except ValueError:
        try:
            when = parsedate_to_datetime(said)
            when = when if when.tzinfo else when.replace(tzinfo=UTC)
            wait = when.timestamp() - now
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    if wait != wait:  # "nan" is a number to float()
        return None
    return min(max(wait, 0.0), _LONGEST)


def backoff(attempt: int) -> float:
    """Seconds before the next attempt: 1, 2, 4, … up to 60, half to one and a half."""
    return float(min(2 ** (attempt - 1), 60)) * random.uniform(0.5, 1.5)


def judge(
    status: int, headers: Mapping[str, str], now: float, *, photo: bool
) -> Again | Final | None:
    """What a status means; None for an answer to be read, or one to be read into.

    A 403 for a photo refuses that photo: media hosts say so of photos that were taken
    down. A 403 of a service depends on its body: see `forbidden`.
    """
    wait = retry_after(headers, now)
    if status in BUSY or (status == 503 and wait is not None):
        return Again(f"HTTP {status}: too busy", status=status, wait=wait, busy=True)
    if headers.get("MediaWiki-API-Error") in _BUSY_CODES:
        code = headers["MediaWiki-API-Error"]
        return Again(f"{code}: too busy", status=status, wait=wait or 5.0, busy=True)
    if status in PASSING or status >= 500:
        return Again(f"HTTP {status}: the service failed", status=status, wait=wait)
    if status in GONE:
        return Final(f"HTTP {status}: not there", status=status, gone=True)
    if status == 403 and photo:
        # a page for people is a guard's, not the answer of where the photos are
        gone = "html" not in headers.get("Content-Type", "").lower()
        return Final("HTTP 403: refused", status=status, gone=gone)
    if status in (200, 203, 206) or (status >= 400 and not photo):
        return None
    return Final(f"HTTP {status}", status=status)


def forbidden(
    status: int, headers: Mapping[str, str], body: bytes, now: float
) -> Final:
    """What a service's 4xx means by its words.

    A 403 in JSON answers this request, such as iNaturalist's for a page too far, unless
    it speaks of blocking; a 403 with anything else comes from what guards the service.
    """
    said, is_json = words(body)
    blocked = status == 403 and (not is_json or bool(_BLOCK.search(said)))
    reason = f"HTTP {status}" + (f": {said}" if said else "")
    wait = retry_after(headers, now)
    return Final(reason, status=status, blocked=blocked, wait=wait)


def words(body: bytes) -> tuple[str, bool]:
    """What an error's body says, masked and short; and whether it is JSON."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        text = body[:2000].decode("utf-8", "replace")
        text = re.sub(r"(?is)<(script|style).*?(</\1>|$)|<[^>]*>?", " ", text)
        return _short(text), False
    return _short(_found(answer)), True


def _found(answer: Any) -> str:  # noqa: ANN401 - any shape of error
    if isinstance(answer, str):
        return answer
    if isinstance(answer, dict):
        for key in ("error", "detail", "message", "info", "errors", "title"):
            if text := _found(answer.get(key)):
                return text
    if isinstance(answer, list) and answer:
        return _found(answer[0])
    return ""


def _short(text: str) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return masked(text)[:200]


def kind_of(data: bytes) -> str | None:
    """What bytes begin as, by content: None for a picture in a format that is read.

    Example:
        >>> kind_of(b"<!DOCTYPE html><html>")
        'a web page'
        >>> kind_of(bytes.fromhex("ffd8ffe0") + bytes(8))
    """
    start = data[:16]
    known = start.startswith(
        (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")
        + (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    )
    if known or (start[:4] == b"RIFF" and start[8:12] == b"WEBP"):
        return None
    if start[4:12] in (b"ftypavif", b"ftypavis", b"ftypmif1", b"ftypmsf1"):
        return None
    text = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page"
    if text.startswith((b"<svg", b"<?xml")):
        return "XML or SVG"
    if text.startswith((b"{", b"[")):
        return "JSON"
    return "an empty file" if not data else f"bytes that start with {data[:8]!r}"
