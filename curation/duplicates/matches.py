"""Pairs of photos that may show the same picture, and what is to be thought of them.

Hashes are compared upright against all 8 mirrored and rotated variants, and against
windows of the other photo, which finds crops of some 10 %. Thumbs then tell apart what
hashes cannot (`curation.duplicates.likeness`).

A pair is the same picture when

- its thumbs agree, or
- its hashes are within `auto_radius` and the thumbs do not contradict, or
- its embeddings confirm it (cosine of `confirm_cosine` or more) and the thumbs do not
  contradict.

A crop is never taken for the same by its hash alone. Photos with little contrast have
hashes of noise and are not compared by them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curation.duplicates import likeness, pairs
from curation.duplicates.hashing import VARIANTS
from curation.duplicates.links import Links
from curation.duplicates.pictures import Pictures, Places

if TYPE_CHECKING:
    from curation.config import Dedup

AGREE = 0.45
"""Thumbs whose worst block differs by no more show the same picture."""

CONTRADICT = 0.55
"""Thumbs whose worst block differs by more show different pictures."""

CROP_MARGIN = 0.04
"""How much better thumbs of a crop must agree: one of many places fits by chance."""

CROP_RADIUS = 8
"""Bits a crop's hash may differ from a window's; `review_radius` where that is less."""

AT_ONCE = 1 << 16
"""Pairs looked at together, about: what is found does not hang on it."""

_SEEN = 1 << 12  # pairs whose thumbs are gathered together, 4 MB of each side

CROP, WIDER = len(VARIANTS), len(VARIANTS) + 1
NAMES = (*VARIANTS, "crop", "wider")
"""What a photo is of the other: `hashing.VARIANTS`, crop, or wider (the other is its
crop)."""

_INVERSE = np.array([0, 3, 2, 1, 4, 5, 6, 7, WIDER, CROP])

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides; the fields of the section `dedup` that change what is decided.

    Attributes:
        auto_radius: bits up to which pairs are the same unless thumbs contradict.
        review_radius: bits up to which pairs are looked at.
        confirm_cosine: embedding cosine that confirms a pair in the review radius.
        suggest_cosine: embedding cosine from which a pair is shown to a person.
        min_texture: photos with less contrast are not compared by hash, grey levels.
        keeper: which of two is kept; `decide` takes photos in this order already.
        burst_cosine: embedding cosine from which photos of one observer and day are one
            burst.
    """

    auto_radius: int = 4
    review_radius: int = 10
    confirm_cosine: float = 0.95
    suggest_cosine: float = 0.98
    min_texture: float = 6.0
    keeper: tuple[str, ...] = ("licence", "resolution", "earliest")
    burst_cosine: float = 0.9

    @classmethod
    def of(cls, section: "Dedup") -> "Settings":
        """The settings that a configuration's section `dedup` states."""
        return cls(
            auto_radius=section.auto_radius,
            review_radius=section.review_radius,
            confirm_cosine=section.confirm_cosine,
            suggest_cosine=section.suggest_cosine,
            min_texture=section.min_texture,
            keeper=tuple(section.keeper),
            burst_cosine=section.burst_cosine,
        )


@dataclass(frozen=True, slots=True)
class Edges:
    """Pairs (a, b) of photos by their places.

    Attributes:
        a, b: places.
        variant: what b is of a, an index of `NAMES`.
        distance: bits between the hashes that found the pair.
        worst: disagreement of the thumbs; infinite where they have no opinion.
    """

    a: Places
    b: Places
    variant: Places
    distance: Places
    worst: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.a)

    def where(self, chosen: Flags | Places) -> "Edges":
        """The chosen pairs."""
        return Edges(
            self.a[chosen],
            self.b[chosen],
            self.variant[chosen],
            self.distance[chosen],
            self.worst[chosen],
        )

    @classmethod
    def joined(cls, parts: Sequence["Edges"]) -> "Edges":
        """All of them, in this order."""
        if not parts:
            none = np.empty(0, np.int64)
            return cls(none, none, none, none, np.empty(0))
        return cls(
            np.concatenate([part.a for part in parts]),
            np.concatenate([part.b for part in parts]),
            np.concatenate([part.variant for part in parts]),
            np.concatenate([part.distance for part in parts]),
            np.concatenate([part.worst for part in parts]),
        )

    def in_order(self) -> "Edges":
        """By a, b, then the nearest, then the first variant."""
        return self.where(np.lexsort((self.variant, self.distance, self.b, self.a)))

    def once(self) -> "Edges":
        """One edge per pair: the first in order."""
        edges = self.in_order()
        new = np.ones(len(edges), bool)
        new[1:] = (edges.a[1:] != edges.a[:-1]) | (edges.b[1:] != edges.b[:-1])
        return edges.where(new)


class Search:
    """Candidates between photos `a` and photos `b`, which may be the same photos."""

    def __init__(self, a: Pictures, b: Pictures, *, review_radius: int) -> None:
        """Search all hashes; what thumbs think is asked later, for some at a time."""
        self.a, self.b = a, b
        self._same = a is b
        upright = pairs.groups(b.codes[:, 0])
        others = upright if self._same else pairs.groups(a.codes[:, 0])

        def both(
            of_a: NDArray[np.uint64], of_b: NDArray[np.uint64], radius: int
        ) -> tuple[Links, Links]:
            """Entries of a with upright b, and entries of b with upright a."""
            one = Links(of_a, upright, radius=radius)
            return one, one if self._same else Links(of_b, others, radius=radius)

        self._turned = both(a.codes, b.codes, review_radius)
        crop_radius = min(CROP_RADIUS, review_radius)
        self._crops = both(a.windows, b.windows, crop_radius)

    def counts(self) -> Places:
        """(A,) candidates of each photo of a, itself and repetitions included."""
        total = np.zeros(len(self.a), np.int64)
        for forth, back in (self._turned, self._crops):
            total += forth.forward_counts() + back.backward_counts()
        return total

    def edges(self, rows: Places, open_: Flags) -> Edges:
        """What some photos of a and the open photos of b are to each other.

        Args:
            rows: places in a.
            open_: (B,) photos of b that are still of interest. Where a and b are the
                same photos, only b after a is.

        Returns: at most two edges per pair, turned and cropped, those of little
            interest left out; in the order of a, b.
        """
        turned = self._meet(self._turned, rows, open_)
        turned = self._opinion(turned, None)
        crops, window = self._cropped(rows, open_)
        # copies are near the windows too: only what is not settled is worth the search
        count = max(len(self.b), 1)
        settled = turned.where(_agree(turned))
        known = np.isin(crops.a * count + crops.b, settled.a * count + settled.b)
        crops, window = crops.where(~known), window[~known]
        crops = self._opinion(crops, window)
        crops = crops.where(crops.worst <= CONTRADICT)
        return Edges.joined([turned, crops]).in_order()

    def _meet(self, links: tuple[Links, Links], rows: Places, open_: Flags) -> Edges:
        """Candidates by variants, each pair once."""
        one, other, which, apart = links[0].forward(rows)
        forth = self._wanted(one, other, which, apart, open_)
        one, other, which, apart = links[1].backward(rows)
        back = self._wanted(one, other, _INVERSE[which], apart, open_)
        return Edges.joined([forth, back]).once()

    def _wanted(
        self, a: Places, b: Places, variant: Places, apart: Places, open_: Flags
    ) -> Edges:
        keep = open_[b]
        if self._same:
            keep &= b > a
        none = np.full(len(a), np.inf)
        return Edges(a, b, variant, apart, none).where(keep)

    def _cropped(self, rows: Places, open_: Flags) -> tuple[Edges, Places]:
        """Candidates by windows, each pair once, and the window nearest."""
        many = len(likeness.WINDOWS)
        one, other, which, apart = self._crops[0].forward(rows)
        forth = self._wanted(one, other, CROP * many + which, apart, open_)
        one, other, which, apart = self._crops[1].backward(rows)
        back = self._wanted(one, other, WIDER * many + which, apart, open_)
        edges = Edges.joined([forth, back]).once()
        variant, window = np.divmod(edges.variant, many)
        return Edges(edges.a, edges.b, variant, edges.distance, edges.worst), window

    def _opinion(self, edges: Edges, window: Places | None) -> Edges:
        """Edges with the disagreement of their thumbs."""
        worst = np.full(len(edges), np.inf)
        for variant in np.unique(edges.variant).tolist():
            rows = np.flatnonzero(edges.variant == variant)
            for at in range(0, len(rows), _SEEN):
                some = rows[at : at + _SEEN]
                near = None if window is None else window[some]
                worst[some] = self._apart(variant, edges.a[some], edges.b[some], near)
        return Edges(edges.a, edges.b, edges.variant, edges.distance, worst)

    def _apart(
        self, variant: int, a: Places, b: Places, window: Places | None
    ) -> NDArray[np.float64]:
        """Disagreement of the thumbs of pairs of one variant."""
        one, other = self.a.thumbs, self.b.thumbs
        if window is None:
            shown = likeness.turn(one[a], variant)
            return likeness.disagreement(shown, other[b])
        if variant == CROP:
            return likeness.cropped(one[a], other[b], window)
        return likeness.cropped(other[b], one[a], window)


def blocks(counts: Places, alive: Flags) -> Iterator[Places]:
    """Places still alive, in order, as many together as have `AT_ONCE` candidates.

    `alive` may change between two blocks.
    """
    at = 0
    while at < len(counts):
        rows = at + np.flatnonzero(alive[at : at + AT_ONCE])
        total = np.cumsum(counts[rows])
        cut = max(1, int(np.searchsorted(total, AT_ONCE, side="right")))
        at = int(rows[cut]) if cut < len(rows) else at + AT_ONCE
        if len(rows):
            yield rows[:cut]


def judge(
    edges: Edges, cosine: NDArray[np.float64], settings: Settings
) -> tuple[Flags, Flags]:
    """Which pairs are the same picture, and which only a person can tell.

    Args:
        edges: candidates.
        cosine: of their embeddings; -inf where there is none.
        settings: radii and cosine.
    """
    by_hash = _by_hash(edges, settings)
    confirmed = cosine >= settings.confirm_cosine
    same = _agree(edges) | ((by_hash | confirmed) & _open(edges))
    return same, ~same & (by_hash | (edges.worst <= CONTRADICT))


def by_embedding(edges: Edges, settings: Settings) -> Flags:
    """Which pairs, if they are the same, only their embeddings can have confirmed."""
    return np.asarray(~_agree(edges) & ~_by_hash(edges, settings))


def _by_hash(edges: Edges, settings: Settings) -> Flags:
    near = edges.distance <= settings.auto_radius
    return np.asarray(near & (edges.variant < CROP))


def _agree(edges: Edges) -> Flags:
    """Thumbs show the same picture."""
    least = np.where(edges.variant < CROP, AGREE, AGREE - CROP_MARGIN)
    return np.asarray(edges.worst <= least)


def _open(edges: Edges) -> Flags:
    """Thumbs do not contradict; without an opinion they do not."""
    return np.asarray((edges.worst <= CONTRADICT) | np.isinf(edges.worst))
