"""Thumbs are compared exactly, whatever the batch; crops are found where they lie."""

import numpy as np
import pytest
from PIL import Image

from curation.duplicates import hashing, likeness
from tests import hash_tables


def test_disagreement_is_symmetric_and_nothing_between_equals() -> None:
    rng = np.random.default_rng(0)
    a, b = hash_tables.scenes(40, rng), hash_tables.scenes(40, rng)
    b[20:] = hash_tables.noisy(a[20:], rng, by=20)
    b[5] = 0
    found = likeness.disagreement(a, b)
    assert np.isinf(found[5])
    assert (likeness.disagreement(b, a) == found).all()
    assert likeness.disagreement(a, a).max() == pytest.approx(0, abs=1e-6)


def test_brightness_and_contrast_are_evened_out() -> None:
    rng = np.random.default_rng(1)
    dim = hash_tables.scenes(10, rng) // 4 + 20
    bright = (dim * 2 + 30).astype(np.uint8)
    assert likeness.disagreement(dim, bright).max() < 0.02


def test_a_curve_of_tones_is_evened_out_but_a_negative_is_another_picture() -> None:
    rng = np.random.default_rng(6)
    plain = hash_tables.scenes(10, rng) // 2 + 60
    curved = np.rint(230 * (plain / 230) ** 1.4).astype(np.uint8)
    assert likeness.disagreement(plain, curved).max() < 0.2
    assert likeness.disagreement(plain, 250 - plain).min() > 0.9


@pytest.mark.parametrize("side", [4, 6])
def test_another_animal_on_the_same_background_is_another_picture(side: int) -> None:
    """Before, the contrast of the background hid what is small."""
    rng = np.random.default_rng(7)
    scene = hash_tables.scenes(20, rng)
    one, other = scene.copy(), scene.copy()
    at = slice(16, 16 + side)
    fur = rng.integers(20, 120, (20, side, side))
    one[:, at, at], other[:, at, at] = fur, fur[:, ::-1] + 60
    assert likeness.disagreement(one, other).min() > 0.55
    # nor is the one taken for a crop of the other
    window = np.zeros(20, np.int64)
    assert np.isinf(likeness.cropped(one, other, window)).all()


@pytest.mark.parametrize("variant", range(8))
def test_turns_are_those_of_the_hashes(variant: int) -> None:
    rng = np.random.default_rng(2)
    thumbs = hash_tables.scenes(5, rng)
    turned = np.ascontiguousarray(likeness.turn(thumbs, variant))
    codes = hashing.variants(hashing.whole_frequencies(thumbs))[:, variant]
    upright = hashing.variants(hashing.whole_frequencies(turned))[:, 0]
    assert np.bitwise_count(codes ^ upright).max() <= 2


def test_answers_do_not_hang_on_the_batch() -> None:
    rng = np.random.default_rng(3)
    thumbs = hash_tables.scenes(700, rng)
    part = hash_tables.noisy(thumbs, rng)
    window = rng.integers(0, len(likeness.WINDOWS), len(thumbs))
    hashes = likeness.window_hashes(thumbs)
    worst = likeness.cropped(thumbs, part, window)
    for rows in ([0], [699, 3], list(range(5, 90))):
        assert (likeness.window_hashes(thumbs[rows]) == hashes[rows]).all()
        alone = likeness.cropped(thumbs[rows], part[rows], window[rows])
        assert (alone == worst[rows]).all()


@pytest.mark.parametrize(
    "box", [(0, 0, 0.9), (0.1, 0.1, 0.9), (0.05, 0.0, 0.95), (0.03, 0.06, 0.9)]
)
def test_crops_are_found_where_they_lie(box: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(4)
    left, top, side = box
    large = [
        Image.fromarray(one).resize((640, 480), Image.Resampling.BICUBIC)
        for one in hash_tables.scenes(30, rng)
    ]
    parts = [
        image.crop((640 * left, 480 * top, 640 * (left + side), 480 * (top + side)))
        for image in large
    ]
    whole = np.stack([hashing.thumb(image) for image in large])
    part = np.stack([hashing.thumb(image) for image in parts])
    codes = hashing.variants(hashing.whole_frequencies(part))[:, 0]
    apart = np.bitwise_count(likeness.window_hashes(whole) ^ codes[:, None])
    window = apart.argmin(axis=1)

    worst = likeness.cropped(whole, part, window)
    others = likeness.cropped(np.roll(whole, 1, axis=0), part, window)

    assert np.median(apart.min(axis=1)) <= 4
    assert worst.max() < 0.4
    assert others.min() > 0.6
