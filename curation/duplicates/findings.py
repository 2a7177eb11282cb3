"""What a folder holds twice, as data, as JSON and as text.

`compare.py` finds it; `gallery.py` shows it as a page.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.duplicates.folder import printable

SHOWN, MEMBERS_SHOWN = 60, 12
"""Clusters, and members of one, that the text shows; JSON has all."""

_SAID = {"bytes": "same bytes", "pixels": "same pixels"}


@dataclass(frozen=True, slots=True)
class Photo:
    """A file that was compared.

    Attributes:
        name: relative path, as `folder.encoded` writes it.
        path: where it is.
        sha256: of its bytes.
        bytes: size of the file.
        width: pixels, upright.
        height: pixels, upright.
        format: by content.
        frames: pictures in the file.
    """

    name: str
    path: str
    sha256: str
    bytes: int
    width: int
    height: int
    format: str
    frames: int


@dataclass(frozen=True, slots=True)
class Member:
    """A photo of a cluster that is not its keeper.

    Attributes:
        photo: the file.
        reason: bytes, pixels, perceptual or embedding (confirmed by it).
        distance: bits of 64 between the hashes; 0 where bytes or pixels are equal.
        variant: what it is of the keeper: identity, mirror, rotate90, …, crop, wider.
        twin: name of the member before it that has the same bytes; None if there is
            none.
    """

    photo: Photo
    reason: str
    distance: float
    variant: str | None
    twin: str | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """Photos that are one picture; none needs to go, but the members could."""

    keeper: Photo
    members: Sequence[Member]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Two photos that only a person can tell apart, or not.

    Attributes:
        a: the one that would be kept.
        b: the other.
        reason: perceptual or embedding.
        distance: bits of 64; 1 - cosine where the reason is embedding.
        variant: what b is of a; None for embedding.
    """

    a: Photo
    b: Photo
    reason: str
    distance: float
    variant: str | None

    @property
    def score(self) -> float:
        """How alike, up to 1: the share of equal bits, or the cosine."""
        apart = self.distance if self.reason == "embedding" else self.distance / 64
        return round(1 - apart, 6)


@dataclass(frozen=True, slots=True)
class Leak:
    """A photo that another set has as well.

    Attributes:
        photo: the file.
        set: name of the set, that of its table's file.
        name: what the set calls its photo.
        reason: bytes, pixels or perceptual.
        distance: bits of 64.
        variant: what the photo is of the set's.
    """

    photo: Photo
    set: str
    name: str
    reason: str
    distance: float
    variant: str | None


@dataclass(frozen=True, slots=True)
class Findings:
    """All that is to be told of a folder.

    Attributes:
        folder: as it was named.
        photos: how many were compared.
        failed: name and reason of what could not be.
        clusters: by the keeper's name.
        suggestions: nearest first.
        leaks: by name.
        animated: name, and pictures in the file, where only the first was compared.
        ignored: files that are no pictures by name or content.
        hidden: names that begin with a dot; not looked at.
        path: how pictures were hashed.
        against: names of the sets that were compared with.
    """

    folder: Path
    photos: int
    failed: Sequence[tuple[str, str]]
    clusters: Sequence[Cluster]
    suggestions: Sequence[Suggestion]
    leaks: Sequence[Leak]
    animated: Sequence[tuple[str, int]]
    ignored: int
    hidden: int
    path: str
    against: Sequence[str]

    @property
    def members(self) -> list[Member]:
        """Photos that have a keeper."""
        return [member for cluster in self.clusters for member in cluster.members]


def as_object(found: Findings) -> dict[str, Any]:
    """The object of `counterset dedup --json`; paths are relative to the folder."""
    return {
        "photos": found.photos,
        "failed": [{"path": name, "error": error} for name, error in found.failed],
        "clusters": [_cluster(cluster) for cluster in found.clusters],
        "suggestions": [
            {"a": one.a.name, "b": one.b.name, "reason": one.reason, "score": one.score}
            | {"distance": one.distance, "variant": one.variant}
            for one in found.suggestions
        ],
        "leaks": [
            {"path": one.photo.name, "set": one.set, "name": one.name}
            | {"reason": one.reason, "distance": one.distance, "variant": one.variant}
            for one in found.leaks
        ],
        "animated": [
            {"path": name, "frames": frames} for name, frames in found.animated
        ],
        "ignored": found.ignored,
        "hidden": found.hidden,
        "against": list(found.against),
        "hashing": found.path,
    }


def _cluster(cluster: Cluster) -> dict[str, Any]:
    members = []
    for one in cluster.members:
        told: dict[str, Any] = {"path": one.photo.name, "reason": one.reason}
        told |= {"distance": one.distance, "variant": one.variant}
        if one.twin:
            told["same_bytes_as"] = one.twin
        members.append(told)
    return {"keeper": cluster.keeper.name, "members": members}


def text(found: Findings, *, page: str = "") -> str:
    """The same for people, in lines.

    Args:
        found: what was found.
        page: where the page is that shows it; empty when none was written.
    """
    lines = [*_clusters(found), *_pairs(found), *_others(found), *_sums(found)]
    if found.members:
        shown = printable(page) if page else "--html FILE"
        lines.append(
            f"nothing was changed; {shown} shows them side by side, --json lists all"
        )
    return "\n".join(lines)


def _clusters(found: Findings) -> Iterator[str]:
    for cluster in found.clusters[:SHOWN]:
        yield f"keep  {_shown(cluster.keeper)}"
        for one in cluster.members[:MEMBERS_SHOWN]:
            yield f"      {_shown(one.photo)}  {why(one)}"
        more = len(cluster.members) - MEMBERS_SHOWN
        if more > 0:
            yield f"      … and {more:,} more"
        yield ""
    more = len(found.clusters) - SHOWN
    if more > 0:
        yield f"… and {counted(more, 'cluster')} more; --json and --html have them"
        yield ""


def _pairs(found: Findings) -> Iterator[str]:
    if found.suggestions:
        yield "perhaps the same, for you to look at:"
    for one in found.suggestions[:SHOWN]:
        names = f"{printable(one.a.name)}  {printable(one.b.name)}"
        yield f"      {names}  {apart(one.reason, one.distance, one.variant)}"
    yield from _rest(len(found.suggestions))


def _others(found: Findings) -> Iterator[str]:
    if found.leaks:
        yield "also in other sets:"
    for one in found.leaks[:SHOWN]:
        there = f"{one.set}: {printable(one.name)}"
        told = apart(one.reason, one.distance, one.variant)
        yield f"      {printable(one.photo.name)}  is in {there}  {told}"
    yield from _rest(len(found.leaks))
    if found.failed:
        yield "not compared:"
    for name, error in found.failed[:SHOWN]:
        yield f"      {printable(name)}: {printable(error)}"
    yield from _rest(len(found.failed))


def _rest(count: int) -> Iterator[str]:
    if count > SHOWN:
        yield f"      … and {count - SHOWN:,} more; --json has them"
    if count:
        yield ""


def _sums(found: Findings) -> Iterator[str]:
    folder = printable(str(found.folder))
    if not found.photos and not found.failed:
        yield f"no pictures in {folder}" + _aside(found)
        return
    told = f"{counted(found.photos, 'photo')} compared"
    if found.failed:
        told += f", {len(found.failed):,} not (named above)"
    yield told + _aside(found)
    for name, frames in found.animated[:MEMBERS_SHOWN]:
        yield f"only the first of {frames:,} pictures compared: {printable(name)}"
    if len(found.animated) > MEMBERS_SHOWN:
        yield f"… and of {len(found.animated) - MEMBERS_SHOWN:,} more animations"
    for name in found.against:
        count = len({one.photo.name for one in found.leaks if one.set == name})
        yield f"{counted(count, 'photo')} of them also in {name}"
    members = found.members
    if not members:
        yield "nothing is there twice"
        return
    reasons = Counter(_SAID.get(one.reason, one.reason) for one in members)
    listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    size = sum(one.photo.bytes for one in members)
    yield (
        f"{counted(len(found.clusters), 'cluster')}: {len(members):,} of the photos "
        f"could go ({listed}), {kilobytes(size)}"
    )


def _aside(found: Findings) -> str:
    """Files that are none of our business."""
    parts = []
    if found.ignored:
        parts.append(f"{counted(found.ignored, 'file')} no pictures")
    if found.hidden:
        parts.append(f"{counted(found.hidden, 'hidden name')} passed over")
    return f" ({', '.join(parts)})" if parts else ""


def _shown(photo: Photo) -> str:
    size = f"{photo.width} × {photo.height}, {kilobytes(photo.bytes)}"
    return f"{printable(photo.name)}  {size}"


def why(member: Member) -> str:
    """Reason, variant and distance of a member, in words.

    Example:
        >>> photo = Photo("b.jpg", "b.jpg", "", 1, 1, 1, "JPEG", 1)
        >>> why(Member(photo, "perceptual", 2.0, "mirror"))
        'perceptual: mirror, 2 bits'
        >>> why(Member(photo, "bytes", 0.0, "identity"))
        'same bytes'
    """
    if member.twin:
        return f"same bytes as {printable(member.twin)}"
    return apart(member.reason, member.distance, member.variant)


def apart(reason: str, distance: float, variant: str | None) -> str:
    """Reason, variant and distance of two photos, in words."""
    if reason in _SAID:
        return _SAID[reason]
    shown = "" if variant in (None, "identity") else f"{variant}, "
    if reason == "embedding" and variant is None:
        return f"{reason}: cosine {1 - distance:.3f}"
    return f"{reason}: {shown}{counted(round(distance), 'bit')}"


def counted(count: int, thing: str) -> str:
    """A number of things.

    Example:
        >>> counted(1, "photo"), counted(2000, "photo")
        ('1 photo', '2,000 photos')
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def kilobytes(size: int) -> str:
    """Size of a file.

    Example:
        >>> kilobytes(300), kilobytes(81_400), kilobytes(12_300_000)
        ('300 bytes', '81 kB', '12.3 MB')
    """
    if size < 1000:
        return counted(size, "byte")
    return f"{size / 1000:.0f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"
