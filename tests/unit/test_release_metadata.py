"""A release publishes no places and serial numbers, and touches no pixel for it."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from curation.release.metadata import extension, strip
from evaluation.images import decode, sniff

SERIAL = "SERIAL-0042-XYZ"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description '
    b'exif:GPSLatitude="52,31.2N" aux:SerialNumber="SERIAL-0042-XYZ"/></rdf:RDF>'
    b"</x:xmpmeta>"
)


def picture(size=(40, 24)):
    rows, columns = np.mgrid[: size[1], : size[0]]
    pixels = np.stack([rows * 7, columns * 5, (rows * columns) % 256], -1) % 256
    return Image.fromarray(pixels.astype(np.uint8))


def exif(orientation=1):
    data = Image.Exif()
    data[0x0112] = orientation
    data[0x010F] = "Maker of cameras"
    data[0xA431] = SERIAL
    data.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)  # latitude
    data.get_ifd(0x8769)[0xA431] = SERIAL
    return data


def saved(kind, *, image=None, **options):
    file = io.BytesIO()
    (image or picture()).save(file, kind, **options)
    return file.getvalue()


def clean(data):
    """Nothing of what was planted is left, in the bytes or in what Pillow reads."""
    assert SERIAL.encode() not in data
    assert b"GPS" not in data
    assert b"Maker of cameras" not in data
    assert b"secret" not in data
    with Image.open(io.BytesIO(data)) as image:
        found = dict(image.getexif())
        found.pop(0x0112, None)
        assert found == {}
        assert not image.getexif().get_ifd(0x8825)
        assert "xmp" not in image.info
        assert "comment" not in image.info


def same_pixels(one, other):
    return np.array_equal(np.asarray(decode(one)), np.asarray(decode(other)))


PLANTED = {
    "jpeg": lambda o: saved("JPEG", exif=exif(o), xmp=XMP, comment=b"secret"),
    "progressive": lambda o: saved("JPEG", exif=exif(o), xmp=XMP, progressive=True),
    "png": lambda o: saved("PNG", exif=exif(o), pnginfo=text_chunks()),
    "webp": lambda o: saved("WEBP", exif=exif(o), xmp=XMP, quality=80),
    "lossless webp": lambda o: saved("WEBP", exif=exif(o), xmp=XMP, lossless=True),
    "tiff": lambda o: saved("TIFF", exif=exif(o)),
    "avif": lambda o: saved("AVIF", exif=exif(o), xmp=XMP),
    "gif": lambda o: saved("GIF", comment=b"secret"),
}


def text_chunks():
    info = PngInfo()
    info.add_text("Comment", "secret")
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return info


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", PLANTED)
def test_planted_metadata_goes_and_the_picture_stays(kind, orientation):
    data = PLANTED[kind](orientation)
    result = strip(data)
    clean(result)
    assert same_pixels(data, result)
    assert strip(result) == result
    if kind in ("jpeg", "progressive", "png", "webp", "lossless webp"):
        assert sniff(result).orientation == sniff(data).orientation == orientation
        assert sniff(result).format == sniff(data).format
    else:
        assert sniff(result).format == "PNG"


@pytest.mark.parametrize("orientation", [1, 6])
def test_other_readers_turn_it_too(orientation):
    """The orientation that is kept is where every reader looks for it."""
    for kind in ("jpeg", "png", "webp"):
        with Image.open(io.BytesIO(strip(PLANTED[kind](orientation)))) as image:
            assert image.getexif().get(0x0112, 1) == orientation


@pytest.mark.parametrize(
    "data",
    [
        saved("JPEG"),
        saved("JPEG", progressive=True),
        saved("JPEG", image=picture().convert("CMYK")),
        saved("JPEG", image=picture().convert("L")),
        saved("PNG"),
        saved("PNG", image=picture().convert("P")),
        saved("WEBP", quality=70),
        saved("WEBP", lossless=True),
        saved("BMP"),
        saved("JPEG", dpi=(300, 300)),
    ],
)
def test_without_metadata_the_bytes_stay(data):
    assert strip(data) == data


def test_colour_stays():
    profile = b"\0" * 36 + b"acsp" + b"\0" * 200
    for kind in ("JPEG", "PNG", "WEBP"):
        result = strip(saved(kind, icc_profile=profile, exif=exif()))
        with Image.open(io.BytesIO(result)) as image:
            assert image.info["icc_profile"] == profile


def test_cmyk_jpeg_keeps_its_transform():
    data = saved("JPEG", image=picture().convert("CMYK"), exif=exif(3))
    assert same_pixels(data, strip(data))


def test_what_hides_after_the_end_goes():
    inner = saved("JPEG", exif=exif())
    for kind in ("JPEG", "PNG", "WEBP"):
        data = saved(kind)
        assert strip(data + inner) == data


def test_several_pictures_in_a_jpeg_become_the_first():
    file = io.BytesIO()
    picture().save(
        file, "MPO", save_all=True, append_images=[picture((24, 24))], exif=exif(6)
    )
    data = file.getvalue()
    assert sniff(data).format == "MPO"
    result = strip(data)
    clean(result)
    assert (sniff(result).format, sniff(result).frames) == ("JPEG", 1)
    assert same_pixels(data, result)


def test_metadata_between_scans_goes():
    data = saved("JPEG", progressive=True)
    comment = b"secret" + SERIAL.encode()
    segment = b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment
    place = data.rindex(b"\xff\xda")
    assert strip(data[:place] + segment + data[place:]) == data


def test_fill_bytes_between_segments():
    data = saved("JPEG")
    padded = data[:2] + b"\xff\xff" + data[2:]
    assert same_pixels(strip(padded), data)


def broken():
    jpeg, png = saved("JPEG", exif=exif(6)), PLANTED["png"](6)
    tables = jpeg.index(b"\xff\xdb")
    return {
        "junk between segments": jpeg[:tables] + b"\0" + jpeg[tables:],
        "a marker that is none": jpeg[:tables] + b"\xff\0" + jpeg[tables:],
        "no end": png[:-12],
        "half an end": png[:-6],
    }


@pytest.mark.parametrize("fault", broken())
def test_a_broken_container_still_loses_its_metadata(fault):
    """What decoders forgive and the cut cannot follow is written anew as PNG."""
    data = broken()[fault]
    result = strip(data)
    clean(result)
    assert same_pixels(data, result)
    assert sniff(result).format == "PNG"


def test_extensions():
    for kind, suffix in (
        ("JPEG", "jpg"),
        ("PNG", "png"),
        ("WEBP", "webp"),
        ("BMP", "bmp"),
        ("GIF", "png"),
        ("TIFF", "png"),
    ):
        assert extension(strip(saved(kind))) == suffix


@given(
    st.sampled_from(["JPEG", "PNG", "WEBP"]),
    st.integers(1, 8),
    st.integers(1, 33),
    st.integers(1, 33),
    st.binary(max_size=300),
)
def test_any_picture_any_metadata(kind, orientation, width, height, note):
    data = exif(orientation)
    data[0x927C] = note  # maker note
    options = {"lossless": True} if kind == "WEBP" else {}
    before = saved(kind, image=picture((width, height)), exif=data, **options)
    after = strip(before)
    clean(after)
    assert same_pixels(before, after)
    assert sniff(after).orientation == orientation
