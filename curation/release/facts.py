"""Everything a release's card states, computed from the release and its tables."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from curation import licences, schemas
from curation.config import Dataset
from curation.release.contents import SPLITS, Contents, frame
from curation.release.shards import Split
from curation.schemas import CANNOT_TELL


@dataclass(frozen=True, slots=True)
class Interval:
    """A value in points with its 95 % interval; the interval may be unknown."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """Photos of one class on one background.

    Attributes:
        accuracy: of the discovery model, 0-100, on the photos that were grouped, with
            its 95 % interval `low` to `high`.
    """

    background: str
    photos: int
    accuracy: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """One class of the release: what its two groups hold and what they rest on."""

    name: str
    imagenet_index: int | None
    common: tuple[Cell, ...]
    counter: tuple[Cell, ...]
    naive: Interval | None
    cross: Interval | None
    p_value: float | None
    q_value: float | None

    @property
    def n_common(self) -> int:
        """Photos in the common group."""
        return sum(cell.photos for cell in self.common)

    @property
    def n_counter(self) -> int:
        """Photos in the counter group."""
        return sum(cell.photos for cell in self.counter)


@dataclass(frozen=True, slots=True)
class Licence:
    """Photos under one licence, and where its text is."""

    name: str
    photos: int
    url: str | None


@dataclass(frozen=True, slots=True)
class Labelling:
    """How the backgrounds of all labelled photos were settled.

    Attributes:
        resolved: photos with a verdict; `adjudicated` of them by an adjudicator.
        ties: photos left out because answers were split.
        too_few: photos left out because too few people answered.
        cannot_tell: photos whose verdict is that the background cannot be told.
        answers: answers counted.
        annotators: different people.
        mean_agreement: share of answers equal to the verdict, 0-1, mean over photos.
        proposals_kept: verdicts equal to the proposal, where one was not abstained.
        proposals_judged: verdicts where a proposal was not abstained.
    """

    resolved: int
    adjudicated: int
    ties: int
    too_few: int
    cannot_tell: int
    answers: int
    annotators: int
    mean_agreement: float | None
    proposals_kept: int
    proposals_judged: int


@dataclass(frozen=True, slots=True)
class Other:
    """Another set the photos were compared with.

    Attributes:
        name: of its hash table's file.
        found: photos fetched that are in it, too.
        grouped: photos of config `default` that are, or are kept in place of one that
            is.
        more: the same of photos in config `all` only.
        dropped: whether such photos are kept out of the groups.
    """

    name: str
    found: int
    grouped: int
    more: int
    dropped: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What a release holds.

    Attributes:
        photos, common, counter: photos of config `default` and of each split.
        more: verified photos in neither group, published in config `all` only.
        composed: of `photos`, those put together from several pictures.
        rewritten: photos published whose bytes differ from those fetched.
        image_bytes: size of the photos published, as fetched.
        pairs: the classes, in dataset.toml's order.
        backgrounds: background → (common, counter) photos.
        found: source → records collected, `fetched` distinct photos of them.
        merged: reason → photos merged into a duplicate.
        bursts, in_bursts: bursts with several photos published, and these photos.
        others: sets the photos were compared with; empty when with none.
        labelling: None when nothing was labelled.
        proposed, abstained: photos proposed for, and of them without a proposal.
        calibrated_on: labelled photos the proposals were calibrated on.
        unused: reason → photos labelled but in neither group.
        discovery: models the groups were chosen with.
        naive, cross: mean drop over the classes kept.
        licences: of every photo published, most frequent first.
        excluded: (photo_id, reason) of grouped photos in no split.
    """

    photos: int
    common: int
    counter: int
    more: int
    composed: int
    rewritten: int
    image_bytes: int
    pairs: tuple[Pair, ...]
    backgrounds: dict[str, tuple[int, int]]
    found: dict[str, int]
    fetched: int
    merged: dict[str, int]
    bursts: int
    in_bursts: int
    others: tuple[Other, ...]
    labelling: Labelling | None
    proposed: int
    abstained: int
    calibrated_on: int
    unused: dict[str, int]
    discovery: tuple[str, ...]
    naive: Interval | None
    cross: Interval | None
    licences: tuple[Licence, ...]
    excluded: tuple[tuple[str, str], ...]

    @property
    def excluded_reasons(self) -> dict[str, int]:
        """Reason → grouped photos in no split, most frequent first."""
        return _counts(
            pl.Series([reason for _, reason in self.excluded], dtype=pl.String)
        )


def collect(
    config: Dataset,
    contents: Contents,
    tables: Mapping[str, pa.Table],
    splits: Mapping[str, Split],
) -> Facts:
    """Count what was written and what it came from.

    Args:
        config: the dataset's configuration.
        contents: what `contents.select` chose from the tables.
        tables: every table there is; of a missing one nothing is stated.
        splits: what was written, by group.
    """
    rows, every = contents.rows, contents.every
    evidence = _table(tables, "evidence")
    whole = next(_at(evidence, "dataset").iter_rows(named=True), {})
    proposals = _table(tables, "proposals")
    decided = _table(tables, "duplicates")
    duplicates = decided.filter(pl.col("decision") == "merge")
    sizes = _bursts(decided, every)
    groups = _table(tables, "groups").filter(pl.col("group") == "unused")
    unused = groups["reason"].fill_null("no reason is recorded")
    found = _table(tables, "candidates")["source"]
    return Facts(
        photos=rows.height,
        common=splits["common"].photos,
        counter=splits["counter"].photos,
        more=contents.unused.height,
        composed=int(rows["composed"].sum()),
        rewritten=sum(len(split.rewritten) for split in splits.values()),
        image_bytes=int(every["bytes"].sum()),
        pairs=_pairs(config, rows, evidence),
        backgrounds=_backgrounds(rows),
        found=_counts(found),
        fetched=_table(tables, "photos").height,
        merged=_counts(duplicates["reason"]),
        bursts=len(sizes),
        in_bursts=sum(sizes),
        others=_others(config, contents, tables),
        labelling=_labelling(tables),
        proposed=proposals.height,
        abstained=int(proposals["abstained"].sum()),
        calibrated_on=int(proposals["calibrated_on"].max() or 0),  # type: ignore[arg-type]
        unused=_counts(unused),
        discovery=tuple(whole.get("models") or ()),
        naive=_interval(whole, "naive"),
        cross=_interval(whole, "cross"),
        licences=tuple(
            Licence(name, count, licences.url(name))
            for name, count in _counts(every["licence"]).items()
        ),
        excluded=contents.excluded,
    )


def _pairs(
    config: Dataset, rows: pl.DataFrame, evidence: pl.DataFrame
) -> tuple[Pair, ...]:
    counts = rows.group_by("class", "group", "background").len().sort("background")
    accuracy = {
        (row["class"], row["background"]): [
            row[f"accuracy{end}"] for end in ("", "_low", "_high")
        ]
        for row in _at(evidence, "background").iter_rows(named=True)
    }
    by_class = {
        row["class"]: row for row in _at(evidence, "class").iter_rows(named=True)
    }
    pairs = []
    for spec in config.classes:
        mine = counts.filter(pl.col("class") == spec.name)
        if mine.is_empty():
            continue
        cells = {
            side: tuple(
                Cell(background, photos, *accuracy.get((spec.name, background), [None]))
                for background, photos in mine.filter(pl.col("group") == side)
                .select("background", "len")
                .iter_rows()
            )
            for side in SPLITS
        }
        row = by_class.get(spec.name, {})
        pairs.append(
            Pair(
                name=spec.name,
                imagenet_index=spec.imagenet_index,
                common=cells["common"],
                counter=cells["counter"],
                naive=_interval(row, "naive"),
                cross=_interval(row, "cross"),
                p_value=row.get("p_value"),
                q_value=row.get("q_value"),
            )
        )
    return tuple(pairs)


def _bursts(decided: pl.DataFrame, every: pl.DataFrame) -> list[int]:
    """Photos published of each burst of which there are several."""
    rest = decided.filter(pl.col("decision") == "burst").select("photo_id", "keeper")
    first = rest.select(photo_id="keeper", keeper="keeper").unique()
    members = pl.concat([rest, first]).join(every, on="photo_id", how="semi")
    sizes = members.group_by("keeper").len().get_column("len").to_list()
    return [size for size in sizes if size > 1]


def _others(
    config: Dataset, contents: Contents, tables: Mapping[str, pa.Table]
) -> tuple[Other, ...]:
    """What other sets have too; nothing where the table is missing."""
    if "leaks" not in tables:
        return ()
    leaks = _table(tables, "leaks")
    found = dict(leaks.group_by("set").agg(pl.col("photo_id").n_unique()).iter_rows())
    # where a copy is in the set, so is what is kept in its place
    kept = _table(tables, "duplicates").filter(pl.col("decision") == "merge")
    theirs = leaks.join(kept, on="photo_id").select("set", photo_id="keeper")
    both = pl.concat([leaks.select("set", "photo_id"), theirs]).unique()

    def published(name: str, rows: pl.DataFrame) -> int:
        mine = both.filter(pl.col("set") == name)
        return mine.join(rows, on="photo_id", how="semi").height

    return tuple(
        Other(
            name=name,
            found=found.get(name, 0),
            grouped=published(name, contents.rows),
            more=published(name, contents.unused),
            dropped=config.dedup.drop_leaks,
        )
        for name in sorted(path.stem for path in config.dedup.against)
    )


def _labelling(tables: Mapping[str, pa.Table]) -> Labelling | None:
    labels = _table(tables, "labels").filter(pl.col("question") == "background")
    if labels.is_empty():
        return None
    done = labels.filter(pl.col("verdict").is_not_null())
    proposals = _table(tables, "proposals").filter(~pl.col("abstained"))
    judged = done.join(proposals, on="photo_id")
    agreement = done["agreement"].mean()
    return Labelling(
        resolved=done.height,
        adjudicated=labels.filter(pl.col("status") == "adjudicated").height,
        ties=labels.filter(pl.col("status") == "tie").height,
        too_few=labels.filter(pl.col("status") == "too_few").height,
        cannot_tell=done.filter(pl.col("verdict") == CANNOT_TELL).height,
        answers=int(labels["n_answers"].sum()),
        annotators=labels["annotators"].explode().drop_nulls().n_unique(),
        mean_agreement=float(agreement) if isinstance(agreement, float) else None,
        proposals_kept=judged.filter(pl.col("verdict") == pl.col("background")).height,
        proposals_judged=judged.height,
    )


def _backgrounds(rows: pl.DataFrame) -> dict[str, tuple[int, int]]:
    counts = rows.group_by("background").agg(
        *((pl.col("group") == side).sum().alias(side) for side in SPLITS)
    )
    ordered = counts.sort("background").iter_rows()
    return {name: (common, counter) for name, common, counter in ordered}


def _interval(row: Mapping[str, object], name: str) -> Interval | None:
    value, low, high = (row.get(f"{name}_{end}") for end in ("drop", "low", "high"))
    if not isinstance(value, float):
        return None
    return Interval(
        value,
        low if isinstance(low, float) else None,
        high if isinstance(high, float) else None,
    )


def _table(tables: Mapping[str, pa.Table], name: str) -> pl.DataFrame:
    """A table; one without rows where it is not there."""
    return frame({name: tables.get(name, schemas.empty(name))}, name)


def _at(evidence: pl.DataFrame, level: str) -> pl.DataFrame:
    return evidence.filter(pl.col("level") == level)


def _counts(values: pl.Series) -> dict[str, int]:
    """Value → rows, most frequent first, then by name."""
    table = values.drop_nulls().alias("value").to_frame().group_by("value").len()
    ordered = table.sort(["len", "value"], descending=[True, False])
    return dict(ordered.iter_rows())
