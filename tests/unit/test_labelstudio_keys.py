"""Keys: which kind one is, and what is said of one that is refused."""

import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import ConfigError
from curation.labelstudio import LabelStudio, keys

SOON = int(time.time()) + 3600


def token(claims, parts=3):
    """A JWT of these claims, with a signature of no meaning."""
    coded = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "HS256", "typ": "JWT"}, claims)
    )
    return ".".join([*coded, "c2lnbmF0dXJl"][:parts])


PERSONAL = {"token_type": "refresh", "exp": SOON, "jti": "1"}


def test_kinds():
    assert keys.kind("0" * 40) == "legacy"
    assert keys.kind(token(PERSONAL)) == "personal"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "is empty"),
        ("Token abc", "give the key alone"),
        ("abc\ndef", "give the key alone"),
        ("schlüssel", "give the key alone"),
        (token(PERSONAL | {"token_type": "access"}), "lives five minutes"),
        (token(PERSONAL, parts=2), "without its last part"),
        (token(PERSONAL)[:40], "damaged"),
        (token(PERSONAL | {"exp": "soon"}), "damaged"),
        ("eyJ.a.b", "damaged"),
        ("eyJ", "damaged"),
        (token(PERSONAL | {"exp": 86400}), "expired on 1970-01-02"),
    ],
    ids=lambda value: "" if value.startswith("ey") else None,  # they hold the time
)
def test_what_no_server_takes_is_told_before_asking(key, said):
    with pytest.raises(ConfigError, match=said) as error:
        keys.kind(key)
    assert not key or key not in str(error.value)


@pytest.mark.parametrize("spoil", [("eyJ", "eyJx"), (".c2ln", '."%ln')])
def test_a_damaged_header_or_signature(spoil):
    key = token(PERSONAL).replace(*spoil, 1)
    with pytest.raises(ConfigError, match="damaged"):
        LabelStudio("http://127.0.0.1:9", key, patience=0)


REFUSALS = [
    ("legacy", "Invalid token.", False, "unknown to here:1"),
    (
        "legacy",
        "Authentication token no longer valid: legacy token authentication has been "
        "disabled for this organization",
        False,
        "legacy tokens switched off",
    ),
    ("legacy", "User inactive or deleted.", False, "deactivated or gone"),
    ("personal", "Token is invalid", False, "did not make"),
    ("personal", "Token is blacklisted", False, "was revoked"),
    ("personal", "User not found", True, "deactivated or gone"),
    (
        "personal",
        "Authentication credentials were not provided.",
        True,
        "has those switched off",
    ),
]


@pytest.mark.parametrize(("kind", "words", "exchanged", "said"), REFUSALS)
def test_each_refusal_has_words_of_its_own(kind, words, exchanged, said):
    error = keys.refused(kind, words, "here:1", exchanged=exchanged)
    assert isinstance(error, ConfigError)
    assert said in str(error)


def test_no_two_refusals_but_one_sound_alike():
    told = {
        str(keys.refused(kind, words, "h", exchanged=exchanged))
        for kind, words, exchanged, _ in REFUSALS
    }
    assert len(told) == len(REFUSALS) - 1  # an account is gone with either kind


@given(st.text(min_size=9))
def test_a_key_is_never_in_a_message(key):
    key = key.strip()
    told = ""
    try:
        told = repr(LabelStudio("http://127.0.0.1:9", key, patience=0))
    except ConfigError as error:
        told = str(error)
    assert len(key) < 9 or key not in told
