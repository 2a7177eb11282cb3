"""Licence names: read from what sources write, ranked by how much they allow.

Names are SPDX-like: CC0-1.0, Public Domain, CC-BY-4.0, CC-BY-SA-3.0-DE, CC-BY-NC (a
source that states no version), GFDL-1.2, LAL-1.3. What is not recognised as a whole is
unknown: a remark around a licence's name may take back what the name grants.
"""

import re
from functools import lru_cache
from typing import cast

PUBLIC_DOMAIN = "Public Domain"
UNKNOWN = 7
"""`openness` of a licence that is missing or not recognised."""

_RANKS = {
    "": 0, "BY": 1, "BY-SA": 2, "BY-NC": 3, "BY-NC-SA": 4, "BY-ND": 5, "BY-NC-ND": 6,
}  # fmt: skip

_VERSION = r"v?(?:ersion )?(?P<version>[1-4]\.[05])"
_PORT = (
    "igo|scotland|a[mrtuz]|b[er]|c[ahlnrz]|d[ek]|e[cegs]|f[ir]|g[ert]|h[kru]|i[eglnt]|jp|kr"
    "|lu|m[kstxy]|n[gloz]|p[ehlrt]|r[os]|s[egi]|t[hw]|u[ags]|v[en]|za|uk"
)
_PUBLIC = re.compile(
    r"pd|pdm(?: 1\.0)?|(?:cc )?public domain(?: mark)?(?: 1\.0)?"
    r"|pd (?:us|usgov|self|old)(?: \w+)*|no known copyright(?: restrictions)?"
)
_ZERO = re.compile(
    r"(?:cc ?0|cc zero|creative commons (?:cc ?0|zero)|zero)(?: v?1\.0)?"
    r"(?: universal)?(?: public domain dedication)?"
)
_COMMONS = re.compile(
    r"(?:cc |creative commons )?(?P<terms>by(?: (?:nc|nd|sa))*)"
    rf"(?: {_VERSION}(?: (?P<port>{_PORT}))?)?"
)
_OTHERS = re.compile(r"(?P<name>gfdl|lal) (?P<version>1\.[1-3])")
_URL = re.compile(
    r"(?:https?://)?(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/"
    r"(?P<path>[a-z+-]+/\d\.\d(?:/(?!deed|legalcode)[a-z]+)?)(?:/(?:deed|legalcode)(?:[.-][a-z_-]+)*)?/?"
)
_WORDS = (
    ("attribution", "by"),
    ("non ?commercial", "nc"),
    ("no ?deriv(?:ative)?s?(?: works)?", "nd"),
    ("share ?alike", "sa"),
    ("free art licen[cs]e", "lal"),
    ("gnu free documentation licen[cs]e", "gfdl"),
)
_TWICE = re.compile(r"(?P<before>[^()]+)\((?P<within>[^()]+)\)(?P<after>[^()]*)")
_NOISE = re.compile(r"\b(?:licen[cs]ed?(?: under)?|international|unported|generic)\b")


@lru_cache(maxsize=4096)  # sources repeat a few spellings a million times
def normalise(text: str | None) -> str | None:
    """The SPDX-like name of a licence given by name, abbreviation or address.

    Args:
        text: as a source writes it, such as `cc-by-nc`, `BY 2.0`, `CC0` or
            `http://creativecommons.org/licenses/by-sa/3.0/de/deed.en`.

    Returns: the name with the version where one is stated; None for what is missing,
        not recognised, or contradictory (no-derivatives with share-alike).

    Example:
        >>> normalise("Creative Commons Attribution-ShareAlike 4.0 International")
        'CC-BY-SA-4.0'
        >>> normalise("all rights reserved") is None
        True
    """
    name = _read(text or "")
    if name or not (twice := _TWICE.fullmatch((text or "").strip())):
        return name
    # "Creative Commons Attribution 4.0 International (CC BY 4.0)"
    names = {_read(f"{twice['before']} {twice['after']}"), _read(twice["within"])}
    if None in names:
        return None
    longest = max(cast("set[str]", names), key=len)
    same = all(longest == name or longest.startswith(f"{name}-") for name in names)
    return longest if same and len({openness(name) for name in names}) == 1 else None


def _read(text: str) -> str | None:
    """The name of a licence that is named once."""
    words = _words(text)
    if not words:
        return None
    if _ZERO.fullmatch(words):
        return "CC0-1.0"
    if _PUBLIC.fullmatch(words):
        return PUBLIC_DOMAIN
    if found := _OTHERS.fullmatch(words):
        return f"{found['name'].upper()}-{found['version']}"
    found = _COMMONS.fullmatch(words)
    if not found:
        return None
    terms = found["terms"].upper().split()
    ordered = "-".join(term for term in ("BY", "NC", "ND", "SA") if term in terms)
    if ordered not in _RANKS or len(terms) != len(set(terms)):
        return None
    port = (
        "" if found["port"] in (None, "us") and not found["version"] else found["port"]
    )
    parts = ("CC", ordered, found["version"], (port or "").upper())
    return "-".join(part for part in parts if part)


def openness(licence: str | None) -> int:
    """How much a licence asks in return: 0 asks nothing, larger is more restrictive.

    0 public domain and CC0, 1 CC-BY, 2 CC-BY-SA (and GFDL, Free Art), 3 CC-BY-NC,
    4 CC-BY-NC-SA, 5 CC-BY-ND, 6 CC-BY-NC-ND, 7 (`UNKNOWN`) missing or not recognised.

    Example:
        >>> openness("CC0-1.0"), openness("CC-BY-4.0"), openness(None)
        (0, 1, 7)
    """
    name = normalise(licence)
    if name is None:
        return UNKNOWN
    if name in (PUBLIC_DOMAIN, "CC0-1.0"):
        return 0
    if name.startswith(("GFDL", "LAL")):
        return _RANKS["BY-SA"]
    return _RANKS[_terms(name)]


def url(licence: str) -> str | None:
    """Where the licence's text is, None where its name does not say.

    Example:
        >>> url("CC-BY-SA-3.0-DE")
        'https://creativecommons.org/licenses/by-sa/3.0/de/'
        >>> url("CC-BY") is None
        True
    """
    name = normalise(licence)
    if name == "CC0-1.0":
        return "https://creativecommons.org/publicdomain/zero/1.0/"
    if name is None or not name.startswith("CC-"):
        return None
    rest = name.removeprefix(f"CC-{_terms(name)}").strip("-")
    if not rest:
        return None
    terms = _terms(name).lower()
    return f"https://creativecommons.org/licenses/{terms}/{'/'.join(rest.split('-')).lower()}/"


def _terms(name: str) -> str:
    """`BY-NC` of `CC-BY-NC-4.0`."""
    known = ("BY", "NC", "ND", "SA")
    return "-".join(part for part in name.split("-")[1:4] if part in known)


def _words(text: str) -> str:
    """Lower-case words with single spaces, addresses and long names shortened."""
    plain = text.strip().lower().removesuffix(".")
    if address := _URL.fullmatch(plain):
        path = address["path"]
        if path.startswith("mark/"):
            return "public domain mark"
        plain = path
    # GBIF writes CC_BY_NC_4_0 where it names licences itself
    plain = re.sub(r"_([1-4])_([05])$", r" \1.\2", plain)
    plain = re.sub(r"[\s/_+(),-]+", " ", plain)
    for long, short in _WORDS:
        plain = re.sub(rf"\b{long}\b", short, plain)
    return " ".join(_NOISE.sub(" ", plain).split())
