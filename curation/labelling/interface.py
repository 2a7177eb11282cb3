"""What annotators see: the labelling configuration and the instructions, and names.

Controls, by the name that a result of Label Studio carries in `from_name`:
"""

from curation.config import Dataset

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


def xml(config: Dataset, *, blind: bool) -> str:
    """Labelling configuration of a dataset."""
    raise NotImplementedError


def instructions(config: Dataset, *, blind: bool) -> str:
    """HTML shown before labelling starts."""
    raise NotImplementedError
