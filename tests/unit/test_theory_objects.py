"""Coloured objects: cut-outs, colours, the loss, and a small run of everything."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation.errors import ConfigError, InputError
from evaluation.theory import _finetune, colored_objects, cutouts
from evaluation.theory.colored_objects import Choice, Design

TABLE7 = Path(__file__).parents[1] / "data/counteranimal/table7_coloredcoco.csv"
N = 40_000
TINY = Design(
    n_train=24,
    n_choose=6,
    n_test=12,
    steps=3,
    batch=8,
    rates=(1e-3,),
    decays=(0.1,),
    warmups=(0, 2),
    device="cpu",
)


@pytest.fixture(scope="module")
def drawn() -> cutouts.CutOuts:
    return cutouts.drawn(3)


def blob(path: Path, *, alpha: bool = True) -> None:
    """A red disc on nothing, 40 pixels of 60."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:60, :60]
    pixels = np.zeros((60, 60, 4), np.uint8)
    pixels[(rows - 30) ** 2 + (columns - 30) ** 2 <= 400] = 200, 0, 0, 255
    image = Image.fromarray(pixels)
    (image if alpha else image.convert("RGB")).save(path)


@pytest.mark.parametrize("part", ["train", "choose", "id"])
@pytest.mark.parametrize("classes", [2, 9])
def test_colours_in_distribution(part: colored_objects.Part, classes: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, N)
    found = colored_objects.colours(labels, classes, part=part, rng=rng)
    own = found == labels
    assert abs(own.mean() - 0.8) < 0.01
    others = np.bincount(found[~own], minlength=19)
    assert others[:9].sum() == 0
    np.testing.assert_allclose(others[9:] / (~own).sum(), 0.1, atol=0.02)


def test_colours_out_of_distribution_are_the_8_of_other_classes() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, N)
    found = colored_objects.colours(labels, 9, part="ood", rng=rng)
    for label in range(9):
        share = np.bincount(found[labels == label], minlength=19)
        assert share[label] == 0
        assert (share[:9] > 0).sum() == 8
        assert share[9:].sum() == 0


def test_names_of_colours() -> None:
    assert len(colored_objects.OWN) == 9
    assert len(colored_objects.OTHERS) == 10
    assert len(set(colored_objects.COLOURS.values())) == 19


def test_composed_photo_is_the_object_on_one_colour(tmp_path: Path) -> None:
    blob(tmp_path / "disc.png")
    blob(tmp_path / "ball.png")
    disc = cutouts.read(tmp_path).train[0][0]
    assert disc.size == (41, 41)  # trimmed
    for seed in range(20):
        rng = np.random.default_rng(seed)
        photo = cutouts.compose(disc, (10, 20, 250), size=100, rng=rng)
        assert photo.shape == (100, 100, 3)
        ground = (photo == (10, 20, 250)).all(axis=2)
        # a disc is pi/4 of its box
        low, high = (np.pi / 4 * share for share in cutouts.SHARE)
        assert low * 0.85 < 1 - ground.mean() < high * 1.15
        again = cutouts.compose(
            disc, (10, 20, 250), size=100, rng=np.random.default_rng(seed)
        )
        np.testing.assert_array_equal(photo, again)


def test_folders_of_both_layouts(tmp_path: Path) -> None:
    for name in ("ice_bear/one.png", "ice_bear/two.webp", "hen/a.png", "hen/b.png"):
        blob(tmp_path / "folders" / name)
    found = cutouts.read(tmp_path / "folders")
    assert found.classes == ("hen", "ice bear")
    assert found.held_out
    assert [len(one) for one in (*found.train, *found.test)] == [1, 1, 1, 1]

    for name in ("spoonbill_a.png", "spoonbill_b.png", "giant_panda.png", "emu.png"):
        blob(tmp_path / "flat" / name)
    found = cutouts.read(tmp_path / "flat")
    assert found.classes == ("emu", "giant panda", "spoonbill")
    assert not found.held_out
    assert [len(one) for one in found.test] == [1, 1, 2]
    some = cutouts.read(tmp_path / "flat", classes=["spoonbill", "emu"])
    assert some.classes == ("spoonbill", "emu")
    assert len(cutouts.read(tmp_path / "flat", at_most=2).classes) == 2


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        cutouts.read(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"of 0 classes.*<class>/\*\.png"):
        cutouts.read(tmp_path)
    blob(tmp_path / "emu.png")
    with pytest.raises(ConfigError, match="of 1 classes"):
        cutouts.read(tmp_path)
    blob(tmp_path / "hen.png", alpha=False)
    with pytest.raises(InputError, match=r"hen\.png has no alpha channel"):
        cutouts.read(tmp_path)
    with pytest.raises(ConfigError, match="no cut-out of 'hem'; did you mean hen"):
        cutouts.read(tmp_path, classes=["emu", "hem"])
    with pytest.raises(ConfigError, match="name 2 classes or more"):
        cutouts.read(tmp_path, classes=["emu", "emu"])
    (tmp_path / "hen.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"hen\.png cannot be read"):
        cutouts.read(tmp_path)
    Image.new("RGBA", (5, 5)).save(tmp_path / "hen.png")
    with pytest.raises(InputError, match=r"hen\.png has nothing in it"):
        cutouts.read(tmp_path)


def test_drawn_silhouettes() -> None:
    found = cutouts.drawn()
    assert len(found.classes) == 9
    assert found.held_out
    assert "no real objects" in found.name
    again = cutouts.drawn()
    assert all(
        one.tobytes() == other.tobytes()
        for mine, theirs in zip(found.train, again.train, strict=True)
        for one, other in zip(mine, theirs, strict=True)
    )
    with pytest.raises(ConfigError, match="2 to 9 drawn classes, not 10"):
        cutouts.drawn(10)


def test_photos_are_as_many_of_each_class(drawn: cutouts.CutOuts) -> None:
    def draw(seed: int) -> colored_objects.Photos:
        rng = np.random.default_rng(seed)
        return colored_objects.photos(drawn, 30, part="train", size=32, rng=rng)

    found = draw(0)
    assert found.pixels.shape == (30, 3, 32, 32)
    np.testing.assert_array_equal(np.bincount(found.label), [10, 10, 10])
    np.testing.assert_array_equal(found.pixels, draw(0).pixels)
    assert (found.pixels != draw(1).pixels).any()


def test_clip_loss_is_open_clips() -> None:
    import torch
    from open_clip.loss import ClipLoss
    from torch.nn.functional import normalize

    image, text = torch.randn(6, 4), normalize(torch.randn(6, 4), dim=-1)
    scale = torch.tensor(14.0)
    found = _finetune.clip_loss(image, text, scale)
    torch.testing.assert_close(found, ClipLoss()(normalize(image, dim=-1), text, scale))


def vision(**changes: object) -> Any:
    from open_clip.model import CLIP

    sizes = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8} | changes
    text = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
    return CLIP(12, sizes, text).eval()


def test_vit_is_features_and_a_head() -> None:
    """The parts of a published kind of model are the whole, and only they train."""
    import torch

    network = vision(head_width=32)
    pixels = torch.randn(3, 3, 32, 32)
    head, weights = _finetune._head(network, "some")
    with torch.no_grad():
        features = _finetune._trunk(network)(pixels)
        assert features.shape == (3, 64)
        torch.testing.assert_close(head(features), network.encode_image(pixels))
    assert weights == [network.visual.proj]
    trained = {id(one) for one in _finetune._trainable(network, everything=False)}
    for name, value in network.named_parameters():
        own = not name.startswith("visual.") or name == "visual.proj"
        assert (id(value) in trained) == own == value.requires_grad, name
    assert len(_finetune._trainable(network, everything=True)) == len(
        list(network.parameters())
    )


def test_tower_without_a_known_head() -> None:
    network = vision(layers=(1, 1, 1, 1), width=8, image_size=64)  # a ResNet
    with pytest.raises(ConfigError, match=r"'some'.*tune all of it"):
        _finetune._head(network, "some")


def test_learning_rate_over_the_steps() -> None:
    pace = [_finetune._pace(step, 100, 10) for step in range(100)]
    assert pace[9] == pace[10] == 1
    assert np.all(np.diff(pace[:10]) > 0)
    assert np.all(np.diff(pace[10:]) < 0)
    assert _finetune._pace(4, 5, 1000) == 0.005  # longer than the training: it rises


@pytest.mark.parametrize("tune", ["head", "all"])
def test_small_run(drawn: cutouts.CutOuts, tune: colored_objects.Tune) -> None:
    from dataclasses import replace

    told = []
    design = replace(TINY, tune=tune, n_train=12 if tune == "all" else 24)
    if tune == "all":
        design = replace(design, steps=2, batch=6, warmups=(0,))
    rows = colored_objects.table(
        "demo:clip-balanced",
        drawn,
        design=design,
        progress=lambda done, total: told.append((done, total)),
    )
    trainings = 3 * len(design.grid())
    assert told == [(done, trainings) for done in range(1, trainings + 1)]
    assert [row.approach for row in rows] == list(colored_objects.APPROACHES)
    assert rows[0].chosen == ()
    assert all(len(row.chosen) == 1 for row in rows[1:])
    for row in rows:
        assert row.drop == row.in_distribution - row.out_of_distribution
        assert row.id_ci[0] <= row.in_distribution <= row.id_ci[1]
        assert row.ood_ci[0] <= row.out_of_distribution <= row.ood_ci[1]
        assert row.drop_ci[0] <= row.drop <= row.drop_ci[1]


def test_training_learns_and_leaves_the_model_alone(drawn: cutouts.CutOuts) -> None:
    from dataclasses import replace

    import torch

    design = replace(TINY, n_train=60, n_choose=30, n_test=60, steps=40, warmups=(0,))
    bench = _finetune.Bench("demo:clip-balanced", drawn, design)
    bench.prepare(0)
    before = {
        name: value.clone() for name, value in bench._network.state_dict().items()
    }
    zero = bench.measure("zero shot", lambda: None)
    results = {
        approach: bench.measure(approach, lambda: None)
        for approach in ("obj", "objbkg", "supervised")
    }
    for name, value in bench._network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert bench.measure("zero shot", lambda: None) == zero
    for approach, (inside, _, choice) in results.items():
        assert inside > 45, approach  # of 60; a third by chance
        assert choice == Choice(lr=1e-3, weight_decay=0.1, warmup=0)
    # equal seeds train equally
    assert bench.measure("obj", lambda: None) == results["obj"]


def test_paper_numbers_are_table_7s() -> None:
    with TABLE7.open(encoding="utf-8", newline="") as file:
        assert list(colored_objects.paper()) == list(csv.DictReader(file))
    for row in colored_objects.paper():
        assert row["approach"] in colored_objects.APPROACHES
        inside, outside = row["in_distribution"], row["out_of_distribution"]
        assert float(row["drop"]) == pytest.approx(float(inside) - float(outside))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_train": 1}, "n_train is 2 or more, not 1"),
        ({"steps": 0}, "steps is 1 or more"),
        ({"rates": ()}, "no learning rate"),
        ({"rates": (0.0,)}, "learning rates are above 0"),
        ({"tune": "some"}, "tune is one of head, all, not 'some'"),
    ],
)
def test_impossible_design(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Design(**change)


def test_impossible_questions(drawn: cutouts.CutOuts) -> None:
    with pytest.raises(ConfigError, match="seeds is 1 or more, not 0"):
        colored_objects.table("demo:clip", drawn, seeds=0)
    with pytest.raises(ConfigError, match="'demo:lite0' cannot be fine-tuned"):
        colored_objects.table("demo:lite0", drawn, design=TINY)
    picture = drawn.train[0]
    many = cutouts.CutOuts(
        name="many",
        classes=tuple("abcdefghij"),
        train=(picture,) * 10,
        test=(picture,) * 10,
        held_out=False,
    )
    with pytest.raises(ConfigError, match="at most 9 classes have a colour, not 10"):
        colored_objects.table("demo:clip", many)
