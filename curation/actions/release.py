"""release: everything → release/, a folder that `datasets.load_dataset` opens."""

import hashlib
import json
from typing import Any

from curation.config import Dataset
from curation.errors import InputError
from curation.pipeline import Route, Skip
from curation.provenance import provenance, recipes

VERSION = 3
OUTPUT: str | None = None
INPUTS = (
    "candidates", "photos", "duplicates", "leaks", "proposals", "label_events",
    "labels", "evidence", "groups", "rechecks", "takedowns",
)  # fmt: skip


def settings(config: Dataset) -> dict[str, Any]:
    """What card and provenance state, and the card's own text."""
    made_by = config.model_dump(
        mode="json", exclude={"run", "evaluate", "report", "http"}
    )
    return made_by | {"text": _text(config)}


def intact(route: Route) -> bool:
    """Whether the folder holds what was written, made by the recipes of now."""
    from curation import release
    from curation.release import changelog

    folder = route.shelf.folder / "release"
    try:
        if release.verify(folder):
            return False
        stated = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        if not changelog.stands(folder, route.config.dataset.version, **_past(route)):
            return False
    except (InputError, OSError, ValueError):
        return False
    return bool(stated["recipes"] == recipes(route))


def run(route: Route) -> int:
    """Write the release; returns the photos in it.

    Raises:
        Skip: no photo is common or counter yet.
    """
    from curation import release

    groups = route.whole("groups")
    if not {"common", "counter"} <= set(groups.column("group").to_pylist()):
        raise Skip(_why(route))
    facts = release.write(
        route.shelf.folder / "release",
        config=route.config,
        # of a photo that was taken down, the log alone still knows
        tables={name: route.whole(name) for name in INPUTS if name != "takedowns"}
        | {"takedowns": route.table("takedowns")},
        read=route.shelf.read_photo,
        provenance=provenance(route),
        text=_text(route.config),
        **_past(route),
    )
    sums = (route.shelf.folder / "release" / "checksums.sha256").read_bytes()
    left_out = {"left_out": facts.excluded_reasons}
    route.shelf.remark("release", route.recipe("release"), left_out)
    route.mark("release", facts.photos, hashlib.sha256(sums).hexdigest()[:32])
    return facts.photos


def _past(route: Route) -> dict[str, Any]:
    """Versions published before this one, and the CHANGELOG so far."""
    from curation.release import changelog, versions

    return {
        "past": versions.past(route.shelf.folder, route.config.dataset.version),
        "history": changelog.history(route.config.base),
    }


def _text(config: Dataset) -> str | None:
    """The dataset's own part of the card."""
    path = config.dataset.card
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"dataset.card: {path} cannot be read ({error})"
        raise InputError(message) from error


def _why(route: Route) -> str:
    """Why there is nothing to release, and what to do."""
    labels = route.table("labels").to_pylist()
    if not any(row["question"] == "background" and row["verdict"] for row in labels):
        asked = route.table("tasks").num_rows
        return (
            f"no background is verified yet: {asked} questions wait (table tasks); "
            "answer them and run `counterset labels import FILE`"
        )
    return (
        "no class is kept: none varies by more than group.min_drop_points between "
        "backgrounds with group.min_photos photos; the report shows each"
    )
