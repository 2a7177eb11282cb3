"""What every stage must do; a new file in curation/stages is tested by existing."""

import hashlib
import importlib
import io
import pkgutil
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curation import config, schemas, stages
from curation.duplicates import hashing
from curation.pipeline import ORDER

ASSETS = Path(stages.__file__).parents[1] / "demo" / "assets" / "originals"
CLASSES = ("cat", "dog", "fish")
BACKGROUNDS = ("grass", "snow", "water")


def _modules() -> dict[str, ModuleType]:
    found = {
        name: importlib.import_module(f"curation.stages.{name}")
        for name in sorted(m.name for m in pkgutil.iter_modules(stages.__path__))
    }
    return {name: module for name, module in found.items() if hasattr(module, "ROWS")}


MODULES = _modules()
MAPS = [name for name, module in MODULES.items() if module.ROWS == "map"]


def _dataset(model: str) -> config.Dataset:
    return config.parse(
        {
            "dataset": {"name": "contract"},
            "classes": [{"name": name} for name in CLASSES],
            "backgrounds": [
                {"name": name, "prompts": [f"{{}} on {name}", f"a photo of {name}"]}
                for name in BACKGROUNDS
            ],
            "sources": [{"kind": "folder", "path": "."}],
            "embed": {"model": model},
            "group": {
                "reference": [model], "min_photos": 2, "splits": 2, "permutations": 99,
            },
        },
        base=Path(),
        name="contract",
    )  # fmt: skip


def _files() -> list[bytes]:
    """Real photos, copies of three of them, and two files that cannot be decoded."""
    files = [path.read_bytes() for path in sorted(ASSETS.glob("*.jpg"))[:24]]
    for data, edit in zip(files, ("half", "mirror", "crop"), strict=False):
        image = Image.open(io.BytesIO(data)).convert("RGB")
        width, height = image.size
        if edit == "half":
            image = image.resize((width // 2, height // 2))
        elif edit == "mirror":
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        else:
            image = image.crop((width // 20, height // 20, width, height))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return [*files, files[0][: len(files[0]) // 2], b"no picture at all"]


@pytest.fixture(scope="module")
def world(tiny_clip: str) -> dict[str, pa.Table]:
    """Tables as the route makes them, from real photos, up to the groups."""
    settings = _dataset(tiny_clip)
    rng = np.random.default_rng(0)
    photos: list[dict[str, Any]] = []
    candidates: list[dict[str, Any]] = []
    for place, data in enumerate(_files()):
        photo_id = hashlib.sha256(data).hexdigest()
        class_ = CLASSES[place % 3]
        photos.append(
            {
                "photo_id": photo_id, "candidate_id": f"c{place}", "class": class_,
                "classes": [class_], "observation_id": f"o{place}", "composed": False,
                "bytes": len(data), "format": "JPEG", "width": 500, "height": 300,
                "order": place, "data": data,
            }
        )  # fmt: skip
        candidates.append(
            {
                "candidate_id": f"c{place}", "source": "folder", "key": str(place),
                "revision": "1", "class": class_, "url": str(place),
                "licence": ("CC0-1.0", "CC-BY-4.0", None)[place % 3],
                "composed": False, "place": 0, "order": place,
            }
        )  # fmt: skip
    schema = schemas.schema("photos").append(pa.field("data", pa.binary()))
    tables = {
        "photos": pa.Table.from_pylist(photos, schema=schema),
        "candidates": schemas.from_rows(candidates, "candidates"),
        "label_events": schemas.from_rows(_events(photos, rng), "label_events"),
        "leaks": schemas.from_rows(
            [
                {
                    "photo_id": photos[place]["photo_id"], "set": "other",
                    "name": f"{place}.jpg", "reason": "bytes", "variant": "identity",
                    "distance": 0.0, "dropped": place == 5,
                }
                for place in (2, 5)
            ],
            "leaks",
        ),
        "predictions": schemas.from_rows(
            [
                {
                    "photo_id": photo["photo_id"], "model": tiny_clip,
                    "class": photo["class"], "predicted": photo["class"],
                    "probability": 0.5, "label_probability": 0.5,
                    "correct": bool(rng.random() < 0.6), "status": "ok",
                }
                for photo in photos[:-2]
            ],
            "predictions",
        ),
    }  # fmt: skip
    for name in ORDER:
        if name in MODULES and MODULES[name].ROWS == "map":
            table = MODULES[name].run(tables, MODULES[name].settings(settings))
            tables[MODULES[name].OUTPUT] = table
    good = set(tables["photos"]["photo_id"].to_pylist()[:-2])
    for name in ("photos", "hashes", "embeddings"):
        keep = [i.as_py() in good for i in tables[name]["photo_id"]]
        tables[f"all {name}"], tables[name] = tables[name], tables[name].filter(keep)
    for name in ORDER:
        if name in MODULES and MODULES[name].ROWS == "reduce":
            table = MODULES[name].run(tables, MODULES[name].settings(settings))
            tables[MODULES[name].OUTPUT] = table
    return tables


def _events(photos: list[dict[str, Any]], rng: Any) -> list[dict[str, Any]]:
    events = []
    for place, photo in enumerate(photos):
        for annotator in ("ann", "bob", "cy")[: 1 + place % 3]:
            agree = rng.random() < 0.8
            answer = BACKGROUNDS[(place // 3 + (not agree)) % 3]
            key = f"{photo['photo_id']}{annotator}"
            events.append(
                {
                    "event_id": hashlib.sha256(key.encode()).hexdigest(),
                    "photo_id": photo["photo_id"], "question": "background",
                    "answer": answer, "annotator": annotator, "origin": "chosen",
                    "created_at": f"2026-01-01T00:00:{place:02}+00:00",
                }
            )  # fmt: skip
    return events


def _inputs(module: ModuleType, world: dict[str, pa.Table]) -> dict[str, pa.Table]:
    if module.ROWS == "map":
        return {"photos": world["all photos"]}
    return {name: world[name] for name in module.INPUTS}


def _shuffled(table: pa.Table) -> pa.Table:
    return table.take(np.random.default_rng(1).permutation(len(table)))


def test_stages_are_found() -> None:
    assert {"hash", "embed", "dedup", "screen", "propose", "tasks", "resolve"} <= set(
        MODULES
    )


@pytest.mark.parametrize("name", MODULES)
def test_names_what_it_reads_and_makes(name: str, tiny_clip: str) -> None:
    module = MODULES[name]
    settings = module.settings(_dataset(tiny_clip))

    assert isinstance(module.VERSION, int)
    assert module.OUTPUT in schemas.SCHEMAS
    assert set(module.INPUTS) <= set(schemas.SCHEMAS)
    assert name in ORDER
    assert is_dataclass(settings)
    assert module.__doc__.startswith(f"{name}: ")


@pytest.mark.parametrize("name", MODULES)
def test_output_conforms(name: str, world: dict[str, pa.Table]) -> None:
    table = world[MODULES[name].OUTPUT]

    assert len(table) > 0
    assert schemas.conform(table, MODULES[name].OUTPUT).equals(table)
    assert table.schema.equals(schemas.schema(MODULES[name].OUTPUT))


@pytest.mark.parametrize("name", MODULES)
def test_does_not_see_the_order_of_rows(
    name: str, world: dict[str, pa.Table], tiny_clip: str
) -> None:
    module = MODULES[name]
    settings = module.settings(_dataset(tiny_clip))
    inputs = _inputs(module, world)
    straight = module.run(inputs, settings)
    shuffled = {key: _shuffled(table) for key, table in inputs.items()}

    assert module.run(inputs, settings).equals(straight)
    assert module.run(shuffled, settings).equals(straight)


@pytest.mark.parametrize("name", MODULES)
def test_nothing_in_gives_nothing_out(
    name: str, world: dict[str, pa.Table], tiny_clip: str
) -> None:
    module = MODULES[name]
    inputs = {
        key: table.schema.empty_table() for key, table in _inputs(module, world).items()
    }

    table = module.run(inputs, module.settings(_dataset(tiny_clip)))

    assert table.equals(schemas.empty(module.OUTPUT))


@pytest.mark.parametrize("name", MAPS)
def test_map_gives_a_row_per_photo(
    name: str, world: dict[str, pa.Table], tiny_clip: str
) -> None:
    module = MODULES[name]
    photos = world["all photos"]
    table = module.run({"photos": photos}, module.settings(_dataset(tiny_clip)))
    rows = {row["photo_id"]: row for row in table.to_pylist()}
    bad = photos["photo_id"].to_pylist()[-2:]

    assert sorted(photos["photo_id"].to_pylist()) == table["photo_id"].to_pylist()
    assert {i for i, row in rows.items() if row["status"] == "failed"} == set(bad)
    assert all(bool(row["error"]) == (i in bad) for i, row in rows.items())


@pytest.mark.parametrize("name", MAPS)
def test_map_sees_one_photo_at_a_time(
    name: str, world: dict[str, pa.Table], tiny_clip: str
) -> None:
    module = MODULES[name]
    settings = module.settings(_dataset(tiny_clip))
    photos = world["all photos"]
    whole = module.run({"photos": photos}, settings).to_pylist()
    parts = [module.run({"photos": photos.slice(i, 5)}, settings) for i in (0, 5, 10)]
    alone = {row["photo_id"]: row for row in pa.concat_tables(parts).to_pylist()}

    for row in whole:
        if row["photo_id"] in alone:
            other = alone[row["photo_id"]]
            vectors = row.pop("embedding", None), other.pop("embedding", None)
            assert row == other
            if vectors[0] is not None:
                # sums over batches of another size round otherwise
                np.testing.assert_allclose(*vectors, atol=2e-3)


@pytest.mark.parametrize("path", hashing.PATHS)
def test_hashes_of_either_path_conform(
    path: str, world: dict[str, pa.Table], tiny_clip: str
) -> None:
    dataset = _dataset(tiny_clip)
    chosen = dataset.model_copy(update={"hash": config.Hash(path=path)})
    module, photos = MODULES["hash"], world["all photos"]
    table = module.run({"photos": photos}, module.settings(chosen))
    usual = module.run({"photos": photos}, module.settings(dataset)).to_pylist()
    rows = table.to_pylist()

    assert table.equals(schemas.conform(table, "hashes"))
    assert {row["path"] for row in rows} == {hashing.PATHS[path]}
    for row, other in zip(rows, usual, strict=True):
        assert (row["status"], row["error"]) == (other["status"], other["error"])
        if row["status"] == "ok":
            assert (row["phash"][0] ^ other["phash"][0]).bit_count() <= 6
            assert len(row["thumb"]) == hashing.SIDE**2
            assert (row["pixels"] is None) == (path == "fast")


def test_what_follows_takes_hashes_of_the_fast_path(
    world: dict[str, pa.Table], tiny_clip: str
) -> None:
    """The same copies are merged, and every photo has its flags."""
    dataset = _dataset(tiny_clip)
    fast = dataset.model_copy(update={"hash": config.Hash(path="fast")})
    settings = MODULES["hash"].settings(fast)
    tables = world | {"hashes": MODULES["hash"].run(world, settings)}
    for name in ("dedup", "screen"):
        table = MODULES[name].run(tables, MODULES[name].settings(fast))
        tables[MODULES[name].OUTPUT] = table

    def merges(table: pa.Table) -> set[tuple[str, str, str]]:
        return {
            (row["photo_id"], row["keeper"], row["variant"])
            for row in table.to_pylist()
            if row["decision"] == "merge"
        }

    assert merges(tables["duplicates"]) == merges(world["duplicates"])
    assert len(tables["flags"]) == len(world["photos"])
    assert tables["flags"]["photo_id"].equals(world["flags"]["photo_id"])


def test_copies_are_merged(world: dict[str, pa.Table]) -> None:
    ids = world["photos"]["photo_id"].to_pylist()
    merges = {
        frozenset((row["photo_id"], row["keeper"])): row["variant"]
        for row in world["duplicates"].to_pylist()
        if row["decision"] == "merge"
    }

    assert merges == {
        frozenset((ids[0], ids[24])): "identity",
        frozenset((ids[1], ids[25])): "mirror",
        frozenset((ids[2], ids[26])): merges[frozenset((ids[2], ids[26]))],
    }
    assert merges[frozenset((ids[2], ids[26]))] in ("crop", "wider")
