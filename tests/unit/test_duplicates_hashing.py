"""Hashes equal imagehash's; variants equal hashing the turned picture."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageFilter

from curation import demo
from curation.duplicates import hashing, measures
from curation.errors import InputError
from curation.schemas import SCHEMAS
from evaluation import images

PHOTOS = sorted((Path(demo.__file__).parent / "assets" / "originals").glob("*.jpg"))
SHARED = Path(__file__).parents[3] / "shared" / "photos"
MANY = 100_000_000
FLIP = Image.Transpose.FLIP_LEFT_RIGHT
TURNS = (
    None,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_270,
)
ORIENTED = (0, 4, 2, 6, 5, 3, 7, 1)
"""Variant of the stored pixels that a photo of EXIF orientation 1 to 8 shows."""


def _turned(image: Image.Image, variant: int) -> Image.Image:
    image = image.transpose(FLIP) if variant >= 4 else image
    turn = TURNS[variant % 4]
    return image if turn is None else image.transpose(turn)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _rows(data: list[bytes], path: str) -> list[dict[str, Any]]:
    return hashing.rows(data, path=path, max_pixels=MANY)


def _apart(one: dict[str, Any], other: dict[str, Any], variant: int = 0) -> int:
    """Bits between the variant of one photo and another, upright."""
    return (one["phash"][variant] ^ other["phash"][0]).bit_count()


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    assert len(PHOTOS) > 50
    return [path.read_bytes() for path in PHOTOS]


@pytest.fixture(scope="module")
def photos(files: list[bytes]) -> list[Image.Image]:
    return [images.decode(data) for data in files]


@pytest.fixture(scope="module")
def full(files: list[bytes]) -> list[dict[str, Any]]:
    return _rows(files, hashing.FULL)


@pytest.fixture(scope="module")
def fast(files: list[bytes]) -> list[dict[str, Any]]:
    return _rows(files, hashing.FAST)


# --- the full path is imagehash ------------------------------------------------------


def _equal_imagehash(row: dict[str, Any], image: Image.Image) -> None:
    assert row["status"] == "ok"
    assert f"{row['phash'][0]:016x}" == str(imagehash.phash(image))
    assert f"{row['dhash']:016x}" == str(imagehash.dhash(image))


def test_bits_are_imagehash_s(files: list[bytes], full: list[dict[str, Any]]) -> None:
    for data, row in zip(files, full, strict=True):
        _equal_imagehash(row, Image.open(io.BytesIO(data)))


@pytest.mark.skipif(not SHARED.is_dir(), reason="photos that are not in the repository")
def test_bits_are_imagehash_s_on_more_photos() -> None:
    paths = [path for path in sorted(SHARED.rglob("*")) if path.suffix in (".jpg",)]
    data = [path.read_bytes() for path in paths[::15]]
    for one, row in zip(data, _rows(data, hashing.FULL), strict=True):
        _equal_imagehash(row, images.decode(one))


@pytest.mark.parametrize("size", [(333, 257), (1, 1), (700, 3), (31, 33), (640, 481)])
@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "JPEG", {"progressive": True}),
        ("RGB", "JPEG", {"keep_rgb": True}),
        ("CMYK", "JPEG", {}),
        ("L", "JPEG", {}),
        ("P", "PNG", {}),
        ("1", "PNG", {}),
        ("RGB", "WEBP", {}),
        ("RGB", "TIFF", {}),
    ],
)
def test_bits_are_imagehash_s_of_any_kind(
    photos: list[Image.Image],
    size: tuple[int, int],
    mode: str,
    kind: str,
    options: dict[str, Any],
) -> None:
    data = _encoded(photos[7].resize(size).convert(mode), kind, **options)
    (row,) = _rows([data], hashing.FULL)

    _equal_imagehash(row, Image.open(io.BytesIO(data)).convert("RGB"))


def test_bits_are_imagehash_s_of_what_is_shown(photos: list[Image.Image]) -> None:
    """16 bits scaled to 8, EXIF applied, transparency on white: then as imagehash."""
    photo = photos[3]
    wide = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = photo.copy()
    clear.putalpha(Image.linear_gradient("L").resize(photo.size))
    upright = photo.transpose(Image.Transpose.ROTATE_270)
    white = Image.new("RGB", photo.size, "white")
    white.paste(photo, mask=clear.getchannel("A"))
    rows = _rows(
        [
            _encoded(Image.fromarray(wide), "PNG"),
            _encoded(photo, "PNG", exif=exif),
            _encoded(clear, "PNG"),
        ],
        hashing.FULL,
    )
    for row, image in zip(rows, (photo, upright, white), strict=True):
        _equal_imagehash(row, image)


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


# --- the fast path is close to it ----------------------------------------------------


def test_fast_bits_are_near_the_full_ones(
    full: list[dict[str, Any]], fast: list[dict[str, Any]]
) -> None:
    pairs = list(zip(full, fast, strict=True))
    apart = np.array([_apart(*pair) for pair in pairs])
    across = np.array([(a["dhash"] ^ b["dhash"]).bit_count() for a, b in pairs])

    assert (apart == 0).mean() > 0.5
    assert np.quantile(apart, 0.97) <= 4
    assert apart.max() <= 8
    assert np.quantile(across, 0.97) <= 4
    lost = np.array([1 - b["texture"] / a["texture"] for a, b in pairs])
    assert lost.min() > -0.02  # fine grain is averaged away, never added
    assert lost.max() < 0.3
    assert np.median(lost) < 0.1
    assert np.abs([a["brightness"] - b["brightness"] for a, b in pairs]).max() < 0.01


def test_what_needs_every_pixel_is_null_in_the_fast_path(
    fast: list[dict[str, Any]],
) -> None:
    assert {row["path"] for row in fast} == {hashing.FAST}
    for name in ("pixels", "sharpness", "noise"):
        assert {row[name] for row in fast} == {None}


def test_other_formats_have_the_same_hash_by_both_paths_but_for_rounding(
    photos: list[Image.Image],
) -> None:
    data = [
        _encoded(image.reduce(2), kind)
        for image in photos[:12]
        for kind in ("PNG", "WEBP", "TIFF", "BMP")
    ]
    full, fast = _rows(data, hashing.FULL), _rows(data, hashing.FAST)

    assert [row["thumb"] for row in full] == [row["thumb"] for row in fast]
    assert [row["phash"][0] for row in full] == [row["phash"][0] for row in fast]


@pytest.mark.parametrize("path", hashing.PATHS.values(), ids=hashing.PATHS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_comes_before_the_hash(
    files: list[bytes], path: str, orientation: int
) -> None:
    """The pixels as stored stay the same; only how they are shown changes."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    block = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    marker = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    shown = [data[:2] + marker + data[2:] for data in files[:10]]

    stored, upright = _rows(files[:10], path), _rows(shown, path)

    variant = ORIENTED[orientation - 1]
    apart = [_apart(*pair, variant) for pair in zip(stored, upright, strict=True)]
    assert max(apart) <= 4
    assert np.mean(apart) < 0.6
    assert (
        upright[0]["pixels"] is None
        or orientation == 1
        or (upright[0]["pixels"] != stored[0]["pixels"])
    )


def test_fast_path_starts_without_heavy_packages(files: list[bytes]) -> None:
    code = (
        "import json, sys\n"
        "from curation.duplicates import hashing\n"
        f"data = [open({str(PHOTOS[0])!r}, 'rb').read()]\n"
        "rows = hashing.rows(data, path=hashing.FAST, max_pixels=10**8)\n"
        "found = {'scipy', 'torch', 'polars', 'pyarrow', 'numba'} & set(sys.modules)\n"
        "print(json.dumps([rows[0]['phash'], sorted(found)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout) == [
        _rows(files[:1], hashing.FAST)[0]["phash"], []
    ]  # fmt: skip


# --- batches, and files that are no photos -------------------------------------------


@pytest.mark.parametrize("path", hashing.PATHS.values(), ids=hashing.PATHS)
def test_size_of_the_batch_changes_nothing(
    files: list[bytes],
    full: list[dict[str, Any]],
    fast: list[dict[str, Any]],
    path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = (full if path == hashing.FULL else fast)[:20]

    assert [_rows([data], path)[0] for data in files[:20]] == whole
    assert _rows(files[:3], path) + _rows(files[3:20], path) == whole
    monkeypatch.setattr(hashing, "_CHUNK", 7)
    assert _rows(files[:20], path) == whole
    assert _rows([], path) == []


@pytest.mark.parametrize("path", hashing.PATHS.values(), ids=hashing.PATHS)
def test_bad_files_are_rows_with_the_decoder_s_reason(
    files: list[bytes], path: str
) -> None:
    progressive = _encoded(images.decode(files[1]), "JPEG", progressive=True)
    bad = [
        b"",
        b"text, whatever the name says",
        files[0][: len(files[0]) // 2],
        files[0][:-600],
        progressive[: len(progressive) // 3],
        _encoded(images.decode(files[1]), "PNG")[:5000],
        _encoded(Image.new("L", (400, 300)), "JPEG"),  # too large for the cap below
    ]
    good = _encoded(images.decode(files[0]).resize((200, 150)), "JPEG")
    mixed = [row for one in bad for row in (one, good)]

    rows = hashing.rows(mixed, path=path, max_pixels=100_000)

    (alone,) = hashing.rows([good], path=path, max_pixels=100_000)
    assert rows[1::2] == [alone] * len(bad)
    columns = set(SCHEMAS["hashes"]) - {"photo_id"}
    for data, row in zip(bad, rows[::2], strict=True):
        with pytest.raises(images.DecodeError) as caught:
            images.decode(data, max_pixels=100_000)
        said = {"status": "failed", "error": str(caught.value), "path": path}
        assert row == dict.fromkeys(columns) | said


@pytest.mark.parametrize("path", hashing.PATHS.values(), ids=hashing.PATHS)
def test_pictures_without_contrast_are_told_by_texture(path: str) -> None:
    data = [
        _encoded(Image.new("RGB", (400, 300), colour), "JPEG")
        for colour in ("black", "white", "#808890")
    ]
    ramp = Image.linear_gradient("L").resize((400, 300))
    rows = _rows([*data, _encoded(ramp, "JPEG")], path)

    assert [row["texture"] < 1 for row in rows] == [True, True, True, False]
    assert rows[0]["texture"] == 0


def test_unknown_path_is_an_error() -> None:
    with pytest.raises(InputError, match="'draft'; known: full-decode"):
        hashing.rows([], path="draft", max_pixels=MANY)


# --- variants ------------------------------------------------------------------------


@pytest.mark.parametrize("variant", range(8))
def test_variants_are_hashes_of_the_turned_photo(
    variant: int, photos: list[Image.Image], full: list[dict[str, Any]]
) -> None:
    """Within 4 bits: reducing a turned photo to 32 × 32 rounds elsewhere."""
    apart = []
    for image, row in zip(photos, full, strict=True):
        direct = hashing.phash(_turned(image.convert("L"), variant))
        apart.append((row["phash"][variant] ^ direct).bit_count())

    assert max(apart) <= 4
    assert np.mean(apart) < 0.5


@given(st.integers(0, 2**32))
@settings(max_examples=50)
def test_variants_of_a_square_are_exact(seed: int) -> None:
    """In whole numbers even where coefficients are equal, as in symmetric squares."""
    rng = np.random.default_rng(seed)
    square = rng.integers(0, 256, (32, 32)).astype(np.uint8)
    symmetric = np.maximum(square, square[:, ::-1])
    squares = np.stack(
        [square, symmetric, symmetric // 128, np.maximum(square, square.T)]
    )
    derived = hashing.variants(hashing.whole_frequencies(squares))

    for variant in range(8):
        flipped = squares[:, :, ::-1] if variant >= 4 else squares
        turned = np.rot90(flipped, variant % 4, axes=(1, 2))
        low = hashing.whole_frequencies(turned)
        np.testing.assert_array_equal(derived[:, variant], hashing.variants(low)[:, 0])


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 5), st.just(32), st.just(32))))
def test_whole_numbers_are_the_dct(squares: np.ndarray) -> None:
    whole = hashing.whole_frequencies(squares)

    assert (whole == np.rint(whole)).all()
    assert np.abs(whole).max() < 2**53
    # 4: imagehash's DCT leaves out the factors 1/2 of both directions
    np.testing.assert_allclose(
        4 * whole / 2**34, hashing.low_frequencies(squares), atol=0.2
    )


# --- measures ------------------------------------------------------------------------


def test_pixels_tell_shape_and_content_apart() -> None:
    wide, high = Image.new("RGB", (4, 2)), Image.new("RGB", (2, 4))

    assert hashing.pixels_sha256(wide) != hashing.pixels_sha256(high)
    assert hashing.pixels_sha256(wide) == hashing.pixels_sha256(wide.copy())


def test_sharpness_falls_with_blur(photos: list[Image.Image]) -> None:
    for image in photos[:10]:
        grey = image.convert("L")
        blurred = [grey.filter(ImageFilter.GaussianBlur(r)) for r in (0, 1, 2, 4)]
        values = [
            measures.sharpness(np.asarray(measures.reduced(one))) for one in blurred
        ]

        assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("sigma", [5.0, 10.0, 20.0, 60.0])
def test_noise_is_in_grey_levels(sigma: float) -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(120, 136, 300)[None, :] + np.zeros((300, 1))
    noisy = np.clip(ramp + rng.normal(0, sigma, ramp.shape), 0, 255).astype(np.uint8)
    clipped = 0.1 if sigma > 20 else 0.06

    assert measures.noise(Image.fromarray(noisy)) == pytest.approx(sigma, rel=clipped)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (1, 700)])
def test_tiny_pictures_have_measures(size: tuple[int, int]) -> None:
    grey = Image.new("L", size, 7)

    assert measures.noise(grey) == 0
    assert measures.sharpness(np.asarray(measures.reduced(grey))) == 0
    for path in hashing.PATHS.values():
        (row,) = _rows([_encoded(grey, "JPEG")], path)
        assert (row["status"], row["texture"]) == ("ok", 0)


@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(3, 40), st.integers(3, 40))),
)
def test_measures_follow_their_definitions(pixels: np.ndarray) -> None:
    """Counted in whole numbers, they equal the plain floating-point formulas."""
    levels = pixels.astype(np.float64)
    around = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    second = np.diff(np.diff(levels, 2, axis=0), 2, axis=1)
    grey = Image.fromarray(pixels)

    assert measures.level(grey) == pytest.approx((levels.mean(), levels.std()))
    assert measures.sharpness(pixels) == pytest.approx(
        (around - 4 * levels[1:-1, 1:-1]).var()
    )
    assert measures.noise(grey) == pytest.approx(
        np.median(np.abs(second)) / (6 * 0.6745)
    )
