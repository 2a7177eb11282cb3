"""The compiled reader of JPEGs: Pillow's pixels, or nothing."""

import io
import struct
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation import demo
from curation.duplicates import hashing
from evaluation import eighths
from evaluation.errors import DecodeError
from evaluation.images import draft

pytestmark = pytest.mark.skipif(not eighths.COMPILED, reason="no compiler")

PATHS = sorted((Path(demo.__file__).parent / "assets" / "originals").glob("*.jpg"))
PHOTOS = [Image.open(io.BytesIO(path.read_bytes())) for path in PATHS[::4]]
FRAME, SCAN, CODES, QUANTA = b"\xff\xc0", b"\xff\xda", b"\xff\xc4", b"\xff\xdb"


def encoded(picture: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def of_pillow(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    _, box = image.draft("L", (1, 1))
    assert box[2] * 8 == Image.open(io.BytesIO(data)).width
    return np.asarray(image)


def is_pillow_s(data: bytes) -> None:
    np.testing.assert_array_equal(eighths.read(data), of_pillow(data))


def changed(data: bytes, marker: bytes, offset: int, value: int) -> bytes:
    """With another byte, so many after a marker."""
    made = bytearray(data)
    made[data.index(marker) + offset] = value
    return bytes(made)


def noise(width: int, height: int) -> Image.Image:
    levels = np.random.default_rng(3).integers(0, 2, (height, width, 3)) * 255
    return Image.fromarray(levels.astype(np.uint8))


def test_photos_have_pillow_s_pixels():
    assert len(PATHS) > 50
    for path in PATHS:
        is_pillow_s(path.read_bytes())


KINDS = [
    *({"subsampling": value} for value in (0, 1, 2)),
    {"quality": 100},
    {"quality": 5},
    {"optimize": True},
    {"restart_marker_rows": 1},
    *({"restart_marker_blocks": value} for value in (1, 7)),
    {"optimize": True, "subsampling": 0, "restart_marker_blocks": 64},
]
SIZES = [(512, 384), (333, 257), (8, 8), (9, 8), (17, 700), (16, 16)]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", KINDS, ids=str)
def test_any_coding_and_size_has_pillow_s_pixels(options, mode):
    for size, photo in zip(SIZES, PHOTOS, strict=False):
        is_pillow_s(encoded(photo.resize(size).convert(mode), **options))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_blocks_without_an_end_have_pillow_s_pixels(subsampling):
    """Noise at its finest: all 64 coefficients, codes of any length, levels cut off."""
    for picture in (noise(120, 72), Image.effect_noise((120, 72), 250).convert("RGB")):
        is_pillow_s(encoded(picture, quality=100, subsampling=subsampling))


@pytest.mark.parametrize(
    ("subsampling", "sampling"),
    [(1, 0x12), (2, 0x41), (2, 0x14), (2, 0x22), (1, 0x21), (0, 0x11)],
)
def test_any_shape_of_brightness_in_a_unit_is_read(subsampling, sampling):
    """The same blocks in the file, said to lie otherwise."""
    data = encoded(PHOTOS[0].resize((256, 256)), subsampling=subsampling)
    is_pillow_s(changed(data, FRAME, 11, sampling))


@pytest.mark.parametrize("sampling", [0x22, 0x41, 0x12, 0x51, 0xE8, 0x01, 0x33])
def test_the_shape_of_grey_alone_is_judged_as_by_pillow(sampling):
    grey = encoded(PHOTOS[0].resize((90, 60)).convert("L"))
    data = changed(grey, FRAME, 11, sampling)
    assert verdict(data, eighths=eighths.read) == verdict(data)
    assert (eighths.read(data) is None) == (sampling not in (0x22, 0x41, 0x12))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_ever(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(PHOTOS[1].resize((143, 77)), exif=exif)
    found = draft(data, short_side=9, eighths=eighths.read)
    usual = draft(data, short_side=9)
    assert found.box == usual.box
    np.testing.assert_array_equal(found.image, usual.image)


def test_only_eighths_are_asked_for():
    def refuse(data: bytes) -> None:
        raise AssertionError

    data = encoded(PHOTOS[0].resize((320, 240)))
    assert draft(data, short_side=31, eighths=refuse).image.size == (80, 60)
    with pytest.raises(DecodeError):
        draft(data, short_side=30, eighths=refuse)


def test_pictures_behind_the_first_do_not_matter():
    more = PHOTOS[1].resize((320, 240))
    data = encoded(
        PHOTOS[0].resize((320, 240)), "MPO", save_all=True, append_images=[more]
    )
    is_pillow_s(data)
    is_pillow_s(encoded(more) + b"and what follows")


def test_what_is_left_to_pillow():
    picture = PHOTOS[0].resize((64, 48))
    data = encoded(picture)
    end = len(data) - 2
    others = [
        b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xda\0\2", data[2:],
        data[:-1], data[:-2], data[:-1] + b"\xd0", data[:end] + b"\xff" + data[end:],
        data[:-3] + data[-2:], data[:end] + b"\0" + data[end:],
        data[:end] + b"\xff\xd0" + data[end:],
        encoded(picture, progressive=True), encoded(picture, keep_rgb=True),
        encoded(picture.convert("CMYK")), encoded(picture, "PNG"),
        # an Adobe segment that says the channels are red, green and blue
        data[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0" + data[2:],
        changed(data, FRAME, 1, 0xC1), changed(data, FRAME, 4, 12),
        changed(data, FRAME, 5, 0xFF), changed(data, FRAME, 10, 0),
        changed(data, FRAME, 11, 0x33), changed(data, FRAME, 12, 9),
        changed(data, FRAME, 14, 0x21), changed(data, SCAN, 5, 2),
        changed(data, SCAN, 6, 0x22), changed(data, SCAN, 8, 0x00),
        changed(data, SCAN, 12, 6), changed(data, CODES, 4, 4),
        changed(data, CODES, 5, 3), changed(data, CODES, 21, 12),
        changed(data, CODES, 20, 1), changed(data, QUANTA, 4, 0x10),
        changed(data, QUANTA, 4, 3), changed(data, QUANTA, 5, 0),
        changed(data, QUANTA, 3, 0),
    ]  # fmt: skip
    assert eighths.read(data) is not None
    found = [place for place, one in enumerate(others) if eighths.read(one) is not None]
    assert found == []


def verdict(data: bytes, **options: object) -> tuple[object, ...]:
    try:
        made = draft(data, short_side=1, **options)
    except DecodeError as error:
        return (str(error),)
    return made.box, made.image.size, made.image.tobytes()


CODINGS = [
    {"quality": 30},
    {"quality": 95, "subsampling": 0},
    {"restart_marker_blocks": 2},
    {"optimize": True, "subsampling": 1},
]


def test_damage_is_judged_as_by_pillow():
    """Bytes changed, bits turned, pieces cut out or doubled, ends missing."""
    rng = np.random.default_rng(8)
    read = 0

    def counted(data: bytes) -> np.ndarray | None:
        nonlocal read
        found = eighths.read(data)
        read += found is not None
        return found

    for (number, options), photo in product(enumerate(CODINGS), PHOTOS[:3]):
        data = encoded(photo.resize((88 - 9 * number, 60)), **options)
        for case in range(60):
            bad = bytearray(data)
            for _ in range(rng.integers(1, 4)):
                first = rng.integers(2, len(bad))
                if case % 4 == 0:
                    bad[first] = rng.integers(256)
                elif case % 4 == 1:
                    bad[first] ^= 1 << rng.integers(8)
                elif case % 4 == 2:
                    del bad[first : first + rng.integers(1, 9)]
                else:
                    bad[first:first] = bad[first - 2 : first + rng.integers(9)]
            if case % 5 == 0:
                del bad[rng.integers(2, len(bad)) :]
            damaged = bytes(bad)
            assert verdict(damaged, eighths=counted) == verdict(damaged)
    assert 50 < read < 600


def test_random_codes_and_bits_are_safe():
    """Headers that hold, and then anything: Pillow's pixels or none."""
    rng = np.random.default_rng(9)
    data = encoded(PHOTOS[0].resize((64, 48)))
    start = data.index(SCAN) + 14
    for number in range(200):
        noise = rng.bytes(rng.integers(1, 3000)).replace(b"\xff", b"\xff\0")
        head = data[:start]
        if number % 2:  # any number of restart markers wanted, and some written
            every = struct.pack(">HHH", 0xFFDD, 4, rng.integers(1, 9))
            head = head[:2] + every + head[2:]
            noise = noise.replace(b"\1", b"\xff\xd0")
        made = head + noise + b"\xff\xd9"
        assert verdict(made, eighths=eighths.read) == verdict(made)
    assert eighths.read(data[:start] + bytes(5000) + b"\xff\xd9") is None


def test_hashes_do_not_depend_on_the_reader(monkeypatch):
    """It is loaded when the large files, all told, repay it; they are hashed alike."""
    data = [
        encoded(photo.resize((1200, 900)), quality=95, subsampling=0)
        for photo in PHOTOS[:3]
    ]
    data.append(data[0][:-900])
    large = [len(one) for one in data]
    data.append(encoded(PHOTOS[3].resize((1200, 900)), quality=5))
    asked: list[int] = []

    def seen(one: bytes) -> np.ndarray | None:
        asked.append(len(one))
        return read(one)

    read = eighths.read
    monkeypatch.setattr("evaluation.eighths.read", seen)
    monkeypatch.setattr(hashing, "_large_bytes", 0)
    monkeypatch.setattr(hashing, "_LARGE", min(large))
    monkeypatch.setattr(hashing, "REPAYS", 2 * sum(large))

    def rows() -> list[dict[str, object]]:
        return hashing.rows(data, path=hashing.FAST, max_pixels=10**8)

    without = rows()
    assert not asked
    assert rows() == without
    assert asked == large
    assert [row["status"] for row in without] == ["ok", "ok", "ok", "failed", "ok"]
    assert "truncated" in str(without[3]["error"])
