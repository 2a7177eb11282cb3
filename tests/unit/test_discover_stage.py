"""The stages discover and group on small tables."""

import itertools
import random
from dataclasses import replace

import polars as pl
import pyarrow as pa
import pytest

from curation.discovery.verified import verified
from curation.errors import InputError
from curation.schemas import empty, from_rows, schema
from curation.stages import discover, group

CLASSES = (("fox", 277), ("hen", 8))
BACKGROUNDS = ("grass", "road", "snow")
SETTINGS = discover.Settings(
    reference=("model a",),
    classes=("fox", "hen"),
    backgrounds=BACKGROUNDS,
    min_drop_points=5.0,
    min_photos=10,
    splits=20,
    permutations=199,
    seed=0,
)
GROUP = group.Settings(classes=CLASSES, backgrounds=BACKGROUNDS)


def photo(number: int, kind: str, **more: object) -> dict[str, object]:
    key = f"{number:064x}"
    return {
        "photo_id": key,
        "candidate_id": key,
        "class": kind,
        "classes": [kind],
        "observation_id": f"seen {number}",
        "composed": False,
        "bytes": 1,
        "format": "JPEG",
        "width": 1,
        "height": 1,
        "order": number,
    } | more


def label(key: object, verdict: str | None, **more: object) -> dict[str, object]:
    return {
        "photo_id": key,
        "question": "background",
        "verdict": verdict,
        "status": "resolved" if verdict else "tie",
        "agreement": 1.0,
        "n_answers": 1,
        "annotators": ["a"],
    } | more


def prediction(
    key: object, kind: object, right: bool, model: str = "model a"
) -> dict[str, object]:
    return {
        "photo_id": key,
        "model": model,
        "class": kind,
        "predicted": kind if right else "other",
        "correct": right,
        "status": "ok",
    }


def world(
    cells: dict[tuple[str, str], tuple[int, int]],
) -> dict[str, list[dict[str, object]]]:
    """Rows of a world with k of n photos right per (class, background)."""
    rows: dict[str, list[dict[str, object]]] = {
        "photos": [], "duplicates": [], "labels": [], "predictions": []
    }  # fmt: skip
    number = itertools.count()
    for (kind, background), (right, n) in cells.items():
        for place in range(n):
            one = photo(next(number), kind)
            rows["photos"].append(one)
            rows["labels"].append(label(one["photo_id"], background))
            rows["predictions"].append(prediction(one["photo_id"], kind, place < right))
    return rows


def tables(rows: dict[str, list[dict[str, object]]]) -> dict[str, pa.Table]:
    return {name: from_rows(some, name) for name, some in rows.items()}


def evidence(rows: dict[str, list[dict[str, object]]], **changes: object) -> list[dict]:
    return discover.run(tables(rows), replace(SETTINGS, **changes)).to_pylist()


def groups(rows: dict[str, list[dict[str, object]]]) -> pl.DataFrame:
    inputs = tables(rows)
    inputs["evidence"] = discover.run(inputs, SETTINGS)
    frame = pl.from_arrow(group.run(inputs, GROUP))
    assert isinstance(frame, pl.DataFrame)
    return frame


FOX = {("fox", "snow"): (19, 20), ("fox", "grass"): (6, 20), ("fox", "road"): (12, 20)}


def test_evidence_has_three_levels() -> None:
    rows = evidence(world(FOX | {("hen", "grass"): (5, 12), ("hen", "road"): (1, 3)}))
    dataset, fox, *backgrounds = rows
    assert dataset["level"] == "dataset"
    assert dataset["reason"] == "1 of 2 classes kept"
    assert dataset["n"] == 75
    assert dataset["naive_drop"] == pytest.approx(65)
    assert fox["level"] == "class"
    assert fox["kept"] is True
    assert fox["naive_drop"] == pytest.approx(65)
    assert fox["cross_low"] < fox["cross_drop"] < fox["cross_high"]
    assert fox["p_value"] == pytest.approx(1 / 200)
    assert [(r["background"], r["group"]) for r in backgrounds[:3]] == [
        ("grass", "counter"), ("road", "unused"), ("snow", "common")
    ]  # fmt: skip
    grass = backgrounds[0]
    assert (grass["n"], grass["correct"], grass["accuracy"]) == (20, 6, 30)
    assert grass["accuracy_low"] < 30 < grass["accuracy_high"]
    hen = next(r for r in rows if r["class"] == "hen" and r["level"] == "class")
    assert hen["kept"] is False
    assert hen["naive_drop"] is None
    assert hen["p_value"] is None
    assert {tuple(r["models"]) for r in rows} == {("model a",)}


def test_every_photo_is_grouped_and_unused_ones_say_why() -> None:
    rows = world(FOX | {("hen", "grass"): (11, 20), ("hen", "road"): (11, 20)})
    rows["labels"] += [label(rows["photos"][0]["photo_id"], "yes", question="clarity")]
    more = [photo(900 + i, "fox") for i in range(6)]
    more[1]["classes"] = ["fox", "hen"]
    more[2]["class"] = "cow"
    more[2]["classes"] = ["cow"]
    rows["photos"] += more
    keys = [one["photo_id"] for one in more]
    rows["labels"] += [
        label(keys[0], "snow"), label(keys[1], "snow"), label(keys[2], "snow"),
        label(keys[3], None), label(keys[4], "cannot_tell"),
    ]  # fmt: skip
    keeper = rows["photos"][30]["photo_id"]
    rows["duplicates"] += [
        {
            "photo_id": keys[0], "keeper": keeper, "decision": "merge",
            "reason": "perceptual", "distance": 2.0,
        }
    ]  # fmt: skip
    table = groups(rows)
    assert table["photo_id"].to_list() == sorted(
        one["photo_id"] for one in rows["photos"]
    )
    why = dict(zip(table["photo_id"], table["reason"], strict=True))
    assert why[rows["photos"][0]["photo_id"]] == "clarity"
    assert [why[key] for key in keys] == [
        f"duplicate of {keeper}",
        "filed under fox and hen",
        "class is not in dataset.toml",
        "no verdict: tie",
        "people cannot tell the background",
        "no verdict: not labelled",
    ]
    hens = table.filter(pl.col("class") == "hen")
    assert set(hens["reason"]) == {"class not kept: drop 0.0 points"}
    assert set(hens["imagenet_index"]) == {8}
    used = table.filter(pl.col("group") != "unused")
    assert used.group_by("group").len().sort("group").rows() == [
        ("common", 19), ("counter", 20)
    ]  # fmt: skip
    assert used["reason"].null_count() == used.height
    assert table.filter(pl.col("group") == "unused")["reason"].null_count() == 0
    assert "background between" in why.values()


def test_one_observation_is_no_background() -> None:
    rows = world(FOX)
    for one in rows["photos"][40:]:
        one["observation_id"] = "a burst on the road"
    rows["photos"] += [photo(500, "fox")]
    road = next(r for r in evidence(rows) if r["background"] == "road")
    assert road["n_clusters"] == 1
    assert road["reason"] == "all its photos are of one observation or burst"


def test_photos_linked_by_observation_merge_or_burst_share_a_cluster() -> None:
    rows = world({("fox", "snow"): (1, 6)})
    keys = [str(one["photo_id"]) for one in rows["photos"]]
    rows["photos"][1]["observation_id"] = rows["photos"][2]["observation_id"]
    rows["duplicates"] = [
        {"photo_id": keys[3], "keeper": keys[2], "decision": "merge",
         "reason": "pixels", "distance": 0.0},
        {"photo_id": keys[5], "keeper": keys[4], "decision": "suggest",
         "reason": "embedding", "distance": 0.01},
        {"photo_id": keys[4], "keeper": keys[0], "decision": "burst",
         "reason": "embedding", "distance": 0.05},
    ]  # fmt: skip
    frame = verified(tables(rows), classes=["fox"], backgrounds=BACKGROUNDS)
    assert frame["cluster"].to_list() == [
        keys[0], keys[1], keys[1], keys[1], keys[0], keys[5]
    ]  # fmt: skip


@pytest.mark.parametrize("dropped", [True, False])
def test_photos_of_another_set_are_left_out_only_when_asked(dropped: bool) -> None:
    rows = world({("fox", "snow"): (1, 4)})
    keys = [str(one["photo_id"]) for one in rows["photos"]]
    rows["duplicates"] = [
        {"photo_id": keys[3], "keeper": keys[2], "decision": "merge",
         "reason": "pixels", "distance": 0.0},
    ]  # fmt: skip
    leak = {"reason": "bytes", "variant": "identity", "distance": 0.0, "name": "1.jpg"}
    rows["leaks"] = [
        leak | {"photo_id": keys[place], "set": name, "dropped": dropped}
        for place, name in ((0, "val"), (0, "train"), (3, "train"))
    ]
    frame = verified(tables(rows), classes=["fox"], backgrounds=BACKGROUNDS)
    assert frame["reason"].to_list() == [
        "also in train, val" if dropped else None,
        None,
        "also in train" if dropped else None,
        f"duplicate of {keys[2]}",
    ]


@pytest.mark.parametrize(("vote", "correct"), [("mean", 35 / 3), ("majority", 10.0)])
def test_several_models_vote(vote: str, correct: float) -> None:
    rows = world({("fox", "snow"): (20, 20), ("fox", "grass"): (20, 20)})
    for model, share in (("model b", 2), ("model c", 4)):
        rows["predictions"] += [
            prediction(one["photo_id"], "fox", place % share == 0, model)
            for place, one in enumerate(rows["photos"])
        ]
    names = ("model a", "model b", "model c")
    grass = next(
        row
        for row in evidence(rows, reference=names, vote=vote)
        if row["background"] == "grass"
    )
    # of 20: a is right on all, b on half of them, c on half of b's
    assert grass["correct"] == pytest.approx(correct)
    assert grass["models"] == list(names)


def test_a_model_without_predictions_is_an_error_and_no_labels_is_not() -> None:
    rows = world(FOX)
    with pytest.raises(InputError, match="model z has no predictions"):
        evidence(rows, reference=("model z",))
    rows["labels"] = []
    table = discover.run(tables(rows), SETTINGS)
    assert table.num_rows == 0
    assert table.schema.equals(schema("evidence"))
    assert set(groups(rows)["reason"]) == {"no verdict: not labelled"}


def test_no_photos_at_all() -> None:
    inputs = {name: empty(name) for name in discover.INPUTS}
    found = discover.run(inputs, SETTINGS)
    assert found.num_rows == 0
    assert group.run(inputs | {"evidence": found}, GROUP).num_rows == 0


def test_row_order_changes_no_byte() -> None:
    rows = world(FOX | {("hen", "grass"): (11, 20), ("hen", "road"): (4, 20)})
    first = tables(rows)
    for some in rows.values():
        random.Random(1).shuffle(some)
    second = tables(rows)
    one, two = (discover.run(inputs, SETTINGS) for inputs in (first, second))
    assert one.equals(two)
    assert group.run(first | {"evidence": one}, GROUP).equals(
        group.run(second | {"evidence": two}, GROUP)
    )
