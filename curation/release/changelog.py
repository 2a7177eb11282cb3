"""CHANGELOG.md: one section per version, counted from the difference of two releases.

What is counted stands between two comments and is replaced; words written beneath it,
and sections of other versions, are kept as they are.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from curation.errors import InputError
from curation.release import manifest
from curation.release.diff import Difference, compare, counts
from curation.release.manifest import LABELS, Manifest
from curation.release.versions import Published, parts

NAME = "CHANGELOG.md"
_BEGIN, _END = "<!-- counted -->", "<!-- /counted -->"
_HEADING = re.compile(r"^## +\[?(?P<version>v?\d+\.\d+\.\d+)\]?[^\n]*$", re.MULTILINE)
_COUNTED = re.compile(rf"{_BEGIN}.*?{_END}\n*", re.DOTALL)
_TITLE = "# Changelog"


def render(
    version: str,
    after: Manifest,
    *,
    past: Sequence[Published] = (),
    history: str = "",
) -> str:
    """The whole file, newest version first.

    Args:
        version: of this release.
        after: its photos.
        past: what was published before it, oldest first.
        history: the file so far: sections of other versions are kept, and words under
            this version's heading.
    """
    releases = [*past, Published(version, after)]
    head, sections = split(history)
    heading, told = sections.get(version, (f"## {version}", ""))
    own = _COUNTED.sub("", told).strip()
    sections[version] = heading, f"{_counted(releases)}\n\n{own}".strip()
    for place, one in enumerate(past, start=1):
        counted = f"## {one.version}", _counted(releases[:place])
        sections.setdefault(one.version, counted)
    ordered = sorted(sections.items(), key=lambda item: parts(item[0]), reverse=True)
    blocks = [head or _TITLE, *(f"{line}\n\n{body}" for _, (line, body) in ordered)]
    return "\n\n".join(block.strip() for block in blocks) + "\n"


def section(difference: Difference, version: str, *, before: str | None = None) -> str:
    """What is counted of one version, as Markdown between its two comments.

    Args:
        difference: from the version before.
        version: this one.
        before: the version before, to be named.
    """
    since = f"Since {before}" if before else f"In {version}"
    old, new = len(difference.before.rows), len(difference.after.rows)
    relabelled = len({photo for photo, *_ in difference.relabelled})
    told = [
        f"{n:,} {what}"
        for n, what in (
            (len(difference.added), "added"),
            (len(difference.removed), "removed"),
            (relabelled, "relabelled"),
            (len(difference.metadata), "with a changed licence or credit"),
        )
        if n
    ]
    what = ", ".join(told) or "no photo changed"
    lines = [f"{since}: {what}. Photos: {old:,} before, {new:,} now."]
    if rows := counts(difference):
        lines += ["", "| class | group | added | removed | relabelled |"]
        lines.append("|---|---|---:|---:|---:|")
        lines += [
            f"| {_cell(row['class'])} | {row['group']} | {row['added']:,} "
            f"| {row['removed']:,} | {row['relabelled']:,} |"
            for row in rows
        ]
    if moves := _moves(difference):
        lines += ["", "| relabelled | from | to | photos |", "|---|---|---|---:|"]
        lines += moves
    return "\n".join([_BEGIN, *lines, _END])


def split(text: str) -> tuple[str, dict[str, tuple[str, str]]]:
    """What stands before the first version, and each version's heading and section."""
    found = list(_HEADING.finditer(text))
    head = text[: found[0].start()] if found else text
    ends = [*(match.start() for match in found[1:]), len(text)][: len(found)]
    bodies: dict[str, tuple[str, str]] = {}
    for match, end in zip(found, ends, strict=True):
        version = match["version"].removeprefix("v")
        bodies.setdefault(version, (match[0], text[match.end() : end].strip()))
    return head.strip(), bodies


def history(beside: Path) -> str:
    """The file so far: CHANGELOG.md beside dataset.toml; nothing without one.

    Args:
        beside: the folder of dataset.toml.

    Raises:
        InputError: it is there and cannot be read.
    """
    path = beside / NAME
    if not path.is_file():
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read ({error})"
        raise InputError(message) from error


def stands(
    release: Path, version: str, *, past: Sequence[Published], history: str
) -> bool:
    """Whether a release's CHANGELOG.md is what would be written now."""
    after = manifest.read(release / manifest.NAME)
    told = render(version, after, past=past, history=history)
    return (release / NAME).read_text(encoding="utf-8") == told


def _counted(releases: Sequence[Published]) -> str:
    """What is counted of the last of some releases."""
    *past, last = releases
    if not past:
        return _first(last.manifest)
    difference = compare(past[-1].manifest, last.manifest)
    return section(difference, last.version, before=past[-1].version)


def _first(after: Manifest) -> str:
    groups = Counter(row["group"] for row in after.rows.values())
    shown = ", ".join(f"{groups[name]:,} {name}" for name in sorted(groups))
    classes = len({row["class"] for row in after.rows.values()})
    told = f"{len(after.rows):,} photos ({shown}), {classes:,} classes"
    line = f"First version: {told}."
    return "\n".join([_BEGIN, line, _END])


def _moves(difference: Difference) -> list[str]:
    """Relabelled photos, counted by what became what, most frequent first."""
    found = Counter(change[1:] for change in difference.relabelled)
    order = {name: place for place, name in enumerate(LABELS)}
    ranked = sorted(found.items(), key=lambda item: (order[item[0][0]], -item[1], item))
    return [
        f"| {column} | {_cell(old)} | {_cell(new)} | {n:,} |"
        for (column, old, new), n in ranked
    ]


def _cell(text: str) -> str:
    from curation.release.text import cell

    return cell(text) or "(none)"
