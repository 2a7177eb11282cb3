"""Composing: pure, seeded, inside the frame, and with every author named."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from curation.demo import design
from curation.demo.assets import (
    FOLDER,
    SHARED,
    TRAINING_GROUPS,
    assets,
    backgrounds,
    opened,
    pictures,
)
from curation.demo.compose import (
    FRAME,
    RESTRICTIVE,
    SHARE,
    backdrop,
    compose,
    composed_licence,
    credits,
    ends_at,
    hide,
    place,
)
from curation.demo.pictures import checks, classes, composites, places, render, unseen
from curation.licences import openness


def _asset(stem):
    return next(asset for asset in assets() if asset.stem == stem)


def test_the_bundle_is_whole():
    assert {
        kind: len(pictures(kind)) for kind in ("original", "cutout", "background")
    } == {
        "original": 64,
        "cutout": 36,
        "background": 60,
    }
    assert len(classes()) == 28
    licences = (FOLDER / "LICENSES.md").read_text(encoding="utf-8")
    for asset in assets():
        assert asset.author
        assert asset.licence in RESTRICTIVE
        assert asset.title or asset.url
        assert f"| {asset.file} | {asset.author} | {asset.licence} |" in licences


def test_files_are_those_the_manifest_names():
    import csv

    with (FOLDER / "manifest.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            data = (FOLDER / row["file"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == row["sha256"], row["file"]


def test_training_and_demo_scenes_share_no_photo():
    train, demo = backgrounds("train"), backgrounds("demo")
    assert set(train) == set(demo) == {a.background for a in pictures("background")}
    for label in train:
        groups = [{asset.group for asset in side[label]} for side in (train, demo)]
        if label in SHARED:
            assert groups[0] == groups[1]
            assert len(groups[0]) < 3
        else:
            assert not groups[0] & groups[1]
    apart = {a.group for label in demo if label not in SHARED for a in demo[label]}
    assert not apart & TRAINING_GROUPS
    trained = {view.scene.group for view in places(seed=0)}
    assert not trained & apart
    assert not trained & {
        a.group for a in pictures("original") if a.index is not None
    } - {_asset("snow_01_world_polar_bear").group}


def test_animals_for_proposals_are_never_trained_on():
    strange = {view.cutout.group for view in unseen(SHARE, seed=0)}
    views = composites(6, planted=True, seed=0) + places(seed=0)
    groups = {view.scene.group for view in views}
    groups |= {view.cutout.group for view in views if view.cutout}
    # the sheep's meadow trains, the sheep does not
    assert strange & groups <= {"farm_sheep"}
    assert all(v.scene.kind == "background" for v in views if v.scene.group in strange)


def test_the_two_trainings_differ_in_the_planted_classes_only():
    planted, balanced = (composites(120, planted=p, seed=0) for p in (True, False))
    names = {design.name(index): label for index, label in design.PLANTED.items()}
    assert len(names) == len(classes()) / 2
    for one, other in zip(planted, balanced, strict=True):
        assert one.animal == other.animal
        assert (one == other) == (one.animal not in names)
    on = [v.scene.background == names[v.animal] for v in planted if v.animal in names]
    assert 0.9 < np.mean(on) < 1
    seen = [v.scene.background for v in balanced if v.animal == "bison"]
    assert {seen.count(label) for label in set(seen)} == {12}
    assert len(set(seen)) == 10


def test_demo_classes_and_backgrounds_are_as_many_as_told():
    assert len(design.DEMO) == 12
    used = {label for labels in design.DEMO.values() for label in labels}
    assert used == set(design.DEMO_BACKGROUNDS)
    for index, labels in design.DEMO.items():
        assert len(set(labels)) == len(labels) == 4
        assert (index in design.PLANTED) == (index in design.DEMO_PLANTED)
        if index in design.PLANTED:
            assert labels[0] == design.PLANTED[index]


@pytest.mark.parametrize("cutout", pictures("cutout"), ids=lambda asset: asset.stem)
def test_every_cutout_is_placed_inside_the_frame(cutout):
    animal, scene = opened(cutout), opened(pictures("background")[0])
    ends = ends_at(animal)
    for seed in range(20):
        where = place(animal, scene, rng=np.random.default_rng(seed))
        (width, height), (right, bottom) = where.size, FRAME
        assert 0 <= where.left <= right - width
        assert 0 <= where.top <= bottom - height
        assert width * height <= 1.02 * SHARE[1] * right * bottom
        if "bottom" in ends:
            assert where.top + height == bottom
        if "right" in ends:
            assert where.left == (0 if where.flip else right - width)
        x0, y0, x1, y1 = where.window
        assert 0 <= x0 < x1 <= scene.width
        assert 0 <= y0 < y1 <= scene.height


def test_cutouts_that_end_at_their_frame_are_known():
    ends = {cutout.stem: ends_at(opened(cutout)) for cutout in pictures("cutout")}
    assert {stem for stem, sides in ends.items() if "bottom" in sides} == {
        "lesser_panda", "macaque", "meerkat", "proboscis_monkey",
    }  # fmt: skip
    assert {stem for stem, sides in ends.items() if "right" in sides} == {
        "lesser_panda", "macaque",
    }  # fmt: skip


def test_composing_is_pure_and_seeded():
    animal, scene = opened(_asset("bison")), opened(_asset("grass_01_aitzgorri"))
    before = animal.tobytes(), scene.tobytes()
    one, two, other = (
        compose(animal, scene, place(animal, scene, rng=np.random.default_rng(seed)))
        for seed in (1, 1, 2)
    )
    assert (animal.tobytes(), scene.tobytes()) == before
    assert one.size == FRAME
    assert one.mode == "RGB"
    assert one.tobytes() == two.tobytes() != other.tobytes()


def test_only_the_animals_box_changes_and_its_edge_is_soft():
    animal = Image.new("RGBA", (100, 100), (255, 0, 0, 0))
    animal.paste((255, 0, 0, 255), (10, 10, 90, 90))
    scene = Image.new("RGB", (512, 384), (0, 0, 255))
    where = place(animal, scene, rng=np.random.default_rng(0))
    plain = np.asarray(backdrop(scene, where)).astype(int)
    made = np.asarray(compose(animal, scene, where)).astype(int)
    changed = (made != plain).any(2)
    rows, columns = np.nonzero(changed)
    (width, height) = where.size
    assert rows.min() >= where.top
    assert rows.max() < where.top + height
    assert columns.min() >= where.left
    assert columns.max() < where.left + width
    red = made[..., 0]
    assert red.max() == 255
    assert ((red > 20) & (red < 235)).sum() > 2 * width, "no hard edge"
    covered = hide(
        compose(animal, scene, where), backdrop(scene, where), where, part=0.75
    )
    left = (np.asarray(covered)[..., 0] > 128).sum() / (red > 128).sum()
    assert 0.1 < left < 0.4


def test_a_flipped_animal_is_mirrored():
    from dataclasses import replace

    animal, scene = opened(_asset("macaw")), Image.new("RGB", (512, 384), "white")
    where = place(animal, scene, rng=np.random.default_rng(0))
    middle = (FRAME[0] - where.size[0]) // 2
    where = replace(
        where, left=middle, size=(2 * (FRAME[0] // 2 - middle), where.size[1])
    )
    one, two = (
        compose(animal, scene, replace(where, flip=flip)) for flip in (False, True)
    )
    mirrored = np.asarray(one.transpose(Image.Transpose.FLIP_LEFT_RIGHT)).astype(int)
    assert np.abs(mirrored - np.asarray(two)).max() <= 2


def test_the_most_restrictive_licence_wins_and_all_authors_are_named():
    cutout, free = _asset("bison"), _asset("grass_08_world_bison")
    shared = _asset("sky_04_tajMahal")
    assert composed_licence([cutout, free]) == "CC0-1.0"
    credit = credits([cutout, shared])
    assert credit["licence"] == "CC-BY-SA-4.0"
    assert credit["author"] == f"{cutout.author} | {shared.author}"
    assert credit["source_url"] == f"{cutout.url} | {shared.url}"
    assert credits([cutout, free])["author"] == cutout.author, "named once"
    ranks = [openness(licence) for licence in RESTRICTIVE]
    assert ranks == sorted(ranks, reverse=True)


def test_a_view_does_not_depend_on_the_others():
    views = checks(SHARE, seed=3)
    assert render(views[7]).tobytes() == render(checks(SHARE, seed=3)[7]).tobytes()
    assert len({view.seed for view in views}) == len(views)
