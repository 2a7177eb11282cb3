"""The difference of two releases: photos added, removed, relabelled, credited anew."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curation.errors import ConfigError, RemoteError
from curation.release import manifest as manifests
from curation.release.manifest import CREDITS, LABELS, Manifest
from curation.release.versions import Step

SHOWN = 20
"""Photos listed of each kind in text."""
_HUB = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^@]+))?")

Change = tuple[str, str, str, str]
"""photo_id, column, before, after."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from one release to another.

    Attributes:
        added, removed: photo_ids, sorted.
        relabelled: changes of class, background and group, sorted.
        metadata: photo_ids whose licence or credit changed, sorted.
        credits: those changes, sorted.
        before, after: the releases.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    relabelled: tuple[Change, ...]
    metadata: tuple[str, ...]
    credits: tuple[Change, ...]
    before: Manifest = field(repr=False, compare=False)
    after: Manifest = field(repr=False, compare=False)

    @property
    def least(self) -> Step:
        """How far the version must be raised at least."""
        if self.removed or self.relabelled:
            return "major"
        if self.added:
            return "minor"
        return "patch" if self.metadata else "none"


def compare(a: Manifest, b: Manifest) -> Difference:
    """What changed from `a` to `b`.

    Columns of LICENSES.csv are compared where both sides have them.
    """
    shared = sorted(a.rows.keys() & b.rows.keys())
    credited = [key for key in shared if key in a.credits and key in b.credits]
    credits_ = sorted(
        [
            *_changes(shared, a.rows, b.rows, ("licence",)),
            *_changes(credited, a.credits, b.credits, CREDITS),
        ]
    )
    return Difference(
        added=tuple(sorted(b.rows.keys() - a.rows.keys())),
        removed=tuple(sorted(a.rows.keys() - b.rows.keys())),
        relabelled=tuple(_changes(shared, a.rows, b.rows, LABELS)),
        metadata=tuple(sorted({photo for photo, *_ in credits_})),
        credits=tuple(credits_),
        before=a,
        after=b,
    )


def manifest(where: str) -> Manifest:
    """The photos of a release: a folder, a manifest.csv or `hub:<org>/<name>[@<rev>]`.

    Of the Hub, manifest.csv alone is fetched.

    Raises:
        ConfigError: a `hub:` name that is none.
        InputError: nothing there, or no manifest.
        RemoteError: the Hub does not answer, or does not have it.
    """
    if not where.startswith("hub:"):
        return manifests.read(Path(where).expanduser())
    form = _HUB.fullmatch(where)
    if not form:
        message = f"{where!r}: the form is hub:<org>/<name>[@<revision>]"
        raise ConfigError(message)
    return manifests.read(_fetched(form["repo"], form["revision"], where))


def counts(
    difference: Difference,
) -> list[dict[str, Any]]:
    """Photos added, removed and relabelled per class and group, classes by name.

    A relabelled photo counts where it is now.
    """
    kinds: dict[str, Counter[tuple[str, str]]] = {
        "added": _per(difference.added, difference.after),
        "removed": _per(difference.removed, difference.before),
        "relabelled": _per(
            {photo for photo, *_ in difference.relabelled}, difference.after
        ),
    }
    return [
        {"class": name, "group": group}
        | {kind: found[name, group] for kind, found in kinds.items()}
        for name, group in sorted({key for found in kinds.values() for key in found})
    ]


def as_object(difference: Difference) -> dict[str, Any]:
    """Everything, for a program."""

    def rows(changes: Iterable[Change]) -> list[dict[str, str]]:
        names = ("photo_id", "column", "before", "after")
        return [dict(zip(names, change, strict=True)) for change in changes]

    return {
        "least": difference.least,
        "photos": {
            "before": len(difference.before.rows), "after": len(difference.after.rows)
        },
        "counts": counts(difference),
        "added": list(difference.added),
        "removed": list(difference.removed),
        "relabelled": rows(difference.relabelled),
        "metadata": rows(difference.credits),
    }  # fmt: skip


def text(difference: Difference) -> str:
    """Everything counted and some of it named, for a person."""
    before, after = len(difference.before.rows), len(difference.after.rows)
    lines = [f"photos: {before:,} before, {after:,} after"]
    lines += [
        f"{_plain(line['class'])}, {line['group']}: "
        + ", ".join(
            f"{line[kind]:,} {kind}"
            for kind in ("added", "removed", "relabelled")
            if line[kind]
        )
        for line in counts(difference)
    ]
    for kind, found, rows in (
        ("added", difference.added, difference.after.rows),
        ("removed", difference.removed, difference.before.rows),
    ):
        lines += _listed(
            kind,
            [
                f"{photo}  {' / '.join(_plain(rows[photo][name]) for name in LABELS)}"
                for photo in found
            ],
        )
    for kind, changes in (
        ("relabelled", difference.relabelled),
        ("credited anew", difference.credits),
    ):
        lines += _listed(
            kind,
            [
                f"{photo}  {column}: {_plain(old) or '-'} → {_plain(new) or '-'}"
                for photo, column, old, new in changes
            ],
        )
    lines.append(f"least step of the version: {difference.least}")
    return "\n".join(lines)


def _listed(kind: str, found: list[str]) -> list[str]:
    if not found:
        return []
    shown = [f"  {line}" for line in found[:SHOWN]]
    if len(found) > SHOWN:
        shown.append(f"  and {len(found) - SHOWN:,} more; --json has all")
    return [f"{kind}:", *shown]


def _plain(text: str) -> str:
    """Names and credits come from outside: one line, and nothing a terminal obeys."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _changes(
    photos: Iterable[str],
    a: Mapping[str, Mapping[str, str]],
    b: Mapping[str, Mapping[str, str]],
    columns: Iterable[str],
) -> list[Change]:
    names = tuple(columns)
    return [
        (photo, name, a[photo][name], b[photo][name])
        for photo in photos
        for name in names
        if a[photo][name] != b[photo][name]
    ]


def _per(photos: Iterable[str], of: Manifest) -> Counter[tuple[str, str]]:
    return Counter((of.rows[key]["class"], of.rows[key]["group"]) for key in photos)


def _fetched(repo: str, revision: str | None, where: str) -> Path:
    """manifest.csv of a dataset of the Hub."""
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(
            repo, manifests.NAME, repo_type="dataset", revision=revision
        )
    except Exception as error:  # the client's own kinds, and those below it
        told = " ".join(str(error).split())[:300]
        message = (
            f"{where}: {manifests.NAME} cannot be had: {told}; releases written by "
            "`counterset release` have one"
        )
        raise RemoteError(message) from error
    return Path(path)
