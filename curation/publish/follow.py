"""Versions on the Hub that were published from another work folder.

CHANGELOG.md is counted from what was published before, so that must be known here.
"""

from dataclasses import replace

from curation.hub import Hub
from curation.pipeline import Route
from curation.publish.plan import MANIFEST, Plan
from curation.release import changelog, versions

_RUN = "run `counterset run`, then publish again"


def follow(plan: Plan, route: Route, *, hub: Hub, remember: bool) -> Plan:
    """The plan; refused where CHANGELOG.md does not tell of the versions before.

    Args:
        plan: what was planned.
        route: the route the release is of.
        hub: the Hub it was planned for.
        remember: keep the manifests of versions not known here in the work folder,
            which must be held for writing; the next `counterset run` tells of them.

    Raises:
        HubError: the Hub cannot be asked.
        InputError: a manifest kept here cannot be read.
    """
    if plan.tagged:
        return plan
    unknown = [
        tag for tag in _before(plan, route) if MANIFEST in hub.tree(plan.repo, tag)
    ]
    if unknown:
        if remember:
            for tag in unknown:
                _keep(tag, plan, route, hub)
        named = ", ".join(unknown)
        done = "remembered now" if remember else "remembered without --dry-run"
        reason = (
            f"CHANGELOG.md does not tell what changed since {named}, published from "
            f"another work folder ({done}): {_RUN}"
        )
        return replace(plan, refused=(*plan.refused, reason))
    past = versions.past(route.shelf.folder, plan.version)
    history = changelog.history(route.config.base)
    folder = route.shelf.folder / "release"
    if changelog.stands(folder, plan.version, past=past, history=history):
        return plan
    reason = f"CHANGELOG.md is older than what it is written from: {_RUN}"
    return replace(plan, refused=(*plan.refused, reason))


def _before(plan: Plan, route: Route) -> list[str]:
    """Tags of older versions that this work folder does not know, oldest first."""
    known = versions.published(route.shelf.folder)
    older = [
        tag
        for tag in plan.tags
        if versions.is_version(tag)
        and versions.parts(tag) < versions.parts(plan.version)
    ]
    return sorted(
        (tag for tag in older if tag.removeprefix("v") not in known),
        key=versions.parts,
    )


def _keep(tag: str, plan: Plan, route: Route, hub: Hub) -> None:
    where = {
        "endpoint": plan.endpoint, "repo": plan.repo, "tag": tag,
        "commit": plan.tags[tag],
    }  # fmt: skip
    data = hub.read(plan.repo, MANIFEST, tag)
    route.shelf.keep_published(tag.removeprefix("v"), data, where)
