"""What is known of a photo, beside its picture."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from curation.reports.album import Album, Picture
from curation.reports.facts import SIMULATED, Facts, demonstration, number

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """What a model says of a photo; `probability` is 0-100."""

    model: str
    predicted: str
    probability: float | None
    correct: bool
    demo: bool


@dataclass(frozen=True, slots=True)
class Credit:
    """Whom a photo is owed to; `url` only when it is an ordinary web address."""

    author: str
    licence: str
    url: str
    source: str
    title: str
    note: str


@dataclass(frozen=True, slots=True)
class Card:
    """One photo as the page shows it.

    Attributes:
        photo_id: its key.
        picture: small picture.
        alt: what it shows, in words.
        name: class it is filed under.
        composed: put together from several pictures.
        proposal: background proposed, "" where there is none.
        probability: its calibrated probability, 0-100.
        margin: points to the second proposal.
        second: second proposal.
        abstained: the proposal was not made, for want of confidence.
        label: the people's verdict on the background, "" while open.
        label_status: resolved, adjudicated, tie, too_few, or "".
        agreement: share of answers equal to the verdict, 0-100.
        answers: answers counted.
        simulated: the answers are a program's.
        said: predictions, models in the tables' order.
        credit: author, licence and source.
        size: width and height of the photo itself, pixels.
    """

    photo_id: str
    picture: Picture
    alt: str
    name: str
    composed: bool
    proposal: str
    probability: float | None
    margin: float | None
    second: str
    abstained: bool
    label: str
    label_status: str
    agreement: float | None
    answers: int
    simulated: bool
    said: tuple[Said, ...]
    credit: Credit
    size: tuple[int, int]


def web_address(text: object) -> str:
    """The address if a browser may be sent there, else "".

    Example:
        >>> web_address("javascript:alert(1)"), web_address("https://example.org/a")
        ('', 'https://example.org/a')
    """
    if not isinstance(text, str):
        return ""
    try:
        parts = urlsplit(text.strip())
    except ValueError:
        return ""
    return text.strip() if parts.scheme in ("http", "https") and parts.netloc else ""


def make(
    facts: Facts, album: Album, photo_ids: Iterable[str], *, side: int = 320
) -> list[Card]:
    """Cards of these photos, in this order; unknown ids are left out."""
    ids = list(dict.fromkeys(photo_ids))
    rows = {name: _rows(facts.frame(name), ids) for name in ("photos", "proposals")}
    background = facts.frame("labels").filter(pl.col("question") == "background")
    labels = _rows(background, ids)
    said = _said(facts, ids)
    records = credits_of(facts, ids)
    found = [photo_id for photo_id in ids if photo_id in rows["photos"]]
    return [
        _card(
            rows["photos"][photo_id],
            album.picture(photo_id, side=side),
            proposal=rows["proposals"].get(photo_id, {}),
            label=labels.get(photo_id, {}),
            said=said.get(photo_id, ()),
            credit=records[photo_id],
        )
        for photo_id in found
    ]


def credits_of(facts: Facts, ids: list[str]) -> dict[str, Credit]:
    """Credits of photos, by photo_id."""
    photos = facts.frame("photos").filter(pl.col("photo_id").is_in(ids))
    joined = photos.select("photo_id", "candidate_id").join(
        facts.frame("candidates"), on="candidate_id", how="left"
    )
    return {row["photo_id"]: _credit(row) for row in joined.iter_rows(named=True)}


def _credit(row: Row) -> Credit:
    return Credit(
        author=row["author"] or "author not stated",
        licence=row["licence"] or "licence not stated",
        url=web_address(row["source_url"]),
        source=row["source_url"] or "",
        title=row["title"] or row["key"] or "",
        note=row["note"] or "",
    )


def _rows(frame: pl.DataFrame, ids: list[str]) -> dict[str, Row]:
    chosen = frame.filter(pl.col("photo_id").is_in(ids))
    return {row["photo_id"]: row for row in chosen.iter_rows(named=True)}


def _said(facts: Facts, ids: list[str]) -> dict[str, tuple[Said, ...]]:
    chosen = facts.frame("predictions").filter(
        pl.col("photo_id").is_in(ids), pl.col("status") == "ok"
    )
    place = {name: at for at, name in enumerate(facts.discovery)}
    found: dict[str, list[Said]] = {}
    for row in chosen.iter_rows(named=True):
        found.setdefault(row["photo_id"], []).append(
            Said(
                model=row["model"],
                predicted=row["predicted"] or "",
                probability=percent(row["probability"]),
                correct=bool(row["correct"]),
                demo=demonstration(row["model"]),
            )
        )
    # the discovery model first, the others by name
    return {
        photo_id: tuple(sorted(said, key=lambda s: (place.get(s.model, 99), s.model)))
        for photo_id, said in found.items()
    }


def percent(value: object) -> float | None:
    """A fraction as percents."""
    plain = number(value)
    return None if plain is None else 100 * plain


def _card(
    photo: Row,
    picture: Picture,
    *,
    proposal: Row,
    label: Row,
    said: tuple[Said, ...],
    credit: Credit,
) -> Card:
    verdict = label.get("verdict") or ""
    annotators = label.get("annotators") or []
    where = verdict or ("" if proposal.get("abstained") else proposal.get("background"))
    kind = "Composed photo" if photo["composed"] else "Photo"
    alt = f"{kind} filed under {photo['class']}"
    if where and where != "cannot_tell":
        alt += f", background {where}" + ("" if verdict else " (proposed)")
    return Card(
        photo_id=photo["photo_id"],
        picture=picture,
        alt=alt,
        name=photo["class"],
        composed=photo["composed"],
        proposal=proposal.get("background") or "",
        probability=percent(proposal.get("probability")),
        margin=percent(proposal.get("margin")),
        second=proposal.get("second") or "",
        abstained=bool(proposal.get("abstained")),
        label=verdict,
        label_status=label.get("status") or "",
        agreement=percent(label.get("agreement")),
        answers=label.get("n_answers") or 0,
        simulated=bool(annotators)
        and all(SIMULATED.match(name) for name in annotators),
        said=said,
        credit=credit,
        size=(photo["width"], photo["height"]),
    )
