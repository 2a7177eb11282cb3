"""Which photos become tasks, and what stands in a task."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from curation.errors import InputError
from curation.labelling import Kind, gold, interface
from curation.pipeline import Route
from curation.stages.dedup import merged
from curation.takedowns import Takedowns

QUESTION, CALIBRATION, GOLD, ADJUDICATION = (
    "question", "calibration", "gold", "adjudication",
)  # fmt: skip
"""What a task is for: `use` in `label_tasks`; nothing on the server tells."""

ASKED_OF_ALL = (CALIBRATION, GOLD)

NONE = "none"
"""Proposed background where the proposal abstained."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A photo that is to be asked.

    Attributes:
        photo_id: the photo.
        use: what for.
        said: what others answered, for an adjudicator.
    """

    photo_id: str
    use: str
    said: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a push has to do.

    Attributes:
        asks: photos without a task, in the order annotators meet them.
        widened: photos with a task that everybody is to be asked from now on.
        notices: what a person should know.
    """

    asks: list[Ask]
    widened: list[Ask]
    notices: list[str]


def wanted(route: Route, *, kind: Kind, have: Mapping[str, str]) -> Wanted:
    """Photos to ask about, beyond those that have a task.

    Args:
        route: its table `tasks` must be there.
        kind: of the campaign.
        have: `use` of each photo that has a task.

    Raises:
        InputError: the route has not run so far; or the gold file is invalid.
    """
    if route.done("tasks") is None:
        message = (
            "there are no questions yet for this dataset.toml; "
            "run `counterset run --until tasks` first"
        )
        raise InputError(message)
    if kind == "adjudication":
        return Wanted(_disputed(route, have), [], [])
    notices = []
    if dict(route.done("tasks").inputs) != route.inputs("tasks"):  # type: ignore[union-attr]
        notices.append(
            "the order of questions is older than the latest answers or photos; "
            "`counterset run --until tasks` makes it anew"
        )
    photos = kept(route)
    golden = list(dict.fromkeys(photo for photo, _ in gold.read(route)))
    lost = [photo for photo in golden if photo not in photos]
    if lost:
        notices.append(
            f"{len(lost)} gold photos are not asked: they were merged, taken down or "
            f"cannot be read ({_some(lost)})"
        )
    golden = [photo for photo in golden if photo in photos]
    calibrating, short = _calibration(route, photos, have, golden)
    if short:
        notices.append(
            f"labels.calibration asks for {short} more photos than there are to take"
        )
    special = {*golden, *calibrating}
    questions = [
        photo
        for photo in dict.fromkeys(route.table("tasks").column("photo_id").to_pylist())
        if photo in photos and photo not in have and photo not in special
    ]
    asks = [Ask(photo, CALIBRATION) for photo in calibrating if photo not in have]
    asks += spread(
        [Ask(photo, QUESTION) for photo in questions],
        [Ask(photo, GOLD) for photo in golden if photo not in have],
    )
    widened = [
        Ask(photo, use)
        for use, photos_ in ((CALIBRATION, calibrating), (GOLD, golden))
        for photo in photos_
        if have.get(photo) == QUESTION
    ]
    return Wanted(asks, widened, notices)


def kept(route: Route) -> dict[str, str]:
    """Class of each kept photo: it decodes, was not taken down and not merged."""
    gone = set(merged(route.table("duplicates")))
    gone |= Takedowns(route.shelf).photos
    return {
        row["photo_id"]: row["class"]
        for row in route.whole("photos").select(["photo_id", "class"]).to_pylist()
        if row["photo_id"] not in gone
    }


def _disputed(route: Route, have: Collection[str]) -> list[Ask]:
    """Photos that people disagree on, in the order of the queue."""
    from curation.labelling import adjudication

    photos = kept(route)
    return [
        Ask(question.photo_id, ADJUDICATION, question.said)
        for question in adjudication.queue(route)
        if question.photo_id in photos and question.photo_id not in have
    ]


def _calibration(
    route: Route,
    photos: Mapping[str, str],
    have: Mapping[str, str],
    golden: Sequence[str],
) -> tuple[list[str], int]:
    """Photos that calibrate from now on, and how many are lacking."""
    there = [photo for photo, use in have.items() if use == CALIBRATION]
    short = max(0, route.config.labels.calibration - len(there))
    left = {
        photo: class_
        for photo, class_ in photos.items()
        if photo not in golden and have.get(photo) in (None, QUESTION)
    }
    chosen = over_classes(left, short, begun=[photos.get(photo) for photo in there])
    return chosen, short - len(chosen)


def over_classes(
    photos: Mapping[str, str], count: int, *, begun: Iterable[str | None] = ()
) -> list[str]:
    """Choose photos spread over classes, the same ones every time.

    Args:
        photos: class by photo_id, which is a hash: their order is as good as drawn.
        count: how many are wanted.
        begun: classes of those that were chosen before.

    Example:
        >>> over_classes({"a": "bear", "b": "bear", "c": "dog"}, 2)
        ['a', 'c']
    """
    rows: dict[str, list[str]] = defaultdict(list)
    for photo in sorted(photos, reverse=True):
        rows[photos[photo]].append(photo)
    taken = dict.fromkeys(sorted(rows), 0)
    for class_ in begun:
        if class_ in taken:
            taken[class_] += 1
    chosen: list[str] = []
    while len(chosen) < count and any(rows.values()):
        class_ = min((c for c in taken if rows[c]), key=lambda c: (taken[c], c))
        chosen.append(rows[class_].pop())
        taken[class_] += 1
    return chosen


def spread(questions: Sequence[Ask], golden: Sequence[Ask]) -> list[Ask]:
    """Questions in their order, with gold ones at even distances among them."""
    total = len(questions) + len(golden)
    places = {int((i + 0.5) * total / len(golden)) for i in range(len(golden))}
    ordinary, known = iter(questions), iter(golden)
    return [next(known if place in places else ordinary) for place in range(total)]


def _some(photos: Sequence[str], count: int = 3) -> str:
    """The beginnings of a few photo_ids."""
    shown = ", ".join(photo[:12] for photo in photos[:count])
    return shown + (", …" if len(photos) > count else "")


# what stands in a task ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Facts:
    """What a task tells of a photo.

    Attributes:
        class_: name of its class.
        attribution: whom it is credited to, and the licence.
        proposal: background proposed; None where hidden or abstained.
        probability: of the proposal.
    """

    class_: str
    attribution: str
    proposal: str | None
    probability: float


def facts(
    route: Route, photos: Collection[str], *, proposals: bool
) -> dict[str, Facts]:
    """What tasks tell of photos.

    Args:
        route: the route.
        photos: photo_ids.
        proposals: whether they are shown.
    """
    needed = pl.Series(list(photos), dtype=pl.String)
    rows = pl.DataFrame(
        pl.from_arrow(
            route.table("photos").select(["photo_id", "class", "candidate_id"])
        )
    ).filter(pl.col("photo_id").is_in(needed.implode()))
    credits_ = _credits(route, rows["candidate_id"])
    found = _proposals(route, needed) if proposals else {}
    return {
        photo: Facts(class_, credits_[record], *found.get(photo, (None, 0.0)))
        for photo, class_, record in rows.iter_rows()
    }


def _credits(route: Route, records: pl.Series) -> dict[str, str]:
    columns = ("candidate_id", "attribution", "author", "licence", "licence_text")
    lines = {}
    for batch in route.batches("candidates", columns):
        rows = batch.filter(pl.col("candidate_id").is_in(records.implode()))
        for row in rows.iter_rows(named=True):
            lines[row["candidate_id"]] = credit(row)
    return lines


def credit(record: Mapping[str, Any]) -> str:
    """Whom a photo is credited to, and under which licence, in one line.

    Example:
        >>> credit({"author": "A. Author", "licence": "CC-BY-4.0"})
        'A. Author, CC-BY-4.0'
    """
    if record.get("attribution"):
        return " ".join(str(record["attribution"]).split())
    licence = record.get("licence") or record.get("licence_text") or "no licence stated"
    return " ".join(f"{record.get('author') or 'author unknown'}, {licence}".split())


def _proposals(route: Route, photos: pl.Series) -> dict[str, tuple[str | None, float]]:
    columns = ("photo_id", "background", "probability", "abstained")
    found: dict[str, tuple[str | None, float]] = {}
    for batch in route.batches("proposals", columns):
        rows = batch.filter(
            pl.col("photo_id").is_in(photos.implode()) & ~pl.col("abstained")
        )
        for photo, background, probability, _ in rows.iter_rows():
            found[photo] = background, probability
    return found


def task(
    ask: Ask, facts: Facts, image: str, *, kind: Kind, blind: bool, version: str
) -> dict[str, Any]:
    """A task as the server takes it.

    Args:
        ask: the photo and what it is asked for, which the task does not tell.
        facts: what it tells of the photo.
        image: where the picture is, as the server knows it.
        kind: of the campaign.
        blind: nothing of the proposal is in it.
        version: what the server calls the maker of the proposals.
    """
    data = {
        interface.IMAGE: image,
        interface.KEY: ask.photo_id,
        "class_name": facts.class_,
        "attribution": facts.attribution,
    }
    if kind == "adjudication":
        data[interface.SAID] = ask.said
    if kind == "adjudication" or blind:
        return {"data": data}
    data[interface.PROPOSED] = facts.proposal or NONE
    data[interface.SCORE] = f"{facts.probability:.2f}" if facts.proposal else ""
    if facts.proposal is None:
        return {"data": data}
    chosen = {
        "from_name": interface.BACKGROUND,
        "to_name": interface.IMAGE,
        "type": "choices",
        "value": {"choices": [facts.proposal]},
    }
    prediction = {
        "model_version": version,
        "score": facts.probability,
        "result": [chosen],
    }
    return {"data": data, "predictions": [prediction]}
