"""A plan as the command line shows it."""

from typing import Any

from curation.publish.plan import Plan
from curation.release.diff import Difference

_SHOWN = 12


def told(plan: Plan) -> dict[str, Any]:
    """The plan, for the command line."""
    difference = plan.difference
    return {
        "repo": plan.repo,
        "endpoint": plan.endpoint,
        "version": plan.version,
        "tag": None if plan.pull_request else plan.tag,
        "state": _state(plan),
        "head": plan.head.commit if plan.head else None,
        "add": list(plan.add),
        "change": list(plan.change),
        "delete": list(plan.delete),
        "unchanged": len(plan.keep),
        "bytes": plan.bytes if plan.commits else 0,
        "latest": plan.latest,
        "difference": None if difference is None else counted(difference),
        "private": plan.private,
        "gated": plan.gated,
        "pull_request": plan.pull_request,
        "notices": list(plan.notices),
        "refused": list(plan.refused),
    }


def counted(difference: Difference) -> dict[str, int]:
    """How many photos differ, and how."""
    return {
        "added": len(difference.added),
        "removed": len(difference.removed),
        "relabelled": len({row[0] for row in difference.relabelled}),
        "credited_anew": len(difference.metadata),
    }


def text(plan: Plan) -> str:
    """The plan, for a person."""
    lines = [f"{plan.endpoint}/datasets/{plan.repo}: {plan.tag}, {_state(plan)}"]
    for verb in ("add", "change", "delete") if plan.commits else ():
        paths = getattr(plan, verb)
        lines += [f"  {verb:<7} {_sized(plan, path)}" for path in paths[:_SHOWN]]
        if len(paths) > _SHOWN:
            lines.append(f"  {verb:<7} and {len(paths) - _SHOWN:,} more")
    if plan.commits:
        count = len(plan.add) + len(plan.change)
        lines.append(
            f"{count} files to send, {plan.bytes / 1e6:,.1f} MB at most; "
            f"{len(plan.delete)} to delete, {len(plan.keep)} unchanged"
        )
    if plan.difference is not None:
        changes = counted(plan.difference).items()
        shown = ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in changes if n)
        lines.append(f"photos since {plan.latest}: {shown or 'no change'}")
    lines += [f"note: {notice}" for notice in plan.notices]
    lines += [f"refused: {reason}" for reason in plan.refused]
    return "\n".join(lines)


def _sized(plan: Plan, path: str) -> str:
    file = plan.files.get(path)
    return f"{path}  {file.size / 1e6:,.2f} MB" if file else path


def _state(plan: Plan) -> str:
    if plan.tagged:
        return "already published"
    if plan.refused:
        return "refused"
    if not plan.commits:
        return "already there" if plan.pull_request else "to be tagged"
    return "to be proposed" if plan.pull_request else "to be published"
