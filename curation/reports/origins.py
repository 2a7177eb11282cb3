"""Where photos are from, and how the dataset was made."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from curation import licences
from curation.release.portable import portable
from curation.reports.cards import Credit, credits_of
from curation.reports.facts import Facts
from curation.reports.wording import num, thousands

TERMS = (
    "asks nothing", "name the author", "name the author, share alike",
    "not for commerce", "not for commerce, share alike", "no changes",
    "no changes, not for commerce", "unknown: treat as all rights reserved",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Licence:
    """Photos under one licence."""

    name: str
    terms: str
    url: str
    photos: int
    in_release: int


def licence_counts(facts: Facts) -> list[Licence]:
    """Photos per licence, the most open first."""
    photos = facts.frame("photos").select("photo_id", "candidate_id")
    used = (
        facts.frame("groups").filter(pl.col("group") != "unused").get_column("photo_id")
    )
    counts = (
        photos.join(
            facts.frame("candidates").select("candidate_id", "licence"),
            on="candidate_id",
            how="left",
        )
        .with_columns(pl.col("photo_id").is_in(used.implode()).alias("used"))
        .group_by("licence")
        .agg(pl.len().alias("n"), pl.col("used").sum().alias("released"))
    )
    rows = [
        Licence(
            name=name or "not stated",
            terms=TERMS[licences.openness(name)],
            url=licences.url(name) or "" if name else "",
            photos=n,
            in_release=released,
        )
        for name, n, released in counts.iter_rows()
    ]
    return sorted(rows, key=lambda row: (TERMS.index(row.terms), -row.photos, row.name))


@dataclass(frozen=True, slots=True)
class Shown:
    """A photo this page shows, and whom it is owed to."""

    photo_id: str
    name: str
    composed: bool
    credit: Credit


def shown(facts: Facts, photo_ids: list[str]) -> list[Shown]:
    """Credits of the photos in the page, sorted by class and title."""
    rows = facts.frame("photos").filter(pl.col("photo_id").is_in(photo_ids))
    owed = credits_of(facts, photo_ids)
    found = [
        Shown(row["photo_id"], row["class"], row["composed"], owed[row["photo_id"]])
        for row in rows.iter_rows(named=True)
    ]
    return sorted(found, key=lambda s: (s.name, s.credit.title, s.photo_id))


def composed(facts: Facts) -> tuple[int, int]:
    """How many photos are composed, and how many there are."""
    column = facts.frame("photos").get_column("composed")
    return int(column.sum()), len(column)


def settings(facts: Facts) -> str:
    """The configuration as JSON, without folders of this machine and who is asking."""
    plain = portable(facts.config.model_dump(mode="json", exclude={"http"}))
    return json.dumps(plain, indent=2, ensure_ascii=False)


def provenance(facts: Facts) -> list[tuple[str, list[tuple[str, str]]]]:
    """What the caller says of how it was made, as headed lists of key and value."""
    plain: list[tuple[str, str]] = []
    headed: list[tuple[str, list[tuple[str, str]]]] = []
    for key, value in facts.provenance.items():
        if key == "agreement":  # has a section of its own
            continue
        if key == "annotators" and isinstance(value, Mapping):
            headed.append((key, [_measure(str(k), v) for k, v in value.items()]))
        elif isinstance(value, Mapping):
            headed.append((key, [(str(k), _words(v)) for k, v in value.items()]))
        else:
            plain.append((key, _words(value)))
    return ([("", plain)] if plain else []) + headed


def _measure(name: str, found: Mapping[str, Any]) -> tuple[str, str]:
    """A measure over all annotators, see `curation.provenance.quality`."""
    told = f"{num(100 * found['share'])} % of {thousands(found['n'])} answers"
    if found["annotators"] > 1:
        ends = (f"{num(100 * found[end])} %" for end in ("lowest", "highest"))
        told += f"; single annotators {' to '.join(ends)}"
    return name.replace("_", " "), told


def _words(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(_words(part) for part in value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
