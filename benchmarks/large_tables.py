"""How fast `status` and `run --dry-run` answer on tables of a million rows.

    python -m benchmarks.large_tables [--rows 1000000]

Writes a work folder as a run would leave it: candidates and photos in
one part each, hashes in parts of 256 rows. Then runs the commands as a user does.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.cli_start import told
from curation import engines, init
from curation.config import load
from curation.pipeline import Route
from curation.schemas import schema
from curation.shelf import Shelf

RUNS = 5
BATCH = 10_000


def filled(name: str, keys: list[str]) -> pa.Table:
    """A table of the schema with these keys, and any values in its other columns."""
    columns = []
    for field in schema(name):
        if field.name in ("photo_id", "candidate_id"):
            columns.append(pa.array(keys))
        elif field.name == "status":
            columns.append(pa.repeat("ok", len(keys)))
        elif field.nullable:
            columns.append(pa.nulls(len(keys), field.type))
        elif pa.types.is_list(field.type):
            columns.append(pa.array([[]] * len(keys), field.type))
        else:
            value = "" if pa.types.is_string(field.type) else 0
            columns.append(pa.repeat(pa.scalar(value).cast(field.type), len(keys)))
    return pa.Table.from_arrays(columns, schema=schema(name))


def build(folder: Path, rows: int) -> Path:
    """Write dataset.toml, and a work folder where collect, fetch and hash are done."""
    config = init.write(folder)
    numbers = np.random.default_rng(0).bytes(32 * rows).hex()
    keys = sorted(numbers[start : start + 64] for start in range(0, len(numbers), 64))
    with Shelf(folder / "work").lock() as shelf:
        dataset = load(config)
        shelf.keep_config(dataset.model_dump(mode="json"))
        route = Route(shelf, dataset)
        for start in range(0, rows, BATCH):
            attempts = [
                {"candidate_id": key, "photo_id": key, "status": "ok"}
                for key in keys[start : start + BATCH]
            ]
            shelf.append("fetches", attempts)
        route.finish("collect", filled("candidates", keys))
        route.finish("fetch", filled("photos", keys))
        hashes, recipe = filled("hashes", keys), route.recipe("hash")
        for part in engines.parts(hashes):
            shelf.write_part("hash", recipe, part)
        route.mark("hash", rows, "benchmark")
    return config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as place:
        config = build(Path(place), rows)
        work = Path(place) / "work"
        parts = len(list(work.glob("tables/hash/*/*.parquet")))
        print(f"{rows:,} rows in candidates, photos and hashes ({parts:,} parts)")
        print(f"counterset status: {told(RUNS, 'status', '--work', work)}")
        plan = told(RUNS, "run", "--dry-run", "-c", config, "--work", work)
        print(f"counterset run --dry-run: {plan}")


if __name__ == "__main__":
    main()
