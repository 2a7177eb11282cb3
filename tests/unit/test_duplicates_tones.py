"""Tones are evened out as they say, and clipped copies are known as copies."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from curation.duplicates import hashing, tones
from tests import hash_tables

MOST = 20.0 * tones.UNIT


def _levels(thumbs: np.ndarray) -> np.ndarray:
    return thumbs.reshape(len(thumbs), -1).astype(np.float64) * tones.UNIT


def _plain(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """The definition, step by step, of two square pictures in grey levels."""
    clear = (np.minimum(a, b) > 8) & (np.maximum(a, b) < 247)
    if clear.sum() < a.size / 4:
        return np.inf, np.inf
    both = [_left(a, b, clear), _left(b, a, clear)]
    return min(x.max() for x in both), min(np.median(x) for x in both)


def _left(x: np.ndarray, y: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """What a rising parabola of x leaves of y in each block."""
    u, v = x[clear], y[clear]
    line = u - u.mean()
    # what of the square no line explains
    skew = (line**3).mean() / (line**2).mean()
    bend = line**2 - (line**2).mean() - skew * line
    slope = max(0.0, (v * line).sum() / (line**2).sum())
    most = slope / (4 * u.std() + abs(skew))
    curve = np.clip((v * bend).sum() / (bend**2).sum(), -most, most)
    gap = np.zeros_like(x, dtype=float)
    gap[clear] = (v - v.mean() - slope * line - curve * bend) / min(v.std(), 20)
    side = len(x) // 8
    found = []
    for top in range(0, len(x), side):
        for left in range(0, len(x), side):
            block = slice(top, top + side), slice(left, left + side)
            squares = gap[block][clear[block]] ** 2
            found.append(squares.mean() if squares.size else 0.0)
    return np.sqrt(found)


@pytest.mark.parametrize("step", [1, 2])
def test_a_parabola_leaves_what_it_says(step: int) -> None:
    rng = np.random.default_rng(0)
    a, b = hash_tables.scenes(40, rng), hash_tables.scenes(40, rng)
    b[20:] = hash_tables.noisy(a[20:], rng, by=20)
    b[5] = 0
    a, b = a[:, ::step, ::step], b[:, ::step, ::step]
    found = tones.mapped(_levels(a), _levels(b), most=MOST)
    expected = [_plain(*pair) for pair in zip(a, b, strict=True)]
    assert np.stack(found, axis=1) == pytest.approx(np.array(expected), rel=1e-9)


def _photos(rng: np.random.Generator) -> list[Image.Image]:
    """Pictures with bright lights and fine grain, many pixels to each of a thumb."""
    large = []
    for scene in hash_tables.scenes(12, rng):
        soft = Image.fromarray(scene // 2 + 90).resize((512, 512))
        grain = rng.normal(0, 12, (512, 512)) + (rng.random((512, 512)) < 0.02) * 150
        levels = np.clip(np.asarray(soft) + grain, 0, 255)
        large.append(Image.fromarray(levels.astype(np.uint8)))
    return large


@pytest.mark.parametrize(
    ("edit", "by"),
    [(ImageEnhance.Brightness, 1.2), (ImageEnhance.Brightness, 1.4),
     (ImageEnhance.Contrast, 1.3)],
)  # fmt: skip
def test_a_copy_that_was_clipped_is_known(edit: type, by: float) -> None:
    photos = _photos(np.random.default_rng(1))
    edited = [edit(photo).enhance(by) for photo in photos]
    a, b = (
        _levels(np.stack([hashing.thumb(one) for one in some]))
        for some in (photos, edited)
    )
    assert (b == 255 * tones.UNIT).any() or by < 1.4
    found = tones.worst(a, b, most=MOST)
    assert found.max() < 0.3
    assert (tones.worst(b, a, most=MOST) == found).all()


def test_what_brightness_cannot_do_is_another_picture() -> None:
    photos = _photos(np.random.default_rng(2))
    plain = np.stack([hashing.thumb(photo) for photo in photos])
    bright = np.stack(
        [hashing.thumb(ImageEnhance.Brightness(photo).enhance(1.2)) for photo in photos]
    )
    darker, lighter = bright.copy(), bright.copy()
    # brighter than the rest foretells, or darker than it was
    lighter[:, 8:12, 8:12] = np.minimum(lighter[:, 8:12, 8:12].astype(int) + 25, 255)
    darker[:, 8:12, 8:12] = np.minimum(plain[:, 8:12, 8:12], 250) - 20
    known = (plain[:, 8:12, 8:12] < 190).all(axis=(1, 2))
    assert known.sum() >= 4
    for other in (lighter, darker):
        found = tones.worst(_levels(plain), _levels(other), most=MOST)
        assert found[known].min() > 0.55


def test_answers_do_not_hang_on_the_batch() -> None:
    rng = np.random.default_rng(3)
    a = hash_tables.scenes(300, rng)
    b = np.minimum(hash_tables.noisy(a, rng).astype(int) * 6 // 5, 255)
    found = tones.worst(_levels(a), _levels(b), most=MOST)
    for rows in ([0], [299, 3], list(range(5, 90))):
        alone = tones.worst(_levels(a[rows]), _levels(b[rows]), most=MOST)
        assert (alone == found[rows]).all()


def test_white_has_no_opinion() -> None:
    rng = np.random.default_rng(4)
    a = hash_tables.scenes(3, rng)
    white = np.full_like(a, 255)
    assert np.isinf(tones.worst(_levels(a), _levels(white), most=MOST)).all()
