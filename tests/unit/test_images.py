"""Decoding hostile and unusual files."""

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from evaluation.errors import DecodeError
from evaluation.images import Header, decode, draft, fit, plain_jpeg, sniff
from evaluation.models import PixelSpec

RNG = np.random.default_rng(7)
PIXELS = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)


def encoded(picture, kind, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def with_orientation(kind, value, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return encoded(PICTURE, kind, exif=exif, **options)


def png_header_of(width, height) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind, body):
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("function", [sniff, decode])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"this is text, whatever its name says", "not a picture"),
        (b"%PDF-1.7", "PDF is not read"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC is not read"),
        (png_header_of(30_000, 30_000), "too many pixels: 30000 × 30000"),
        (b"\xff\xd8\xff", "truncated or damaged"),
        (b"GIF89a", "truncated or damaged"),
        (b"II*\0", "truncated or damaged"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "truncated or damaged"),
    ],
)
def test_what_is_no_picture_has_a_reason(function, data, reason):
    with pytest.raises(DecodeError, match=reason):
        function(data)


def test_reasons_do_not_change_from_run_to_run():
    data = encoded(PICTURE, "PNG")[:900]
    with pytest.raises(DecodeError) as first:
        decode(data)
    with pytest.raises(DecodeError) as second:
        decode(bytes(data))
    assert str(first.value) == str(second.value)
    assert " at 0x" not in str(first.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "AVIF"])
def test_truncated_files_are_told_apart_from_whole_ones(kind):
    options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    data = encoded(PICTURE, kind, **options)
    assert decode(data).size == PICTURE.size
    with pytest.raises(DecodeError, match="truncated or damaged"):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {"quality": 90}),
    ],
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_come_upright(kind, options, orientation):
    data = with_orientation(kind, orientation, **options)
    with Image.open(io.BytesIO(data)) as opened:
        wanted = ImageOps.exif_transpose(opened).convert("RGB")
    found, header = decode(data), sniff(data)
    assert (header.width, header.height) == wanted.size
    assert header.orientation == orientation
    np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\0\x05"])
def test_damaged_exif_costs_no_photo(exif):
    data = encoded(PICTURE, "JPEG", exif=exif)
    assert sniff(data).orientation == 1
    assert decode(data).size == PICTURE.size


def test_16_bit_grey_is_scaled_not_clipped():
    values = np.linspace(0, 65535, 2400).round().astype(np.uint16).reshape(40, 60)
    for kind in ("PNG", "TIFF"):
        data = encoded(Image.fromarray(values), kind)
        found = np.asarray(decode(data))
        wanted = np.rint(values / 257).astype(int)
        assert np.abs(found[..., 0].astype(int) - wanted).max() == 0
        assert (found[..., 0] == found[..., 2]).all()


def test_cmyk_is_converted():
    grey = Image.new("RGB", (32, 32), (90, 120, 60)).convert("CMYK")
    found = np.asarray(decode(encoded(grey, "JPEG", quality=95)))
    assert sniff(encoded(grey, "JPEG")).mode == "CMYK"
    assert np.abs(found.reshape(-1, 3).mean(0) - (90, 120, 60)).max() < 4


def test_transparency_lies_on_white():
    palette = PICTURE.quantize(16)
    data = encoded(palette, "PNG", transparency=bytes([0] * 16))
    assert (np.asarray(decode(data)) == 255).all()
    opaque = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    data = encoded(Image.fromarray(opaque), "PNG")
    np.testing.assert_array_equal(np.asarray(decode(data)), PIXELS)
    half = np.zeros((4, 4, 4), np.uint8)
    half[..., 3] = 128
    found = np.asarray(decode(encoded(Image.fromarray(half), "PNG")))
    assert np.abs(found.astype(int) - 127).max() <= 1


def test_first_frame_of_an_animation():
    colours = [(200, 10, 10), (10, 200, 10), (10, 10, 200)]
    first, *others = [Image.new("RGB", (20, 20), colour) for colour in colours]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(first, kind, save_all=True, append_images=others)
        assert sniff(data).frames == 3
        middle = np.asarray(decode(data))[10, 10].astype(int)
        assert np.abs(middle - colours[0]).max() < 12


def test_grey_palette_and_one_bit():
    for mode in ("L", "P", "1", "LA", "YCbCr"):
        kind = "TIFF" if mode == "YCbCr" else "PNG"
        found = decode(encoded(PICTURE.convert(mode), kind))
        assert (found.mode, found.size) == ("RGB", PICTURE.size)


def test_floating_point_pixels_are_refused_with_a_reason():
    data = encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    with pytest.raises(DecodeError, match="no stated range"):
        decode(data)


def test_the_pixel_cap_is_the_callers():
    data = encoded(PICTURE, "PNG")
    assert sniff(data, max_pixels=2400) == Header("PNG", 60, 40, 1, 1, "RGB")
    with pytest.raises(DecodeError, match="allowed are 2399"):
        decode(data, max_pixels=2399)
    # Pillow's own cap, about 179 million, must not come in between
    assert sniff(png_header_of(20_000, 10_000), max_pixels=10**9).width == 20_000


def test_threads_do_not_leak_warnings_or_mix_up_pictures():
    damaged = encoded(PICTURE, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05")
    colours = [Image.new("RGB", (16, 16), (i, 2 * i, 255 - i)) for i in range(60)]
    files = [encoded(one, "PNG") for one in colours]

    def work(i):
        assert decode(damaged).size == PICTURE.size
        with warnings.catch_warnings():  # what a library in another thread may do
            return np.asarray(decode(files[i]))[0, 0].tolist()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(60)))
    assert found == [[i, 2 * i, 255 - i] for i in range(60)]


PLAIN = {"plain": {}, "progressive": {"progressive": True}, "444": {"subsampling": 0}}


@pytest.mark.parametrize("options", PLAIN.values(), ids=PLAIN)
def test_plain_jpegs(options):
    assert plain_jpeg(encoded(PICTURE, "JPEG", **options)) == PICTURE.size
    assert plain_jpeg(with_orientation("JPEG", 1)) == PICTURE.size


def test_what_is_no_plain_jpeg():
    data = encoded(PICTURE, "JPEG")
    several = encoded(PICTURE, "MPO", save_all=True, append_images=[PICTURE])
    others = [
        b"", b"\xff\xd9", data[:-2], data[:300], data + b"\0", several,
        encoded(PICTURE, "PNG"), encoded(PICTURE, "JPEG", keep_rgb=True),
        *(encoded(PICTURE.convert(mode), "JPEG") for mode in ("L", "CMYK")),
        *(with_orientation("JPEG", value) for value in range(2, 9)),
    ]  # fmt: skip
    assert [plain_jpeg(one) for one in others] == [None] * len(others)
    assert plain_jpeg(data, max_pixels=2399) is None


DRAFTED = {
    "baseline": {},
    "progressive": {"progressive": True},
    "not subsampled": {"subsampling": 0},
    "red, green and blue as such": {"keep_rgb": True},
    "restart markers": {"restart_marker_rows": 1},
}


def smooth(width: int, height: int) -> Image.Image:
    """A picture without fine detail, unlike itself turned or shifted."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    levels = np.stack([200 * x, 120 * x + 120 * y**2, 250 * x * (1 - y)], axis=-1)
    return Image.fromarray(levels.astype(np.uint8))


@pytest.mark.parametrize("options", DRAFTED.values(), ids=DRAFTED)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_draft_is_the_upright_photo_made_smaller(options, orientation):
    """Where the photo lies in a draft with odd sides, too."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(smooth(143, 77), "JPEG", exif=exif, quality=95, **options)

    found = draft(data, short_side=9)

    whole = decode(data).convert("L")
    assert sorted(found.image.size) == [10, 18]  # eighths, rounded up
    assert found.image.mode == "L"
    left, top, right, bottom = found.box
    assert (right - left, bottom - top) == (whole.width / 8, whole.height / 8)
    shown = found.image.resize((8, 8), Image.Resampling.LANCZOS, found.box)
    wanted = whole.resize((8, 8), Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(shown, int) - np.asarray(wanted, int)).max() <= 2


@pytest.mark.parametrize(
    ("short_side", "size"),
    [(1, (18, 10)), (10, (36, 20)), (20, (72, 39)), (39, (143, 77)), (99, (143, 77))],
)
def test_draft_keeps_the_side_asked_for(short_side, size):
    data = encoded(smooth(143, 77), "JPEG")
    assert draft(data, short_side=short_side).image.size == size


LARGE = Image.fromarray(RNG.integers(0, 256, (40, 60, 4), dtype=np.uint8))
IN_STRIPS = [
    encoded(LARGE, "PNG"),
    encoded(LARGE.convert("LA"), "PNG"),
    encoded(LARGE.convert("RGB").quantize(200), "PNG", transparency=7),
    encoded(LARGE.convert("RGB").quantize(200), "GIF"),
    encoded(Image.fromarray(RNG.integers(0, 65536, (40, 60), dtype=np.uint16)), "PNG"),
    encoded(LARGE.convert("CMYK"), "JPEG"),
    encoded(LARGE.convert("1"), "PNG"),
    with_orientation("PNG", 6),
    with_orientation("TIFF", 5),
]


@pytest.mark.parametrize("data", IN_STRIPS)
@pytest.mark.parametrize("pixels", [1, 130, 1999])
def test_large_pictures_are_taken_in_strips_to_the_same_pixels(
    monkeypatch, data, pixels
):
    from curation.duplicates.hashing import pixels_sha256

    whole, small = decode(data), draft(data, short_side=8)
    digest = pixels_sha256(whole)
    monkeypatch.setattr("evaluation.images._STRIP", pixels)
    assert decode(data).tobytes() == whole.tobytes()
    again = draft(data, short_side=8)
    assert again.image.tobytes() == small.image.tobytes()
    assert again.box == small.box
    assert pixels_sha256(whole) == digest


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGB"), ("PNG", "P"), ("WEBP", "RGB"), ("JPEG", "CMYK"), ("GIF", "P")],
)
def test_what_cannot_be_drafted_is_decoded(kind, mode):
    data = encoded(smooth(143, 77).convert(mode), kind)

    found = draft(data, short_side=9)

    assert found.box == (0, 0, 143, 77)
    np.testing.assert_array_equal(found.image, decode(data).convert("L"))


def test_draft_of_several_pictures_is_the_first():
    more = smooth(143, 77).transpose(Image.Transpose.ROTATE_180)
    data = encoded(smooth(143, 77), "MPO", save_all=True, append_images=[more])
    alone = encoded(smooth(143, 77), "JPEG")
    np.testing.assert_array_equal(
        draft(data, short_side=9).image, draft(alone, short_side=9).image
    )


@pytest.mark.parametrize("options", DRAFTED.values(), ids=DRAFTED)
def test_draft_refuses_what_decode_refuses(options):
    """Cut anywhere, a file is whole to both or to neither."""
    data = encoded(PICTURE, "JPEG", quality=90, **options)
    whole = []
    for size in (*range(0, len(data), 37), *range(len(data) - 40, len(data))):
        verdicts = []
        for function in (decode, lambda data: draft(data, short_side=5)):
            try:
                function(data[:size])
                verdicts.append("whole")
            except DecodeError as error:
                verdicts.append(str(error))
        assert verdicts[0] == verdicts[1], size
        whole.append(verdicts[0] == "whole")
    assert sum(whole) < 20  # just what comes after the last pixel may be missing
    for bad in (b"", b"no picture", png_header_of(30_000, 30_000)):
        with pytest.raises(DecodeError):
            draft(bad, short_side=5)
    with pytest.raises(DecodeError, match="too many pixels"):
        draft(data, short_side=5, max_pixels=2399)


@pytest.mark.parametrize("shape", [(40, 60), (517, 333), (384, 384), (404, 404)])
@pytest.mark.parametrize(
    ("mode", "share"), [("squash", 0.95), ("squash", 1.0), ("center", 0.9)]
)
def test_squares_are_timms(shape, mode, share):
    from timm.data.transforms_factory import transforms_imagenet_eval

    from evaluation.models import timm

    theirs = transforms_imagenet_eval(
        384,
        crop_pct=share,
        crop_mode=mode,
        interpolation="bicubic",
        use_prefetcher=True,
    )
    wanted = {
        "input_size": (3, 384, 384), "crop_pct": share, "crop_mode": mode,
        "interpolation": "bicubic",
    }  # fmt: skip
    spec = timm._spec(wanted, "timm:x")
    long = {"squash": {0.95: 404, 1.0: 384}, "center": {0.9: 426}}[mode][share]
    resize = {"squash": "squash", "center": "shortest"}[mode]
    assert spec == PixelSpec(384, resize, long)
    picture = Image.fromarray(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8))
    found = fit(picture, spec).transpose(2, 0, 1)
    np.testing.assert_array_equal(found, np.asarray(theirs(picture)))


@settings(max_examples=150)
@given(st.binary(max_size=200), st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP"]))
def test_any_bytes_give_a_picture_or_a_reason(noise, kind):
    whole = encoded(PICTURE, kind)
    middle = len(whole) // 2
    for data in (noise, whole[:middle] + noise + whole[middle + len(noise) :]):
        try:
            found = decode(data).mode
        except DecodeError as error:
            found = str(error)
        assert found in ("RGB", "empty file") or 10 < len(found) < 250
        try:
            small = draft(data, short_side=5).image.mode
        except DecodeError:
            small = "refused"
        assert (small == "L") == (found == "RGB")
