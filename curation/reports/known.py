"""A demonstration knows the truth: what was planted, and whether it was found."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from curation.reports import review
from curation.reports.drops import SIGNIFICANT, ClassDrop, Drops
from curation.reports.facts import Facts
from curation.reports.scores import Score, proportion
from curation.reports.wording import num


@dataclass(frozen=True, slots=True)
class Check:
    """One claim and how it came out; `yes` is None for what is only told."""

    claim: str
    yes: bool | None
    detail: str = ""


def planted(facts: Facts) -> dict[str, str]:
    """The background planted for each class; empty when nothing is known."""
    truth = facts.truth.get("planted")
    if isinstance(truth, Mapping):
        return {str(name): _background(value) for name, value in truth.items()}
    if isinstance(truth, list):
        rows = [row for row in truth if isinstance(row, Mapping)]
        return {str(row["class"]): str(row["background"]) for row in rows}
    return {}


def _background(value: object) -> str:
    return str(value.get("background", "") if isinstance(value, Mapping) else value)


def check(
    facts: Facts, drops: Drops, scores: Sequence[Score], *, n_failed: int
) -> list[Check]:
    """Whether discovery, models and screening did what the planted truth asks for.

    Args:
        facts: what the report is about; its `truth` may lack any part. `planted`:
            background by class. `duplicates`, `wrong`, `blurred` and `corrupt`: lists
            of files, as the source names them, or of objects with `file` or `photo_id`.
        drops: the evidence.
        scores: results of models.
        n_failed: files recorded as failed.

    Returns: one check per thing that is known, none for real work.
    """
    if not facts.truth:
        return []
    found: list[Check] = []
    if where := planted(facts):
        found += _discovery(drops, where)
        found += _models(facts, drops, scores)
    found += _duplicates(facts)
    found += _screened(facts, "wrong", "label_noise", "filed under a wrong class")
    found += _screened(facts, "blurred", "clarity", "blurred on purpose")
    if corrupt := list(_entries(facts, "corrupt")):
        claim = f"{n_failed} files failed; {len(corrupt)} were corrupted on purpose."
        found.append(Check(claim, n_failed >= len(corrupt)))
    return found


def _discovery(drops: Drops, where: Mapping[str, str]) -> list[Check]:
    tested = {row.name: row for row in drops.classes}
    mine = [tested[name] for name in where if name in tested]
    found = [row for row in mine if row.kept and row.significant]
    named = [row for row in mine if row.common == row.planted]
    rest = [row for row in drops.tested if row.name not in where]
    alarms = [row for row in rest if row.significant]
    return [
        Check(
            f"{len(found)} of {len(where)} planted classes are kept with q ≤ "
            f"{SIGNIFICANT}.",
            len(found) == len(where),
            _missed("Missed", [n for n in where if n not in _names(found)]),
        ),
        Check(
            f"For {len(named)} of {len(where)} the planted background comes out as "
            "the common one.",
            len(named) == len(where),
            _missed("Others", [_told(row) for row in mine if row not in named]),
        ),
        Check(
            f"{len(alarms)} of {len(rest)} classes with nothing planted pass the test.",
            not alarms,
            _missed("False alarms", _names(alarms)) or _left_alone(rest),
        ),
    ]


def _names(rows: Iterable[ClassDrop]) -> list[str]:
    return [row.name for row in rows]


def _told(row: ClassDrop) -> str:
    return f"{row.name}: {row.common or 'none'} for {row.planted}"


def _missed(lead: str, names: Sequence[str]) -> str:
    return f"{lead}: {', '.join(names)}." if names else ""


def _left_alone(rest: Sequence[ClassDrop]) -> str:
    """The two estimates over the classes without a planted background."""
    naive = [row.naive.value for row in rest if row.naive.value is not None]
    cross = [row.cross.value for row in rest if row.cross.value is not None]
    if not naive or not cross:
        return ""
    return (
        f"Their mean naive drop is {num(sum(naive) / len(naive))} points, the "
        f"cross-fitted one {num(sum(cross) / len(cross))}; the truth is about 0."
    )


def _models(facts: Facts, drops: Drops, scores: Sequence[Score]) -> list[Check]:
    """Models without the planted correlation must show little drop on the groups."""
    small = facts.config.group.min_drop_points
    whole = drops.overall.cross.value if drops.overall else None
    limit = max(small, 0.25 * whole if whole else 0.0)
    meant = f"Little means at most {num(limit)} points: the rule's {num(small)}"
    if whole:
        meant += (
            ", or a quarter of the discovery model's cross-fitted drop of "
            f"{num(whole)}, whichever is more"
        )
    checks = []
    for score in scores:
        if score.standing == "discovery" or score.drop.value is None:
            continue
        interval = (
            f" [{num(score.drop.low)}, {num(score.drop.high)}]"
            if score.drop.bounded
            else ""
        )
        claim = (
            f"{score.model}, trained without the planted correlation, drops by "
            f"{num(score.drop.value)} points{interval} on the same groups: little."
        )
        checks.append(Check(claim, abs(score.drop.value) <= limit, f"{meant}."))
    return checks


def _entries(facts: Facts, key: str) -> Iterable[Mapping[str, object]]:
    """Rows of one list of the truth; a plain name counts as a file."""
    rows = facts.truth.get(key)
    for row in rows if isinstance(rows, list) else []:
        yield row if isinstance(row, Mapping) else {"file": row}


def _photo_ids(facts: Facts, key: str) -> list[str]:
    """Photos of a list of the truth that arrived, known by photo_id or by file."""
    keys = (
        facts.frame("photos")
        .select("photo_id", "candidate_id")
        .join(
            facts.frame("candidates").select("candidate_id", "key"), on="candidate_id"
        )
    )
    by_file = dict(keys.select("key", "photo_id").iter_rows())
    known = set(keys.get_column("photo_id").to_list())
    found = []
    for row in _entries(facts, key):
        for name in (row.get("photo_id"), row.get("file")):
            photo_id = name if name in known else by_file.get(name)
            if isinstance(photo_id, str):
                found.append(photo_id)
                break
    return list(dict.fromkeys(found))


def _duplicates(facts: Facts) -> list[Check]:
    ids = _photo_ids(facts, "duplicates")
    if not ids:
        return []
    merged = review.merges(facts)
    # of a planted pair either may be kept: the policy, not the planting, decides
    touched = {*merged.get_column("photo_id"), *merged.get_column("keeper")}
    share = proportion(sum(i in touched for i in ids), len(ids))
    places = dict(
        facts.frame("photos").select("photo_id", "observation_id").iter_rows()
    )
    others = merged.filter(
        ~pl.col("photo_id").is_in(ids), ~pl.col("keeper").is_in(ids)
    ).select("photo_id", "keeper")
    alike = [places.get(one) == places.get(other) for one, other in others.iter_rows()]
    extra = alike.count(False)
    near = alike.count(True)
    return [
        Check(
            f"{sum(i in touched for i in ids)} of {len(ids)} planted duplicates were "
            f"merged ({num(share.value, 0)} %, {num(share.low, 0)} to "
            f"{num(share.high, 0)}).",
            len(ids) == sum(i in touched for i in ids),
        ),
        Check(
            f"{extra} merges join different scenes nothing was planted in.",
            extra == 0,
            f"{near} more join composites of one animal on one background picture, "
            "put in nearly the same place: near copies that nobody planned."
            if near
            else "",
        ),
    ]


def _screened(facts: Facts, key: str, criterion: str, what: str) -> list[Check]:
    """Planted faults among the worst scores: as many looked at as were planted."""
    ids = set(_photo_ids(facts, key))
    flags = facts.frame("flags")
    ids &= set(flags.get_column("photo_id").to_list())
    if not ids:
        return []
    worst = flags.sort(criterion, "photo_id", descending=[True, False])
    first = worst.head(len(ids)).get_column("photo_id").to_list()
    twice = worst.head(2 * len(ids)).get_column("photo_id").to_list()
    hits = sum(i in ids for i in first)
    named = criterion.replace("_", " ")
    return [
        Check(
            f"Of the {len(ids)} photos worst in {named}, {hits} were {what}; of the "
            f"{2 * len(ids)} worst, {sum(i in ids for i in twice)} of {len(ids)}.",
            2 * sum(i in ids for i in twice) >= len(ids),
            "Holds when reviewing twice as many as were planted finds half of them.",
        )
    ]
