"""Carry a plan out. Cut off anywhere, the same command completes it.

Files are sent first and nobody sees them; one commit makes all of them visible at once;
the tag names it. Before anything is tried again, the Hub is looked at: a reply that was
lost may have been a yes. What counts as done is told from the files there, so it does
not matter who did it, or when.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

from curation.errors import ConfigError, HubError, InputError
from curation.hub import Commit, Hub
from curation.publish.compare import compare
from curation.publish.plan import MANIFEST, Plan
from curation.release.write import CHECKSUMS
from curation.shelf import Shelf

_FRESH = {".gitattributes", "README.md", ".gitignore", "LICENSE"}
"""What the Hub or its owner may have put into a repository without data."""


def confirm(plan: Plan, *, yes: bool, ask: Callable[[str], bool] | None = None) -> None:
    """Have a person agree to the plan.

    Args:
        plan: the plan, which the person was shown.
        yes: they agreed beforehand.
        ask: puts a question; None where nobody can be asked.

    Raises:
        InputError: the plan has reasons against it; all are told.
        ConfigError: they did not agree, or nobody can be asked.
    """
    _refuse(plan)
    if yes or plan.idle:
        return
    if ask is None or not sys.stdin.isatty():
        message = "nobody is at a terminal to be asked: add --yes, or --dry-run to look"
        raise ConfigError(message)
    if not ask(f"Publish {plan.tag} to {plan.repo}?"):
        message = "nothing was published"
        raise ConfigError(message)


def _refuse(plan: Plan) -> None:
    if plan.refused:
        reasons = "\n".join(f"- {reason}" for reason in plan.refused)
        message = f"{plan.tag} may not be published:\n{reasons}"
        raise InputError(message)


def publish(
    plan: Plan,
    *,
    hub: Hub,
    shelf: Shelf,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Do what the plan says, then load the dataset back and compare it.

    Args:
        plan: what `plan` made of a release and the Hub.
        hub: the Hub it was made for.
        shelf: keeps what was published; its work folder must be held for writing.
        say: called with a line of progress.

    Returns: what came of it, for the command line.

    Raises:
        InputError: the plan has reasons against it; all are told.
        ConfigError: there is no token, or it may not write.
        HubError: the Hub failed or refused, or what is there is something else.
    """
    _refuse(plan)
    start = time.perf_counter()
    if plan.pull_request:
        return _propose(plan, hub, say)
    commit = send(plan, hub=hub, say=say)
    published = time.perf_counter()
    compared = _checked(plan, hub, shelf, commit, say)
    return {
        "repo": plan.repo,
        "url": f"{plan.endpoint}/datasets/{plan.repo}",
        "version": plan.version,
        "tag": plan.tag,
        "commit": commit,
        "pull_request": None,
        "already": plan.tagged,
        "files": len(plan.add) + len(plan.change) if plan.commits else 0,
        "deleted": len(plan.delete) if plan.commits else 0,
        "bytes": plan.bytes if plan.commits else 0,
        "compared": compared,
        "seconds": round(published - start, 3),
        "compare_seconds": round(time.perf_counter() - published, 3),
        "notices": list(plan.notices),
    }


def send(
    plan: Plan, *, hub: Hub, say: Callable[[str], None] = lambda line: None
) -> str:
    """Make the release visible, and tag it; returns the tagged commit.

    What is done already is not done again.

    Raises:
        ConfigError: there is no token, or it may not write.
        HubError: the Hub failed or refused, or someone else changed it meanwhile.
    """
    if plan.idle:
        return plan.tags[plan.tag]
    hub.may_write(plan.repo)
    head = _ready(plan, hub, say)
    if plan.tagged:
        return plan.tags[plan.tag]
    commit = _commit(plan, hub, head, say)
    _tag(plan, hub, commit, say)
    return commit


def _ready(plan: Plan, hub: Hub, say: Callable[[str], None]) -> str | None:
    """Have the repository as it shall be seen; returns the head to commit to."""
    head = plan.head
    if head is None:
        say(f"publish: making {plan.repo}")
        hub.create(plan.repo, private=bool(plan.private))
        head = hub.look(plan.repo)
        if head is None:
            message = f"{plan.repo} was made, but the Hub does not show it; try again"
            raise HubError(message, url=hub.endpoint, status=404)
        tree = hub.tree(plan.repo, head.commit) if head.commit else {}
        if set(tree) - _FRESH and not plan.holds(tree):
            raise _moved(plan, hub)
    private = True if plan.private and not head.private else None
    if private or plan.gated:  # before there is anything to see
        hub.set(plan.repo, private=private, gated=plan.gated)
    return head.commit


def _commit(
    plan: Plan, hub: Hub, parent: str | None, say: Callable[[str], None]
) -> str:
    """The commit that holds the release."""
    if not plan.commits:
        assert parent is not None
        return parent

    def landed() -> Commit | None:
        head = hub.look(plan.repo)
        now = head.commit if head else None
        if now == parent or now is None:
            return None
        if plan.holds(hub.tree(plan.repo, now)):
            return Commit(now)
        raise _moved(plan, hub)

    return _send(plan, hub, parent, landed, say).oid


def _send(
    plan: Plan,
    hub: Hub,
    parent: str | None,
    landed: Callable[[], Commit | None],
    say: Callable[[str], None],
) -> Commit:
    paths = [*plan.add, *plan.change]
    say(f"publish: {len(paths)} files, {plan.bytes / 1e6:,.1f} MB")
    files = {path: (plan.files[path].path, plan.files[path].sha256) for path in paths}
    upload = hub.upload(plan.repo, files, pull_request=plan.pull_request)
    say(f"publish: one commit to {plan.repo}")
    return hub.commit(
        plan.repo,
        upload,
        delete=plan.delete,
        parent=parent,
        title=_title(plan),
        text=f"{CHECKSUMS}: {plan.files[CHECKSUMS].sha256}",
        pull_request=plan.pull_request,
        landed=landed,
    )


def _title(plan: Plan) -> str:
    return f"Release {plan.tag}"


def _tag(plan: Plan, hub: Hub, commit: str, say: Callable[[str], None]) -> None:
    def landed() -> str | None:
        at = hub.tags(plan.repo).get(plan.tag)
        if at is None or at == commit or plan.holds(hub.tree(plan.repo, plan.tag)):
            return at
        message = (
            f"{plan.repo}: tag {plan.tag} was made by someone else meanwhile and holds "
            f"another release ({hub.last_commit(plan.repo, plan.tag)}). Raise "
            "dataset.version, run `counterset run` and publish again"
        )
        raise HubError(message, url=hub.endpoint, status=409)

    say(f"publish: tag {plan.tag}")
    text = f"Version {plan.version}"
    hub.tag(plan.repo, plan.tag, commit, text=text, landed=landed)


def _moved(plan: Plan, hub: Hub) -> HubError:
    was = plan.head.commit if plan.head else None
    message = (
        f"{plan.repo}: someone else changed it meanwhile: its head moved from "
        f"{was[:8] if was else 'nothing'} to {hub.last_commit(plan.repo)}. Nothing of "
        "this release is visible there; run the same command again to plan anew"
    )
    return HubError(message, url=hub.endpoint, status=412)


def _checked(
    plan: Plan, hub: Hub, shelf: Shelf, commit: str, say: Callable[[str], None]
) -> int:
    """Rows loaded back and found equal; 0 when that was done before."""
    manifest = plan.files[MANIFEST].path.read_bytes()
    where = {
        "endpoint": plan.endpoint, "repo": plan.repo, "tag": plan.tag, "commit": commit
    }  # fmt: skip
    if plan.tagged and shelf.published(plan.version) == (manifest, where):
        return 0
    if not plan.holds(hub.tree(plan.repo, plan.tag)):
        message = (
            f"{plan.repo}: {plan.tag} does not hold the files of this release; look at "
            f"{plan.endpoint}/datasets/{plan.repo}/tree/{plan.tag}"
        )
        raise HubError(message, url=plan.endpoint)
    say(f"publish: loading {plan.tag} back")
    folder = plan.files[MANIFEST].path.parent
    compared = compare(folder, plan.repo, plan.tag, hub=hub)
    shelf.keep_published(plan.version, manifest, where)
    return compared


def _propose(plan: Plan, hub: Hub, say: Callable[[str], None]) -> dict[str, Any]:
    """Open a pull request, unless it is open already."""
    if plan.head is None or plan.head.commit is None:
        message = (
            f"{plan.repo} is not there, or hidden from this token: there is nothing to "
            "propose a change to; publish without --pull-request"
        )
        raise ConfigError(message)
    if plan.private or plan.gated:
        message = (
            "--private and --gated are its owners' to set: not with --pull-request"
        )
        raise ConfigError(message)
    hub.may_write(plan.repo, propose=True)

    def landed() -> Commit | None:
        for number, page in hub.pull_requests(plan.repo, _title(plan)):
            if plan.holds(hub.tree(plan.repo, f"refs/pr/{number}")):
                return Commit(f"refs/pr/{number}", page)
        return None

    made = None
    if plan.commits:
        made = landed() or _send(plan, hub, plan.head.commit, landed, say)
    after = (
        f"after the pull request is merged, run the same command without "
        f"--pull-request: it only adds the tag {plan.tag} and compares"
    )
    return {
        "repo": plan.repo,
        "url": f"{plan.endpoint}/datasets/{plan.repo}",
        "version": plan.version,
        "tag": None,
        "commit": None,
        "pull_request": made.pull_request if made else None,
        "already": not plan.commits,
        "files": len(plan.add) + len(plan.change) if made else 0,
        "deleted": len(plan.delete) if made else 0,
        "bytes": plan.bytes if made else 0,
        "notices": [*plan.notices, after],
    }
