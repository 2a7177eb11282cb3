"""Copies are found, chains are not merged, and the policy says who is kept."""

import hashlib
import io
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageEnhance

from curation import demo
from curation.config import Dedup
from curation.duplicates import hashing
from curation.schemas import empty, from_rows
from curation.stages import dedup, hash

ASSETS = Path(demo.__file__).parent / "assets"
SETTINGS = dedup.Settings.of(Dedup())


def _jpeg(image: Image.Image, quality: int = 85) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _inputs(
    files: list[bytes], licences: list[str | None] | None = None
) -> dict[str, pa.Table]:
    rows, candidates = [], []
    for place, data in enumerate(files):
        width, height = Image.open(io.BytesIO(data)).size
        rows.append(
            {
                "photo_id": _sha(data), "candidate_id": f"c{place}", "width": width,
                "height": height, "order": place, "data": data,
            }
        )  # fmt: skip
        licence = licences[place] if licences else "CC0-1.0"
        candidates.append({"candidate_id": f"c{place}", "licence": licence})
    photos = pa.Table.from_pylist(rows)
    return {
        "photos": photos,
        "candidates": pa.Table.from_pylist(candidates),
        "hashes": hash.run({"photos": photos}, hash.Settings(10**8)),
        "embeddings": empty("embeddings"),
    }


def _merges(table: pa.Table) -> dict[str, dict[str, Any]]:
    return {r["photo_id"]: r for r in table.to_pylist() if r["decision"] == "merge"}


def _pairs(table: pa.Table) -> set[frozenset[str]]:
    return {frozenset((p, r["keeper"])) for p, r in _merges(table).items()}


@pytest.fixture(scope="module")
def originals() -> list[Image.Image]:
    paths = sorted((ASSETS / "originals").glob("*.jpg"))
    return [Image.open(path).convert("RGB") for path in paths]


def _corner(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((0, 0, round(0.9 * width), round(0.9 * height)))


@pytest.mark.parametrize(
    ("edit", "recall"),
    [
        (lambda i: i.resize((i.width // 2, i.height // 2)), 1.0),
        (lambda i: ImageEnhance.Brightness(i).enhance(1.2), 0.98),
        (lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0.98),
        (lambda i: i.transpose(Image.Transpose.ROTATE_90), 0.98),
        (_corner, 0.95),
    ],
    ids=["resized", "brighter", "mirrored", "rotated", "cropped"],
)
def test_planted_copies_are_found(originals, edit, recall: float) -> None:
    first = [_jpeg(image, 92) for image in originals]
    copies = [_jpeg(edit(image)) for image in originals]
    planted = {
        frozenset((_sha(a), _sha(b))) for a, b in zip(first, copies, strict=True)
    }

    found = _pairs(dedup.run(_inputs(first + copies), SETTINGS))

    assert found <= planted, "photos that are no copies were merged"
    assert len(found) / len(planted) >= recall


def test_copies_hashed_by_another_path_are_found(originals) -> None:
    first = [_jpeg(image, 92) for image in originals]
    copies = [_jpeg(image.transpose(Image.Transpose.ROTATE_270)) for image in originals]
    inputs = _inputs(first + copies)
    photos = inputs["photos"]
    fast = hash.Settings(10**8, hashing.FAST)
    inputs["hashes"] = pa.concat_tables(
        [
            hash.run({"photos": photos.slice(0, len(first))}, hash.Settings(10**8)),
            hash.run({"photos": photos.slice(len(first))}, fast),
        ]
    )
    planted = {
        frozenset((_sha(a), _sha(b))) for a, b in zip(first, copies, strict=True)
    }
    found = _pairs(dedup.run(inputs, SETTINGS))
    assert found <= planted
    assert len(found) / len(planted) >= 0.98


def test_another_animal_on_the_same_scene_is_not_merged() -> None:
    scenes = sorted((ASSETS / "backgrounds").glob("*.jpg"))[::6]
    cutouts = [
        Image.open(path).convert("RGBA")
        for path in sorted((ASSETS / "cutouts").glob("*.webp"))
    ]
    files = []
    for scene, cutout in itertools.product(scenes, cutouts[::5]):
        image = Image.open(scene).convert("RGB")
        scale = 0.55 * min(image.width / cutout.width, image.height / cutout.height)
        animal = cutout.resize(
            (round(cutout.width * scale), round(cutout.height * scale))
        )
        place = (image.width - animal.width) // 2, (image.height - animal.height) // 2
        image.paste(animal, place, animal)
        files.append(_jpeg(image, 92))

    assert len(files) > 50
    assert not _merges(dedup.run(_inputs(files), SETTINGS))


def test_equal_pixels_in_other_files(originals) -> None:
    png, bmp = io.BytesIO(), io.BytesIO()
    originals[0].save(png, "PNG")
    originals[0].save(bmp, "BMP")
    files = [png.getvalue(), bmp.getvalue()]

    (row,) = dedup.run(_inputs(files), SETTINGS).to_pylist()

    assert row["photo_id"] == _sha(files[1])
    assert row["keeper"] == _sha(files[0])
    assert (row["reason"], row["distance"], row["variant"]) == ("pixels", 0, "identity")


@pytest.mark.parametrize(
    ("licences", "policy", "kept"),
    [
        (["CC-BY-NC-4.0", "CC0-1.0"], ("licence", "resolution", "earliest"), 1),
        (["CC0-1.0", "CC0-1.0"], ("licence", "resolution", "earliest"), 0),
        (["CC-BY-NC-4.0", "CC0-1.0"], ("resolution", "licence"), 0),
        ([None, "CC-BY-NC-4.0"], ("licence",), 1),
        (["CC-BY-NC-4.0", "CC0-1.0"], ("earliest",), 0),
    ],
)
def test_policy_chooses_the_keeper(originals, licences, policy, kept: int) -> None:
    image = originals[1]
    small = image.resize((image.width // 2, image.height // 2))
    files = [_jpeg(image), _jpeg(small)]
    config = replace(SETTINGS, keeper=policy)

    (row,) = dedup.run(_inputs(files, licences), config).to_pylist()

    assert row["keeper"] == _sha(files[kept])


def test_variant_says_what_the_photo_is_of_the_keeper(originals) -> None:
    image = originals[2]
    turned = image.transpose(Image.Transpose.ROTATE_90)
    width, height = image.size
    files = [_jpeg(image, 95), _jpeg(turned), _jpeg(_corner(image))]
    assert width * height > 0

    merged = _merges(dedup.run(_inputs(files), SETTINGS))

    assert {photo: row["variant"] for photo, row in merged.items()} == {
        _sha(files[1]): "rotate90",
        _sha(files[2]): "crop",
    }
    crop_kept = replace(SETTINGS, keeper=("licence",))
    inputs = _inputs(files[::2], [None, "CC0-1.0"])
    (row,) = dedup.run(inputs, crop_kept).to_pylist()
    assert (row["keeper"], row["variant"]) == (_sha(files[2]), "wider")


def test_flat_photos_are_not_compared_by_hash() -> None:
    files = [_jpeg(Image.new("RGB", (200, 150), (g, g, g))) for g in (100, 101, 102)]

    assert not dedup.run(_inputs(files), SETTINGS).to_pylist()


def _embedded(ids: list[str], vectors: np.ndarray) -> pa.Table:
    rows = [
        {"photo_id": i, "status": "ok", "embedding": v.tolist()}
        for i, v in zip(ids, vectors, strict=True)
    ]
    return from_rows(rows, "embeddings")


def test_embedding_neighbours_are_suggested(originals) -> None:
    files = [_jpeg(image) for image in originals[:3]]
    inputs = _inputs(files)
    vectors = np.array([[1.0, 0.0], [0.999, 0.045], [0.0, 1.0]])
    inputs["embeddings"] = _embedded([_sha(data) for data in files], vectors)

    (row,) = dedup.run(inputs, SETTINGS).to_pylist()

    assert {row["photo_id"], row["keeper"]} == {_sha(files[0]), _sha(files[1])}
    assert (row["decision"], row["reason"]) == ("suggest", "embedding")
    assert row["distance"] == pytest.approx(0.001, abs=5e-4)


def test_a_burst_stays_together_and_is_not_merged(originals) -> None:
    files = [_jpeg(image) for image in originals[:4]]
    inputs = _inputs(files)
    day = pa.array(["2026-05-01", "2026-05-01", "2026-05-01", None], pa.string())
    who = pa.array(["ann", "ann", "bob", "ann"], pa.string())
    inputs["candidates"] = inputs["candidates"].append_column("observer", who)
    inputs["candidates"] = inputs["candidates"].append_column("observed_on", day)
    vectors = np.array([[1.0, 0.3], [1.0, 0.2], [1.0, 0.1], [1.0, 0.0]])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    inputs["embeddings"] = _embedded([_sha(data) for data in files], vectors)

    rows = dedup.run(inputs, replace(SETTINGS, suggest_cosine=1.0)).to_pylist()

    (row,) = [row for row in rows if row["decision"] == "burst"]
    assert {row["photo_id"], row["keeper"]} == {_sha(files[0]), _sha(files[1])}
    assert not [row for row in rows if row["decision"] == "merge"]


def test_rows_do_not_hang_on_the_order_of_the_tables(originals) -> None:
    files = [_jpeg(image, 92) for image in originals[:10]]
    files += [_jpeg(_corner(image)) for image in originals[:10]]
    inputs = _inputs(files)
    found = dedup.run(inputs, SETTINGS)
    assert found.num_rows == 10
    backwards = {
        name: table.take(pa.array(range(table.num_rows)[::-1], pa.int64()))
        for name, table in inputs.items()
    }
    assert dedup.run(backwards, SETTINGS).equals(found)
