"""Reasons why a release may not be published, whatever the Hub holds."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import InputError
from curation.pipeline import Route
from curation.provenance import recipes
from curation.publish.files import configurations
from curation.release import card, verify
from curation.release.contents import judge, standing
from curation.release.write import LICENCES, PROVENANCE
from curation.selection import Licences
from curation.takedowns import Takedowns

_RUN = "run `counterset run`, then publish again"


def reasons(route: Route, folder: Path) -> Iterator[str]:
    """Everything against it, each in a sentence with what to do.

    Args:
        route: the route the release is of.
        folder: the release.
    """
    if wrong := verify(folder):
        yield f"{_some(wrong)} of the release missing or changed: {_RUN}"
    yield from _stale(route, folder)
    yield from _splits(folder)
    yield from _photos(route, folder)
    if wrong := _card(folder):
        yield f"the card does not state what the release holds: {_some(wrong)}: {_RUN}"


def _stale(route: Route, folder: Path) -> Iterator[str]:
    """Whether the tables or dataset.toml say otherwise by now."""
    states = {line["stage"]: line["state"] for line in route.status()}
    try:
        text = (folder / PROVENANCE).read_text(encoding="utf-8")
        made_by: Any = json.loads(text).get("recipes")
    except (OSError, ValueError):
        made_by = None
    if states["release"] != "done" or made_by != recipes(route):
        yield f"the release is older than dataset.toml or the tables: {_RUN}"


def _splits(folder: Path) -> Iterator[str]:
    found = configurations(folder)
    if not found:
        yield f"README.md names no configuration to load: {_RUN}"
    for config, split, globs in found:
        paths = [path for glob in globs for path in folder.glob(glob)]
        try:
            rows = sum(pq.ParquetFile(path).metadata.num_rows for path in paths)
        except (OSError, pa.ArrowException) as error:
            yield f"split {split} of {config} cannot be read ({error}): {_RUN}"
            continue
        if not rows:
            yield (
                f"split {split} of configuration {config} is empty: label more photos, "
                "or let in more licences (release.licences)"
            )


def _photos(route: Route, folder: Path) -> Iterator[str]:
    """Photos taken down, or whose licence does not let them be published."""
    stated = _stated(folder)
    if stated is None:
        yield f"{LICENCES} cannot be read: {_RUN}"
        return
    taken = sorted(set(stated) & Takedowns(route.shelf).photos)
    if taken:
        yield f"taken down, but in the release: {_some(taken)}: {_RUN}"
    against: dict[str, str] = {}
    known = _known(route, set(stated))
    for photo_id, licence in stated.items():
        reason = _against(route, licence, known.get(photo_id))
        if reason and photo_id not in taken:
            against[photo_id] = reason
    for reason, count in sorted(Counter(against.values()).items()):
        photos = [photo for photo, why in against.items() if why == reason]
        yield f"{count} photos ({_some(photos)}): {reason}: {_RUN}"


def _stated(folder: Path) -> dict[str, str] | None:
    """Licence by photo_id, of every photo in the release and in LICENSES.csv."""
    try:
        with (folder / LICENCES).open(encoding="utf-8", newline="") as file:
            rows = {row["photo_id"]: row["licence"] for row in csv.DictReader(file)}
        for path in sorted(folder.glob("data/*.parquet")):
            ids = pq.ParquetFile(path).read(["photo_id"]).column("photo_id")
            for photo_id in ids.to_pylist():
                rows.setdefault(photo_id, "")
    except (OSError, KeyError, csv.Error, pa.ArrowException):
        return None
    return rows


def _known(route: Route, photos: set[str]) -> dict[str, dict[str, Any]]:
    """What the tables say of each photo's licence now."""
    wanted = pl.DataFrame({"photo_id": sorted(photos)}, {"photo_id": pl.String})
    table = pl.DataFrame(pl.from_arrow(route.whole("photos")))
    mine = table.select("photo_id", "candidate_id").join(wanted, on="photo_id")
    columns = ["candidate_id", "licence", "licence_text"]
    parts = [
        batch.join(mine, on="candidate_id")
        for batch in route.batches("candidates", columns)
    ]
    if not parts:
        return {}
    log = pl.DataFrame(pl.from_arrow(route.table("rechecks")))
    said = standing(log).select(
        "candidate_id", "state", then="licence", then_text="licence_text"
    )
    rows = pl.concat(parts).join(said, on="candidate_id", how="left")
    return {row["photo_id"]: row for row in rows.iter_rows(named=True)}


def _against(route: Route, stated: str, row: Mapping[str, Any] | None) -> str | None:
    """Why a photo's licence does not let it be published now."""
    allowed = route.config.release.licences
    if not stated:
        return f"{LICENCES} states no licence"
    if row is None:
        return "the tables do not know it"
    name, reason = judge(row["licence"], row["licence_text"], allowed)
    if reason:
        return reason
    if name != stated:
        return f"{LICENCES} says {stated}, the tables say {name}"
    if row["state"] == "gone":
        return "its source does not offer it any more"
    if row["state"] == "there":
        _, reason = judge(row["then"], row["then_text"], allowed)
        reason = reason or Licences(route.config.collect.licences).refusal(
            row["then"], row["then_text"]
        )
        if reason:
            return f"its source changed the licence: {reason}"
    return None


def _card(folder: Path) -> list[str]:
    """What the card states wrongly."""
    try:
        return list(card.check(folder))
    except (InputError, OSError, ValueError) as error:
        return [str(error)]


def _some(names: list[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
