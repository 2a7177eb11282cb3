"""The door to the Hugging Face Hub: the only file that writes there.

`huggingface_hub` is imported when the door is first used. Addresses and the token come
from the environment, as that library reads them: HF_ENDPOINT, HF_TOKEN, or the login
that `hf auth login` keeps. What the Hub answers is asked again when that is safe, and
told in one sentence with what to do when it is final; a token is never told.
"""

import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from curation import hub_answers as answers
from curation.errors import ConfigError, HubError
from curation.hub_answers import Refused

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ENDPOINT = "https://huggingface.co"
ATTEMPTS = 5
LONGEST_WAIT = 300.0
"""Seconds waited when the Hub says for how long to leave it alone."""

Gated = Literal["auto", "manual"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Blob:
    """A file on the Hub.

    Attributes:
        size: bytes.
        git: its git id (sha1); of a large file, that of its pointer.
        sha256: of a large file's bytes; None for files kept in git itself.
    """

    size: int
    git: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Head:
    """A repository and where its branch stands.

    Attributes:
        commit: None when nothing was ever committed.
        private: whether only members see it.
        gated: whether access must be asked for.
    """

    commit: str | None
    private: bool
    gated: str | bool


@dataclass(frozen=True, slots=True)
class Commit:
    """What a commit came to: its id and, of a pull request, its page."""

    oid: str
    pull_request: str | None = None


@dataclass(slots=True)
class Upload:
    """Files that are sent before the commit that names them."""

    operations: list[Any] = field(default_factory=list)


class Hub:
    """One Hub, by its endpoint and token."""

    def __init__(
        self,
        endpoint: str,
        token: str | None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._token, self._sleep = token, sleep
        self._made: HfApi | None = None

    @classmethod
    def from_environment(cls) -> "Hub":
        """The Hub that HF_ENDPOINT names, with the token there is, if any."""
        from huggingface_hub import get_token

        return cls(os.environ.get("HF_ENDPOINT") or ENDPOINT, get_token())

    @property
    def token(self) -> str | None:
        """The token, to be handed on to a process of our own and nowhere else."""
        return self._token

    @property
    def _api(self) -> "HfApi":
        if self._made is None:
            from huggingface_hub import HfApi
            from huggingface_hub.utils.tqdm import disable_progress_bars

            disable_progress_bars()
            self._made = HfApi(endpoint=self.endpoint, token=self._token or False)
        return self._made

    # asking --------------------------------------------------------------------------

    def may_write(self, repo: str, *, propose: bool = False) -> str:
        """Name of the account the token is of.

        Args:
            repo: what it shall write to.
            propose: pull requests only, which every account may open.

        Raises:
            ConfigError: there is no token, or it may only read.
            HubError: the Hub does not know it.
        """
        if not self._token:
            message = (
                "publishing needs a token that may write: make one at "
                f"{self.endpoint}/settings/tokens and put it into HF_TOKEN"
            )
            raise ConfigError(message)
        who = self._ask("asking whose token this is", self._api.whoami)
        token = (who.get("auth") or {}).get("accessToken") or {}
        space = repo.partition("/")[0]
        roles = {o.get("name"): o.get("roleInOrg") for o in who.get("orgs") or ()}
        if token.get("role") == "read":
            message = (
                f"the token of {who['name']} may only read; make one that may write at "
                f"{self.endpoint}/settings/tokens and put it into HF_TOKEN"
            )
            raise ConfigError(message)
        if roles.get(space) == "read" and not propose:
            message = (
                f"{who['name']} may only read in {space}; ask its admins for the role "
                "`write`, or publish elsewhere"
            )
            raise ConfigError(message)
        return str(who["name"])

    def look(self, repo: str, revision: str | None = None) -> Head | None:
        """The repository at its head or a revision; None where there is none to see."""
        from huggingface_hub.errors import RepositoryNotFoundError

        def asked() -> Head | None:
            try:
                info = self._api.dataset_info(repo, revision=revision)
            except RepositoryNotFoundError as error:
                if error.response.headers.get("X-Error-Code") == "GatedRepo":
                    raise
                return None
            return Head(info.sha, bool(info.private), info.gated or False)

        return self._ask(f"looking at {repo}", asked)

    def tree(self, repo: str, revision: str) -> dict[str, Blob]:
        """Every file at a revision, by its path."""
        from huggingface_hub import RepoFile

        def asked() -> dict[str, Blob]:
            listed = self._api.list_repo_tree(
                repo, repo_type="dataset", revision=revision, recursive=True
            )
            return {
                entry.path: Blob(
                    entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else None
                )
                for entry in listed
                if isinstance(entry, RepoFile)
            }

        return self._ask(f"listing the files of {repo}", asked)

    def tags(self, repo: str) -> dict[str, str]:
        """Commit of each tag."""

        def asked() -> dict[str, str]:
            refs = self._api.list_repo_refs(repo, repo_type="dataset")
            return {tag.name: tag.target_commit for tag in refs.tags}

        return self._ask(f"listing the tags of {repo}", asked)

    def pull_requests(self, repo: str, title: str) -> list[tuple[int, str]]:
        """Number and page of the open pull requests with a title."""

        def asked() -> list[tuple[int, str]]:
            found = self._api.get_repo_discussions(
                repo,
                repo_type="dataset",
                discussion_type="pull_request",
                discussion_status="open",
            )
            return [(d.num, d.url) for d in found if d.title == title]

        return self._ask(f"listing the pull requests of {repo}", asked)

    def last_commit(self, repo: str, revision: str = "main") -> str:
        """Title and authors of the newest commit, for a person."""

        def asked() -> str:
            commits = self._api.list_repo_commits(
                repo, repo_type="dataset", revision=revision
            )
            if not commits:
                return "no commit"
            by = ", ".join(commits[0].authors) or "unknown"
            return f"“{commits[0].title}” by {by} ({commits[0].commit_id[:8]})"

        return self._ask(f"listing the commits of {repo}", asked)

    def read(self, repo: str, path: str, revision: str) -> bytes:
        """A file's bytes at a revision."""

        def asked() -> bytes:
            with tempfile.TemporaryDirectory() as place:
                got = self._api.hf_hub_download(
                    repo, path, repo_type="dataset", revision=revision, cache_dir=place
                )
                return Path(got).read_bytes()

        return self._ask(f"reading {path} of {repo}", asked)

    # changing ------------------------------------------------------------------------

    def create(self, repo: str, *, private: bool) -> None:
        """Make the repository unless it is there."""

        def asked() -> None:
            self._api.create_repo(
                repo, repo_type="dataset", private=private or None, exist_ok=True
            )

        self._ask(f"creating {repo}", asked)

    def set(
        self, repo: str, *, private: bool | None = None, gated: Gated | None = None
    ) -> None:
        """Change who may see it; what is None stays."""

        def asked() -> None:
            self._api.update_repo_settings(
                repo, repo_type="dataset", private=private, gated=gated
            )

        self._ask(f"changing the settings of {repo}", asked)

    def upload(
        self,
        repo: str,
        files: Mapping[str, tuple[Path, str]],
        *,
        pull_request: bool = False,
    ) -> Upload:
        """Send the large files among these; nobody sees them before the commit.

        What is there already is not sent again. The client itself tries each step
        again for some 20 s.

        Args:
            repo: the repository.
            files: path in the repository → file here and its sha256.
            pull_request: ask for no right to write.
        """
        from huggingface_hub import CommitOperationAdd

        operations = []
        for path, (file, sha256) in files.items():
            operation = CommitOperationAdd(path, str(file))
            operation.upload_info.sha256 = bytes.fromhex(sha256)
            operations.append(operation)
        with self._told(f"uploading to {repo}", final=True):
            self._api.preupload_lfs_files(
                repo,
                operations,
                repo_type="dataset",
                create_pr=pull_request,
                free_memory=False,
                gitignore_content="",
            )
        ignored = [o.path_in_repo for o in operations if o._should_ignore]
        if ignored:
            message = (
                f"{repo}: the Hub leaves out {', '.join(ignored[:5])}, because of its "
                ".gitignore; delete that file there"
            )
            raise HubError(message, url=self._page(repo))
        return Upload(operations)

    def commit(
        self,
        repo: str,
        upload: Upload,
        *,
        delete: Sequence[str],
        parent: str | None,
        title: str,
        text: str,
        pull_request: bool,
        landed: Callable[[], Commit | None],
    ) -> Commit:
        """One commit of uploaded files and deletions; all of it or nothing.

        A reply that was lost, or a refusal that may pass, leaves open whether the
        commit was made: `landed` looks before it is tried again.

        Args:
            repo: the repository.
            upload: what `upload` sent.
            delete: paths that go.
            parent: the head this is made for; another head refuses it.
            title: first line.
            text: the rest.
            pull_request: propose it instead.
            landed: the commit if it is there, None if it is not.

        Raises:
            HubError: refused, or `landed` found another head.
        """
        from huggingface_hub import CommitOperationDelete

        gone = [CommitOperationDelete(path, is_folder=False) for path in delete]

        def asked() -> Commit:
            made = self._api.create_commit(
                repo,
                [*upload.operations, *gone],
                repo_type="dataset",
                commit_message=title,
                commit_description=text,
                parent_commit=parent,
                create_pr=pull_request,
            )
            return Commit(made.oid, made.pr_url)

        return self._ask(f"committing to {repo}", asked, look=landed)

    def tag(
        self, repo: str, name: str, commit: str, *, text: str, landed: Callable[[], T]
    ) -> None:
        """Name a commit; `landed` looks whether it is named, as for `commit`."""

        def asked() -> None:
            self._api.create_tag(
                repo,
                repo_type="dataset",
                tag=name,
                tag_message=text,
                revision=commit,
            )

        self._ask(f"tagging {repo}", asked, look=landed)

    # what all share ------------------------------------------------------------------

    def _page(self, repo: str) -> str:
        return f"{self.endpoint}/datasets/{repo}"

    def _ask(
        self,
        doing: str,
        call: Callable[[], T],
        *,
        look: Callable[[], Any] | None = None,
    ) -> T:
        """Call until it succeeds, it is final, or attempts run out.

        With `look`, every failure that could have come after the deed is followed by a
        look, and what it finds is the outcome.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._told(doing):
                    return call()
            except Refused as refused:
                again = refused.passing or (look and refused.status in (409, 412))
                if again and look and (found := look()):
                    return found  # type: ignore[no-any-return]
                if not again or attempt == ATTEMPTS:
                    raise self._error(doing, refused, attempt) from refused
                pause = (
                    refused.wait if refused.wait is not None else 2.0 ** (attempt - 2)
                )
                if pause > LONGEST_WAIT:
                    raise self._error(doing, refused, attempt) from refused
                self._sleep(pause)
        raise AssertionError

    @contextmanager
    def _told(self, doing: str, *, final: bool = False) -> Iterator[None]:
        """Errors of the client as `Refused`, or as `HubError` when final."""
        from huggingface_hub.errors import OfflineModeIsEnabled

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except (HubError, ConfigError, Refused):
            raise
        except OfflineModeIsEnabled as error:
            message = "the Hub cannot be asked while HF_HUB_OFFLINE is set; unset it"
            raise ConfigError(message) from error
        except Exception as error:
            refused = answers.read(error, self._token)
            if refused is None:
                raise
            raise (self._error(doing, refused, 1) if final else refused) from error

    def _error(self, doing: str, refused: Refused, attempts: int) -> HubError:
        status = f"HTTP {refused.status}" if refused.status else ""
        said = ": ".join(filter(None, (status, refused.text)))
        often = f", {attempts} times" if attempts > 1 else ""
        what = answers.remedy(refused)
        message = f"{doing} at {self.endpoint} failed{often}: {said}. {what}"
        return HubError(
            message, url=refused.url or self.endpoint, status=refused.status
        )

    def clean(self, text: str) -> str:
        """A text on one line, without tokens and signed addresses."""
        return answers.clean(text, self._token)


def asked_for(gated: str) -> Gated | None:
    """What --gated says; None when nothing.

    Raises:
        ConfigError: it is neither auto nor manual.

    Example:
        >>> asked_for("auto"), asked_for("")
        ('auto', None)
    """
    if gated not in ("", "auto", "manual"):
        message = f"--gated {gated}: it is auto or manual"
        raise ConfigError(message)
    return cast("Gated", gated) if gated else None
