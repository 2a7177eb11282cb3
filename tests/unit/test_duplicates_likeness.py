"""Thumbs are compared exactly, whatever the batch; crops are found where they lie."""

import numpy as np
import pytest
from PIL import Image

from curation.duplicates import hashing, likeness
from tests import hash_tables


def _plain(a: np.ndarray, b: np.ndarray) -> float:
    """The definition, step by step, of two (16, 16) pictures in grey levels."""
    clear = (np.minimum(a, b) > 8) & (np.maximum(a, b) < 247)
    if clear.sum() < 64:
        return np.inf
    return min(_left(a, b, clear), _left(b, a, clear))


def _left(x: np.ndarray, y: np.ndarray, clear: np.ndarray) -> float:
    """What a rising parabola of x leaves of y in the worst block."""
    u, v = x[clear], y[clear]
    line = u - u.mean()
    # what of the square no line explains
    skew = (line**3).mean() / (line**2).mean()
    bend = line**2 - (line**2).mean() - skew * line
    slope = max(0.0, (v * line).sum() / (line**2).sum())
    most = slope / (4 * u.std() + abs(skew))
    curve = np.clip((v * bend).sum() / (bend**2).sum(), -most, most)
    gap = np.zeros_like(x, dtype=float)
    gap[clear] = (v - v.mean() - slope * line - curve * bend) / v.std()
    worst = 0.0
    for top in range(0, 16, 2):
        for left in range(0, 16, 2):
            block = slice(top, top + 2), slice(left, left + 2)
            if clear[block].any():
                worst = max(worst, float((gap[block][clear[block]] ** 2).mean()))
    return worst**0.5


def test_disagreement_is_what_it_says() -> None:
    rng = np.random.default_rng(0)
    a, b = hash_tables.scenes(40, rng), hash_tables.scenes(40, rng)
    b[20:] = hash_tables.noisy(a[20:], rng, by=20)
    b[5] = 0
    cells = [likeness.grids(x) for x in (a, b)]
    found = likeness.disagreement(*cells)
    expected = [_plain(x / 4, y / 4) for x, y in zip(*cells, strict=True)]
    assert found == pytest.approx(np.array(expected), rel=1e-9)
    assert np.isinf(found[5])
    assert (likeness.disagreement(cells[1], cells[0]) == found).all()
    assert likeness.disagreement(cells[0], cells[0]).max() == pytest.approx(0, abs=1e-6)


def test_brightness_and_contrast_are_evened_out() -> None:
    rng = np.random.default_rng(1)
    dim = hash_tables.scenes(10, rng) // 4 + 20
    bright = (dim * 2 + 30).astype(np.uint8)
    found = likeness.disagreement(likeness.grids(dim), likeness.grids(bright))
    assert found.max() < 0.02


def test_a_curve_of_tones_is_evened_out_but_a_negative_is_another_picture() -> None:
    rng = np.random.default_rng(6)
    plain = hash_tables.scenes(10, rng) // 2 + 60
    curved = np.rint(230 * (plain / 230) ** 1.4).astype(np.uint8)
    cells = likeness.grids(plain)
    assert likeness.disagreement(cells, likeness.grids(curved)).max() < 0.1
    negative = likeness.grids(250 - plain)
    assert likeness.disagreement(cells, negative).min() > 0.9


@pytest.mark.parametrize("variant", range(8))
def test_turns_are_those_of_the_hashes(variant: int) -> None:
    rng = np.random.default_rng(2)
    thumbs = hash_tables.scenes(5, rng)
    turned = np.ascontiguousarray(likeness.turn(thumbs, variant))
    codes = hashing.variants(hashing.whole_frequencies(thumbs))[:, variant]
    upright = hashing.variants(hashing.whole_frequencies(turned))[:, 0]
    assert np.bitwise_count(codes ^ upright).max() <= 2
    cells = likeness.grids(thumbs)
    assert (likeness.turn(cells, variant) == likeness.grids(turned)).all()


def test_answers_do_not_hang_on_the_batch() -> None:
    rng = np.random.default_rng(3)
    thumbs = hash_tables.scenes(700, rng)
    part = likeness.grids(hash_tables.noisy(thumbs, rng))
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

    worst = likeness.cropped(whole, likeness.grids(part), window)
    others = likeness.cropped(np.roll(whole, 1, axis=0), likeness.grids(part), window)

    assert np.median(apart.min(axis=1)) <= 4
    assert worst.max() < 0.4
    assert others.min() > 0.6
