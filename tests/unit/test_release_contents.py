"""Which photos a release holds, and in which config."""

import hashlib
from pathlib import Path

import pytest

from curation.config import parse
from curation.errors import InputError
from curation.release.contents import DOUBTS, select
from curation.schemas import CRITERIA, DEFECTS, from_rows


def key(name):
    return hashlib.sha256(name.encode()).hexdigest()


CONFIG = parse(
    {
        "dataset": {"name": "small"},
        "classes": [{"name": "bear"}, {"name": "dog"}],
        "backgrounds": [{"name": n, "prompts": [n]} for n in ("snow", "grass", "road")],
        "sources": [{"kind": "folder", "path": "."}],
    },
    base=Path(),
    name="test",
)


class Known:
    """Tables of two photos in each group of two classes, and what a test adds."""

    def __init__(self):
        self.rows, self.labels, self.merges = [], [], []
        for kind in ("bear", "dog"):
            for n in range(4):
                side = ("common", "counter")[n % 2]
                self.add(f"{kind}{n}", kind, ("snow", "grass")[n % 2], side)

    def add(self, name, kind, background, group, reason=None, **more):
        self.rows.append(
            {
                "photo_id": key(name), "candidate_id": name, "class": kind,
                "classes": [kind], "background": background, "group": group,
                "reason": reason, "cluster": key(name), "observation_id": name,
                "composed": False, "bytes": 1, "format": "JPEG", "width": 1,
                "height": 1, "order": len(self.rows), "licence": "CC0-1.0",
                "source": "folder", "key": name, "revision": "", "url": name,
                "place": 0,
            }
            | more
        )  # fmt: skip

    def defect(self, name, question, verdict="yes"):
        self.labels.append(
            {
                "photo_id": key(name), "question": question, "verdict": verdict,
                "status": "resolved", "agreement": 1.0, "n_answers": 1,
                "annotators": ["ann"],
            }
        )  # fmt: skip

    def select(self):
        tables = {
            name: from_rows(self.rows, name)
            for name in ("candidates", "photos", "groups")
        }
        tables["labels"] = from_rows(self.labels, "labels")
        tables["duplicates"] = from_rows(self.merges, "duplicates")
        return select(CONFIG, tables)

    def unused(self):
        names = {key(row["candidate_id"]): row["candidate_id"] for row in self.rows}
        found = self.select().unused
        return {
            names[photo]: reason
            for photo, reason in found.select("photo_id", "reason").iter_rows()
        }


@pytest.fixture
def known():
    return Known()


def test_without_unused_photos_there_are_none(known):
    found = known.select()
    assert (found.rows.height, found.unused.height) == (8, 0)
    assert found.every.equals(found.rows)
    assert found.excluded == ()
    assert found.every["photo_id"].is_sorted()


def test_verified_photos_in_neither_group_are_kept_with_the_reason(known):
    known.add("far", "bear", "road", "unused", "neither best nor worst")
    assert known.unused() == {"far": "neither best nor worst"}
    found = known.select()
    assert found.rows.height == 8
    assert found.every["photo_id"].is_sorted()
    assert found.every.filter(group="unused")["photo_id"].to_list() == [key("far")]
    assert found.rows["reason"].null_count() == 8


def test_photos_that_are_not_verified_are_left_out(known):
    known.add("open", "bear", None, "unused", "no verdict: tie")
    known.add("fog", "bear", None, "unused", "people cannot tell the background")
    assert known.unused() == {}


def test_a_merged_duplicate_is_left_out(known):
    known.add("copy", "bear", "snow", "unused", f"duplicate of {key('bear0')}")
    known.add("alike", "bear", "snow", "unused", "neither best nor worst")
    for name, decision in (("copy", "merge"), ("alike", "suggest")):
        known.merges.append(
            {
                "photo_id": key(name), "keeper": key("bear0"), "decision": decision,
                "reason": "pixels", "distance": 0.0,
            }
        )  # fmt: skip
    assert set(known.unused()) == {"alike"}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_photo_whose_class_is_in_doubt_is_left_out(known, defect):
    known.add("odd", "bear", "snow", "unused", defect)
    known.defect("odd", defect)
    assert known.unused() == ({} if defect in DOUBTS else {"odd": defect})
    known.labels[0]["verdict"] = "no"
    assert "odd" in known.unused()


def test_what_counts_as_doubt_are_defects():
    assert set(DOUBTS) < set(DEFECTS)
    assert set(CRITERIA) - set(DOUBTS) == {"feature_noise", "clarity"}


def test_a_photo_of_two_classes_or_of_none_is_left_out(known):
    known.add("both", "bear", "snow", "unused", "filed", classes=["bear", "dog"])
    known.add("other", "wolf", "snow", "unused", "class is not in dataset.toml")
    assert known.unused() == {}
    known.add("wolf", "wolf", "snow", "common")
    with pytest.raises(InputError, match="class 'wolf' has grouped photos"):
        known.select()


def test_an_unused_photo_without_a_licence_is_left_out_silently(known):
    known.add("mine", "bear", "road", "unused", "neither", licence=None)
    found = known.select()
    assert (found.unused.height, found.excluded) == (0, ())


def test_a_class_left_with_one_group_is_unused(known):
    for row in known.rows:
        if row["class"] == "dog" and row["group"] == "counter":
            row["licence"] = None
    found, why = known.select(), "its class has no counter photo with a usable licence"
    assert known.unused() == {"dog0": why, "dog2": why}
    assert set(found.rows["class"]) == {"bear"}
    assert dict(found.excluded) == {
        key("dog0"): why, key("dog2"): why,
        key("dog1"): "no licence is stated", key("dog3"): "no licence is stated",
    }  # fmt: skip
    assert list(found.excluded) == sorted(found.excluded)
