"""What annotators see, without a server: names, hotkeys, and what changed by hand."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import config
from curation.errors import ConfigError
from curation.labelling import interface
from curation.schemas import CANNOT_TELL, CRITERIA, QUESTIONS
from tests.planted import configuration

NAMES = st.lists(
    st.text(
        st.characters(exclude_categories=("C", "Z"), exclude_characters="/\\"),
        min_size=1,
        max_size=12,
    ).filter(lambda name: name not in (CANNOT_TELL, *QUESTIONS) and "$" not in name),
    min_size=2,
    max_size=40,
    unique=True,
)


def dataset(*backgrounds: str, **more) -> config.Dataset:
    return configuration(Path(), backgrounds=backgrounds or ("snow", "ice"), **more)


def keys(xml: str) -> dict[str, str]:
    return {
        choice.get("value"): choice.get("hotkey")
        for choice in ET.fromstring(xml).iter("Choice")
    }


@given(NAMES)
def test_any_name_comes_back_as_it_is(names):
    made = interface.xml(dataset(*names), blind=False)
    control = ET.fromstring(made).find(".//Choices[@name='background']")
    assert [choice.get("value") for choice in control] == [*names, "cannot_tell"]
    assert interface.choices(made) == {*names, "cannot_tell"}


def test_a_name_the_page_would_replace_is_refused():
    with pytest.raises(ConfigError, match=r"worth \$image"):
        interface.xml(dataset("snow", "worth $image"), blind=False)
    assert interface.choices(interface.xml(dataset("5 $", "snow"), blind=False)) == {
        "5 $", "snow", "cannot_tell",
    }  # fmt: skip


def test_hotkeys_are_safe_and_each_has_one_choice():
    many = keys(interface.xml(dataset(*(f"b{n}" for n in range(40))), blind=False))
    used = [key for key in many.values() if key]
    assert len(used) == len(set(used))
    assert not set(used) & set("auhv")
    assert {many[name] for name in CRITERIA} == set("qwer")
    assert many["wrong_animal"] == "n"
    assert many["cannot_tell"] == "0"
    assert [many[f"b{n}"] for n in range(10)] == [*"123456789", "s"]
    assert many["b39"] is None


def test_the_proposal_is_shown_only_where_it_may_be():
    shown = interface.xml(dataset(), blind=False)
    hidden = interface.xml(dataset(), blind=True)
    settled = interface.xml(dataset(), blind=True, kind="adjudication")
    assert "$proposed_background" in shown
    assert "$proposed_score" in shown
    assert "proposed" not in hidden + settled
    assert "$said" in settled
    assert "$said" not in shown + hidden
    assert [interface.blind(x) for x in (shown, hidden, settled)] == [False, True, True]


def test_instructions_say_how_to_confirm_and_to_skip():
    told = interface.instructions(dataset(), blind=False)
    assert "press ctrl+enter and nothing else" in told
    assert "ctrl+space" in told
    assert all(f"<b>{name}</b>" in told for name in (*CRITERIA, "wrong_animal"))
    assert "proposal" not in interface.instructions(dataset(), blind=True)
    assert "settles" in interface.instructions(
        dataset(), blind=True, kind="adjudication"
    )


def test_text_of_the_dataset_is_not_read_as_html():
    guide = "<script>alert(1)</script> & more\nnext"
    told = interface.instructions(
        dataset("<i>ice</i>".replace("/", ""), "snow", labels={"guide": guide}),
        blind=False,
    )
    assert "<script>" not in told
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more<br>next" in told
    assert "<i>" not in told


def test_what_only_looks_different_is_no_difference():
    ours = interface.xml(dataset(), blind=False)
    moved = re.sub(r">\s+<", "><", ours).replace('hotkey="1"', 'hotkey="7"')
    moved = moved.replace("flex:1 1 0", "flex:2 1 0").replace('size="3"', 'size="4"')
    assert interface.differences(dataset(), moved, blind=False) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('value="ice"', 'value="frozen"', "background: choice 'ice' is missing"),
        ('value="ice"', 'value="frozen"', "background: choice 'frozen' was added"),
        ('name="quality"', 'name="flags"', "control 'quality' is missing"),
        ('name="quality"', 'name="flags"', "control 'flags' was added"),
        ('required="true"', "", "background: required is False, not True"),
        ('"single-radio"', '"multiple"', "choice is 'multiple', not 'single-radio'"),
        ("$proposed_background", "?", "$proposed_background is not shown any more"),
        ("$attribution", "$said", "$said is shown"),
        ("</View>", "", "it is not XML any more"),
    ],
)
def test_what_changes_the_answers_is_told(old, new, told):
    found = interface.xml(dataset(), blind=False).replace(old, new)
    assert told in "\n".join(interface.differences(dataset(), found, blind=False))
