"""Which photos a release holds, what it says of each, and which it refuses."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from curation import licences
from curation.config import Dataset
from curation.errors import InputError, nearest
from curation.selection import Licences

SPLITS = ("common", "counter")
DOUBTS = ("label_noise", "ambiguity", "wrong_animal")
"""Defects that put a photo's class in doubt: it cannot be published under it."""
_NEEDED = ("candidates", "photos", "groups")


@dataclass(frozen=True, slots=True)
class Contents:
    """What goes in and what stays out.

    Attributes:
        rows: one row per photo of the two groups, sorted by photo_id. That order, not
            one by class, keeps most bytes in place when photos come or go or change
            group, and makes the first rows of a split a random draw.
        unused: the same of verified photos in neither group, with the reason.
        excluded: (photo_id, reason) of grouped photos in no split, sorted.
    """

    rows: pl.DataFrame
    unused: pl.DataFrame
    excluded: tuple[tuple[str, str], ...]

    @property
    def every(self) -> pl.DataFrame:
        """Every photo that is published, sorted by photo_id."""
        return pl.concat([self.rows, self.unused]).sort("photo_id")


def select(config: Dataset, tables: Mapping[str, pa.Table]) -> Contents:
    """Join what is known of the photos whose class and background are verified.

    Left out, with a reason: photos whose licence is missing, not recognised or not
    among `release.licences`; and photos that a recheck found gone, or under a licence
    that is not let in. Classes that this leaves with one group only are unused.

    Of the photos in neither group, those without a verdict on the background, merged
    duplicates, and photos whose class is in doubt (filed under two classes, or a defect
    among `DOUBTS`) are left out; other defects are the reason they are unused.

    Raises:
        InputError: a table or class is missing, or a split would be empty.
    """
    rows = _join(tables)
    known = [c.name for c in config.classes]
    grouped = pl.col("group").is_in(SPLITS)
    rows = rows.filter(grouped | pl.col("class").is_in(known))
    for name in sorted(set(rows["class"]) - set(known)):
        message = (
            f"release: class {name!r} has grouped photos, but dataset.toml does not "
            f"have it; {nearest(name, known)}"
        )
        raise InputError(message)
    verdicts = [
        judge(row["licence"], row["licence_text"], config.release.licences)
        for row in rows.select("licence", "licence_text").iter_rows(named=True)
    ]
    rows = rows.with_columns(
        pl.Series("licence", [name for name, _ in verdicts], pl.String),
        pl.Series("refused", [reason for _, reason in verdicts], pl.String),
    )
    rows = _rechecked(rows, config, tables)
    let_in = pl.col("refused").is_null()
    excluded = rows.filter(grouped & ~let_in).select("photo_id", "refused")
    rows = rows.filter(let_in).drop("refused", "licence_text").sort("photo_id")
    for side in SPLITS:
        reason = f"its class has no {side} photo with a usable licence"
        lonely = grouped & ~(pl.col("group") == side).any().over("class")
        excluded = excluded.vstack(
            rows.filter(lonely).select("photo_id", refused=pl.lit(reason))
        )
        rows = rows.with_columns(
            reason=pl.when(lonely).then(pl.lit(reason)).otherwise(pl.col("reason")),
            group=pl.when(lonely).then(pl.lit("unused")).otherwise(pl.col("group")),
        )
    excluded = excluded.sort("photo_id")
    if rows.filter(grouped).is_empty():
        raise InputError(_nothing_left(excluded))
    return Contents(
        rows=rows.filter(grouped),
        unused=rows.filter(~grouped),
        excluded=tuple(excluded.iter_rows()),
    )


def judge(
    licence: str | None, text: str | None, allowed: list[str]
) -> tuple[str | None, str | None]:
    """The licence's name and, where the photo must stay out, the reason.

    Args:
        licence: name the source's reader gave it.
        text: licence as the source spells it.
        allowed: `release.licences`: names such as CC-BY-4.0, CC-BY for all its
            versions, or a licence of one's own exactly as the source spells it.

    Example:
        >>> judge("CC-BY-4.0", None, ["CC-BY"])
        ('CC-BY-4.0', None)
        >>> judge(None, None, [])
        (None, 'no licence is stated')
    """
    stated = next((t for t in (licence, text) if t and t.strip()), None)
    if stated is None:
        return None, "no licence is stated"
    for own in (licence, text):
        if own is not None and own in allowed and licences.normalise(own) is None:
            return own, None
    name = licences.normalise(licence) or licences.normalise(text)
    if name is None:
        return None, f"licence is not recognised: {' '.join(stated.split())[:80]}"
    names = [licences.normalise(a) or a for a in allowed]
    if names and not any(_covers(allowed_name, name) for allowed_name in names):
        return name, f"licence is not among release.licences: {name}"
    return name, None


def _rechecked(
    rows: pl.DataFrame, config: Dataset, tables: Mapping[str, pa.Table]
) -> pl.DataFrame:
    """Rows with a reason in `refused` where the source says otherwise by now."""
    if "rechecks" not in tables:
        return rows
    allowed = Licences(config.collect.licences)
    reasons = {}
    for row in standing(frame(tables, "rechecks")).iter_rows(named=True):
        licence, text = row["licence"], row["licence_text"]
        if row["state"] == "gone":
            reasons[row["candidate_id"]] = "its source does not offer it any more"
            continue
        _, reason = judge(licence, text, config.release.licences)
        if reason := reason or allowed.refusal(licence, text):
            reasons[row["candidate_id"]] = f"its source changed the licence: {reason}"
    told = pl.DataFrame(
        {"candidate_id": list(reasons), "recheck": list(reasons.values())},
        schema={"candidate_id": pl.String, "recheck": pl.String},
    )
    return (
        rows.join(told, on="candidate_id", how="left", maintain_order="left")
        .with_columns(refused=pl.coalesce("refused", "recheck"))
        .drop("recheck")
    )


def standing(log: pl.DataFrame) -> pl.DataFrame:
    """The last word on each record of the log `rechecks`; no answer is no word."""
    said = log.filter(pl.col("state") != "unknown")
    return said.unique("candidate_id", keep="last", maintain_order=True)


def _covers(allowed: str, name: str) -> bool:
    """Whether `allowed` is the name itself, or the name without its version."""
    return name == allowed or (
        name.startswith(f"{allowed}-") and name[len(allowed) + 1].isdigit()
    )


def _join(tables: Mapping[str, pa.Table]) -> pl.DataFrame:
    for name in _NEEDED:
        if name not in tables:
            message = f"release needs table {name}; run `counterset run` up to group"
            raise InputError(message)
    grouped = _verified(tables)
    photos = frame(tables, "photos").select(
        "photo_id", "candidate_id", "observation_id", "composed", "bytes"
    )
    records = frame(tables, "candidates").select(
        "candidate_id", "licence", "licence_text", "author", "source_url", "title",
        "note",
    )  # fmt: skip
    rows = grouped.select(
        "photo_id", "class", "imagenet_index", "background", "group", "reason",
        "cluster",
    )  # fmt: skip
    rows = rows.join(photos, on="photo_id").join(records, on="candidate_id")
    if rows.height != grouped.height:
        message = (
            f"release: {grouped.height} photos are verified, but tables photos and "
            f"candidates know {rows.height} of them; `counterset check` says why"
        )
        raise InputError(message)
    if "proposals" in tables:
        proposals = frame(tables, "proposals").select(
            "photo_id",
            "abstained",
            proposal="background",
            proposal_probability="probability",
        )
        rows = rows.join(proposals, on="photo_id", how="left")
    if "labels" in tables:
        labels = frame(tables, "labels").filter(pl.col("question") == "background")
        labels = labels.select("photo_id", "agreement", annotators="n_answers")
        rows = rows.join(labels, on="photo_id", how="left")
    return rows.with_columns(
        pl.lit(None, kind).alias(name)
        for name, kind in _OPTIONAL.items()
        if name not in rows.columns
    ).with_columns(pl.col("annotators").fill_null(0))


def _verified(tables: Mapping[str, pa.Table]) -> pl.DataFrame:
    """Rows of `groups` whose class and background stand."""
    spoilt = []
    if "duplicates" in tables:
        merged = frame(tables, "duplicates").filter(pl.col("decision") == "merge")
        spoilt.append(merged["photo_id"])
    if "labels" in tables:
        doubted = pl.col("question").is_in(DOUBTS) & (pl.col("verdict") == "yes")
        spoilt.append(frame(tables, "labels").filter(doubted)["photo_id"])
    filed = pl.col("classes").list.n_unique() > 1
    spoilt.append(frame(tables, "photos").filter(filed)["photo_id"])
    unused = (
        (pl.col("group") == "unused")
        & pl.col("background").is_not_null()
        & ~pl.col("photo_id").is_in(pl.concat(spoilt).implode())
    )
    return frame(tables, "groups").filter(pl.col("group").is_in(SPLITS) | unused)


_OPTIONAL: dict[str, pl.DataType] = {
    "proposal": pl.String(),
    "proposal_probability": pl.Float64(),
    "abstained": pl.Boolean(),
    "agreement": pl.Float64(),
    "annotators": pl.Int64(),
}


def frame(tables: Mapping[str, pa.Table], name: str) -> pl.DataFrame:
    """A table as a Polars frame."""
    result = pl.from_arrow(tables[name])
    assert isinstance(result, pl.DataFrame)
    return result


def _nothing_left(excluded: pl.DataFrame) -> str:
    if excluded.is_empty():
        return (
            "release: no photo is in group common or counter, so there is nothing to "
            "publish: label more photos (`counterset labels import`), or lower "
            "group.min_photos or group.min_drop_points; `counterset show` and table "
            "evidence say why classes were not kept"
        )
    reasons = Counter(excluded["refused"].to_list()).most_common(3)
    shown = "; ".join(f"{count} × {reason}" for reason, count in reasons)
    return (
        f"release: splits common and counter are empty, all {excluded.height} grouped "
        f"photos were refused: {shown}. State the photos' licences in the source "
        "(CSV column licence, or the source's `licence`), or let them in with "
        "release.licences"
    )
