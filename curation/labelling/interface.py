"""What annotators see: the labelling configuration and the instructions, and names.

Controls, by the name that a result of Label Studio carries in `from_name`:
"""

import html
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

from curation.config import Dataset
from curation.errors import ConfigError
from curation.labelling import Kind
from curation.schemas import CANNOT_TELL, CRITERIA

BACKGROUND = "background"
"""Choices, exactly one: a background of dataset.toml, or cannot_tell."""

DEFECTS = "quality"
"""Choices, any number: the paper's four criteria; what is not ticked is a no."""

ANIMAL = "animal"
"""Choices, any number of one: wrong_animal."""

NOTE = "note"
"""A line of text."""

IMAGE = "image"
"""The picture, to which all of them belong; also the key of its address in a task."""

KEY = "key"
"""Key of the photo_id in a task's data."""

PROPOSED, SCORE = "proposed_background", "proposed_score"
"""Keys of the proposal and its probability in a task's data."""

SAID = "said"
"""Key of what others answered, in the data of an adjudicator's task."""

WRONG_ANIMAL = "wrong_animal"

HOTKEYS = "123456789sdfgtyiopjklzxcbm"
"""Keys of backgrounds, first to last.

Left out is what the page uses itself (a, u, h, v: submit, unselect, pan, move) and what
other choices have: 0 (cannot_tell), q w e r (criteria) and n (wrong_animal).
"""

MEANINGS = {
    "label_noise": "The class does not fit the photo: no such animal can be seen, it "
    "is a drawing, a toy or a stuffed one, or other kinds of animals are with it.",
    "feature_noise": "Something spoils what the animal looks like: text or a frame "
    "over it, most of it hidden, strong noise, or it looks like no other of its kind.",
    "ambiguity": "It could as well be of another class: the photo does not settle it.",
    "clarity": "Too blurred, too dark, too small or too far away to be seen well.",
    WRONG_ANIMAL: "There is an animal, and it is plainly of another class.",
}
"""What each defect means, for annotators."""

_COLUMN = "flex:0 0 260px; max-width:260px; overflow-wrap:anywhere"
_VARIABLE = re.compile(r"\$\w")

_CRITERIA_KEYS = dict(zip(CRITERIA, "qwer", strict=True))
_KEYS = {CANNOT_TELL: "0", WRONG_ANIMAL: "n", **_CRITERIA_KEYS}


def xml(config: Dataset, *, blind: bool, kind: Kind = "labels") -> str:
    """Labelling configuration of a dataset.

    Args:
        config: gives the backgrounds.
        blind: without the proposal.
        kind: `adjudication` shows what others said in place of the proposal.

    Raises:
        ConfigError: a background has a name that the page would not show as it is.
    """
    for name in _backgrounds(config):
        if _VARIABLE.search(name):
            message = (
                f"backgrounds: {name!r}: Label Studio puts something else in place of "
                "a $ with a word behind it; choose another name"
            )
            raise ConfigError(message)
    root = ET.Element("View", style="display:flex; gap:24px; align-items:flex-start")
    left = ET.SubElement(root, "View", style="flex:1 1 0; min-width:0")
    ET.SubElement(left, "Header", value="Class: $class_name", size="3")
    ET.SubElement(
        left, "Image", name=IMAGE, value=f"${IMAGE}", zoom="true", zoomControl="true",
        rotateControl="false", crosshair="false",
    )  # fmt: skip
    ET.SubElement(left, "Text", name="source", value="$attribution")
    right = ET.SubElement(root, "View", style=_COLUMN)
    for line in _above(blind, kind):
        ET.SubElement(right, "Header", value=line, size="5")
    backgrounds = ET.SubElement(
        right, "Choices", name=BACKGROUND, toName=IMAGE, choice="single-radio",
        required="true", requiredMessage="Choose the background", showInline="false",
    )  # fmt: skip
    for name in _backgrounds(config):
        choice = ET.SubElement(backgrounds, "Choice", value=name)
        if key := hotkeys(config).get(name):
            choice.set("hotkey", key)
    ET.SubElement(right, "Header", value="Tick all that apply", size="5")
    _ticks(right, DEFECTS, CRITERIA)
    _ticks(right, ANIMAL, (WRONG_ANIMAL,))
    ET.SubElement(
        right, "TextArea", name=NOTE, toName=IMAGE, placeholder="note (optional)",
        maxSubmissions="1", rows="1",
    )  # fmt: skip
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def _above(blind: bool, kind: Kind) -> list[str]:
    """Lines above the backgrounds."""
    if kind == "adjudication":
        return [f"Others said: ${SAID}", "Background"]
    if blind:
        return ["Background"]
    return [f"Background (proposed: ${PROPOSED}, ${SCORE})"]


def _ticks(column: ET.Element, name: str, values: tuple[str, ...]) -> None:
    """Defects, beside each other: below many backgrounds they must be seen."""
    ticks = ET.SubElement(
        column, "Choices", name=name, toName=IMAGE, choice="multiple",
        showInline="true",
    )  # fmt: skip
    for value in values:
        ET.SubElement(
            ticks, "Choice", value=value, hotkey=_KEYS[value], hint=MEANINGS[value]
        )


def _backgrounds(config: Dataset) -> list[str]:
    return [*(background.name for background in config.backgrounds), CANNOT_TELL]


def hotkeys(config: Dataset) -> dict[str, str]:
    """Key of each background; those that are too many have none."""
    names = [background.name for background in config.backgrounds]
    return dict(zip(names, HOTKEYS, strict=False)) | {CANNOT_TELL: _KEYS[CANNOT_TELL]}


def instructions(config: Dataset, *, blind: bool, kind: Kind = "labels") -> str:
    """HTML shown before labelling starts; text of dataset.toml's own is escaped."""
    # the page takes the room between paragraphs away
    parts = ["<h3>What is behind the animal?</h3>"]
    if kind == "adjudication":
        parts.append(
            "<p>People did not agree on these photos. What they said stands above the "
            "backgrounds. <b>Your answer settles it</b>: choose the background and "
            "tick the defects anew, nothing is filled in.</p>"
        )
    elif blind:
        parts.append("<p>Choose the background that the photo shows.</p>")
    else:
        parts.append(
            "<p>A background is chosen already: a program's proposal, which may be "
            "wrong. <b>If it is right, press ctrl+enter and nothing else</b>: its own "
            "key, or a click on it, would take the choice away. If it is wrong, choose "
            "the right one first. It may be that none is proposed: choose one.</p>"
        )
    keys = ", ".join(
        f"<b>{key}</b> {html.escape(name)}" for name, key in hotkeys(config).items()
    )
    parts += [
        f"<br><p>Keys: {keys}.</p>",
        "<br><p><b>ctrl+enter</b> submits. <b>ctrl+space</b> skips: you leave the "
        "photo to someone else. A skip is no answer, whatever was chosen. If you "
        "looked and the photo does not show its background, do not skip, choose "
        f"{CANNOT_TELL}.</p>",
        "<br><p>Tick <b>all</b> defects that apply. What is not ticked is a no:</p>",
        *(
            f"<p>• <b>{name}</b> ({_KEYS[name]}): {html.escape(meaning)}</p>"
            for name, meaning in MEANINGS.items()
        ),
        "<br><p>A note is optional.</p>",
    ]
    if config.labels.guide:
        guide = html.escape(config.labels.guide).replace("\n", "<br>")
        parts.append(f"<br><p>{guide}</p>")
    return "\n".join(parts)


# what was changed by hand ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Control:
    """What an answer depends on: looks, order and hotkeys are left out."""

    kind: str
    of: str
    how: str
    required: bool
    choices: frozenset[str]


def differences(
    config: Dataset, found: str, *, blind: bool, kind: Kind = "labels"
) -> list[str]:
    """What of a server's configuration is not as ours would be; empty when alike.

    Args:
        config: gives the backgrounds.
        found: labelling configuration of the server, XML.
        blind: as the campaign is.
        kind: as the campaign is.
    """
    return compared(xml(config, blind=blind, kind=kind), found)


def compared(ours: str, found: str) -> list[str]:
    """Differences of two configurations that change what is asked or answered."""
    try:
        there = ET.fromstring(found)
    except ET.ParseError as error:
        return [f"it is not XML any more ({error})"]
    before, after = _controls(ET.fromstring(ours)), _controls(there)
    lines = [f"control {name!r} is missing" for name in before if name not in after]
    lines += [f"control {name!r} was added" for name in after if name not in before]
    for name in before:
        if name in after:
            lines += _changes(name, before[name], after[name])
    shown, shows = _shown(ET.fromstring(ours)), _shown(there)
    lines += [f"${name} is not shown any more" for name in sorted(shown - shows)]
    lines += [f"${name} is shown" for name in sorted(shows - shown)]
    return lines


def choices(interface: str) -> frozenset[str]:
    """Backgrounds that a configuration offers; none when it cannot be read."""
    try:
        found = _controls(ET.fromstring(interface)).get(BACKGROUND)
    except ET.ParseError:
        found = None
    return found.choices if found else frozenset()


def blind(interface: str) -> bool:
    """Whether a configuration hides the proposal."""
    try:
        return PROPOSED not in _shown(ET.fromstring(interface))
    except ET.ParseError:
        return False


def _controls(root: ET.Element) -> dict[str, _Control]:
    return {
        element.get("name", ""): _Control(
            element.tag,
            element.get("toName", ""),
            element.get("choice", "single" if element.tag == "Choices" else ""),
            element.get("required", "false").lower() == "true",
            frozenset(_values(element)),
        )
        for element in root.iter()
        if element.get("toName")
    }


def _values(element: ET.Element) -> Iterator[str]:
    for choice in element.iter("Choice"):
        yield choice.get("alias") or choice.get("value") or ""


def _shown(root: ET.Element) -> set[str]:
    """Keys of a task's data that the page uses."""
    names = (IMAGE, "class_name", "attribution", SAID, PROPOSED, SCORE)
    texts = [node.get("value", "") for node in root.iter() if node.tag != "Choice"]
    return {name for name in names if any(f"${name}" in text for text in texts)}


def _changes(name: str, before: _Control, after: _Control) -> list[str]:
    """Differences of a control that both have."""
    lines = [
        f"{name}: choice {choice!r} is missing"
        for choice in sorted(before.choices - after.choices)
    ]
    lines += [
        f"{name}: choice {choice!r} was added"
        for choice in sorted(after.choices - before.choices)
    ]
    for what, old, new in (
        ("a", before.kind, after.kind),
        ("of", before.of, after.of),
        ("choice", before.how, after.how),
        ("required", before.required, after.required),
    ):
        if old != new:
            lines.append(f"{name}: {what} is {new!r}, not {old!r}")
    return lines
