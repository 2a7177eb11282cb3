"""The only door to a Label Studio server.

Built on `label-studio-sdk`; plain HTTP, over the SDK's own connection and token, only
where the SDK lacks a call or gets it wrong. Nothing here knows of datasets, questions
or work folders: `curation.labelling` does.

LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY say where and who. A personal access token and
a legacy token both do; neither is written anywhere, logged, or part of an error.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from curation.errors import ConfigError

URL, KEY = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"


@dataclass(frozen=True, slots=True)
class Project:
    """A project as the server has it.

    Attributes:
        id: its number on the server.
        title: for people.
        description: for people; ours ends with a mark, see `curation.labelling`.
        interface: labelling configuration, XML.
        tasks: how many it holds.
        answers: annotators wanted per task.
    """

    id: int
    title: str
    description: str
    interface: str
    tasks: int
    answers: int


@dataclass(frozen=True, slots=True)
class Picture:
    """What a browser that is logged in would get for a task's picture.

    Attributes:
        status: HTTP status of the last answer, redirections followed.
        kind: media type, such as image/jpeg.
        data: the bytes.
        url: where it came from at last, without a query.
        shown_to_others: whether the answer lets pages of the server's origin read it
            (same origin, or Access-Control-Allow-Origin).
    """

    status: int
    kind: str
    data: bytes
    url: str
    shown_to_others: bool


class LabelStudio:
    """One server, asked in one user's name.

    Args:
        url: where it is, such as http://127.0.0.1:8080.
        key: personal access token or legacy token.

    Raises (every method): LabelStudioError, which says what was asked, what came back,
        and what to do; ConfigError for a key that is refused, one message for each way
        it can be.
    """

    def __init__(self, url: str, key: str) -> None:
        raise NotImplementedError

    @classmethod
    def from_environment(cls) -> "LabelStudio":
        """The server that the environment names.

        Raises:
            ConfigError: a variable is missing; says which, and where a key is found.
        """
        missing = [name for name in (URL, KEY) if not os.environ.get(name)]
        if missing:
            message = f"{' and '.join(missing)} not set"
            raise ConfigError(message)
        return cls(os.environ[URL], os.environ[KEY])

    def greet(self) -> str:
        """Make sure that Label Studio answers there and knows the key.

        Returns: the server's version, such as 1.23.2.

        Raises:
            LabelStudioError: nothing answers, or another service does.
        """
        raise NotImplementedError

    def people(self) -> dict[int, str]:
        """E-mail address by user id: everyone who may answer."""
        raise NotImplementedError

    # projects -----------------------------------------------------------------------

    def project(self, number: int) -> Project | None:
        """A project; None when the server has none of that number."""
        raise NotImplementedError

    def projects(self) -> Iterator[Project]:
        """Every project the key may see."""
        raise NotImplementedError

    def create_project(
        self,
        *,
        title: str,
        description: str,
        interface: str,
        instructions: str,
        answers: int,
        show_proposals: bool,
    ) -> Project:
        """Make a project; its configuration is validated by the server first.

        Args:
            title: three characters or more.
            description: for people, and our mark.
            interface: labelling configuration, XML.
            instructions: HTML shown before labelling starts.
            answers: annotators wanted per task.
            show_proposals: pre-select predictions.
        """
        raise NotImplementedError

    def update_project(self, number: int, **settings: Any) -> Project:  # noqa: ANN401
        """Change settings of a project, by the names of `create_project`.

        Changing `answers` resets what `set_overlap` set: set it again.
        """
        raise NotImplementedError

    def delete_project(self, number: int) -> None:
        """Delete a project with all that is in it: for tests and benchmarks."""
        raise NotImplementedError

    # tasks --------------------------------------------------------------------------

    def import_tasks(
        self, project: int, tasks: Sequence[Mapping[str, Any]]
    ) -> list[int]:
        """Add tasks in one request; their ids in the order given.

        It is never sent twice: a lost answer is an error, `keys` tells what arrived.
        """
        raise NotImplementedError

    def keys(self, project: int) -> Iterator[tuple[int, str]]:
        """Id and `data.key` of every task of a project; an empty key where it lacks."""
        raise NotImplementedError

    def set_overlap(self, task: int, annotators: int) -> None:
        """How many annotators one task wants, whatever its project wants."""
        raise NotImplementedError

    def changed_since(
        self, project: int, moment: datetime | None
    ) -> list[tuple[int, datetime]]:
        """Tasks that were updated after a moment (all when None), and when."""
        raise NotImplementedError

    def export(
        self, project: int, tasks: Iterable[int] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Whole tasks with all their annotations, skipped ones included.

        As `export?exportType=JSON` gives them; tasks that are gone are left out.
        `tasks=None` exports every annotated task of the project.
        """
        raise NotImplementedError

    def picture(self, image: str, *, task: int) -> Picture:
        """Fetch a task's picture the way the labelling page does."""
        raise NotImplementedError

    # storage and webhooks -----------------------------------------------------------

    def connect_folder(self, project: int, *, path: str, title: str) -> None:
        """Let a project show files of a folder on the server's disk; once is enough.

        Args:
            project: its number.
            path: as the server sees it; a strict subfolder of its document root.
            title: for people.
        """
        raise NotImplementedError

    def connect_bucket(
        self,
        project: int,
        *,
        bucket: str,
        prefix: str,
        endpoint: str,
        region: str,
        key: str,
        secret: str,
        title: str,
    ) -> None:
        """Let a project show objects of an S3-compatible bucket by presigned URLs."""
        raise NotImplementedError

    def nudge(self, project: int, url: str) -> None:
        """Have the server post to a URL whenever an annotation changes; once only."""
        raise NotImplementedError


def host(url: str) -> str:
    """Host and port of a URL, which is all that is kept of it."""
    return urlsplit(url).netloc.rpartition("@")[2]
