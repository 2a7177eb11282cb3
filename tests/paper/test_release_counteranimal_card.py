"""`data_cards/counteranimal` says what the paper's Table 2 says, no more, no less."""

import csv
import re
from pathlib import Path

import pytest

from curation import config
from evaluation.suites import suite

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "data_cards/counteranimal"
SIDES = ("common", "counter")


@pytest.fixture(scope="module")
def card():
    return config.load(FOLDER / "dataset.toml")


@pytest.fixture(scope="module")
def table():
    path = ROOT / "tests/data/counteranimal/table2_fig3_classes.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_classes(card, table):
    stated = [(c.name, c.imagenet_index, c.common, c.counter) for c in card.classes]
    printed = [
        (
            row["open_clip_classname"],
            int(row["imagenet_index"]),
            row["common_background"],
            row["counter_background"],
        )
        for row in table
    ]
    assert stated == printed
    assert len(stated) == 45


def test_scientific_names_are_the_printed_ones_where_there_are_some(card, table):
    printed = {row["open_clip_classname"]: row["object_label"] for row in table}
    named = {
        spec.name
        for spec in card.classes
        if spec.scientific_name.lower() in printed[spec.name].lower().split(", ")
    }
    # binomials of the table, by eye
    assert named == {
        "ostrich",
        "brambling",
        "American bullfrog",
        "loggerhead sea turtle",
        "green iguana",
        "Nile crocodile",
        "harvestman",
        "sulphur-crested cockatoo",
        "black swan",
        "black stork",
        "African wild dog",
        "red fox",
        "Arctic fox",
        "jaguar",
        "lion",
        "cheetah",
        "polar bear",
        # the table's everyday words for these are names of genera too
        "agama",
    }


def test_every_class_has_one_taxon(card):
    names = [spec.scientific_name for spec in card.classes]
    assert len(set(names)) == 45
    for name in names:
        # a genus or higher group, or a species: no author, rank, hybrid or list
        assert re.fullmatch(r"[A-Z][a-z]{3,}( [a-z]{3,})?", name), name


def test_backgrounds_are_the_papers(card, table):
    printed = {row[f"{side}_background"] for row in table for side in SIDES}
    assert {background.name for background in card.backgrounds} == printed
    for background in card.backgrounds:
        assert len(background.prompts) >= 3, background.name
        assert len(set(background.prompts)) == len(background.prompts)
        assert all(prompt.count("{}") == 1 for prompt in background.prompts)


def test_names_are_those_zero_shot_models_are_asked_for(card):
    from open_clip import IMAGENET_CLASSNAMES

    for spec in card.classes:
        assert IMAGENET_CLASSNAMES[spec.imagenet_index] == spec.name


def test_models_are_the_suites(card):
    paper = suite("counteranimal")
    assert tuple(card.evaluate.models) == paper.of("zero_shot")
    assert (card.evaluate.prompts, card.evaluate.label_space) == (
        paper.prompts,
        paper.label_space,
    )
    assert set(card.group.reference) <= set(paper.models)
    assert card.group.min_drop_points == 5


def test_its_own_text_and_photos_are_where_it_says(card):
    assert card.dataset.card == FOLDER / "card.md"
    assert card.dataset.card.is_file()
    assert card.sources[0].path == FOLDER / "photos"
