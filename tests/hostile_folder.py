"""A folder as no one wants it: eight pairs to find among files that break readers."""

import io
import os
import shutil
import struct
import zlib
from pathlib import Path

from PIL import Image

from curation import demo

ORIGINALS = Path(demo.__file__).parent / "assets" / "originals"

PAIRS = (
    ("good.jpg", "recompressed.jpg"),
    ("plain.jpg", "cmyk.jpg"),
    ("grey8.png", "grey16.png"),
    ("full.png", "palette.png"),
    ("upright.jpg", "turned.jpg"),
    ("a b 'c' \"d\".jpg", "  spaces  .jpg"),
    ("new\nline.jpg", "белый медведь 北极熊.jpg"),
    ("a/same.jpg", "b/same_copy.jpg"),
)

BAD = {
    "truncated.jpg": "truncated",
    "truncated.png": "truncated",
    "zero.jpg": "empty",
    "text.jpg": "not a picture",
    "bomb.png": "too many pixels",
    "phone.heic": "HEIC is not read",
    "out.jpg": "out of the folder",
    "outside": "out of the folder",
    "inside.jpg": "inside the folder",
    "loop": "inside the folder",
    "self.jpg": "in a loop",
    "dangling.jpg": "to nothing",
    "pipe.jpg": "not a regular file",
}
"""Names that are told, with a part of the reason."""

ODD = (
    "moving.gif",
    "percent:caf%E9.jpg",
    "<script>document.title='x'.jpg",
    "no suffix",
)
"""Photos without a pair, as they are named in results."""

PHOTOS = 2 * len(PAIRS) + len(ODD)
IGNORED, HIDDEN = 2, 2


def original(place: int, size: tuple[int, int] = (480, 360)) -> Image.Image:
    """One of the bundled photos."""
    path = sorted(ORIGINALS.glob("*.jpg"))[place]
    with Image.open(path) as opened:
        return opened.convert("RGB").resize(size)


def build(folder: Path) -> Path:
    """Write it; the folder it is in gets a photo that links lead out to."""
    folder.mkdir()
    _pairs(folder)
    _odd(folder)
    _bad(folder)
    (folder / "notes.txt").write_text("no picture, and says so")
    (folder / "empty.csv").write_bytes(b"")
    (folder / ".hidden.jpg").write_text("of some program")
    (folder / ".cache").mkdir()
    shutil.copy(folder / "good.jpg", folder / ".cache" / "good.jpg")
    return folder


def _pairs(folder: Path) -> None:
    original(0).save(folder / "good.jpg", quality=92)
    original(0).save(folder / "recompressed.jpg", quality=50)
    original(1).save(folder / "plain.jpg", quality=92)
    original(1).convert("CMYK").save(folder / "cmyk.jpg", quality=92)
    grey = original(2).convert("L")
    grey.save(folder / "grey8.png")
    wide = grey.convert("I").point(lambda value: value * 257)
    wide.convert("I;16").save(folder / "grey16.png")
    original(3).save(folder / "full.png")
    palette = original(3).quantize(255)
    palette.save(folder / "palette.png", transparency=255)
    original(4).save(folder / "upright.jpg", quality=92)
    turned = original(4).transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned clockwise
    turned.save(folder / "turned.jpg", quality=92, exif=exif)
    for place, names in ((5, PAIRS[5]), (6, PAIRS[6])):
        for name, quality in zip(names, (92, 60), strict=True):
            original(place).save(folder / name, quality=quality)
    for name in PAIRS[7]:
        (folder / name).parent.mkdir()
        original(7).save(folder / name, quality=90)


def _odd(folder: Path) -> None:
    frames = [original(place) for place in (8, 9, 10)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    raw = io.BytesIO()
    original(11).save(raw, "JPEG")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")).write_bytes(raw.getvalue())
    original(12).save(folder / ODD[2], "JPEG")
    original(13).save(folder / ODD[3], "PNG")


def _bad(folder: Path) -> None:
    for name, kind in (("truncated.jpg", "JPEG"), ("truncated.png", "PNG")):
        data = io.BytesIO()
        original(14).save(data, kind)
        (folder / name).write_bytes(data.getvalue()[: len(data.getvalue()) // 2])
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("I am not a picture")
    (folder / "bomb.png").write_bytes(huge_png(60_000))
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    outside = folder.parent / "outside of all"
    outside.mkdir()
    original(0).save(outside / "secret.jpg", quality=92)
    (folder / "out.jpg").symlink_to(outside / "secret.jpg")
    (folder / "outside").symlink_to(outside)
    (folder / "inside.jpg").symlink_to("good.jpg")
    (folder / "loop").symlink_to(folder)
    (folder / "self.jpg").symlink_to("self.jpg")
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(folder / "pipe.jpg")


def huge_png(side: int, *, rows: int = 0) -> bytes:
    """A PNG of side × side RGB pixels, of which `rows` are there."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body))
            + kind
            + body
            + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    packer = zlib.compressobj(1)
    ramp = bytes(3 * place * 255 // (3 * side) for place in range(side) for _ in "rgb")
    body = b"".join(packer.compress(b"\0" + ramp) for _ in range(rows)) + packer.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", body)
        + chunk(b"IEND", b"")
    )
