"""The data card: every section that is asked for, and no number that is not so."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard

from curation import release, schemas
from curation.provenance import code, quality
from curation.release import card, citation, facts, story
from curation.release import contents as choosing
from curation.release.shards import Split
from tests.integration.test_release import CLASSES, World, contents, settings

# Sections of the Hub's dataset card template, and where this card has them
HUB = {
    "Dataset Details": "Dataset Details",
    "Dataset Description": "Dataset Description",
    "Dataset Sources": "Dataset Sources",
    "Uses": "Uses",
    "Direct Use": "Direct Use",
    "Out-of-Scope Use": "Out-of-Scope Use",
    "Dataset Structure": "Dataset Structure",
    "Dataset Creation": "Dataset Creation",
    "Curation Rationale": "Curation Rationale",
    "Source Data": "Source Data",
    "Data Collection and Processing": "Data Collection and Processing",
    "Who are the source data producers?": "Who are the source data producers?",
    "Annotations": "Annotations",
    "Annotation process": "Annotation process",
    "Who are the annotators?": "Who are the annotators?",
    "Personal and Sensitive Information": "Personal and Sensitive Information",
    "Bias, Risks, and Limitations": "Bias, Risks, and Limitations",
    "Recommendations": "Recommendations",
    "Citation": "Citation",
    "Glossary": "Glossary",
    "More Information": "More Information",
    "Dataset Card Authors": "Dataset Card Authors",
    "Dataset Card Contact": "Dataset Card Contact",
}
# Groups of questions of Datasheets for Datasets, and the sections that answer them
DATASHEET = {
    "motivation": ("Curation Rationale", "Dataset Description"),
    "composition": (
        "Dataset Structure",
        "Photos per class",
        "Photos per background",
        "Personal and Sensitive Information",
    ),
    "collection process": (
        "Data Collection and Processing",
        "Who are the source data producers?",
    ),
    "preprocessing, cleaning, labelling": (
        "Data Collection and Processing",
        "Annotation process",
        "Grouping",
    ),
    "uses": ("Direct Use", "Out-of-Scope Use"),
    "distribution": ("Distribution and Maintenance", "Licences"),
    "maintenance": ("Distribution and Maintenance", "Takedown", "Dataset Card Contact"),
}
PARENTS = {"Dataset Details", "Uses", "Dataset Creation", "Source Data", "Annotations"}


def tables(world, **more):
    """Tables with records from services, answers of people and a takedown."""
    found = world.tables()
    records = found["candidates"].to_pylist()
    for place, row in enumerate(records):
        row |= {
            "source": "gbif" if place % 2 else "inaturalist",
            "photo_key": f"inaturalist:{place}" if place < 5 else f"gbif:{place}",
            "observed_on": f"2024-05-{place + 1:02d}" if place < 9 else None,
        }
    found["candidates"] = schemas.from_rows(records, "candidates")
    event = {
        "question": "background", "answer": "grass", "origin": "chosen",
        "created_at": "2026-03-01T09:00:00Z",
    }  # fmt: skip
    events = [
        event | {"event_id": f"e{n}", "photo_id": row["photo_id"], "annotator": "ann"}
        for n, row in enumerate(world.rows)
    ]
    events[0] |= {"proposal": "grass", "annotation": "c:1"}
    events[1] |= {"answer": "skipped"}
    events[2] |= {"supersedes": "e3", "created_at": "2026-03-04T09:00:00Z"}
    found["label_events"] = schemas.from_rows(events, "label_events")
    taken = {"photo_id": "d" * 64, "records": [], "reason": "-", "at": "2026-04-01"}
    found["takedowns"] = schemas.from_rows([taken], "takedowns")
    return found | more


def write(folder, world, **options):
    options = {"config": settings(), "tables": tables(world)} | options
    return release.write(
        folder,
        read=world.blobs.__getitem__,
        provenance={
            "agreement": [
                {"question": "background", "alpha": 0.71, "ci": [0.5, 0.9],
                 "n_photos": 1, "n_annotators": 2}
            ],
            "annotators": quality(QUALITY),
        },
        **options,
    )  # fmt: skip


def measured(**shares):
    row = {}
    for name in ("gold", "accepted", "wrong_accepted", "cannot_tell", "skipped"):
        share, n = shares.get(name, (None, 0))
        row |= {name: share, f"{name}_n": n}
    return row


QUALITY = [
    measured(gold=(0.5, 10), accepted=(0.9, 20), wrong_accepted=(0.4, 5)),
    measured(gold=(1.0, 30), skipped=(0.1, 10)),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card") / "release"
    write(folder, World())
    return folder


def text_of(folder):
    return DatasetCard.load(folder / "README.md").text


@pytest.fixture(scope="module")
def text(written):
    return text_of(written)


def test_every_section_of_both_templates_is_there_once(text):
    headings = re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)
    wanted = set(HUB.values()).union(*DATASHEET.values())
    assert wanted <= set(headings)
    assert len(headings) == len(set(headings))


def test_no_section_is_empty(text):
    told = card.sections(text)
    for heading in set(HUB.values()).union(*DATASHEET.values()) - PARENTS:
        assert told[heading] or f"{heading}\n\n|" in text, heading


@pytest.mark.parametrize("which", ["all tables", "needed tables", "hardly a word"])
def test_it_reads_well(which, written, tmp_path):
    """Nothing that a template leaves where a fact is missing."""
    world, folder = World(), tmp_path / "release"
    if which == "all tables":
        folder = written
    elif which == "needed tables":
        needed = ("candidates", "photos", "groups")
        kept = {name: world.tables()[name] for name in needed}
        write(folder, world, tables=kept)
    else:
        config = settings(dataset={"name": "x"}, classes=[{"name": n} for n in CLASSES])
        write(folder, world, tables=world.tables(), config=config)
    text = text_of(folder)
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    prose = re.sub(r"None (is stated|are recorded)", "", prose)
    wrong = r"\b(None|nan|Undefined)\b|\{\{|\}\}|\{%| [,.;]|\(\)|\S  |: \."
    assert not (found := re.search(wrong, prose)), prose[found.start() - 60 :][:120]
    assert not re.search(r"\b1 (photos|answers|annotators|classes|records)\b", text)
    assert "\n\n\n" not in text
    # a table or list starts after a blank line
    lines = text.splitlines()
    for before, line in zip(lines, lines[1:], strict=False):
        if line.startswith(("|", "- ", "#", "![")):
            starts = not before or before.startswith(line[:1])
            assert starts, (before, line)


def test_what_is_told_of_people_and_sources(text):
    for said in (
        "The photos published are from gbif: 7, inaturalist: 7.",
        "9 of 14 photos state the day the animal was seen: 2024-05-01 to 2024-05-09.",
        "**9 photos are from iNaturalist.**",
        "training machine-learning models for commercial purposes",
        "The answers that stand, to all questions, came from Label Studio: 1, files: "
        "9, given 2026-03-01 to 2026-03-04.",
        "A photo was skipped 1 time.",
        "1 of 10 standing answers was given with a proposal in view",
        "0.710 (95 % interval 0.500 to 0.900), from 1 photo answered at least twice by "
        "2 annotators.",
        "Known answers were given in 87.5 % of 40 answers (single annotators: 50.0 % "
        "to 100.0 %) to gold questions.",
        "Proposals were left as they were in 90.0 % of 20 answers; of those that gold, "
        "an adjudicator or most others contradict, in 40.0 % of 5 answers.",
        "14 authors, as the sources name them. The most productive made 1 of 14 photos",
        "nothing else of it (1 photo so far)",
    ):
        assert said in text, said


def test_nothing_of_inaturalist_where_nothing_is_from_there(tmp_path):
    world = World()
    write(tmp_path / "release", world, tables=world.tables())
    assert "iNaturalist" not in (tmp_path / "release/README.md").read_text()


def test_metadata_for_the_hub(written):
    data = DatasetCard.load(written / "README.md").data.to_dict()
    assert (data["license"], data["license_link"]) == ("other", "LICENSES.csv")
    assert data["annotations_creators"] == ["other"]
    assert data["source_datasets"] == ["original"]
    assert data["task_categories"] == [
        "image-classification",
        "zero-shot-image-classification",
    ]
    configs = {entry["config_name"]: entry for entry in data["configs"]}
    assert configs["default"]["default"] is True
    assert set(configs) == {"default", "all", "pairs"}
    assert {info["config_name"] for info in data["dataset_info"]} == set(configs)


def test_own_text_is_kept_on_regeneration(tmp_path):
    world, own = World(), "## Ours\n\n\n\n|  a | b |\n|--|--|\n\n```\n{{ 1 }}\n\n\n```"
    for _ in range(2):
        write(tmp_path / "release", world, text=f"\n\n{own}\n")
        assert f"\n\n{own}\n\n## Dataset Details" in text_of(tmp_path / "release")
    about = (tmp_path / "release/croissant.json").read_text()
    assert "{{ 1 }}" not in about


def test_own_text_of_dataset_toml_is_kept_by_the_route(demo_work):
    own = Path(__file__).parents[2] / "data_cards/demo/card.md"
    assert own.read_text().strip() in (demo_work / "release/README.md").read_text()
    assert card.check(demo_work / "release") == []


def test_written_again_pictures_and_all_are_the_same_bytes(written, tmp_path):
    world = World()
    write(tmp_path / "release", world)
    names = set(contents(written))
    assert {"CITATION.cff", "croissant.json", "figures/drop_per_class.png"} <= names
    assert contents(tmp_path / "release") == contents(written)


def test_pictures_are_shown_and_freely_licensed(written, text, tmp_path):
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    files = sorted(p.relative_to(written).as_posix() for p in written.glob("figures/*"))
    assert sorted(shown) == files
    assert "photo by Author 4, CC0-1.0, [source](https://example.org/4)" in text
    world = World()
    for row in world.rows:
        row["licence"] = "CC-BY-ND-4.0"
    write(tmp_path / "release", world, tables=world.tables())
    assert not (tmp_path / "release/figures/examples.jpg").exists()
    assert "### Examples" not in text_of(tmp_path / "release")


def test_names_in_letters_the_font_lacks_and_dollars(tmp_path):
    """They warn of nothing and are no mathematics."""
    world, name = World(), "大熊猫 $x^$"
    for row in world.rows:
        if row["class"] == CLASSES[0]:
            row["class"] = name
    config = settings(classes=[{"name": n} for n in (name, *CLASSES[1:])])
    write(tmp_path / "release", world, tables=world.tables(), config=config)
    assert name in text_of(tmp_path / "release")


def test_a_sound_release_has_no_fault(written):
    assert card.check(written) == []


def edit(folder, name, old, new):
    path = folder / name
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("num_examples: 6", "num_examples: 7", "num_examples is 7, the files have 6"),
        ("| common | 6 |", "| common | 60 |", "“common | 60” is not what the files"),
        ("| `all` | photos | 14 |", "| `all` | photos | 9 |", "“`all` | photos | 9”"),
        ("| ostrich | 9 | grass | 2 |", "| ostrich | 9 | grass | 3 |", "ostrich | 9"),
        ("| grass | 6 | 0 |", "| grass | 5 | 1 |", "table of background"),
        ("| CC-BY-4.0 | 6 |", "| CC-BY-4.0 | 5 |", "table of licence"),
        ("12 photos of 3", "13 photos of 3", "12 photos of 3 classes of animals"),
        ("Composed photos: 1 of", "Composed photos: 2 of", "Composed photos: 1 of 12"),
        ("- **Version:** 1.0.0", "- **Version:** 1.1.0", "README.md 1.1.0, CITATION"),
        ("download_size: ", "download_size: 1", "download_size is 1"),
        ("dataset_size: ", "dataset_size: 1", "dataset_size is 1"),
        ("path: data/common-*", "path: data/nothing-*", "split common is empty"),
    ],
)
def test_a_wrong_number_in_the_card_is_named(written, tmp_path, old, new, told):
    folder = shutil.copytree(written, tmp_path / "release")
    edit(folder, "README.md", old, new)
    faults = card.check(folder)
    assert any(told in fault for fault in faults), faults


def test_faults_of_the_files_are_named(written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "release")
    path = next(folder.glob("data/counter-*"))
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    gone = table["photo_id"][0].as_py()
    faults = "\n".join(card.check(folder))
    for told in (
        "split counter: num_examples is 6, the files have 5",
        "n_counter is 2, the files have 1",
        f"LICENSES.csv: photo {gone} has",
        f"croissant.json: the sum of data/{path.name}",
    ):
        assert told in faults, told
    edit(folder, "LICENSES.csv", "CC0-1.0", "CC-BY-4.0")
    assert "CC-BY-4.0, the files have CC0-1.0" in "\n".join(card.check(folder))
    path.unlink()
    assert any("counter is empty" in fault for fault in card.check(folder))
    (folder / "README.md").unlink()
    assert len(card.check(folder)) == 1


# required and allowed keys of CITATION.cff 1.2.0 that are used here
CFF_TYPES = {
    "cff-version": str, "message": str, "type": str, "title": str, "version": str,
    "authors": list, "keywords": list, "abstract": str, "contact": list,
    "license": str, "references": list,
}  # fmt: skip
PERSON = {"family-names", "given-names", "email", "website"}
ENTITY = {"name", "email", "website"}


def strictly_cff(content):
    assert {"cff-version", "message", "title", "authors"} <= set(content)
    for key, value in content.items():
        assert isinstance(value, CFF_TYPES[key]), key
        assert value, key
    assert content["cff-version"] == "1.2.0"
    assert content["type"] == "dataset"
    assert len(set(content["keywords"])) == len(content["keywords"])
    people = [*content["authors"], *content.get("contact", [])]
    for reference in content["references"]:
        assert {"type", "title", "authors"} <= set(reference)
        people += reference["authors"]
    for one in people:
        assert set(one) <= PERSON or (set(one) <= ENTITY and one["name"]), one
        assert all(isinstance(value, str) and value for value in one.values())


ABOUT = {"name": "x.y", "title": "T: 50 % & {more}_#", "description": "A\n b: c"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"authors": ["Curie, Marie", "The Zoo Group"], "contact": "a@b.org"},
        {"contact": "https://example.org/x?y"},
        {"contact": "write to the zoo, room 3"},
    ],
)
def test_citation_is_cff(written, more):
    yaml = pytest.importorskip("yaml")
    config = settings(dataset=ABOUT | more)
    content = yaml.safe_load(citation.cff(FACTS, config))
    strictly_cff(content)
    assert content["title"] == "T: 50 % & {more}_#"
    strictly_cff(yaml.safe_load((written / "CITATION.cff").read_text()))
    if more.get("authors"):
        assert content["authors"] == [
            {"family-names": "Curie", "given-names": "Marie"},
            {"name": "The Zoo Group"},
        ]
        assert content["contact"][0]["email"] == "a@b.org"
        assert "author = {Curie, Marie and {The Zoo Group}}" in citation.bibtex(config)
    else:
        assert content["authors"] == [{"name": "The makers of T: 50 % & {more}_#"}]
    assert r"title  = {{T: 50 \% \& \{more\}\_\#}}" in citation.bibtex(config)


class FACTS:
    """As much of a release's facts as a citation asks for."""

    licences = ()


def test_code_in_and_outside_a_checkout(tmp_path):
    assert code(tmp_path) == {"version": code(tmp_path)["version"]}
    (tmp_path / ".git").mkdir()  # somebody else's, or broken
    assert set(code(tmp_path)) == {"version"}


def test_code_of_a_checkout_says_whether_it_was_changed(tmp_path):
    def git(*words):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b.org", *words],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip

    (tmp_path / "curation").mkdir()
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "curation/provenance.py").write_text("")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    before = code(tmp_path)
    assert (len(before["commit"]), before["changed"]) == (40, False)
    (tmp_path / "notes.txt").write_text("no part of the packages")
    assert code(tmp_path) == before
    (tmp_path / "curation/new.py").write_text("")
    assert code(tmp_path) == before | {"changed": True}


def test_reasons_name_no_photo(tmp_path):
    world = World()
    found = world.tables()
    groups = found["groups"].to_pylist()
    spare = [row for row in groups if row["group"] == "unused"]
    more = [
        spare[0] | {"photo_id": letter * 64, "reason": f"duplicate of {letter * 64}"}
        for letter in "ab"
    ]
    found["groups"] = schemas.from_rows([*groups, *more], "groups")
    photos = found["duplicates"].to_pylist()
    merged = [photos[0] | {"photo_id": row["photo_id"]} for row in more]
    found["duplicates"] = schemas.from_rows([*photos, *merged], "duplicates")
    write(tmp_path / "release", world, tables=found)
    text = text_of(tmp_path / "release")
    assert "duplicate (2)" in text
    assert "a" * 64 not in text


LEAK = {"reason": "bytes", "variant": "identity", "distance": 0.0, "name": "a.jpg"}
BURST = {"decision": "burst", "reason": "embedding", "distance": 0.05}


def collected(found: dict, **dedup) -> str:
    """What the card says of how photos were collected."""
    config = settings(dedup=dedup)
    chosen = choosing.select(config, found)
    splits = {name: Split(1, 0, frozenset()) for name in schemas.GROUPS}
    told = card.body(facts.collect(config, chosen, found, splits), config=config)
    return card.sections(told)["Data Collection and Processing"]


def leaked(found: dict, photos: dict[str, list[str]], *, dropped: bool) -> dict:
    rows = [
        LEAK | {"photo_id": photo_id, "set": name, "dropped": dropped}
        for name, ids in photos.items()
        for photo_id in ids
    ]
    # a photo is in a set once, or three times
    return found | {"leaks": schemas.from_rows([*rows, *rows[:1]], "leaks")}


def test_other_sets_are_told():
    world = World()
    found = world.tables()
    one, two, spare = world.rows[1], world.rows[2], world.spare[0]
    merged = found["duplicates"].to_pylist()[0]  # its keeper stands for it
    sets = {
        "train": [one["photo_id"], two["photo_id"], merged["photo_id"], "c" * 64],
        "spare": [spare["photo_id"]],
        "merged": ["c" * 64],
    }
    against = [f"/tables/{name}.parquet" for name in (*sets, "a_val")]
    text = collected(leaked(found, sets, dropped=False), against=against)
    assert "compared with 4 other sets" in text
    assert "No photo is in a_val." in text
    assert (
        "4 photos are also in train; nothing was dropped for it, and 3 photos "
        "published are among them or kept in place of one (3 in the groups). A model "
        "that was trained on train has seen them." in text
    )
    assert "1 photo is also in merged; none of it is published." in text
    assert (
        "1 photo is also in spare; nothing was dropped for it, and 1 photo published "
        "is among them or kept in place of one (0 in the groups)." in text
    )
    dropped = leaked(found, {"spare": [spare["photo_id"]]}, dropped=True)
    text = collected(dropped, against=["/tables/spare.parquet"], drop_leaks=True)
    assert "compared with 1 other set," in text
    assert (
        "1 photo is also in spare, and for that in neither group (1 in config all, "
        "with this reason)." in text
    )


@pytest.mark.parametrize("with_table", [True, False])
def test_no_other_set_is_no_claim(with_table):
    found = World().tables()
    if with_table:  # of a run without dedup.against
        found["leaks"] = schemas.from_rows([], "leaks")
    text = collected(found)
    assert "compared with no other set; a model may have seen" in text


def test_bursts_are_told():
    world = World()
    found = world.tables()
    ids = [row["photo_id"] for row in (*world.rows[:3], *world.spare)]
    lost = "9" * 64  # not published
    pairs = [
        (ids[1], ids[0]),
        (ids[3], ids[0]),
        (ids[2], lost),
        (lost[:-1] + "8", lost),
    ]
    rows = [BURST | {"photo_id": photo, "keeper": keeper} for photo, keeper in pairs]
    rows += found["duplicates"].to_pylist()
    assert "burst" not in collected(found)
    text = collected(found | {"duplicates": schemas.from_rows(rows, "duplicates")})
    assert "kept: 1 (perceptual: 1)" in text
    assert "3 photos of 1 burst are no copies and all published" in text


def test_quality_has_no_names_and_keeps_the_spread():
    found = quality(QUALITY)
    assert found["gold"] == {
        "share": 0.875, "n": 40, "lowest": 0.5, "highest": 1.0, "annotators": 2,
    }  # fmt: skip
    assert found["skipped"]["annotators"] == 1
    assert "cannot_tell" not in found
    assert quality([]) == {}


def test_a_story_of_nothing():
    rows = pl.DataFrame(
        schema={"photo_id": pl.String, "candidate_id": pl.String, "author": pl.String}
    )
    assert story.collect(rows, {}) == story.Story()
    told = replace(story.Story(), answers=1)
    assert told.platform == {}
