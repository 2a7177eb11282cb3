"""Equal codes put together: photos without content share them."""

from dataclasses import dataclass

import numpy as np

from curation.duplicates._bands import Codes, Places, spans

LIMIT = 2**32
"""Codes of one set are fewer; their places are 32 bits of a key."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Equal codes put together, in the order of their first positions.

    Attributes:
        values: (M,) uint64, no two equal.
        members: (N,) int64, positions group by group, ascending in each.
        starts: (M + 1,) int64; group g is `members[starts[g]:starts[g + 1]]`.
    """

    values: Codes
    members: Places
    starts: Places

    @property
    def sizes(self) -> Places:
        """(M,) int64: members of each group."""
        return np.diff(self.starts)

    @property
    def of(self) -> Places:
        """(N,) int64: the group of each position."""
        found = np.empty(len(self.members), np.int64)
        found[self.members] = np.repeat(np.arange(len(self.values)), self.sizes)
        return found


def groups(codes: Codes) -> Groups:
    """Equal codes put together.

    Args:
        codes: (N,) uint64, N below 2³².

    Raises: ValueError: too many codes.

    Example:
        >>> groups(np.array([7, 3, 7], np.uint64)).members
        array([0, 2, 1])
    """
    codes = np.ascontiguousarray(codes, np.uint64)
    if len(codes) >= LIMIT:
        text = f"{len(codes)} codes in one set, at most {LIMIT - 1}: use streamed()"
        raise ValueError(text)
    ordered = np.sort(codes)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    del ordered
    if not len(again):
        each = np.arange(len(codes) + 1)
        return Groups(codes, each[:-1], each)
    # few are: the others are not put in order
    repeated = np.unique(again)
    which = np.minimum(np.searchsorted(repeated, codes), len(repeated) - 1)
    some = np.flatnonzero(repeated[which] == codes)
    which = which[some]
    some = some[np.argsort(which, kind="stable")]
    many = np.bincount(which)
    heads = some[np.cumsum(many) - many]
    alone = np.ones(len(codes), bool)
    alone[some] = False
    alone[heads] = True
    first = np.flatnonzero(alone)
    sizes = np.ones(len(first), np.int64)
    group = np.searchsorted(first, heads)
    sizes[group] = many
    starts = np.concatenate([[0], np.cumsum(sizes)])
    members = np.empty(len(codes), np.int64)
    members[starts[:-1]] = first
    members[spans(starts[group], many)] = some
    return Groups(codes[first], members, starts)
