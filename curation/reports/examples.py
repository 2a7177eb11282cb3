"""Photos of both groups, class by class."""

from dataclasses import dataclass

import polars as pl

from curation.reports import cards
from curation.reports.album import Album
from curation.reports.cards import Card
from curation.reports.drops import ClassDrop, Drops
from curation.reports.facts import Facts

PICTURES = 120
"""About so many photos are shown over all classes and both groups."""


@dataclass(frozen=True, slots=True)
class Side:
    """Photos of one class in one group; `total` counts those not shown too."""

    group: str
    background: str
    total: int
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """One class: its drop, and photos of both groups."""

    drop: ClassDrop
    common: Side
    counter: Side


def per_class(facts: Facts, drops: Drops, album: Album) -> list[Example]:
    """Photos of every kept class, drawn by their hash rather than chosen."""
    kept = drops.kept
    each = max(1, min(4, PICTURES // (2 * max(1, len(kept)))))
    return [
        Example(
            drop=drop,
            common=_side(facts, drop.name, "common", album=album, each=each),
            counter=_side(facts, drop.name, "counter", album=album, each=each),
        )
        for drop in kept
    ]


def _side(facts: Facts, name: str, group: str, *, album: Album, each: int) -> Side:
    chosen = (
        facts.frame("groups")
        .filter(pl.col("class") == name, pl.col("group") == group)
        .sort("photo_id")
    )
    ids = chosen.head(each).get_column("photo_id").to_list()
    backgrounds = chosen.get_column("background").unique().drop_nulls().sort().to_list()
    return Side(
        group=group,
        background=", ".join(backgrounds),
        total=chosen.height,
        cards=tuple(cards.make(facts, album, ids, side=260)),
    )


def pair(facts: Facts, drops: Drops, album: Album) -> tuple[Card, Card] | None:
    """For the top of the page: a common photo recognised, a counter photo not.

    Of the class whose cross-fitted drop is largest; None where there is no such pair.
    """
    model = next(iter(drops.models), "")
    said = (
        facts.frame("predictions")
        .filter(pl.col("model") == model, pl.col("status") == "ok")
        .join(facts.frame("groups").select("photo_id", "group"), on="photo_id")
        .sort("photo_id")
    )
    for drop in drops.kept:
        mine = said.filter(pl.col("class") == drop.name)
        right = mine.filter(pl.col("group") == "common", pl.col("correct"))
        wrong = mine.filter(pl.col("group") == "counter", ~pl.col("correct"))
        if right.height and wrong.height:
            ids = [frame.item(0, "photo_id") for frame in (right, wrong)]
            made = cards.make(facts, album, ids, side=560)
            return (made[0], made[1]) if len(made) == 2 else None
    return None
