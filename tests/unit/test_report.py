"""The dataset report, built from a small world of known tables."""

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation import reports
from curation.config import Dataset, parse
from curation.reports import charts, facts, page
from curation.reports.album import Album
from curation.reports.facts import Estimate
from curation.schemas import CRITERIA, from_rows
from evaluation.intervals import wilson

ASSETS = Path(__file__).parents[2] / "curation" / "demo" / "assets"
SCRIPT_URL = "javascript:alert(1)"
HOSTILE = '<script>alert("author")</script>'
CLASSES = {
    "bison": ("grass", "snow"),
    "ice bear": ("snow", "sand"),
    "koala": ("tree", "indoor"),
    "jaguar": ("", ""),
}
BACKGROUNDS = ("grass", "snow", "sand", "tree", "indoor")
MODELS = ("demo:clip", "demo:clip-balanced", "demo:lite0", "timm:resnet50")
PER_CELL = 4


def config(**changes) -> Dataset:
    content = {
        "dataset": {"name": "world", "title": "A small world"},
        "classes": [{"name": name} for name in CLASSES],
        "backgrounds": [
            {"name": name, "prompts": [f"a {{}} on {name}"]} for name in BACKGROUNDS
        ],
        "sources": [{"kind": "folder", "path": "photos"}],
        "embed": {"model": "demo:clip-balanced"},
        "group": {"reference": ["demo:clip"], "min_photos": 4},
    }
    return parse(content | changes, base=Path("/nowhere"), name="dataset.toml")


def pictures() -> list[bytes]:
    """Real photos of the bundle; painted ones where it is not installed."""
    files = sorted((ASSETS / "originals").glob("*.jpg"))
    return [file.read_bytes() for file in files] or [painted(n) for n in range(12)]


def painted(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    file = io.BytesIO()
    small.resize((320, 240)).save(file, "JPEG")
    return file.getvalue()


def photo_id(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def world() -> dict:
    """Arguments of `reports.build`, but for the folder."""
    rows: dict[str, list[dict]] = {name: [] for name in (
        "candidates", "photos", "hashes", "duplicates", "flags", "proposals",
        "label_events", "labels", "predictions", "groups",
    )}  # fmt: skip
    rng = np.random.default_rng(1)
    files, bank = {}, pictures()
    cells = [(c, b, n) for c in CLASSES for b in BACKGROUNDS for n in range(PER_CELL)]
    for order, (name, background, n) in enumerate(cells):
        key = photo_id(name, background, n)
        files[key] = bank[order % len(bank)]
        group = dict(zip(CLASSES[name], ("common", "counter"), strict=True)).get(
            background, "unused"
        )
        _photo(rows, key, name, order)
        _answers(rows, key, background, n, order)
        _models(rows, key, name, group, rng)
        rows["flags"].append(
            {"photo_id": key} | {c: float(rng.random()) for c in CRITERIA}
        )
        rows["groups"].append(
            {"photo_id": key, "class": name, "background": background, "group": group}
            | {"cluster": key}
        )
    _twins(rows, files)
    tables = {name: from_rows(some, name) for name, some in rows.items()}
    tables["evidence"] = from_rows(evidence(), "evidence")
    tables["fetches"] = from_rows(
        [
            {"candidate_id": "c0", "status": "failed", "error": error, "at": at}
            | {"limits": "1/1"}
            for error, at in (("first try", "1"), ("empty file", "2"))
        ],
        "fetches",
    )
    return {
        "config": config(),
        "tables": tables,
        "results": results(),
        "read": lambda key: files[key],
        "provenance": {"counterset": "0.1.0", "recipes": {"hash": "abc", "group": "d"}},
    }


def _photo(rows, key, name, order):
    rows["candidates"].append(
        {
            "candidate_id": f"c{order}", "source": "folder", "revision": "1",
            "key": f"{name}/photo {order}.jpg", "class": name, "url": "x",
            "source_url": f"https://example.org/{order}" if order != 3 else SCRIPT_URL,
            "author": "Ann Example" if order % 7 else HOSTILE,
            "title": f"Photo {order}",
            "licence": "CC-BY-4.0" if order % 3 else "CC0-1.0",
            "composed": order % 2 == 0, "place": 0, "order": order,
        }
    )  # fmt: skip
    rows["photos"].append(
        {
            "photo_id": key, "candidate_id": f"c{order}", "class": name,
            "classes": [name], "observation_id": key, "bytes": 1000,
            "composed": order % 2 == 0,
            "format": "JPEG", "width": 512, "height": 288, "order": order,
        }
    )  # fmt: skip
    rows["hashes"].append(
        {"photo_id": key, "status": "ok", "error": None, "path": "1"}
        if order
        else {"photo_id": key, "status": "failed", "error": "truncated", "path": "1"}
    )


def _answers(rows, key, background, n, order):
    probability = 0.35 + 0.6 * ((order * 7) % 10) / 10
    rows["proposals"].append(
        {
            "photo_id": key, "background": background if n else "sand",
            "probability": probability, "margin": probability - 0.3, "second": "tree",
            "abstained": probability < 0.5, "probabilities": [0.2] * 5,
            "temperature": 0.07, "calibrated_on": 40,
        }
    )  # fmt: skip
    who = ["simulated-a", "simulated-b", "simulated-c"]
    answers = [background, background, background if order % 6 else "sky"]
    for name, answer in zip(who, answers, strict=True):
        rows["label_events"].append(
            {
                "event_id": photo_id(key, name), "photo_id": key, "answer": answer,
                "question": "background", "annotator": name, "origin": "chosen",
                "created_at": "2026-01-01T00:00:00Z",
            }
        )  # fmt: skip
    rows["labels"].append(
        {
            "photo_id": key, "question": "background", "verdict": background,
            "status": "resolved", "agreement": answers.count(background) / 3,
            "n_answers": 3, "annotators": who,
        }
    )  # fmt: skip


def _models(rows, key, name, group, rng):
    for model in MODELS:
        right = rng.random() < (
            0.2 if (model, group) == (MODELS[0], "counter") else 0.9
        )
        rows["predictions"].append(
            {
                "photo_id": key, "model": model, "class": name, "status": "ok",
                "predicted": name if right else "hog", "correct": bool(right),
                "probability": 0.8, "label_probability": 0.8 if right else 0.1,
            }
        )  # fmt: skip


def _twins(rows, files):
    keys = list(files)
    for n, (reason, variant) in enumerate(
        [("pixels", "identity"), ("perceptual", "mirror"), ("embedding", None)]
    ):
        rows["duplicates"].append(
            {
                "photo_id": keys[2 * n + 1], "keeper": keys[2 * n + 2],
                "reason": reason, "decision": "suggest" if variant is None else "merge",
                "variant": variant, "distance": float(n),
            }
        )  # fmt: skip


def evidence() -> list[dict]:
    rows = []
    models = ["demo:clip"]
    for place, (name, (common, counter)) in enumerate(CLASSES.items()):
        drop = 60.0 - min(18 * place, 54.0)
        for background in BACKGROUNDS:
            group = {common: "common", counter: "counter"}.get(background, "unused")
            right = {"common": 4, "counter": 1}.get(group, 3)
            low, high = wilson(right, PER_CELL)
            rows.append(
                {
                    "level": "background", "class": name, "background": background,
                    "group": group, "kept": bool(common), "n": PER_CELL,
                    "n_clusters": PER_CELL, "correct": float(right),
                    "accuracy": 25.0 * right, "accuracy_low": 100 * float(low),
                    "accuracy_high": 100 * float(high), "models": models,
                }
            )  # fmt: skip
        rows.append(
            {
                "level": "class", "class": name, "kept": bool(common), "n": 20,
                "n_clusters": 20, "naive_drop": drop, "naive_low": drop - 14,
                "naive_high": drop + 14, "cross_drop": drop - 9, "cross_low": drop - 26,
                "cross_high": drop + 8, "p_value": min(0.001 * 9**place, 1.0),
                "q_value": min(0.002 * 9**place, 1.0), "models": models,
            }
        )  # fmt: skip
    rows.append(
        {
            "level": "dataset", "n": 60, "n_clusters": 60, "naive_drop": 42.5,
            "naive_low": 36.25, "naive_high": 48.75, "cross_drop": 33.75,
            "cross_low": 27.5, "cross_high": 40.0, "models": models,
        }
    )  # fmt: skip
    return rows


def results() -> list[dict]:
    return [
        {
            "model": model, "dataset": "release", "label_space": "dataset",
            "prompts": "paper", "n_common": 12, "n_counter": 12, "common": 90.0,
            "counter": 90.0 - drop, "drop": drop, "common_ci": [80.0, 95.0],
            "counter_ci": [82.0 - drop, 97.0 - drop], "drop_ci": [drop - 6, drop + 6],
            "balanced": True,
        }
        for model, drop in zip(MODELS, (48.25, 3.5, -1.75, 0.5), strict=True)
    ]  # fmt: skip


def page_of(arguments: dict, **album) -> str:
    """The page alone, without the saved figures: they take longer than all the rest."""
    about = {
        k: v for k, v in arguments.items() if k not in ("config", "tables", "read")
    }
    report = facts.gather(arguments["config"], arguments["tables"], **about)
    return page.render(page.gather(report, Album(arguments["read"], **album)))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    return reports.build(tmp_path_factory.mktemp("report"), **world())


@pytest.fixture(scope="module")
def html(built: Path) -> str:
    return built.read_text(encoding="utf-8")


def text(html: str) -> str:
    """What a reader sees, roughly."""
    plain = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", plain))


def test_names_the_numbers_with_their_intervals(html):
    said = text(html)
    assert "48.2 points [42.2, 54.2]" in said
    assert "33.8 points [27.5, 40.0]" in said
    assert "−1.8 [−7.8, 4.2]" in said


def test_strangers_words_are_text(html):
    assert HOSTILE not in html
    assert "&lt;script&gt;alert(" in html
    assert "javascript:" not in re.sub(r"\(javascript:alert\(1\)\)", "", html)
    assert not re.search(r'href="(?!https?://|#|data:,)', html)


def test_equal_input_gives_equal_bytes(built, tmp_path):
    reports.build(tmp_path, **world())
    for file in sorted(built.parent.rglob("*.*")):
        again = tmp_path / file.relative_to(built.parent)
        assert again.read_bytes() == file.read_bytes(), file.name


def test_figures_are_saved_as_svg_and_pdf(built):
    names = {file.name for file in (built.parent / "figures").iterdir()}
    whole = {"drop_per_class", "models", "classes", "backgrounds"}
    assert names == {f"{name}.{suffix}" for name in whole for suffix in ("svg", "pdf")}
    for file in (built.parent / "figures").glob("*.pdf"):
        assert file.read_bytes().startswith(b"%PDF")


def test_every_picture_has_words_and_nothing_is_loaded(html):
    images = re.findall(r"<img [^>]*>", html)
    assert len(images) > 40
    for image in images:
        assert re.search(r'alt="[^"]{10,}"', image)
        assert 'src="data:image/jpeg;base64,' in image
    assert not re.search(
        r"<(link|script|iframe|object)[^>]*(src|href)=\"(?!data:,)", html
    )
    assert "default-src 'none'" in html


def test_what_is_not_real_says_so(html):
    said = text(html)
    assert "40 of 80 photos are composed" in said
    assert "annotators are simulated" in said
    assert "demo:clip and demo:clip-balanced are demonstration models" in said
    # every composed picture carries the badge: as many as pictures whose words say so
    pictured = len(re.findall(r'<img [^>]*alt="Composed', html))
    assert pictured
    assert html.count('<span class="badges"><span class="badge">composed') == pictured


def test_selected_on_marks_the_discovery_model_and_its_siblings(html):
    row = re.search(
        r"<tr><td><span class=\"model\">demo:clip</span>.*?</tr>", html, re.S
    )
    assert "selected on" in row[0]

    def row(model):
        start = html.index(f'<tr><td><span class="model">{model}</span>')
        return text(html[start : html.index("</tr>", start)])

    assert "selected on" in row("demo:clip")
    assert "sibling of the discovery model" in row("demo:clip-balanced")
    assert "sibling" in row("demo:lite0")  # the discovery model's frozen backbone
    assert "selected on" not in row("timm:resnet50")
    assert "sibling" not in row("timm:resnet50")


def test_failed_files_are_listed_with_the_reason(html):
    said = text(html)
    assert "bison/photo 0.jpg fetch empty file" in said
    assert "first try" not in said
    assert "bison/photo 0.jpg hash truncated" in said


def test_classes_come_largest_drop_first(html):
    order = re.findall(r'<th class="who"[^>]*>([a-z ]+?)(?: <span|<small)', html)
    assert order == ["all kept classes", "bison", "ice bear", "koala", "jaguar"]


@pytest.mark.parametrize("left_out", [
    "candidates", "photos", "hashes", "duplicates", "flags", "proposals", "labels",
    "label_events", "predictions", "groups", "evidence", "fetches",
])  # fmt: skip
def test_builds_without(left_out):
    arguments = world()
    del arguments["tables"][left_out]
    assert "A small world" in page_of(arguments)


def test_builds_from_nothing_and_says_what_is_missing(tmp_path):
    index = reports.build(
        tmp_path, config=config(), tables={}, results=[], read=lambda key: b""
    )
    said = text(index.read_text(encoding="utf-8"))
    assert "Nothing has been measured yet" in said
    assert "table evidence has no rows" in said
    assert not list((tmp_path / "figures").iterdir())


def test_a_photo_that_cannot_be_read_is_shown_as_missing():
    arguments = world()

    def read(key):
        raise FileNotFoundError(key)

    html = page_of(arguments | {"read": read})
    assert "<img" not in html
    assert "not at hand" in html


def test_pictures_keep_to_the_budget():
    html = page_of(world(), budget=200_000)
    assert sum(map(len, re.findall(r'src="(data:[^"]*)"', html))) <= 200_000
    assert re.search(r"\d+ pictures were left out", html)


def test_the_page_holds_no_path_of_this_machine(html):
    assert "/nowhere" not in html


def planted() -> dict:
    """A truth in the demonstration's words, which the small world mostly fulfils."""
    duplicates = [
        row["photo_id"] for row in world()["tables"]["duplicates"].to_pylist()
    ]
    return {
        "planted": {"bison": "grass", "ice bear": "snow", "koala": "tree"},
        "duplicates": [{"photo_id": key} for key in duplicates[:2]],
        "corrupt": ["bison/photo 0.jpg"],
    }


def test_says_whether_what_was_planted_was_found():
    said = text(page_of(world() | {"truth": planted()}))
    assert "2 of 3 planted classes are kept with q ≤ 0.05. Missed: koala." in said
    assert "Yes. For 3 of 3 the planted background comes out" in said
    assert "Yes. 0 of 1 classes with nothing planted pass the test" in said
    assert "2 of 2 planted duplicates were merged" in said
    assert "demo:lite0, trained without the planted correlation, drops by −1.8" in said


def test_bursts_and_other_sets_are_told():
    arguments = world()
    tables = arguments["tables"]
    burst, *_ = tables["duplicates"].to_pylist()
    photos = tables["photos"]["photo_id"].to_pylist()
    burst |= {"photo_id": photos[-1], "keeper": photos[-2], "decision": "burst",
              "reason": "embedding", "variant": None}  # fmt: skip
    tables["duplicates"] = from_rows(
        [*tables["duplicates"].to_pylist(), burst], "duplicates"
    )
    leak = {"reason": "bytes", "variant": "identity", "distance": 0.0}
    tables["leaks"] = from_rows(
        [
            leak | {"photo_id": key, "set": name, "name": file, "dropped": False}
            for key, name, file in (
                (photos[0], "val", "1.jpg"), (photos[0], "val", "2.jpg"),
                (photos[1], "val", "3.jpg"), (photos[1], "train", "4.jpg"),
            )
        ],
        "leaks",
    )  # fmt: skip
    section = arguments["config"].dedup
    against = [Path(f"{name}.parquet") for name in ("val", "train", "test")]
    arguments["config"] = arguments["config"].model_copy(
        update={"dedup": section.model_copy(update={"against": against})}
    )
    said = text(page_of(arguments))
    assert "2 photos are of a burst: no copies" in said
    assert "2 photos are also in val, and used all the same" in said
    assert "1 photo is also in train" in said
    assert "No photo is in test." in said
    tables["duplicates"] = from_rows([burst], "duplicates")
    del tables["leaks"]
    said = text(page_of(arguments))
    assert "No photo was merged or suggested. 2 photos are of a burst" in said
    assert "compared with no other set" in said


def test_a_keeper_may_have_a_duplicate_and_a_look_alike():
    arguments = world()
    tables = arguments["tables"]
    keeper = tables["photos"]["photo_id"].to_pylist()[-1]
    found = {row["decision"]: row for row in tables["duplicates"].to_pylist()}
    rows = [found[name] | {"keeper": keeper} for name in ("merge", "suggest")]
    tables["duplicates"] = from_rows(rows, "duplicates")
    told = re.findall(r'<p class="tag"><b>([a-z-]+)</b>', page_of(arguments))
    assert sorted(told[:3]) == ["kept", "merged", "suggested"]


def test_labels_of_points_keep_off_intervals_where_there_is_room():
    square = charts.Scatter()
    across, up = Estimate(50, 20, 80), Estimate(50, 45, 55)
    (placed,) = square.place([charts.Point("a name", across, up)])
    assert placed.anchor
    assert not placed.label_y - 10 <= placed.y <= placed.label_y + 3
    # without room, on the interval rather than nowhere
    tight = charts.Scatter(side=80, left=4, top=20, room=6)
    everywhere = Estimate(50, 0, 100)
    (placed,) = tight.place([charts.Point("abc", everywhere, everywhere)])
    assert placed.anchor


def test_measures_of_annotators_are_told_in_words():
    share = {"share": 0.026, "n": 2116, "lowest": 0.0136, "highest": 0.036}
    provenance = {"annotators": {"cannot_tell": share | {"annotators": 3}}}
    said = text(page_of(world() | {"provenance": provenance}))
    assert (
        "cannot tell 2.6 % of 2 116 answers; single annotators 1.4 % to 3.6 %" in said
    )


def test_without_truth_nothing_is_claimed(html):
    assert "planted" not in text(html)
