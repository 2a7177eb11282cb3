"""What publishing would do: nothing here changes anything."""

import fnmatch
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from curation.errors import ConfigError
from curation.hub import Blob, Gated, Head, Hub
from curation.pipeline import Route
from curation.publish import refuse
from curation.publish.files import File, listed, patterns, release_files
from curation.release import diff, versions
from curation.release.diff import Difference
from curation.release.write import CHECKSUMS, LICENCES

MANIFEST = "manifest.csv"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TAG = re.compile(r"v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to a repository, and what stands against it.

    Attributes:
        repo: ORG/NAME.
        endpoint: of the Hub.
        version: of the release; its tag is `v` and this.
        files: the release, by path.
        head: the repository as it was seen; None when there is none yet.
        tags: commit of each tag there.
        add, change, delete, keep: paths, sorted; `keep` are the release's own files
            that are there already. Files that were never the release's are in none.
        latest: the newest tagged version there, None without one.
        difference: photos and texts against `latest`; None without one.
        private, gated: what is to be set; None leaves it as it is.
        pull_request: propose the change instead of making it.
        tagged: the tag is there, and holds this very release.
        notices: what a person should know.
        refused: reasons against; empty when it may go ahead.
    """

    repo: str
    endpoint: str
    version: str
    files: Mapping[str, File]
    head: Head | None
    tags: Mapping[str, str]
    add: tuple[str, ...]
    change: tuple[str, ...]
    delete: tuple[str, ...]
    keep: tuple[str, ...]
    latest: str | None
    difference: Difference | None
    private: bool | None
    gated: Gated | None
    pull_request: bool
    tagged: bool
    notices: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def tag(self) -> str:
        """Name of the tag."""
        return f"v{self.version}"

    @property
    def commits(self) -> bool:
        """Whether the head must change."""
        return not self.tagged and bool(self.add or self.change or self.delete)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to change."""
        return self.tagged and not self.private and not self.gated

    @property
    def bytes(self) -> int:
        """Bytes of the files to send; what the Hub knows of them it does not take."""
        return sum(self.files[path].size for path in (*self.add, *self.change))

    def holds(self, tree: Mapping[str, Blob]) -> bool:
        """Whether a tree holds the release, and nothing that this plan deletes."""
        whole = all(file.same(tree.get(path)) for path, file in self.files.items())
        return whole and not set(self.delete) & set(tree)


def plan(
    route: Route,
    repo: str,
    *,
    hub: Hub,
    private: bool = False,
    gated: Gated | None = None,
    pull_request: bool = False,
) -> Plan:
    """Look at the release and at the Hub; needs no right to write.

    Args:
        route: a route whose release was written.
        repo: ORG/NAME.
        hub: where to.
        private: make it private.
        gated: let people ask for access.
        pull_request: propose the change instead of making it.

    Raises:
        ConfigError: the name is none.
        InputError: there is no release.
        HubError: the Hub cannot be asked.
    """
    if not _NAME.fullmatch(repo):
        message = f"{repo}: name the dataset as ORG/NAME, such as my-team/my-dataset"
        raise ConfigError(message)
    folder = route.shelf.folder / "release"
    files = release_files(folder)
    refused = list(refuse.reasons(route, folder))
    version = route.config.dataset.version
    head = hub.look(repo)
    tree = hub.tree(repo, head.commit) if head and head.commit else {}
    tags = hub.tags(repo) if head else {}
    tag = f"v{version}"
    tagged = tag in tags and _same(files, hub.tree(repo, tag))
    delete = _gone(hub, repo, head, tree, files)
    others = set(tags) - {tag} if tagged else set(tags)
    latest, difference = _latest(hub, repo, others, folder)
    if not tagged:
        refused += _version(tag, tags, latest, difference)
        refused += _strangers(folder, files, set(tree) - set(delete))
    notices = [
        *_edited(hub, repo, latest, tree, files),
        *_settings(head, private=private, gated=gated),
        *_visible(route, latest),
    ]
    add = sorted(set(files) - set(tree))
    change = sorted(p for p in set(files) & set(tree) if not files[p].same(tree[p]))
    return Plan(
        repo=repo, endpoint=hub.endpoint, version=version, files=files, head=head,
        tags=tags, add=tuple(add), change=tuple(change), delete=tuple(sorted(delete)),
        keep=tuple(sorted(set(files) - set(add) - set(change))), latest=latest,
        difference=difference,
        private=True if private and not (head and head.private) else None,
        gated=None if head and head.gated == gated else gated,
        pull_request=pull_request, tagged=tagged, notices=tuple(notices),
        refused=tuple(refused),
    )  # fmt: skip


def _same(files: Mapping[str, File], tree: Mapping[str, Blob]) -> bool:
    return all(file.same(tree.get(path)) for path, file in files.items())


def _gone(
    hub: Hub,
    repo: str,
    head: Head | None,
    tree: Mapping[str, Blob],
    files: Mapping[str, File],
) -> set[str]:
    """Files of the release at the head that the new one does not have."""
    if CHECKSUMS not in tree or files[CHECKSUMS].same(tree[CHECKSUMS]):
        return set()
    assert head is not None
    assert head.commit is not None
    former = listed(hub.read(repo, CHECKSUMS, head.commit))
    return (set(former) & set(tree)) - set(files)


def _latest(
    hub: Hub, repo: str, tags: set[str], folder: Path
) -> tuple[str | None, Difference | None]:
    """The newest version among tags, and what is different since."""
    others = [name for name in tags if _TAG.fullmatch(name)]
    if not others:
        return None, None
    latest = max(others, key=versions.parts)
    with tempfile.TemporaryDirectory() as place:
        before = Path(place)
        there = hub.tree(repo, latest)
        if MANIFEST not in there:
            return latest, None
        for name in {MANIFEST, LICENCES} & set(there):
            (before / name).write_bytes(hub.read(repo, name, latest))
        difference = diff.compare(
            diff.manifest(str(before)), diff.manifest(str(folder))
        )
        return latest, difference


def _version(
    tag: str,
    tags: Mapping[str, str],
    latest: str | None,
    difference: Difference | None,
) -> Iterable[str]:
    """Why this version cannot be the next."""
    if tag in tags:
        yield (
            f"tag {tag} is there and holds another release; a version that people may "
            "have loaded never changes: raise dataset.version, then `counterset run`"
        )
    if latest is None:
        return
    if difference is not None:
        try:
            versions.check(difference, before=latest, stated=tag[1:])
        except ConfigError as error:
            yield str(error)
    elif tag not in tags and versions.parts(tag) <= versions.parts(latest):
        yield (
            f"version {tag[1:]} is not above {latest}, which is on the Hub: raise "
            "dataset.version, then `counterset run`"
        )


def _strangers(
    folder: Path, files: Mapping[str, File], there: set[str]
) -> Iterable[str]:
    """Files of others that a loader would read as part of the dataset."""
    wrong = sorted(
        path
        for path in there - set(files)
        if any(fnmatch.fnmatch(path, pattern) for pattern in patterns(folder))
    )
    if wrong:
        yield (
            f"the repository holds {', '.join(wrong[:5])}, which no release put there "
            "and which would be read as part of the dataset: delete it there first"
        )


def _edited(
    hub: Hub,
    repo: str,
    latest: str | None,
    tree: Mapping[str, Blob],
    files: Mapping[str, File],
) -> Iterable[str]:
    """Our files that someone changed on the Hub since the latest version."""
    if latest is None:
        if tree and CHECKSUMS not in tree and "README.md" in tree:
            yield "the repository has a README.md of its own, which is replaced"
        return
    then = hub.tree(repo, latest)
    edited = sorted(
        path
        for path in set(files) & set(tree) & set(then)
        if then[path].git != tree[path].git and not files[path].same(tree[path])
    )
    if edited:
        yield (
            f"changed on the Hub since {latest}, and replaced: "
            f"{', '.join(edited[:5])}; text of your own for the card belongs into the "
            "file dataset.card names"
        )


def _settings(
    head: Head | None, *, private: bool, gated: Gated | None
) -> Iterable[str]:
    if head is None:
        yield "the repository is not there, or hidden from this token: it is created"
    elif private and not head.private:
        yield "the repository is public and becomes private"
    elif head.private and not private:
        yield "the repository is private and stays so; its settings page opens it"
    if head and gated and head.gated != gated:
        yield f"access to the repository must be asked for from now on ({gated})"


def _visible(route: Route, latest: str | None) -> Iterable[str]:
    """What taking down does not reach."""
    if latest and route.shelf.read_log("takedowns"):
        yield (
            "photos taken down leave the head; older tags and the history on the Hub "
            "still hold those that were published: docs/publish.md says how to purge"
        )
