"""Licence names are read as sources write them, and nothing is guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import licences

SPELLINGS = {
    "CC0": "CC0-1.0",
    "cc0": "CC0-1.0",
    "CC0-1.0": "CC0-1.0",
    "CC0 1.0 Universal": "CC0-1.0",
    "http://creativecommons.org/publicdomain/zero/1.0/legalcode": "CC0-1.0",
    "https://creativecommons.org/publicdomain/zero/1.0/": "CC0-1.0",
    "PD": "Public Domain",
    "Public domain": "Public Domain",
    "pdm": "Public Domain",
    "https://creativecommons.org/publicdomain/mark/1.0/": "Public Domain",
    "PD-USGov": "Public Domain",
    "cc-by": "CC-BY",
    "CC BY": "CC-BY",
    "by": "CC-BY",
    "by 2.0": "CC-BY-2.0",
    "CC-BY-NC": "CC-BY-NC",
    "cc-by-nc-nd": "CC-BY-NC-ND",
    "CC BY-SA 4.0": "CC-BY-SA-4.0",
    "CC-BY-SA 4.0": "CC-BY-SA-4.0",
    "cc-by-sa-3.0": "CC-BY-SA-3.0",
    "CC BY-SA 3.0 de": "CC-BY-SA-3.0-DE",
    "CC BY 3.0 IGO": "CC-BY-3.0-IGO",
    "by-sa-nc 2.5": "CC-BY-NC-SA-2.5",
    "http://creativecommons.org/licenses/by-nc/4.0/": "CC-BY-NC-4.0",
    "https://creativecommons.org/licenses/by-nc-sa/4.0/deed.en": "CC-BY-NC-SA-4.0",
    "creativecommons.org/licenses/by-sa/3.0/de": "CC-BY-SA-3.0-DE",
    "https://creativecommons.org/licenses/by/2.0/legalcode.de": "CC-BY-2.0",
    "Creative Commons Attribution 4.0 International": "CC-BY-4.0",
    "Creative Commons Attribution-NonCommercial-NoDerivs 2.0 Generic License": (
        "CC-BY-NC-ND-2.0"
    ),
    "Attribution-ShareAlike 3.0 Unported": "CC-BY-SA-3.0",
    "GFDL 1.2": "GFDL-1.2",
    "Free Art License 1.3": "LAL-1.3",
    "CC_BY_NC_4_0": "CC-BY-NC-4.0",
    "CC0_1_0": "CC0-1.0",
    "Creative Commons Attribution 4.0 International (CC BY 4.0)": "CC-BY-4.0",
    "Attribution-NonCommercial (CC BY-NC 4.0)": "CC-BY-NC-4.0",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "CC BY 4.0 (CC BY-NC 4.0)": None,
    "CC BY 4.0 (CC BY 3.0)": None,
    "CC BY 4.0 (ask first)": None,
    "CC BY (CC BY-SA 4.0)": None,
    "(CC BY)": "CC-BY",
    "CC-BY-SA-ND": None,
    "CC BY BY": None,
    "CC-BY-7.0": None,
    "all rights reserved": None,
    "(c) someone, all rights reserved": None,
    "CC-BY, but ask me first": None,
    "not CC-BY": None,
    "C": None,
    "": None,
    "   ": None,
    "\n": None,
}


@pytest.mark.parametrize(("text", "name"), SPELLINGS.items())
def test_spellings(text, name):
    assert licences.normalise(text) == name


def test_missing():
    assert licences.normalise(None) is None
    assert licences.openness(None) == licences.UNKNOWN


@pytest.mark.parametrize("name", sorted({n for n in SPELLINGS.values() if n}))
def test_names_are_stable(name):
    assert licences.normalise(name) == name
    assert licences.normalise(name.lower()) == name
    assert licences.openness(name) < licences.UNKNOWN
    address = licences.url(name)
    if address and name != "CC0-1.0":
        assert licences.normalise(address) == name


def test_order():
    ladder = [
        "CC0-1.0", "CC-BY-2.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0",
        "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0", "unheard of",
    ]  # fmt: skip
    ranks = [licences.openness(name) for name in ladder]
    assert ranks == sorted(set(ranks))
    assert licences.openness("Public Domain") == 0
    assert licences.openness("GFDL-1.2") == licences.openness("CC-BY-SA-4.0")


def test_addresses():
    assert licences.url("CC0-1.0") == (
        "https://creativecommons.org/publicdomain/zero/1.0/"
    )
    assert licences.url("CC-BY-NC") is None
    assert licences.url("Public Domain") is None
    assert licences.url("nonsense") is None


@given(st.text(max_size=60))
def test_any_text_is_answered(text):
    name = licences.normalise(text)
    assert 0 <= licences.openness(text) <= licences.UNKNOWN
    assert name is None or licences.normalise(name) == name
