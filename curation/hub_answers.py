"""What the Hub says when it does not do what it was asked, and what to do about it."""

import errno
import json
import re
from typing import Any

PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Statuses that may be over in a moment."""


class Refused(Exception):
    """What the Hub or the way to it said: told by `HubError` once it is final."""

    def __init__(
        self,
        text: str,
        *,
        status: int | None = None,
        url: str = "",
        wait: float | None = None,
        passing: bool = False,
    ) -> None:
        super().__init__(text)
        self.text, self.status, self.url, self.wait = text, status, url, wait
        self.passing = passing or status in PASSING


def read(error: BaseException, token: str | None) -> Refused | None:
    """What an exception of the client means; None when it is none of its own."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    causes = [error]
    while (cause := causes[-1].__cause__) and len(causes) < 10:
        causes.append(cause)
    for cause in causes:  # a failed upload is a RuntimeError about the failure
        if isinstance(cause, HfHubHTTPError):
            return _answered(cause, token)
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno in (
            errno.ENOSPC,
            errno.EDQUOT,
        ):
            text = f"the disk of this machine is full ({cause.strerror})"
            return Refused(text, url="here")
        if isinstance(cause, httpx2.HTTPError | ConnectionError | TimeoutError):
            text = f"no answer ({type(cause).__name__}: {cause})"
            return Refused(clean(text, token), passing=True)
        if isinstance(cause, json.JSONDecodeError | LocalEntryNotFoundError):
            return Refused("no answer that can be understood", passing=True)
    if isinstance(error, ValueError | RuntimeError):
        text = clean(str(error) or type(error).__name__, token)
        # the uploader of large files tells statuses in its text only
        found = re.search(r"\b(4\d\d|5\d\d)\b", text)
        status = int(found[1]) if found else None
        return Refused(text, status=status)
    return None


def _answered(error: Any, token: str | None) -> Refused:  # noqa: ANN401 - theirs
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    response = error.response
    wait: float | None = None
    limit = parse_ratelimit_headers(response.headers)
    if response.status_code == 429 and limit and not limit.remaining:
        wait = float(limit.reset_in_seconds)
    stated = response.headers.get("Retry-After", "")
    if re.fullmatch(r"\d+(\.\d+)?", stated):
        wait = float(stated)
    code = response.headers.get("X-Error-Code")
    text = error.server_message or response.headers.get("X-Error-Message") or ""
    url = str(response.request.url).partition("?")[0]
    return Refused(
        clean(" ".join(filter(None, (code, text))), token),
        status=response.status_code,
        url=clean(url, token),
        wait=wait,
    )


def clean(text: str, token: str | None) -> str:
    """A text on one line, without tokens and signed addresses."""
    if token:
        text = text.replace(token, "***")
    text = re.sub(r"\bhf_[A-Za-z0-9]{6,}", "***", text)
    text = re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]+", r"\1", text)
    return " ".join(text.split())[:500]


_REMEDIES = {
    400: "The Hub does not take this request: what it says above must be changed",
    401: "The token is not known there: put a valid one into HF_TOKEN",
    403: "The token may not do this there: it needs the right to write to this "
    "repository (role `write` in the organisation, scope `write` of the token)",
    404: "There is no such repository or revision, or the token may not see it: check "
    "the name",
    409: "Someone else is changing it: run the same command again",
    412: "Someone else changed it meanwhile: run the same command again to plan anew",
    413: "It is too large for the Hub: use smaller shards (release.shard_bytes)",
    429: "The Hub asks for patience: run the same command again in some minutes, what "
    "was uploaded is not sent again",
    507: "The Hub has no room: free some of the account's storage, then run the same "
    "command again, what was uploaded is not sent again",
}  # fmt: skip


def remedy(refused: Refused) -> str:
    """What a person can do about it."""
    if refused.status in _REMEDIES:
        return _REMEDIES[refused.status]
    if refused.url == "here":
        return "Free some room, then run the same command again"
    return (
        "Nothing is half-published: run the same command again, what was uploaded is "
        "not sent again"
    )
