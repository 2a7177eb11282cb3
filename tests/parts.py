"""Parts to compute, for tests of engines: small pictures, and a stage that crashes."""

import hashlib
import io
from pathlib import Path

import pyarrow as pa
from PIL import Image

from curation import engines
from curation.schemas import from_rows
from curation.stages import hash as hashing

CRASHING = """
import os, signal, sys
from curation.stages import hash as real

OUTPUT = real.OUTPUT

def run(inputs, settings):
    for data in inputs["photos"].column("data").to_pylist():
        if data == b"segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if data == b"memory":
            os.kill(os.getpid(), signal.SIGKILL)
        if data == b"exit":
            os._exit(3)
        if data == b"bug":
            raise ZeroDivisionError("a bug of the stage")
    return real.run(inputs, settings)
"""


def package(folder: Path) -> str:
    """Write a package with a stage that crashes its process; the stage's name."""
    home = folder / "outside"
    home.mkdir()
    (home / "__init__.py").touch()
    (home / "crashing.py").write_text(CRASHING)
    return "outside.crashing"


def picture(shade: int) -> bytes:
    """A PNG unlike those of other shades, 0-255."""
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (shade, 90, 200 - shade % 200)).save(file, "PNG")
    return file.getvalue()


def table(folder: Path, contents: list[bytes]) -> pa.Table:
    """Rows of `photos`, whose bytes are put into a folder."""
    rows = []
    for place, data in enumerate(contents):
        key = hashlib.sha256(data).hexdigest()
        (folder / key).write_bytes(data)
        rows.append(
            {
                "photo_id": key, "candidate_id": key, "class": "bear", "classes": [],
                "observation_id": key, "composed": False, "bytes": len(data),
                "format": "PNG", "width": 40, "height": 30, "order": place,
            }
        )  # fmt: skip
    return from_rows(rows, "photos")


def works(
    stage: str, folder: Path, contents: list[bytes], part: int = 8
) -> list[engines.Work]:
    """Parts of pictures in a folder, for a stage with the settings of `hash`."""
    return [
        engines.Work(
            stage,
            hashing.Settings(max_pixels=10**6),
            rows,
            [folder / key for key in rows.column("photo_id").to_pylist()],
        )
        for rows in engines.parts(table(folder, contents), part)
    ]
