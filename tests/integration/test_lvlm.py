"""The pass over photos for vision-language models: what is kept, and what goes on."""

import io
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from evaluation import Plan, _answer_parts, evaluate
from evaluation.errors import ConfigError
from evaluation.extract import Models
from evaluation.features import FeatureStore
from evaluation.label_spaces import Column, LabelSpace
from evaluation.losses import QUESTIONS, answer_losses, features_over
from tests.standins import llava

NAMES = ("ostrich", "polar bear", "dung beetle", "gorilla")


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("transformers")
    return f"lvlm:{llava.build(tmp_path_factory.mktemp('lvlm') / 'llava')}"


@pytest.fixture(scope="module")
def photos() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    found = {}
    for number in range(5):
        picture = rng.integers(0, 256, (40 + number, 50, 3), dtype=np.uint8)
        sink = io.BytesIO()
        Image.fromarray(picture).save(sink, "PNG")
        found[f"photo{number}"] = sink.getvalue()
    return found | {"damaged": b"\xff\xd8\xff\xe0 no picture"}


@pytest.fixture
def known(tmp_path: Path) -> Models:
    return Models(FeatureStore(tmp_path / "store"))


def ask(name, photos, known, *, ids=None, names=NAMES, **more):
    wanted = list(ids or photos)
    return answer_losses(
        name,
        wanted,
        photos.__getitem__,
        [list(names)] * len(wanted),
        known=known,
        batch_size=2,
        **more,
    )


def test_a_row_for_every_photo_and_a_reason_for_a_damaged_one(name, photos, known):
    found = ask(name, photos, known)
    assert found.photo_ids == tuple(photos)
    assert found.computed == 5 * len(NAMES)
    assert [error is None for error in found.errors] == [True] * 5 + [False]
    assert "truncated or damaged" in (found.errors[-1] or "")
    assert np.isnan(found.values[-1]).all()
    assert all(np.isfinite(values).all() for values in found.values[:-1])
    assert len({values.tobytes() for values in found.values[:-1]}) == 5


def test_asked_again_costs_nothing_and_a_subset_neither(name, photos, known):
    first = ask(name, photos, known)
    nobody = Models(known.store)
    nobody.load = None  # type: ignore[assignment,method-assign]
    again = ask(name, photos, nobody)
    assert again.computed == 0
    assert again.errors == first.errors
    np.testing.assert_array_equal(again.values, first.values)
    turned = ask(name, photos, nobody, names=NAMES[::-1][:2], ids=["photo3", "photo3"])
    assert turned.computed == 0
    for values in turned.values:
        np.testing.assert_array_equal(values, first.values[3][::-1][:2])


def test_only_what_is_missing_is_scored(name, photos, known):
    ask(name, photos, known, names=NAMES[:2], ids=["photo0", "photo1"])
    found = ask(name, photos, known, ids=["photo0", "photo1", "photo2"])
    assert found.computed == 2 + 2 + 4
    other = Models(FeatureStore(known.store.folder.parent / "other"))
    whole = ask(name, photos, other, ids=["photo0", "photo1", "photo2"])
    for ours, theirs in zip(found.values, whole.values, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_a_pass_that_was_stopped_goes_on(name, photos, known, monkeypatch):
    monkeypatch.setattr(_answer_parts, "_ANSWERS_A_PART", 1)

    def stop(done: int, total: int) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(name, photos, known, progress=stop)
    found = ask(name, photos, known)
    assert found.computed == 3 * len(NAMES)
    other = Models(FeatureStore(known.store.folder.parent / "other"))
    np.testing.assert_array_equal(found.values, ask(name, photos, other).values)


def test_a_photo_that_cannot_be_read_is_asked_for_again(name, photos, known):
    lacking = {key: data for key, data in photos.items() if key != "photo1"}

    def read(photo_id: str) -> bytes:
        if photo_id not in lacking:
            raise FileNotFoundError(2, "No such file or directory")
        return lacking[photo_id]

    wanted = ["photo0", "photo1"]
    asked = [list(NAMES)] * 2
    found = answer_losses(name, wanted, read, asked, known=known)
    assert found.errors == (None, "cannot be read: No such file or directory")
    found = answer_losses(name, wanted, photos.__getitem__, asked, known=known)
    assert found.errors == (None, None)
    assert found.computed == len(NAMES)


def test_a_damaged_part_is_made_again(name, photos, known, caplog):
    first = ask(name, photos, known)
    for part in known.store.folder.glob("losses/*/*/*.parquet"):
        part.write_bytes(b"damaged")
    again = ask(name, photos, known)
    assert again.computed == first.computed
    assert "made again" in caplog.text
    np.testing.assert_allclose(again.values[0], first.values[0], rtol=1e-5)


def test_the_mean_is_the_sum_over_the_answer_s_tokens(name, photos, known):
    mean, total = ask(name, photos, known), ask(name, photos, known, reduction="sum")
    assert total.computed == 0
    pairs = [QUESTIONS["main-object"].pair(one) for one in NAMES]
    tokens = known.load(name).lengths(pairs)
    assert len(set(tokens.tolist())) > 1
    for ours, theirs in zip(mean.values[:5], total.values[:5], strict=True):
        np.testing.assert_allclose(ours * tokens, theirs, rtol=1e-6)


@pytest.mark.parametrize("asked", QUESTIONS)
def test_every_question_is_kept_on_its_own(name, photos, known, asked):
    ask(name, photos, known, ids=["photo0"])
    found = ask(name, photos, known, ids=["photo0"], asked=asked)
    assert found.computed == (0 if asked == "main-object" else len(NAMES))
    assert found.question is QUESTIONS[asked]
    model = known.load(name)
    from evaluation.images import decode, fit

    square = fit(decode(photos["photo0"]), model.spec)
    import torch

    pixels = torch.from_numpy(square.transpose(2, 0, 1)[None].copy())
    pairs = [QUESTIONS[asked].pair(one) for one in NAMES]
    expected = model.pair_losses(pixels, [pairs])[0] / model.lengths(pairs)
    np.testing.assert_allclose(found.values[0], expected, rtol=1e-5)


def test_scores_over_a_label_space(name, photos, known):
    wanted = ["photo0", "photo1", "damaged"]
    asked = [list(NAMES[:2]), list(NAMES), list(NAMES)]
    found = answer_losses(name, wanted, photos.__getitem__, asked, known=known)
    # two names of one class, and a class that is not offered
    scores = found.logits([[4, 0], [0, 1, 1, 2], [0, 1, 1, 2]], 5)
    first, second = -found.values[0], -found.values[1]
    assert scores[0].tolist() == [first[1], -np.inf, -np.inf, -np.inf, first[0]]
    best = max(second[1], second[2])
    assert scores[1].tolist() == [second[0], best, second[3], -np.inf, -np.inf]
    assert scores[2].tolist() == [0] * 5


def test_features_over_a_label_space(name, photos, known):
    words = (("ostrich",), ("polar bear", "gorilla"), ("dung beetle",))
    columns = tuple(
        Column(place, some[0], (place,), tuple((word, place) for word in some))
        for place, some in enumerate(words)
    )
    wanted = ["photo0", "damaged", "photo1"]
    own = np.array([2, 0, 0])

    def over(**more):
        space = LabelSpace("mine", "imagenet", columns, **more)
        return features_over(name, wanted, photos.__getitem__, space, own, known=known)

    everything = over()
    assert everything.computed == 2
    assert everything.values.shape == (3, 3)
    assert [error is None for error in everything.errors] == [True, False, True]
    losses = ask(name, photos, known).values[0]
    expected = [-losses[0], max(-losses[1], -losses[3]), -losses[2]]
    assert everything.values[0].tolist() == expected
    some = over(choices={2: (0, 2), 0: (0, 1)})
    assert some.computed == 0
    assert np.isneginf(some.values[0]).tolist() == [False, True, False]
    assert np.isneginf(some.values[2]).tolist() == [False, False, True]
    there = np.isfinite(some.values)
    np.testing.assert_array_equal(some.values[there], everything.values[there])
    assert there[1].all()


def test_names_twice_photos_without_names_and_braces(name, photos, known):
    found = answer_losses(
        name,
        ["photo0", "photo1", "photo2"],
        photos.__getitem__,
        [["ostrich", "ostrich"], [], ["{name} {0}"]],
        known=known,
    )
    assert found.computed == 2
    assert found.values[0][0] == found.values[0][1]
    assert [len(values) for values in found.values] == [2, 0, 1]
    assert found.errors == (None, None, None)


def test_what_cannot_be_asked(name, photos, known):
    with pytest.raises(ConfigError, match="did you mean main-object"):
        ask(name, photos, known, asked="main-objekt")
    with pytest.raises(ConfigError, match="answers no questions"):
        ask("demo:lite0", photos, known)


def test_from_the_command_line_among_twenty(name, tmp_path):
    """A photo's candidates are its own class's; the prediction is the least loss."""
    for place, colour in (("9 ostrich", (200, 120, 60)), ("296 bear", (240, 240, 250))):
        (tmp_path / "set" / place).mkdir(parents=True)
        for number in range(3):
            image = Image.new("RGB", (60, 50), tuple(c - number for c in colour))
            image.save(tmp_path / "set" / place / f"{number}.png")
    plan = Plan(
        models=(name,),
        datasets=(str(tmp_path / "set"),),
        label_space="confusing20@demo:clip-balanced",
    )
    (row,) = evaluate(plan, tmp_path / "out").rows
    assert row.n_photos == 6
    assert row.label_space == "confusing20@demo:clip-balanced"
    assert row.provenance["question"] == "main-object, mean over tokens"
    (path,) = (tmp_path / "out/predictions").glob("*.parquet")
    table = pl.read_parquet(path)
    (space,) = (tmp_path / "out/label_spaces").glob("*.csv")
    candidates = pl.read_csv(space).filter(imagenet_index=9).sort("candidate_index")
    photo = table.filter(label=9).row(0, named=True)
    files = {one.name: one for one in (tmp_path / "set/9 ostrich").iterdir()}
    known = Models(FeatureStore(tmp_path / "afresh"))
    data = {sha256(one.read_bytes()).hexdigest(): one for one in files.values()}
    found = answer_losses(
        name,
        [photo["photo_id"]],
        lambda key: data[key].read_bytes(),
        [candidates["candidate_name"].to_list()],
        known=known,
    )
    best = int(np.argmin(found.values[0]))
    assert photo["predicted"] == candidates["candidate_index"][best]
    assert photo["max_logit"] == pytest.approx(-found.values[0].min(), rel=1e-4)
