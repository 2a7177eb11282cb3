"""What a Hub keeps: dataset repositories of immutable commits, branches and tags."""

import hashlib
import itertools
import json
from dataclasses import dataclass, field

ATTRIBUTES = b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"
BINARY = (".parquet", ".png", ".jpg", ".jpeg", ".webp", ".tar", ".zip", ".gz", ".npy")
LARGE = 10_000_000  # bytes from which a text, too, is kept outside git


class RefusedError(Exception):
    """An answer that is an error, with the headers the clients look at."""

    def __init__(
        self, status: int, message: str, *, code: str = "", **more: object
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.more = status, code, more


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a commit: its bytes, or the sha256 of an object kept outside."""

    size: int
    data: bytes | None = None
    sha256: str | None = None

    @property
    def oid(self) -> str:
        """Git's name for the blob; of a large file, for its pointer."""
        data = self.data
        if data is None:
            data = (
                "version https://git-lfs.github.com/spec/v1\n"
                f"oid sha256:{self.sha256}\nsize {self.size}\n"
            ).encode()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 or self.oid


@dataclass(frozen=True, slots=True)
class Commit:
    sha: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    files: dict[str, Entry]


@dataclass
class Repository:
    """A dataset repository.

    Attributes:
        id: `owner/name`.
        gated: False, `auto` or `manual`; `granted` names who may read it then.
        branches, tags, pulls: name (a number) to commit.
    """

    id: str
    creator: str
    private: bool = False
    gated: str | bool = False
    granted: set[str] = field(default_factory=set)
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pulls: dict[int, str] = field(default_factory=dict)
    discussions: dict[int, dict] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._clock = itertools.count()
        first = {".gitattributes": Entry(len(ATTRIBUTES), ATTRIBUTES)}
        self.branches["main"] = self.add(None, first, "initial commit", self.creator)

    @property
    def owner(self) -> str:
        return self.id.split("/")[0]

    @property
    def head(self) -> str:
        return self.branches["main"]

    def add(
        self,
        parent: str | None,
        files: dict[str, Entry],
        title: str,
        author: str,
        message: str = "",
    ) -> str:
        """Store a commit; its sha."""
        second = next(self._clock)
        date = f"2026-01-01T{second // 3600:02}:{second // 60 % 60:02}"
        date += f":{second % 60:02}.000Z"
        tree = {path: entry.oid for path, entry in sorted(files.items())}
        whole = json.dumps([self.id, parent, tree, title, message, author, date])
        sha = hashlib.sha1(whole.encode()).hexdigest()
        self.commits[sha] = Commit(sha, parent, title, message, author, date, files)
        return sha

    def find(self, revision: str) -> Commit:
        """The commit a branch, tag, pull request or sha (of 7 characters up) names."""
        refs = self.refs()
        for name in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if name in refs:
                return self.commits[refs[name]]
        shas = [sha for sha in self.commits if sha.startswith(revision)]
        if len(revision) >= 7 and len(shas) == 1:
            return self.commits[shas[0]]
        raise RefusedError(404, f"Invalid rev id: {revision}", code="RevisionNotFound")

    def refs(self) -> dict[str, str]:
        """Full names of refs, with their commits."""
        return {
            **{f"refs/heads/{name}": sha for name, sha in self.branches.items()},
            **{f"refs/tags/{name}": sha for name, sha in self.tags.items()},
            **{f"refs/pr/{number}": sha for number, sha in self.pulls.items()},
        }

    def move(self, ref: str, sha: str) -> None:
        """Set a branch or a pull request to a commit."""
        if ref.startswith("refs/pr/"):
            self.pulls[int(ref.rsplit("/", 1)[1])] = sha
        else:
            self.branches[ref.removeprefix("refs/heads/")] = sha

    def history(self, revision: str) -> list[Commit]:
        """Newest first."""
        commit, found = self.find(revision), []
        while True:
            found.append(commit)
            if commit.parent is None:
                return found
            commit = self.commits[commit.parent]

    def open_pull(self, title: str, author: str, description: str = "") -> int:
        """A new pull request at the head of main; its number."""
        number = len(self.discussions) + 1
        self.pulls[number] = self.head
        self.discussions[number] = {
            "title": title,
            "num": number,
            "author": {"name": author, "type": "user"},
            "createdAt": self.commits[self.head].date,
            "status": "draft",
            "repo": {"name": self.id, "type": "dataset"},
            "isPullRequest": True,
            "changes": {"base": "refs/heads/main"},
            "filesWithConflicts": False,
            "events": [],
            "diff": "",
            "description": description,
        }
        return number


def kept_outside(path: str, size: int, sample: bytes) -> bool:
    """Whether a file is stored beside git, by its name, size or first bytes."""
    return path.lower().endswith(BINARY) or size > LARGE or b"\0" in sample
