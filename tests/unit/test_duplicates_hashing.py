"""Hashes equal imagehash's; variants equal hashing the turned picture."""

from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageFilter

from curation import demo
from curation.duplicates import hashing, likeness
from evaluation import images

PHOTOS = sorted((Path(demo.__file__).parent / "assets" / "originals").glob("*.jpg"))
FLIP = Image.Transpose.FLIP_LEFT_RIGHT
TURNS = (
    None,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_270,
)


def _turned(image: Image.Image, variant: int) -> Image.Image:
    image = image.transpose(FLIP) if variant >= 4 else image
    turn = TURNS[variant % 4]
    return image if turn is None else image.transpose(turn)


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    assert len(PHOTOS) > 50
    return [images.decode(path.read_bytes()) for path in PHOTOS]


def test_bits_are_imagehash_s(photos: list[Image.Image]) -> None:
    for image in photos:
        grey = image.convert("L")

        assert f"{hashing.phash(grey):016x}" == str(imagehash.phash(image))
        assert f"{hashing.dhash(grey):016x}" == str(imagehash.dhash(image))


@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70), st.just(3))
    )
)
def test_bits_are_imagehash_s_on_any_pixels(pixels: np.ndarray) -> None:
    image = Image.fromarray(pixels)
    grey = image.convert("L")

    assert f"{hashing.phash(grey):016x}" == str(imagehash.phash(image))
    assert f"{hashing.dhash(grey):016x}" == str(imagehash.dhash(image))


def test_first_variant_is_the_hash(photos: list[Image.Image]) -> None:
    for image in photos:
        grey = image.convert("L")
        low = hashing.low_frequencies(hashing.thumb(grey))

        assert hashing.dihedral(low)[0] == hashing.phash(grey)


@pytest.mark.parametrize("variant", range(8))
def test_variants_are_hashes_of_the_turned_photo(
    variant: int, photos: list[Image.Image]
) -> None:
    """Within 4 bits: reducing a turned photo to 32 × 32 rounds elsewhere."""
    apart = []
    for image in photos:
        grey = image.convert("L")
        low = hashing.low_frequencies(hashing.thumb(grey))
        direct = hashing.phash(_turned(grey, variant))
        apart.append((hashing.dihedral(low)[variant] ^ direct).bit_count())

    assert max(apart) <= 4
    assert np.mean(apart) < 0.5


@given(st.integers(0, 2**32), st.integers(0, 7))
def test_variants_of_a_square_are_exact(seed: int, variant: int) -> None:
    """On the 32 × 32 square itself only floating point can tell them apart."""
    square = np.random.default_rng(seed).integers(0, 256, (32, 32)).astype(np.uint8)
    turned = np.asarray(_turned(Image.fromarray(square), variant))

    derived = hashing.dihedral(hashing.low_frequencies(square))[variant]

    assert derived == hashing.above_median(hashing.low_frequencies(turned))


def test_turned_thumbs_follow_the_variants() -> None:
    square = np.arange(1024, dtype=np.uint8).reshape(32, 32)
    for variant in range(8):
        turned = likeness.turn(square[None], variant)[0]

        np.testing.assert_array_equal(
            turned, np.asarray(_turned(Image.fromarray(square), variant))
        )


def test_pixels_tell_shape_and_content_apart() -> None:
    wide, high = Image.new("RGB", (4, 2)), Image.new("RGB", (2, 4))

    assert hashing.pixels_sha256(wide) != hashing.pixels_sha256(high)
    assert hashing.pixels_sha256(wide) == hashing.pixels_sha256(wide.copy())


def test_sharpness_falls_with_blur(photos: list[Image.Image]) -> None:
    for image in photos[:10]:
        grey = image.convert("L")
        values = [
            hashing.sharpness(
                hashing.reduced(grey.filter(ImageFilter.GaussianBlur(radius)))
            )
            for radius in (0, 1, 2, 4)
        ]

        assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("sigma", [5.0, 10.0, 20.0])
def test_noise_is_in_grey_levels(sigma: float) -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(80, 170, 300)[None, :] + np.zeros((300, 1))
    noisy = np.clip(ramp + rng.normal(0, sigma, ramp.shape), 0, 255).astype(np.uint8)

    assert hashing.noise(Image.fromarray(noisy)) == pytest.approx(sigma, rel=0.06)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (1, 700)])
def test_tiny_pictures_have_measures(size: tuple[int, int]) -> None:
    grey = Image.new("L", size, 7)

    assert hashing.noise(grey) == 0
    assert hashing.sharpness(hashing.reduced(grey)) == 0


def test_windows_hash_like_the_crop(photos: list[Image.Image]) -> None:
    thumbs = np.stack([hashing.thumb(image.convert("L")) for image in photos])
    hashes = likeness.window_hashes(thumbs)
    apart = []
    for row, image in enumerate(photos):
        width, height = image.size
        for window in (0, 4, 8, 12):
            side, left, top = likeness.WINDOWS[window]
            box = (
                round(left * width), round(top * height),
                round((left + side) * width), round((top + side) * height),
            )  # fmt: skip
            direct = hashing.phash(image.convert("L").crop(box))
            apart.append((direct ^ int(hashes[row, window])).bit_count())

    assert np.mean(np.array(apart) <= 8) > 0.98


def test_disagreement_is_symmetric_and_blind_to_brightness(
    photos: list[Image.Image],
) -> None:
    cells = likeness.cells(np.stack([hashing.thumb(i.convert("L")) for i in photos]))
    left, right = cells[:-1], cells[1:]

    np.testing.assert_allclose(
        likeness.disagreement(left, right), likeness.disagreement(right, left)
    )
    brighter = 20 + 0.8 * left
    inside = (left > 10) & (left < 240)
    same = likeness.disagreement(
        np.where(inside, left, 0), np.where(inside, brighter, 0)
    )
    assert same[np.isfinite(same)].max() < 1e-6
    assert np.isinf(likeness.disagreement(np.zeros((1, 16, 16)), left[:1])).all()


@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(3, 40), st.integers(3, 40))),
)
def test_measures_follow_their_definitions(pixels: np.ndarray) -> None:
    """Counted in whole numbers, they equal the plain floating-point formulas."""
    levels = pixels.astype(np.float64)
    around = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    second = np.diff(np.diff(levels, 2, axis=0), 2, axis=1)
    grey = Image.fromarray(pixels)

    assert hashing.level(pixels) == pytest.approx((levels.mean(), levels.std()))
    assert hashing.sharpness(pixels) == pytest.approx(
        (around - 4 * levels[1:-1, 1:-1]).var()
    )
    assert hashing.noise(grey) == pytest.approx(
        np.median(np.abs(second)) / (6 * 0.6745)
    )
