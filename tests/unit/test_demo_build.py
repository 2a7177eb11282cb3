"""The demo's source folder: same bytes for a seed, all planted things where told."""

import csv
import hashlib
import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from curation import config, labels
from curation.demo import annotators, build, design
from curation.demo.annotators import ANNOTATORS, LEAST, Seen, answers
from curation.errors import DecodeError
from curation.licences import normalise
from evaluation.images import decode


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A build with three composed photos a cell, and its truth."""
    folder = tmp_path_factory.mktemp("demo") / "it's a folder"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "PER_CELL", 3)
        return folder, build.build(folder)


def _rows(folder):
    with (folder / "photos/photos.csv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def _files(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes(small, tmp_path, monkeypatch):
    folder, truth = small
    monkeypatch.setattr(build, "PER_CELL", 3)
    again = build.build(tmp_path / "again")
    assert again == truth
    assert _files(tmp_path / "again") == _files(folder)
    other = build.build(tmp_path / "again", seed=1)
    assert other.backgrounds != truth.backgrounds
    assert set(other.backgrounds) == set(_rows(tmp_path / "again")) - {
        row["file"] for row in other.corrupt
    }, "nothing is left of the seed before"


def test_every_file_is_listed_with_class_licence_author_and_source(small):
    folder, truth = small
    rows = _rows(folder)
    found = {
        path.relative_to(folder / "photos").as_posix()
        for path in (folder / "photos").rglob("*.jpg")
    }
    assert found == set(rows)
    names = {spec.name for spec in config.load(folder / "dataset.toml").classes}
    for file, row in rows.items():
        assert row["class"] == file.split("/")[0]
        assert row["class"] in names
        assert normalise(row["licence"]) == row["licence"]
        assert row["author"]
        assert row["title"] or row["source_url"]
        assert row["composed"] in ("true", "false")
        assert row["note"].startswith("composed: ") == (row["composed"] == "true")
    assert sum(row["composed"] == "true" for row in rows.values()) == truth.composed


def test_counts_are_those_of_the_plan(small):
    folder, truth = small
    rows = _rows(folder)
    out = {
        entry["file"]
        for kind in (
            truth.duplicates, truth.wrong, truth.blurred, truth.ambiguous,
            truth.occluded, truth.corrupt,
        )
        for entry in kind
    }  # fmt: skip
    cells = Counter(
        (row["class"], truth.backgrounds[file])
        for file, row in rows.items()
        if row["composed"] == "true" and file not in out
    )
    assert len(cells) == 12 * 4
    assert set(cells.values()) == {3}
    assert build.PER_CELL >= 12
    sound_real = [f for f, row in rows.items() if row["composed"] == "false"]
    assert len([file for file in sound_real if file not in out]) == 29
    assert Counter(entry["kind"] for entry in truth.duplicates) == dict.fromkeys(
        ("resized", "recompressed", "cropped", "mirrored", "bytes"), 5
    )
    assert set(truth.planted) == {design.name(i) for i in design.DEMO_PLANTED}
    assert not set(truth.planted) & set(truth.unplanted)
    for name, label in truth.planted.items():
        assert cells[name, label]


def test_files_that_are_not_planted_as_corrupt_decode(small):
    folder, truth = small
    broken = {entry["file"]: entry["kind"] for entry in truth.corrupt}
    assert Counter(broken.values()) == {
        "truncated": 2,
        "empty": 1,
        "text": 1,
        "page": 1,
    }
    for file in _rows(folder):
        data = (folder / "photos" / file).read_bytes()
        if file in broken:
            with pytest.raises(DecodeError):
                decode(data)
        else:
            assert decode(data).mode == "RGB"


def test_copies_are_like_what_they_copy(small):
    folder, truth = small
    rows = _rows(folder)

    def picture(name):
        return Image.open(io.BytesIO((folder / "photos" / name).read_bytes()))

    for entry in truth.duplicates:
        copy, of = picture(entry["file"]), picture(entry["of"])
        same = (folder / "photos" / entry["file"]).read_bytes() == (
            folder / "photos" / entry["of"]
        ).read_bytes()
        assert same == (entry["kind"] == "bytes")
        assert list(rows).index(entry["file"]) > list(rows).index(entry["of"])
        assert rows[entry["file"]]["class"] == rows[entry["of"]]["class"]
        if entry["kind"] == "mirrored":
            copy = copy.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if entry["kind"] == "cropped":
            assert copy.width < of.width
            continue
        thumbs = [
            np.asarray(p.convert("L").resize((32, 24))).astype(int) for p in (copy, of)
        ]
        assert np.abs(thumbs[0] - thumbs[1]).mean() < 6, entry


def test_names_and_notes_give_nothing_away(small):
    folder, truth = small
    rows = _rows(folder)
    for entry in truth.wrong:
        row = rows[entry["file"]]
        assert entry["shows"] != entry["filed_under"] == row["class"]
    for entry in truth.duplicates:
        assert not rows[entry["file"]]["observation_id"]
        assert entry["of"] not in rows[entry["file"]].values()


def test_photos_of_one_place_share_an_observation(small):
    folder, truth = small
    places = {}
    for file, row in _rows(folder).items():
        if row["composed"] == "true" and row["observation_id"]:
            places.setdefault(row["observation_id"], set()).add(truth.backgrounds[file])
    assert all(len(labels_) == 1 for labels_ in places.values())
    for index, on in design.DEMO.items():
        cutout = build.classes()[index][0].stem
        for label in on:
            own = [
                k
                for k, v in places.items()
                if k.startswith(f"{cutout} on ") and v == {label}
            ]
            assert len(own) >= 3, (cutout, label)


def test_answers_can_be_imported_and_are_of_readable_photos(small):
    folder, truth = small
    settings = config.load(folder / "dataset.toml")
    broken = {entry["file"] for entry in truth.corrupt}
    ids = {
        hashlib.sha256((folder / "photos" / file).read_bytes()).hexdigest()
        for file in _rows(folder)
        if file not in broken
    }
    events = labels.read(
        folder / "labels.csv",
        config=settings,
        resolve_photo=lambda photo: photo if photo in ids else None,
    )
    assert {event["photo_id"] for event in events} == ids
    assert {event["annotator"] for event in events} == {a.name for a in ANNOTATORS}
    assert all(event["annotator"].startswith("sim-") for event in events)
    assert {(event["origin"], event["proposal"]) for event in events} == {
        ("chosen", None)
    }
    answered = Counter(e["photo_id"] for e in events if e["question"] == "background")
    assert set(answered.values()) == {2, 3}
    assert np.mean(list(answered.values())) > 2.5
    asked = {e["photo_id"] for e in events if e["question"] == "clarity"}
    assert len(asked) == 10 + 8 + 6 + 6 + build.REVIEWED


def test_simulated_annotators_err_at_their_stated_rates():
    photos = [Seen(str(n), "sand", frozenset({"clarity"}), True) for n in range(3000)]
    rows = answers(photos, rng=np.random.default_rng(0))
    assert rows == answers(photos, rng=np.random.default_rng(0))
    for annotator in ANNOTATORS:
        mine = [row for row in rows if row["annotator"] == annotator.name]
        said = Counter(r["answer"] for r in mine if r["question"] == "background")
        total = sum(said.values())
        assert total / 3000 >= annotator.covers - 0.03
        wrong = sum(said[label] for label in annotators.CONFUSED["sand"])
        assert wrong / total == pytest.approx(annotator.wrong, abs=0.015)
        assert said["cannot_tell"] / total == pytest.approx(annotator.unsure, abs=0.01)
        missed = [r["answer"] == "no" for r in mine if r["question"] == "clarity"]
        assert np.mean(missed) == pytest.approx(annotator.miss, abs=0.02)
        alarms = [r["answer"] == "yes" for r in mine if r["question"] == "ambiguity"]
        assert np.mean(alarms) == pytest.approx(annotator.alarm, abs=0.015)
        times = [row["time"] for row in mine]
        assert len(set(times)) == len(times)
        assert times == sorted(times)
    per_photo = Counter(r["photo"] for r in rows if r["question"] == "background")
    assert min(per_photo.values()) == LEAST


def test_where_nothing_fits_they_cannot_tell():
    photos = [Seen(str(n), "", frozenset(), False) for n in range(200)]
    said = Counter(
        row["answer"] for row in answers(photos, rng=np.random.default_rng(0))
    )
    assert said.most_common(1)[0][0] == "cannot_tell"
