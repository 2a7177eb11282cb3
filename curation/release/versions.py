"""Versions of a dataset: how far a difference must raise them, and what was published.

A photo removed, or relabelled (class, background or group): major. A photo added:
minor. Only texts, credits or other files: patch. So within a major version no photo
goes or gets another label, and within a minor one there are always the same photos.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from curation.errors import ConfigError, InputError
from curation.release import manifest

if TYPE_CHECKING:
    from curation.release.diff import Difference

Step = Literal["none", "patch", "minor", "major"]
STEPS: tuple[Step, ...] = ("none", "patch", "minor", "major")
"""Smallest first."""
_FORM = re.compile(r"v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Published:
    """A version that was published, and its photos."""

    version: str
    manifest: manifest.Manifest


def parts(version: str) -> tuple[int, int, int]:
    """Major, minor and patch of `1.2.3` or the tag `v1.2.3`.

    Raises:
        InputError: it is no version.

    Example:
        >>> parts("v1.10.0") > parts("1.9.9")
        True
    """
    found = _FORM.fullmatch(version)
    if not found:
        message = f"{version!r} is no version; the form is major.minor.patch"
        raise InputError(message)
    return int(found[1]), int(found[2]), int(found[3])


def is_version(text: str) -> bool:
    """Whether it is a version, or the tag of one.

    Example:
        >>> is_version("v1.0.0"), is_version("1.0.0-draft")
        (True, False)
    """
    return _FORM.fullmatch(text) is not None


def least(difference: "Difference", before: str) -> str:
    """The least version that may follow `before`; itself where nothing differs.

    Raises:
        InputError: `before` is no version.
    """
    return raised(before, difference.least)


def raised(before: str, step: Step) -> str:
    """The version one step higher.

    Example:
        >>> raised("1.2.3", "minor"), raised("1.2.3", "major"), raised("v1.2.3", "none")
        ('1.3.0', '2.0.0', '1.2.3')
    """
    major, minor, patch = parts(before)
    if step == "major":
        major, minor, patch = major + 1, 0, 0
    elif step == "minor":
        minor, patch = minor + 1, 0
    elif step == "patch":
        patch += 1
    return f"{major}.{minor}.{patch}"


def check(
    difference: "Difference", *, before: str, stated: str, files: bool = True
) -> None:
    """Whether `dataset.version` may follow a published version.

    Args:
        difference: between the photos of that version and those of now.
        before: the published version, or its tag.
        stated: `dataset.version`.
        files: whether any file differs, so that a patch is due at least.

    Raises:
        ConfigError: it is too small; the message says the least one, and why.
    """
    step = difference.least
    if step == "none" and files:
        step = "patch"
    due = raised(before, step)
    if parts(stated) >= parts(due):
        return
    message = (
        f"dataset.version: {stated} is too small after {raised(before, 'none')}; "
        f"{due} is the least, for {_why(difference, step)}. Set it in dataset.toml, "
        "then run `counterset release` again"
    )
    raise ConfigError(message)


def _why(difference: "Difference", step: Step) -> str:
    counts = {
        "removed": len(difference.removed),
        "relabelled": len({change[0] for change in difference.relabelled}),
    }
    if step == "major":
        told = [
            f"{n} {'photo is' if n == 1 else 'photos are'} {what}"
            for what, n in counts.items()
            if n
        ]
        return f"{' and '.join(told)} (major)"
    if step == "minor":
        n = len(difference.added)
        return f"{n} {'photo is' if n == 1 else 'photos are'} added (minor)"
    if step == "patch":
        return "only texts or credits changed (patch)"
    return "nothing changed, and a version never goes back"


def published(folder: Path) -> Mapping[str, Path]:
    """What was published from a work folder: version → folder, oldest first.

    Args:
        folder: the work folder; `published/<version>/manifest.csv` are looked for.
    """
    found = {
        path.parent.name: path.parent
        for path in folder.glob(f"published/*/{manifest.NAME}")
        if is_version(path.parent.name)
    }
    return dict(sorted(found.items(), key=lambda item: parts(item[0])))


def past(folder: Path, version: str) -> tuple[Published, ...]:
    """What was published from a work folder before `version`, oldest first.

    Raises:
        InputError: a manifest cannot be read.
    """
    return tuple(
        Published(raised(name, "none"), manifest.read(path))
        for name, path in published(folder).items()
        if parts(name) < parts(version)
    )


def holding(folder: Path, photos: Collection[str]) -> list[str]:
    """Published versions that hold any of some photos, oldest first.

    Raises:
        InputError: a manifest cannot be read.
    """
    wanted = set(photos)
    return [
        name
        for name, path in published(folder).items()
        if wanted & manifest.read(path).rows.keys()
    ]
