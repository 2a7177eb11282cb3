"""Which photos are the same picture, and which of them is kept.

Photos are taken in the order of the keeper policy; each becomes a keeper and takes in
the photos left that match *it* (`curation.duplicates.matches`): chains of near pairs
never merge what does not match. Who is not merged but close is suggested to a person.

A photo that is merged is compared no further, so a thousand copies of one photo cost a
thousand comparisons, not a thousand squared. The order decides who is a keeper, and a
new photo may come first in it, so nothing of an earlier decision is reused.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.duplicates import neighbours
from curation.duplicates.hashing import VARIANTS
from curation.duplicates.leaks import leaks as leaks
from curation.duplicates.matches import (
    NAMES,
    Edges,
    Flags,
    Search,
    blocks,
    by_embedding,
    judge,
)
from curation.duplicates.matches import Settings as Settings
from curation.duplicates.neighbours import Vectors
from curation.duplicates.pictures import Photos, Pictures, Places
from curation.schemas import from_rows

TABLE = "duplicates"

SUGGESTIONS = 3
"""Suggestions per photo, nearest first."""

ASKED = 64
"""Photos of equal thumbs that one without contrast is compared with pixel by pixel."""

Row = dict[str, object]
SamePixels = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Embedded:
    """Embeddings of some photos.

    Attributes:
        row: (N,) row in the matrix of each photo, -1 where it has none.
        vectors: (M, D) float32 of unit length.
    """

    row: Places
    vectors: Vectors

    @classmethod
    def of(
        cls, photos: Photos, vectors: tuple[Sequence[str], Vectors] | None
    ) -> "Embedded":
        """Of some photos, from the ids that have a vector and their rows."""
        known, matrix = vectors or ((), np.empty((0, 0), np.float32))
        if not known:
            return cls(np.full(len(photos), -1), matrix)
        row = {photo_id: place for place, photo_id in enumerate(known)}
        ids = photos.ids(np.arange(len(photos)))
        return cls(np.array([row.get(i, -1) for i in ids], np.int64), matrix)

    def cosines(self, a: Places, b: Places) -> NDArray[np.float64]:
        """(P,) cosines of pairs of photos; -inf where one has no embedding."""
        found = np.full(len(a), -np.inf)
        known = np.flatnonzero((self.row[a] >= 0) & (self.row[b] >= 0))
        for part in np.array_split(known, len(known) // 65536 + 1):
            left, right = self.row[a[part]], self.row[b[part]]
            if len(part):
                found[part] = neighbours.cosines(
                    self.vectors[left], self.vectors[right]
                )
        return found


@dataclass(slots=True)
class Clusters:
    """Who is merged into whom, as far as decided.

    Attributes:
        keeper: (N,) keeper of each photo, itself where it is kept.
        merges: edges from keepers to photos merged into them.
        near: edges between photos that only a person can tell.
    """

    keeper: Places
    merges: list[Edges] = field(default_factory=list)
    near: list[Edges] = field(default_factory=list)

    @property
    def kept(self) -> Flags:
        """(N,) which photos are kept."""
        return np.asarray(self.keeper == np.arange(len(self.keeper)))

    def merge(self, same: Edges) -> None:
        """Let each photo that is kept take in those it matches.

        Args:
            same: pairs a < b that match, in order; of photos before them everything is
                decided.
        """
        first = same.once()
        starts = np.flatnonzero(np.diff(first.a, prepend=-1)).tolist()
        for begin, end in itertools.pairwise([*starts, len(first)]):
            a = int(first.a[begin])
            if self.keeper[a] == a:
                edges = np.arange(begin, end)
                b = first.b[begin:end]
                edges = edges[self.keeper[b] == b]
                self.keeper[first.b[edges]] = a
                self.merges.append(first.where(edges))


def decide(
    hashes: pa.Table,
    settings: Settings,
    *,
    vectors: tuple[Sequence[str], Vectors] | None = None,
    same_pixels: SamePixels | None = None,
    order: Places | None = None,
) -> pa.Table:
    """Decide on every pair of like photos.

    Args:
        hashes: photos that could be decoded, best keeper first, with the columns
            photo_id, pixels (may be null), phash, thumb, texture.
        settings: what decides.
        vectors: ids that have an embedding, and (M, D) float32 of unit length, as
            `curation.embeddings.matrix` gives; without it nothing is confirmed or
            suggested by embedding.
        same_pixels: whether two photos have the same pixels, asked where `pixels` is
            null: of the pairs that are merged, for the reason; of photos without
            contrast, whether they are merged. Without it the latter are not.
        order: rows of `hashes` that are meant, best keeper first; all as they stand
            when None.

    Returns: `duplicates`, sorted by photo_id, decision, keeper; the same rows on any
        machine.
    """
    order = np.arange(hashes.num_rows) if order is None else order
    photos = Photos(hashes, order)
    if not len(photos):
        return from_rows([], TABLE)
    contrast = photos.texture >= settings.min_texture
    twins = _twins(photos, contrast, same_pixels)
    lead = twins.leader == np.arange(len(photos))
    embedded = Embedded.of(photos, vectors)
    clusters = Clusters(np.arange(len(photos)))
    _cluster(photos, np.flatnonzero(lead & contrast), embedded, settings, clusters)
    rows = _merges(photos, clusters, twins, embedded, settings)
    if same_pixels is not None:
        unhashed = photos.ids(np.flatnonzero(photos.unhashed))
        _equal(rows, set(unhashed), same_pixels)
    kept = clusters.kept & lead
    rows += _suggestions(photos, kept, clusters.near, embedded, settings)
    rows.sort(key=lambda r: (str(r["photo_id"]), str(r["decision"]), str(r["keeper"])))
    return from_rows(rows, TABLE)


@dataclass(frozen=True, slots=True)
class _Twins:
    """Photos of equal pixels, or of equal thumbs.

    Attributes:
        leader: (N,) the first of each photo's twins.
        pixels: (N,) the photo's pixels are known to be its leader's.
    """

    leader: Places
    pixels: Flags


def _twins(photos: Photos, contrast: Flags, same_pixels: SamePixels | None) -> _Twins:
    """Photos that no comparison is needed for."""
    by_pixels = photos.first_pixels()
    pixels = by_pixels != np.arange(len(photos))
    thumbs = photos.first_thumbs()
    # thumbs without contrast say nothing, and many pictures share them
    leader = np.where(contrast & contrast[thumbs], thumbs, by_pixels)
    leader = leader[by_pixels]
    leader = leader[leader]
    pixels &= leader == by_pixels
    if same_pixels is not None:
        unknown = photos.unhashed & ~contrast
        for place, other in _flat(photos, unknown, thumbs, same_pixels):
            leader[place], pixels[place] = other, True
    return _Twins(leader, pixels)


def _flat(
    photos: Photos, wanted: Flags, thumbs: Places, same_pixels: SamePixels
) -> Iterator[tuple[int, int]]:
    """Photos without contrast whose pixels are those of an earlier one: (it, that)."""
    places = np.flatnonzero(wanted)
    looks = zip(thumbs[places].tolist(), photos.texture[places].tolist(), strict=True)
    groups: dict[tuple[int, float], list[tuple[int, str]]] = {}
    for place, name, look in zip(
        places.tolist(), photos.ids(places), looks, strict=True
    ):
        before = groups.setdefault(look, [])
        for other, shown in before:
            if same_pixels(shown, name):
                yield place, other
                break
        else:
            if len(before) < ASKED:
                before.append((place, name))


def _cluster(
    photos: Photos,
    places: Places,
    embedded: Embedded,
    settings: Settings,
    clusters: Clusters,
) -> None:
    """Merge photos at some places, and note which only a person can tell."""
    pictures = Pictures.of(photos.hashes, photos.rows[places])
    search = Search(pictures, pictures, review_radius=settings.review_radius)
    open_ = np.ones(len(places), bool)
    for rows in blocks(search.counts(), open_):
        found = search.edges(rows, open_)
        edges = Edges(
            places[found.a], places[found.b], found.variant, found.distance, found.worst
        )
        same, near = judge(edges, embedded.cosines(edges.a, edges.b), settings)
        clusters.merge(edges.where(same))
        open_[:] = clusters.kept[places]  # `blocks` reads it
        # whether `a` is kept is settled now, whether `b` is may not be
        near &= clusters.kept[edges.a] & clusters.kept[edges.b]
        if near.any():
            clusters.near.append(_nearest(edges.where(near)))


def _nearest(near: Edges) -> Edges:
    """Of each later photo the nearest of the earlier ones."""
    near = near.once()
    near = near.where(np.lexsort((near.a, near.distance, near.b)))
    rank = np.arange(len(near)) - np.searchsorted(near.b, near.b)
    return near.where(rank < SUGGESTIONS)


def _merges(
    photos: Photos,
    clusters: Clusters,
    twins: _Twins,
    embedded: Embedded,
    settings: Settings,
) -> list[Row]:
    """A row for every photo that is merged."""
    merges = Edges.joined(clusters.merges)
    via = np.full(len(photos), -1)
    via[merges.b] = np.arange(len(merges))
    confirmed = by_embedding(merges, settings)
    gone = np.flatnonzero((twins.leader != np.arange(len(photos))) | (via >= 0))
    lead = twins.leader[gone]
    keeper = clusters.keeper[lead]
    # a twin follows its leader: what holds of that is said of it
    shown = np.where(keeper == lead, gone, lead)
    cosine = embedded.cosines(keeper, shown)
    ids = zip(photos.ids(gone), photos.ids(keeper), strict=True)
    rows: list[Row] = []
    for nth, (name, kept) in enumerate(ids):
        row: Row = {
            "photo_id": name,
            "keeper": kept,
            "decision": "merge",
            "cosine": _number(cosine[nth]),
        }
        edge = via[lead[nth]]
        if edge >= 0:
            rows.append(row | _found(merges, int(edge), confirmed=confirmed[edge]))
        else:
            reason = "pixels" if twins.pixels[gone[nth]] else "perceptual"
            same = {"variant": VARIANTS[0], "distance": 0.0, "disagreement": 0.0}
            rows.append(row | same | {"reason": reason})
    return rows


def _found(edges: Edges, edge: int, *, confirmed: bool) -> Row:
    """What a comparison by hash has to say of a pair."""
    return {
        "reason": "confirmed" if confirmed else "perceptual",
        "variant": NAMES[edges.variant[edge]],
        "distance": float(edges.distance[edge]),
        "disagreement": _number(edges.worst[edge]),
    }


def _equal(rows: list[Row], unknown: set[str], same_pixels: SamePixels) -> None:
    """Say of copies whose pixels were not hashed whether they are the keeper's."""
    for row in rows:
        pair = str(row["keeper"]), str(row["photo_id"])
        upright = row["reason"] == "perceptual" and row["variant"] == VARIANTS[0]
        if upright and not unknown.isdisjoint(pair) and same_pixels(*pair):
            row |= {"reason": "pixels", "distance": 0.0}


def _number(value: float) -> float | None:
    """A measure to six digits; what is beyond hangs on the machine."""
    return round(float(value), 6) if np.isfinite(value) else None


def _suggestions(
    photos: Photos,
    kept: Flags,
    near: Sequence[Edges],
    embedded: Embedded,
    settings: Settings,
) -> list[Row]:
    """Kept photos that look like an earlier kept one, of each photo the nearest."""
    edges = Edges.joined(near)
    edges = _nearest(edges.where(kept[edges.a] & kept[edges.b]))
    cosine = embedded.cosines(edges.a, edges.b)
    found: dict[tuple[int, int], Row] = {}
    for edge, pair in enumerate(zip(edges.a.tolist(), edges.b.tolist(), strict=True)):
        found[pair] = _found(edges, edge, confirmed=False)
        found[pair]["cosine"] = _number(cosine[edge])
    places = np.flatnonzero(kept & (embedded.row >= 0))
    if len(places):
        earlier, later, cosine = neighbours.nearest(
            embedded.vectors[embedded.row[places]],
            least=settings.suggest_cosine,
            most=SUGGESTIONS,
        )
        pairs = zip(places[earlier].tolist(), places[later].tolist(), strict=True)
        for pair, value in zip(pairs, cosine.tolist(), strict=True):
            apart = max(0.0, round(1 - value, 6))
            row: Row = {"reason": "embedding", "distance": apart, "cosine": value}
            found.setdefault(pair, row)
    given = np.zeros(len(photos), np.int64)
    ranked = sorted(
        found.items(),
        key=lambda item: (
            item[1]["reason"] == "embedding", item[1]["distance"], item[0],
        ),
    )  # fmt: skip
    chosen = []
    for pair, decided in ranked:
        if given[pair[1]] < SUGGESTIONS:
            given[pair[1]] += 1
            chosen.append((pair, decided))
    earlier, later = np.array([one[0] for one in chosen], np.int64).reshape(-1, 2).T
    ids = zip(photos.ids(later), photos.ids(earlier), strict=True)
    return [
        {"photo_id": photo_id, "keeper": keeper, "decision": "suggest"} | decided
        for (photo_id, keeper), (_, decided) in zip(ids, chosen, strict=True)
    ]


def merged(duplicates: pa.Table) -> dict[str, str]:
    """Keeper of every photo that was merged away."""
    frame = duplicates.select(["photo_id", "keeper", "decision"])
    return {
        row["photo_id"]: row["keeper"]
        for row in frame.to_pylist()
        if row["decision"] == "merge"
    }
