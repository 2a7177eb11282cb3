"""dedup: which photos are the same picture, and which of them is kept.

A pair is merged when

- its pixels are equal, or
- its hashes are within `auto_radius` and the thumbs do not contradict, or
- its hashes are within `review_radius` and either the thumbs agree, or the embedding
  confirms (cosine of `confirm_cosine` or more) and the thumbs do not contradict.

Hashes are compared upright against all 8 mirrored and rotated variants, and against
windows of the other photo, which finds crops of some 10 %; a crop is never merged by
its hash alone. Thumbs are what keeps two animals on one background apart: see
`curation.duplicates.likeness`. Photos with little contrast are not compared by hash.

Photos are taken in the order of the keeper policy; each becomes a keeper and takes in
the photos left that match *it*: chains of near pairs never merge what does not match.
Who is not merged but close is suggested to a person.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation import embeddings
from curation.config import Dataset
from curation.duplicates import likeness, pairs
from curation.duplicates.hashing import SIDE, VARIANTS
from curation.licences import openness
from curation.schemas import from_rows

VERSION = 1
OUTPUT = "duplicates"
INPUTS = ("photos", "candidates", "hashes", "embeddings")
ROWS = "reduce"

AGREE = 0.55
"""Thumbs whose worst block differs by no more show the same picture."""

CONTRADICT = 0.65
"""Thumbs whose worst block differs by more show different pictures."""

CROP_RADIUS = 8
"""Bits a crop's hash may differ from a window's; `review_radius` where that is less."""

SUGGESTIONS = 3
"""Suggestions per photo, nearest first."""

CROP, WIDER = "crop", "wider"
_CROP, _WIDER = len(VARIANTS), len(VARIANTS) + 1
_NAMES = (*VARIANTS, CROP, WIDER)
_INVERSE = np.array([0, 3, 2, 1, 4, 5, 6, 7, _WIDER, _CROP])


@dataclass(frozen=True, slots=True)
class Settings:
    """What changes the table; the fields are those of the section `dedup`."""

    auto_radius: int
    review_radius: int
    confirm_cosine: float
    suggest_cosine: float
    min_texture: float
    keeper: tuple[str, ...]


def settings(config: Dataset) -> Settings:
    """This stage's part of the configuration."""
    section = config.dedup
    return Settings(
        auto_radius=section.auto_radius,
        review_radius=section.review_radius,
        confirm_cosine=section.confirm_cosine,
        suggest_cosine=section.suggest_cosine,
        min_texture=section.min_texture,
        keeper=tuple(section.keeper),
    )


@dataclass(frozen=True, slots=True)
class Edges:
    """Pairs a < b of photos, by place in the order of the keeper policy.

    `variant` is what b is of a, an index of `_NAMES`; `worst` the thumbs' disagreement.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    variant: NDArray[np.int64]
    distance: NDArray[np.int64]
    worst: NDArray[np.float64]

    def where(self, chosen: NDArray[np.bool_]) -> "Edges":
        """The chosen pairs."""
        return Edges(
            self.a[chosen],
            self.b[chosen],
            self.variant[chosen],
            self.distance[chosen],
            self.worst[chosen],
        )


def run(inputs: Mapping[str, pa.Table], settings: Settings) -> pa.Table:
    """Decide on every pair of like photos.

    Args:
        inputs: `photos`, `candidates`, `hashes`; `embeddings` may be empty, then
            nothing is confirmed or suggested by embedding.
        settings: of this stage.

    Returns: `duplicates`, sorted by photo_id, decision, keeper.
    """
    hashes = _in_keeper_order(inputs, settings.keeper)
    if not len(hashes):
        return from_rows([], OUTPUT)
    ids = hashes["photo_id"].to_pylist()
    first, leader = np.unique(_codes(hashes["pixels"]), return_inverse=True)
    leader = _firsts(leader, len(first))[leader]
    leads = np.flatnonzero(leader == np.arange(len(ids)))
    contrast = hashes["texture"].to_numpy() >= settings.min_texture
    edges = _edges(hashes, leads[contrast[leads]], settings)
    vectors = _vectors(inputs["embeddings"], ids)
    same, review = _judge(edges, vectors, settings)
    keeper, via = _keepers(len(ids), same)
    rows: list[dict[str, object]] = []
    for place, photo_id in enumerate(ids):
        lead = int(leader[place])
        row: dict[str, object] = {"photo_id": photo_id, "decision": "merge"}
        if keeper[lead] != lead:
            edge = via[lead]
            row |= {
                "keeper": ids[keeper[lead]],
                "reason": "perceptual",
                "variant": _NAMES[same.variant[edge]],
                "distance": float(same.distance[edge]),
            }
            rows.append(row)
        elif lead != place:
            row |= {"keeper": ids[lead], "reason": "pixels", "distance": 0.0}
            rows.append(row | {"variant": VARIANTS[0]})
    kept = np.zeros(len(ids), bool)
    kept[leads] = keeper[leads] == leads
    rows += _suggestions(ids, kept, review, vectors, settings.suggest_cosine)
    rows.sort(key=lambda r: (str(r["photo_id"]), str(r["decision"]), str(r["keeper"])))
    return from_rows(rows, OUTPUT)


def _in_keeper_order(
    inputs: Mapping[str, pa.Table], policy: tuple[str, ...]
) -> pa.Table:
    """Hashes that are ok, best keeper first; the last resort is the photo_id."""
    photos = inputs["photos"].select(
        ["photo_id", "candidate_id", "width", "height", "order"]
    )
    licences = dict(
        zip(
            inputs["candidates"]["candidate_id"].to_pylist(),
            inputs["candidates"]["licence"].to_pylist(),
            strict=True,
        )
    )
    keys = {}
    for photo in photos.to_pylist():
        by = {
            "licence": openness(licences.get(photo["candidate_id"])),
            "resolution": -photo["width"] * photo["height"],
            "earliest": photo["order"],
        }
        keys[photo["photo_id"]] = tuple(by[name] for name in policy)
    hashes = inputs["hashes"]
    hashes = hashes.filter(
        pc.and_(
            pc.equal(hashes["status"], "ok"),
            pc.is_in(hashes["photo_id"], value_set=photos["photo_id"].combine_chunks()),
        )
    )
    ids = hashes["photo_id"].to_pylist()
    order = sorted(range(len(ids)), key=lambda place: (keys[ids[place]], ids[place]))
    return hashes.take(pa.array(order, pa.int64()))


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Integers that are equal where values are."""
    encoded = column.combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def _firsts(groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """First place of each group."""
    first = np.full(count, len(groups), np.int64)
    np.minimum.at(first, groups, np.arange(len(groups)))
    return first


def _vectors(
    table: pa.Table, ids: list[str]
) -> tuple[NDArray[np.int64], embeddings.Matrix]:
    """Row in the matrix of each photo, -1 where it has no embedding, and the matrix."""
    known, vectors = embeddings.matrix(table)
    row = {photo_id: place for place, photo_id in enumerate(known)}
    return np.array([row.get(photo_id, -1) for photo_id in ids], np.int64), vectors


def _edges(hashes: pa.Table, places: NDArray[np.int64], settings: Settings) -> Edges:
    """Pairs whose hashes are within the review radius, with the thumbs' opinion."""
    part = hashes.take(pa.array(places))
    codes = part["phash"].combine_chunks().flatten().to_numpy()
    variants = codes.reshape(-1, len(VARIANTS))
    raw = b"".join(part["thumb"].to_pylist())
    thumbs = np.frombuffer(raw, np.uint8).reshape(-1, SIDE, SIDE)
    upright = np.ascontiguousarray(variants[:, 0]) if len(variants) else codes
    turned = _distinct(
        pairs.between(variants.reshape(-1), upright, radius=settings.review_radius),
        len(VARIANTS),
    )
    turned = _opinion(turned, thumbs)
    windows = likeness.window_hashes(thumbs)
    radius = min(CROP_RADIUS, settings.review_radius)
    found = pairs.between(windows.reshape(-1), upright, radius=radius)
    crops = _distinct(found, len(likeness.WINDOWS), crop=True)
    # copies are near the windows too: only what is not settled is worth the search
    settled = turned.where(turned.worst <= AGREE)
    known = _keys(crops.a, crops.b, len(places))
    crops = crops.where(~np.isin(known, _keys(settled.a, settled.b, len(places))))
    crops = _opinion(crops, thumbs)
    crops = crops.where(crops.worst <= CONTRADICT)
    both = _concatenate(turned, crops)
    return Edges(
        places[both.a], places[both.b], both.variant, both.distance, both.worst
    )


def _distinct(found: pairs.Pairs, width: int, *, crop: bool = False) -> Edges:
    """One edge a < b per pair: the nearest, then the first variant."""
    query, which = np.divmod(found.left, width)
    variant = np.full_like(which, _CROP) if crop else which
    keep = query != found.right
    query, other = query[keep], found.right[keep]
    variant, distance = variant[keep], found.distance[keep]
    swap = query > other
    variant = np.where(swap, _INVERSE[variant], variant)
    a, b = np.minimum(query, other), np.maximum(query, other)
    order = np.lexsort((variant, distance, b, a))
    a, b, variant, distance = (x[order] for x in (a, b, variant, distance))
    new = np.ones(len(a), bool)
    new[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    return Edges(a, b, variant, distance, np.full(len(a), np.nan)).where(new)


def _keys(a: NDArray[np.int64], b: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return a * max(count, 1) + b


def _opinion(edges: Edges, thumbs: likeness.Thumbs) -> Edges:
    """Edges with the disagreement of their thumbs."""
    worst = np.full(len(edges.a), np.inf)
    for variant in np.unique(edges.variant).tolist():
        chosen = np.flatnonzero(edges.variant == variant)
        for part in np.array_split(chosen, len(chosen) // 512 + 1):
            a, b = thumbs[edges.a[part]], thumbs[edges.b[part]]
            if variant == _CROP:
                worst[part] = likeness.cropped(a, b)
            elif variant == _WIDER:
                worst[part] = likeness.cropped(b, a)
            else:
                shown = likeness.cells(likeness.turn(a, variant))
                worst[part] = likeness.disagreement(shown, likeness.cells(b))
    return Edges(edges.a, edges.b, edges.variant, edges.distance, worst)


def _concatenate(first: Edges, second: Edges) -> Edges:
    """Edges of both."""
    return Edges(
        np.concatenate([first.a, second.a]),
        np.concatenate([first.b, second.b]),
        np.concatenate([first.variant, second.variant]),
        np.concatenate([first.distance, second.distance]),
        np.concatenate([first.worst, second.worst]),
    )


def _judge(
    edges: Edges, vectors: tuple[NDArray[np.int64], embeddings.Matrix], cfg: Settings
) -> tuple[Edges, Edges]:
    """Pairs to merge, and pairs that only a person can tell."""
    row, matrix = vectors
    cosine = np.full(len(edges.a), -np.inf)
    known = np.flatnonzero((row[edges.a] >= 0) & (row[edges.b] >= 0))
    for part in np.array_split(known, len(known) // 65536 + 1):
        left, right = matrix[row[edges.a[part]]], matrix[row[edges.b[part]]]
        cosine[part] = np.einsum("nd,nd->n", left, right)
    crop = edges.variant >= _CROP
    near = (edges.distance <= cfg.auto_radius) & ~crop
    # not "worst <= CONTRADICT": thumbs without an opinion do not contradict
    open_ = ~((edges.worst > CONTRADICT) & np.isfinite(edges.worst))
    confirmed = cosine >= cfg.confirm_cosine
    same = (edges.worst <= AGREE) | ((near | confirmed) & open_)
    review = ~same & (near | (edges.worst <= CONTRADICT))
    return edges.where(same), edges.where(review)


def _keepers(count: int, same: Edges) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keeper of each photo (itself when kept), and the edge that leads to it."""
    keeper, via = np.arange(count), np.full(count, -1, np.int64)
    order = np.lexsort((same.variant, same.distance, same.b, same.a))
    for edge in order.tolist():
        a, b = int(same.a[edge]), int(same.b[edge])
        # a comes before b in keeper order, so whether a is kept is settled by now
        if keeper[a] == a and keeper[b] == b:
            keeper[b], via[b] = a, edge
    return keeper, via


def _suggestions(
    ids: list[str],
    kept: NDArray[np.bool_],
    review: Edges,
    vectors: tuple[NDArray[np.int64], embeddings.Matrix],
    threshold: float,
) -> list[dict[str, object]]:
    """Kept photos that look like another kept one: (photo, look-alike) rows."""
    found: dict[tuple[int, int], dict[str, object]] = {}
    review = review.where(kept[review.a] & kept[review.b])
    for edge in np.lexsort((review.variant, review.distance)).tolist():
        pair = (int(review.a[edge]), int(review.b[edge]))
        found.setdefault(
            pair,
            {
                "reason": "perceptual",
                "variant": _NAMES[review.variant[edge]],
                "distance": float(review.distance[edge]),
            },
        )
    row, matrix = vectors
    places = np.flatnonzero(kept & (row >= 0))
    chosen = matrix[row[places]] if len(places) else matrix
    for at, cosines in embeddings.blocks(chosen):
        # each pair once, from the photo that would yield
        later = np.arange(len(cosines))[:, None] + at > np.arange(len(chosen))[None, :]
        cosines[~later | (cosines < threshold)] = -np.inf
        for i in np.flatnonzero(np.isfinite(cosines).any(axis=1)).tolist():
            nearest = np.argsort(-cosines[i], kind="stable")[:SUGGESTIONS]
            for j in nearest[np.isfinite(cosines[i, nearest])].tolist():
                pair = (int(places[j]), int(places[i + at]))
                apart = max(0.0, 1 - float(cosines[i, j]))
                found.setdefault(pair, {"reason": "embedding", "distance": apart})
    rows: list[dict[str, object]] = []
    given = np.zeros(len(ids), np.int64)
    ranked = sorted(
        found.items(),
        key=lambda item: (
            item[1]["reason"] != "perceptual", item[1]["distance"], item[0],
        ),
    )  # fmt: skip
    for (a, b), decided in ranked:
        if given[b] < SUGGESTIONS:
            given[b] += 1
            rows.append(
                {"photo_id": ids[b], "keeper": ids[a], "decision": "suggest"} | decided
            )
    return rows


def merged(duplicates: pa.Table) -> dict[str, str]:
    """Keeper of every photo that was merged away."""
    return {
        row["photo_id"]: row["keeper"]
        for row in duplicates.to_pylist()
        if row["decision"] == "merge"
    }
