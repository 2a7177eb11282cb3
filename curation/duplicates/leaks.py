"""Which photos are also in another set, such as the one a model was trained on.

A model that has seen a photo answers better than it would; whoever measures must know.
Photos are compared with a table of the other set's hashes (`counterset hash FOLDER
--out TABLE`), by the same rules by which duplicates are merged, without embeddings.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from curation.duplicates.matches import (
    NAMES,
    Flags,
    Search,
    Settings,
    blocks,
    judge,
)
from curation.duplicates.pictures import Pictures, Places, Thumbs
from curation.rows import numbers, places
from curation.schemas import from_rows

TABLE = "leaks"

MOST = 3
"""Photos of the other set told for each photo, the surest first."""

PART = 1 << 16
"""Photos of the other set compared at a time: memory hangs on it, not the answer."""

Row = dict[str, object]

_SURE = {"bytes": 0, "pixels": 1, "perceptual": 2}


def leaks(
    hashes: pa.Table, others: pa.Table, settings: Settings, *, name: str = ""
) -> pa.Table:
    """Photos that are the same picture as one of another set.

    Args:
        hashes: photos that could be decoded: photo_id, pixels, phash, thumb, texture.
        others: of the other set: name, sha256, pixels, phash, thumb, texture, status;
            those that failed are compared by their bytes alone.
        settings: what decides.
        name: what the other set is called.

    Returns: `leaks`, sorted by photo_id, set and the surest first: at most `MOST` rows
        per photo.
    """
    ids = hashes["photo_id"].to_pylist()
    rows = _equal(ids, others["sha256"], others["name"], "bytes")
    rows += _equal(hashes["pixels"], others["pixels"], others["name"], "pixels")
    contrast = numbers(hashes["texture"]) >= settings.min_texture
    first = Thumbs.read(hashes["thumb"]).firsts()
    # of photos with equal thumbs one is compared, and what it is they all are
    compared = np.flatnonzero(contrast & (first == np.arange(len(ids))))
    followers = _followers(first, contrast)
    if len(compared):
        ours = Pictures.of(hashes, compared)
        for at in range(0, others.num_rows, PART):
            for place, row in _alike(ours, _sound(others.slice(at, PART)), settings):
                rows += [(one, row) for one in followers[int(compared[place])]]
    chosen: dict[tuple[int, str], Row] = {}
    for place, row in rows:
        pair = (place, str(row["name"]))
        if pair not in chosen or _rank(row) < _rank(chosen[pair]):
            chosen[pair] = row
    return from_rows(_surest(ids, chosen, name), TABLE)


def _equal(
    ours: pa.ChunkedArray | list[str | None],
    theirs: pa.ChunkedArray,
    names: pa.ChunkedArray,
    reason: str,
) -> list[tuple[int, Row]]:
    """Rows for photos whose value is one of theirs; at most `MOST` for each value."""
    mine: dict[str, list[int]] = {}
    values = ours if isinstance(ours, list) else ours.to_pylist()
    for place, value in enumerate(values):
        if value is not None:
            mine.setdefault(value, []).append(place)
    found: dict[str, list[str]] = {}
    for value, name in zip(theirs.to_pylist(), names.to_pylist(), strict=True):
        if value in mine:
            found[value] = sorted([*found.get(value, []), name])[:MOST]
    same: Row = {"reason": reason, "variant": NAMES[0], "distance": 0.0}
    return [
        (place, same | {"name": name})
        for value, shown in found.items()
        for name in shown
        for place in mine[value]
    ]


def _sound(part: pa.Table) -> pa.Table:
    """Rows with hashes: those that are ok."""
    ok = [status == "ok" for status in part["status"].to_pylist()]
    return part if all(ok) else part.take(places(np.flatnonzero(ok)))


def _followers(first: Places, chosen: Flags) -> dict[int, list[int]]:
    """Chosen places by the first one they are like."""
    found: dict[int, list[int]] = {}
    for place in np.flatnonzero(chosen).tolist():
        found.setdefault(int(first[place]), []).append(place)
    return found


def _alike(
    ours: Pictures, part: pa.Table, settings: Settings
) -> Iterator[tuple[int, Row]]:
    """Places of ours, each with what of the part is the same picture."""
    contrast = numbers(part["texture"]) >= settings.min_texture
    first = Thumbs.read(part["thumb"]).firsts()
    compared = np.flatnonzero(contrast & (first == np.arange(len(first))))
    names = part["name"].to_pylist()
    shown = {
        place: sorted(names[one] for one in alike)[:MOST]
        for place, alike in _followers(first, contrast).items()
    }
    theirs = Pictures.of(part, compared)
    search = Search(ours, theirs, review_radius=settings.review_radius)
    open_ = np.ones(len(theirs), bool)
    for rows in blocks(search.counts(), np.ones(len(ours), bool)):
        edges = search.edges(rows, open_)
        same, _ = judge(edges, np.full(len(edges), -np.inf), settings)
        edges = edges.where(same).once()
        for edge, place in enumerate(edges.a.tolist()):
            found: Row = {
                "reason": "perceptual",
                "variant": NAMES[edges.variant[edge]],
                "distance": float(edges.distance[edge]),
            }
            for name in shown[int(compared[edges.b[edge]])]:
                yield place, found | {"name": name}


def _rank(row: Row) -> tuple[int, float, str]:
    return _SURE[str(row["reason"])], float(str(row["distance"])), str(row["name"])


def _surest(ids: list[str], chosen: dict[tuple[int, str], Row], name: str) -> list[Row]:
    of_each: dict[int, list[Row]] = {}
    for (place, _), row in chosen.items():
        of_each.setdefault(place, []).append(row)
    return [
        {"photo_id": ids[place], "set": name, "dropped": False} | row
        for place in sorted(of_each, key=lambda place: ids[place])
        for row in sorted(of_each[place], key=_rank)[:MOST]
    ]
