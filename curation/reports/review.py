"""What happened to the photos on their way: kept, merged, doubtful, failed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from curation.reports import cards
from curation.reports.album import Album
from curation.reports.cards import Card
from curation.reports.facts import Estimate, Facts
from curation.reports.scores import proportion
from curation.schemas import CANNOT_TELL, CRITERIA
from curation.sources import source

PAIRS = 10  # duplicate clusters shown
DOUBTFUL = 12  # photos shown whose background CLIP is least sure of
FLAGGED = 6  # photos shown per criterion
UNSAID = "no reason given"

CRITERION = {
    "label_noise": "The animal may be of another class",
    "feature_noise": "Unlike the rest of its class",
    "ambiguity": "Two classes claim it about equally",
    "clarity": "Blurred, or dark",
}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """Photos left after a step of the route."""

    name: str
    count: int
    share: float
    note: str = ""


def route(facts: Facts) -> list[Step]:
    """How many photos were left after each step, of the steps that ran."""
    steps: list[tuple[str, int, str]] = []
    if facts.has("candidates"):
        steps.append(("Records collected", facts.frame("candidates").height, ""))
    if facts.has("photos"):
        steps.append(("Distinct files", facts.frame("photos").height, ""))
    if facts.has("hashes"):
        hashes = facts.frame("hashes")
        decoded = hashes.filter(pl.col("status") == "ok").height
        steps.append(("Decoded", decoded, f"{hashes.height - decoded} could not be"))
        merged = merges(facts).height
        steps.append(("After duplicates", decoded - merged, f"{merged} merged"))
    if facts.has("labels"):
        verdicts = facts.frame("labels").filter(
            pl.col("question") == "background",
            pl.col("verdict").is_not_null(),
            pl.col("verdict") != CANNOT_TELL,
        )
        steps.append(("Background verified by people", verdicts.height, ""))
    if facts.has("groups"):
        used = facts.frame("groups").filter(pl.col("group") != "unused")
        counts = dict(used.group_by("group").len().iter_rows())
        note = ", ".join(f"{counts.get(g, 0)} {g}" for g in ("common", "counter"))
        steps.append(("In the dataset", used.height, note))
    most = max([count for _, count, _ in steps], default=0) or 1
    return [Step(name, n, 100 * n / most, note) for name, n, note in steps]


def merges(facts: Facts) -> pl.DataFrame:
    """Decisions that took a photo out."""
    return facts.frame("duplicates").filter(pl.col("decision") == "merge")


@dataclass(frozen=True, slots=True)
class Twin:
    """A photo merged into its keeper, or suggested to be."""

    card: Card
    merged: bool
    reason: str
    variant: str
    distance: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """A keeper and its duplicates, or look-alikes."""

    keeper: Card
    twins: tuple[Twin, ...]

    @property
    def kept(self) -> bool:
        """Whether something was merged into it."""
        return any(twin.merged for twin in self.twins)


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What is there twice, here or in other sets.

    Attributes:
        counts: merges and suggestions by (decision, reason, variant).
        clusters: some to look at.
        merged, suggested: photos and pairs.
        bursts: how many there are of photos of one observer and day; `in_bursts` is
            how many photos they hold.
        leaks: (name, photos, whether they are dropped) of each other set the photos
            were compared with.
    """

    counts: tuple[tuple[str, str, str, int], ...]
    clusters: tuple[Cluster, ...]
    merged: int
    suggested: int
    bursts: int
    in_bursts: int
    leaks: tuple[tuple[str, int, bool], ...]


def duplicates(facts: Facts, album: Album) -> Duplicates:
    """Duplicate clusters, of every kind of decision some."""
    decided = facts.frame("duplicates")
    together = decided.filter(pl.col("decision") == "burst")
    frame = decided.filter(pl.col("decision") != "burst").with_columns(
        pl.col("variant").fill_null("").alias("variant")
    )
    kinds = ["decision", "reason", "variant"]
    counts = frame.group_by(kinds).len().sort([*kinds])
    # in turn one of every kind, so that a common kind does not crowd out a rare one
    turn = frame.sort("keeper", "photo_id").with_columns(
        pl.int_range(pl.len()).over(kinds).alias("turn")
    )
    first = turn.sort("turn", *kinds, "keeper").get_column("keeper").to_list()
    keepers = list(dict.fromkeys(first))[:PAIRS]
    rows = frame.filter(pl.col("keeper").is_in(keepers)).sort("distance", "photo_id")
    members: dict[str, list[Row]] = {}
    for row in rows.iter_rows(named=True):
        members.setdefault(row["keeper"], []).append(row)
    ids = [i for k in keepers for i in (k, *[m["photo_id"] for m in members[k][:4]])]
    made = {card.photo_id: card for card in cards.make(facts, album, ids, side=240)}
    clusters = [_cluster(k, members[k][:4], made) for k in keepers if k in made]
    decisions = dict(frame.group_by("decision").len().iter_rows())
    return Duplicates(
        counts=tuple(counts.iter_rows()),
        clusters=tuple(cluster for cluster in clusters if cluster.twins),
        merged=decisions.get("merge", 0),
        suggested=decisions.get("suggest", 0),
        bursts=together["keeper"].n_unique(),
        in_bursts=pl.concat([together["photo_id"], together["keeper"]]).n_unique(),
        leaks=_leaks(facts),
    )


def _leaks(facts: Facts) -> tuple[tuple[str, int, bool], ...]:
    """Photos that other sets have too; empty where none was compared with."""
    if "leaks" not in facts.there:
        return ()
    section = facts.config.dedup
    found = facts.frame("leaks").group_by("set").agg(pl.col("photo_id").n_unique())
    photos = dict(found.iter_rows())
    # a set that has none of them has no row
    names = sorted({path.stem for path in section.against} | photos.keys())
    return tuple((name, photos.get(name, 0), section.drop_leaks) for name in names)


def _cluster(keeper: str, rows: Sequence[Row], made: Mapping[str, Card]) -> Cluster:
    twins = tuple(
        Twin(
            card=made[row["photo_id"]],
            merged=row["decision"] == "merge",
            reason=row["reason"],
            variant="" if row["variant"] == "identity" else row["variant"],
            distance=_distance(row["reason"], row["distance"]),
        )
        for row in rows
        if row["photo_id"] in made
    )
    return Cluster(made[keeper], twins)


def _distance(reason: str, value: float) -> str:
    if reason == "pixels":
        return "same pixels"
    if reason == "embedding":
        return f"1 − cosine {value:.3f}"
    return f"{value:.0f} of 64 bits apart"


@dataclass(frozen=True, slots=True)
class Proposed:
    """Proposals of one background: made, abstained, and right where people said."""

    background: str
    made: int
    abstained: int
    right: Estimate


@dataclass(frozen=True, slots=True)
class Proposals:
    """How sure the proposing model was.

    Attributes:
        total: photos with a proposal row.
        abstained: those below the stated confidence.
        right: share of proposals made that people's verdicts confirm.
        right_abstained: the same of those not made.
        temperature: of the softmax.
        calibrated_on: labelled photos it was fitted on.
        rows: per background, as proposed.
        doubtful: photos with the smallest margin.
    """

    total: int
    abstained: int
    right: Estimate
    right_abstained: Estimate
    temperature: float | None
    calibrated_on: int
    rows: tuple[Proposed, ...]
    doubtful: tuple[Card, ...]


def proposals(facts: Facts, album: Album) -> Proposals:
    """Proposals against verdicts, and the least certain ones to look at."""
    frame = facts.frame("proposals")
    verdicts = facts.frame("labels").filter(
        pl.col("question") == "background", pl.col("verdict").is_not_null()
    )
    judged = frame.join(
        verdicts.select("photo_id", "verdict"), on="photo_id"
    ).with_columns((pl.col("background") == pl.col("verdict")).alias("right"))
    abstained = pl.col("abstained")
    least = frame.sort("margin", "photo_id").head(DOUBTFUL).get_column("photo_id")
    rows = [
        _proposed(
            background.name,
            frame.filter(pl.col("background") == background.name),
            judged.filter(pl.col("background") == background.name, ~abstained),
        )
        for background in facts.config.backgrounds
    ]
    first = frame.head(1).to_dicts()
    return Proposals(
        total=frame.height,
        abstained=frame.filter(abstained).height,
        right=_right(judged.filter(~abstained)),
        right_abstained=_right(judged.filter(abstained)),
        temperature=first[0]["temperature"] if first else None,
        calibrated_on=first[0]["calibrated_on"] if first else 0,
        rows=tuple(rows),
        doubtful=tuple(cards.make(facts, album, least.to_list(), side=240)),
    )


def _proposed(name: str, frame: pl.DataFrame, judged: pl.DataFrame) -> Proposed:
    abstained = frame.filter(pl.col("abstained")).height
    return Proposed(name, frame.height - abstained, abstained, _right(judged))


def _right(judged: pl.DataFrame) -> Estimate:
    return proportion(judged.filter(pl.col("right")).height, judged.height)


@dataclass(frozen=True, slots=True)
class Flagged:
    """The photos that score worst by one criterion; scores 0-1."""

    criterion: str
    meaning: str
    cards: tuple[tuple[Card, float], ...]
    above: int
    total: int


def flags(facts: Facts, album: Album) -> list[Flagged]:
    """Per criterion the photos with the highest score."""
    frame = facts.frame("flags")
    threshold = facts.config.tasks.review_above
    found = []
    for name in CRITERIA:
        worst = frame.sort(name, "photo_id", descending=[True, False]).head(FLAGGED)
        scores = dict(worst.select("photo_id", name).iter_rows())
        made = cards.make(facts, album, scores, side=200)
        found.append(
            Flagged(
                criterion=name,
                meaning=CRITERION[name],
                cards=tuple((card, scores[card.photo_id]) for card in made),
                above=frame.filter(pl.col(name) >= threshold).height,
                total=frame.height,
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that did not make it, where, and why."""

    name: str
    stage: str
    reason: str


def turned_away(facts: Facts) -> list[tuple[str, int]]:
    """Why records of services did not become photos, and how many; most first.

    What a reason says of one record alone, after its colon, is left out.
    """
    reasons = (
        facts.frame("candidates")
        .filter(~_local(facts), pl.col("refused").is_not_null())
        .select(reason=pl.col("refused").str.split(": ").list.first())
    )
    counts = (
        reasons.group_by("reason").len().sort("len", "reason", descending=[True, False])
    )
    return [(reason, count) for reason, count in counts.iter_rows()]


def _local(facts: Facts) -> pl.Expr:
    """Records of sources on this machine, of which each one is looked at."""
    sources = [spec.kind for spec in facts.config.sources]
    return pl.col("source").is_in([k for k in sources if not source(k).REMOTE])


def failures(facts: Facts) -> list[Failure]:
    """Records whose file never arrived, then files that could not be used."""
    candidates = facts.frame("candidates").sort("key", "candidate_id")
    candidates = candidates.filter(_local(facts) | pl.col("refused").is_null())
    rows = candidates.select("candidate_id", "key", "refused")
    keys = dict(rows.select("candidate_id", "key").iter_rows())
    # a log: the last word on a candidate counts
    tried = {row["candidate_id"]: row for row in facts.frame("fetches").to_dicts()}
    found = []
    for candidate_id, key, refused in rows.iter_rows():
        attempt = tried.get(candidate_id, {"status": "ok"})
        if refused:
            found.append(Failure(key, "collect", refused))
        elif attempt["status"] != "ok":
            found.append(Failure(key, "fetch", attempt["error"] or UNSAID))
    sources = dict(facts.frame("photos").select("photo_id", "candidate_id").iter_rows())
    for stage in ("hashes", "embeddings"):
        failed = facts.frame(stage).filter(pl.col("status") != "ok").sort("photo_id")
        found += [
            Failure(
                name=keys.get(sources.get(row["photo_id"], ""), row["photo_id"]),
                stage={"hashes": "hash", "embeddings": "embed"}[stage],
                reason=row["error"] or UNSAID,
            )
            for row in failed.select("photo_id", "error").iter_rows(named=True)
        ]
    return found
