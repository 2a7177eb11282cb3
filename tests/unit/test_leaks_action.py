"""The step `leaks`: reads hash tables, tells what is in them too, drops nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.duplicates import tables
from curation.errors import InputError
from curation.pipeline import Route
from curation.schemas import from_rows
from curation.shelf import Shelf
from tests import hash_tables
from tests.planted import configuration


def _route(work: Path, thumbs: np.ndarray, **dedup: Any) -> Route:
    """A route whose photos are hashed."""
    config = configuration(work.parent, dedup=dedup)
    route = Route(Shelf(work), config, jobs=1)
    hashes = hash_tables.table(thumbs)
    photos = [
        {
            "photo_id": key, "candidate_id": key, "class": "bear", "classes": ["bear"],
            "observation_id": key, "composed": False, "bytes": 1, "format": "JPEG",
            "width": 64, "height": 64, "order": place,
        }
        for place, key in enumerate(hashes["photo_id"].to_pylist())
    ]  # fmt: skip
    with route.shelf.lock():
        route.finish("fetch", from_rows(photos, "photos"))
        route.finish("hash", hashes)
    return route


def _set(path: Path, thumbs: np.ndarray) -> Path:
    """Another set's hash table."""
    rows = [
        row
        | {
            "name": f"{place}.jpg", "sha256": f"{place:064x}", "bytes": 1,
            "format": "JPEG", "width": 64, "height": 64, "frames": 1,
        }
        for place, row in enumerate(hash_tables.table(thumbs).to_pylist())
    ]  # fmt: skip
    tables.write(path, rows)
    return path


def _run(route: Route) -> list[dict[str, Any]]:
    with route.shelf.lock():
        route._step("leaks")
    return route.table("leaks").to_pylist()


@pytest.mark.parametrize("drop", [False, True])
def test_photos_of_other_sets_are_told(tmp_path: Path, drop: bool) -> None:
    rng = np.random.default_rng(0)
    mine = hash_tables.scenes(8, rng)
    other = [hash_tables.noisy(mine[2:4], rng), hash_tables.scenes(5, rng)]
    _set(tmp_path / "val.parquet", np.concatenate(other))
    _set(tmp_path / "none.parquet", hash_tables.scenes(5, rng))
    route = _route(
        tmp_path / "work", mine, against=["val.parquet", "none.parquet"],
        drop_leaks=drop,
    )  # fmt: skip
    ids = hash_tables.table(mine)["photo_id"].to_pylist()

    rows = _run(route)

    assert {(row["photo_id"], row["set"], row["name"]) for row in rows} == {
        (ids[2], "val", "0.jpg"), (ids[3], "val", "1.jpg"),
    }  # fmt: skip
    assert {row["dropped"] for row in rows} == {drop}
    (notice,) = route.notices
    assert notice.startswith("leaks: 2 photos are also in val (")
    # unchanged files are not read again, a changed one is
    recipe = route.recipe("leaks")
    _set(tmp_path / "val.parquet", other[1])
    again = Route(route.shelf, route.config, jobs=1)
    assert again.recipe("leaks") != recipe
    assert _run(again) == []


def test_no_other_set_is_no_row(tmp_path: Path) -> None:
    route = _route(tmp_path / "work", hash_tables.scenes(3, np.random.default_rng(1)))
    assert _run(route) == []
    assert not route.notices


def test_faults_are_told_with_the_file(tmp_path: Path) -> None:
    thumbs = hash_tables.scenes(2, np.random.default_rng(2))
    missing = _route(tmp_path / "one", thumbs, against=["val.parquet"])
    with pytest.raises(InputError, match=r"val\.parquet"):
        _run(missing)
    _set(tmp_path / "val.parquet", thumbs)
    (tmp_path / "more").mkdir()
    _set(tmp_path / "more" / "val.parquet", thumbs)
    twice = _route(
        tmp_path / "two", thumbs, against=["val.parquet", "more/val.parquet"]
    )
    with pytest.raises(InputError, match="two tables are called val"):
        _run(twice)
