"""leaks: hash tables of other sets → which photos are in those too, told, not dropped.

An action, for it reads files; `curation.duplicates.leaks` decides.
"""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.config import Dataset
from curation.errors import InputError
from curation.pipeline import Route
from curation.schemas import from_rows

VERSION = 2
OUTPUT = "leaks"
INPUTS = ("hashes",)

SHOWN = 3  # photos a notice names


def settings(config: Dataset) -> dict[str, Any]:
    """Rules of comparison, and the other sets by their content."""
    section = config.dedup
    return {
        "against": [[path.stem, _digest(path)] for path in section.against],
        "drop": section.drop_leaks,
        "auto_radius": section.auto_radius,
        "review_radius": section.review_radius,
        "min_texture": section.min_texture,
    }


def intact(route: Route) -> bool:
    """Nothing is outside of the table."""
    return True


def run(route: Route) -> int:
    """Compare with every set of `dedup.against`; returns the photos found in one.

    Raises:
        InputError: two sets have one name, or a file is no hash table.
    """
    found = _found(route)
    route.finish("leaks", found)
    for name, rows in _by_set(found).items():
        route.notices.append(_notice(name, rows, route.config.dedup.drop_leaks))
    return len(set(found["photo_id"].to_pylist()))


def _found(route: Route) -> pa.Table:
    section = route.config.dedup
    if not section.against:
        return from_rows([], OUTPUT)
    from curation.duplicates import tables
    from curation.duplicates.leaks import leaks
    from curation.duplicates.matches import Settings

    names = Counter(path.stem for path in section.against)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        message = f"dedup.against: two tables are called {twice[0]}; rename one"
        raise InputError(message)
    hashes = route.whole("hashes")
    parts = [
        leaks(hashes, tables.read(path), Settings.of(section), name=path.stem)
        for path in section.against
    ]
    table = pa.concat_tables(parts).sort_by(
        [("photo_id", "ascending"), ("set", "ascending")]
    )
    drop = pa.array([section.drop_leaks] * table.num_rows, pa.bool_())
    place = table.schema.get_field_index("dropped")
    return table.set_column(place, table.schema.field(place), drop)


def _by_set(found: pa.Table) -> dict[str, list[str]]:
    """Photos found in each set."""
    sets: dict[str, dict[str, None]] = {}
    for name, photo_id in zip(
        found["set"].to_pylist(), found["photo_id"].to_pylist(), strict=True
    ):
        sets.setdefault(name, {})[photo_id] = None
    return {name: list(photos) for name, photos in sorted(sets.items())}


def _notice(name: str, photos: list[str], dropped: bool) -> str:
    """What a person should know of one set."""
    some = ", ".join(photo_id[:12] for photo_id in photos[:SHOWN])
    more = ", …" if len(photos) > SHOWN else ""
    what = "they are in no group" if dropped else "dedup.drop_leaks leaves them out"
    verb = "photo is" if len(photos) == 1 else "photos are"
    return f"leaks: {len(photos)} {verb} also in {name} ({some}{more}); {what}"


def _digest(path: Path) -> str:
    """A file's content in short; reading it tells what is wrong with it."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
