"""Keys of Label Studio: which of its two kinds one is, and why one is refused.

A legacy token is sent as it is. A personal access token is a JWT that is exchanged for
access tokens of five minutes. Messages never contain a key.
"""

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any, Literal

from curation.errors import ConfigError

Kind = Literal["legacy", "personal"]

VARIABLE = "LABEL_STUDIO_API_KEY"
_MAKE = "make one in Label Studio: Account & Settings > Personal Access Token"


def kind(key: str) -> Kind:
    """Which kind of key this is.

    Raises:
        ConfigError: it can be seen, without asking, that no server will take it.
    """
    if not key:
        message = f"{VARIABLE} is empty: {_MAKE}"
        raise ConfigError(message)
    if not key.isascii() or not key.isprintable() or " " in key:
        message = (
            f"{VARIABLE} has blanks or other characters that no key has: give the key "
            'alone, without "Token" or "Bearer" before it'
        )
        raise ConfigError(message)
    if not key.startswith("eyJ"):
        return "legacy"
    claims, parts = _claims(key), key.count(".") + 1
    if claims.get("token_type") == "access":
        message = (
            f"{VARIABLE} is an access token, which lives five minutes: give the "
            f"personal access token that it was made from, or {_MAKE}"
        )
        raise ConfigError(message)
    if parts == 2 and claims.get("token_type") == "refresh":
        message = (
            f"{VARIABLE} is a personal access token without its last part, as Label "
            "Studio's list shows it: it is shown whole only when it is made; revoke "
            "it there and make another"
        )
        raise ConfigError(message)
    until = claims.get("exp")
    if (
        parts != 3
        or claims.get("token_type") != "refresh"
        or not isinstance(until, int | float)
    ):
        raise damaged()
    if until < time.time():
        message = (
            f"{VARIABLE} is a personal access token that expired on "
            f"{datetime.fromtimestamp(until, UTC):%Y-%m-%d}: {_MAKE}"
        )
        raise ConfigError(message)
    return "personal"


def damaged() -> ConfigError:
    """What to tell of a key that is only like a personal access token."""
    return ConfigError(
        f"{VARIABLE} starts as a personal access token but is damaged: copy it again "
        f"whole, or {_MAKE}"
    )


def refused(kind: Kind, said: str, host: str, *, exchanged: bool) -> ConfigError:
    """What to tell of a key that a server answered with 401.

    Args:
        kind: of the key.
        said: the server's own words.
        host: of the server.
        exchanged: a personal access token was taken, what it was exchanged for not.
    """
    words = said.lower()
    if "inactive" in words or "user not found" in words or "no active" in words:
        why = f"belongs to an account that is deactivated or gone on {host}"
    elif kind == "legacy" and "legacy token" in words:
        why = (
            f"is a legacy token, and {host} has legacy tokens switched off: {_MAKE}, "
            "or have them allowed under Organization > API Tokens Settings"
        )
    elif kind == "legacy":
        why = (
            f"is unknown to {host}: a legacy token of another server, one that was "
            f"reset, or no key at all; {_MAKE}"
        )
    elif exchanged:
        why = (
            f"is a personal access token, and {host} has those switched off: have them "
            "allowed under Organization > API Tokens Settings, or use a legacy token"
        )
    elif "blacklisted" in words:
        why = f"is a personal access token that was revoked on {host}: {_MAKE}"
    else:
        why = (
            f"is a personal access token that {host} did not make: it is of another "
            f"server, or damaged; {_MAKE}"
        )
    return ConfigError(f"{VARIABLE} {why}")


def _claims(key: str) -> dict[str, Any]:
    """What a JWT says of itself, unverified; empty when that cannot be read."""
    part = (key.split(".") + [""])[1]
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
