"""The only door to a Label Studio server.

Built on `label-studio-sdk`; plain HTTP, over the SDK's own connection and token, only
where the SDK lacks a call or gets it wrong. Nothing here knows of datasets, questions
or work folders: `curation.labelling` does.

LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY say where and who. A personal access token and
a legacy token both do; neither is written anywhere, logged, or part of an error.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from curation.errors import ConfigError, LabelStudioError

URL, KEY = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"
TESTED = "1.23.2"
"""Version of the server that this was made with."""

PATIENCE = 60.0
"""Seconds to wait for a server that does not answer, such as one that restarts."""

_NAMES = {
    "title": "title",
    "description": "description",
    "interface": "label_config",
    "instructions": "expert_instruction",
    "answers": "maximum_annotations",
    "show_proposals": "show_collab_predictions",
}
_log = logging.getLogger(__name__)


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
        patience: seconds to wait for a server that stops answering; one that never
            answered is given a few seconds.

    Raises (every method): LabelStudioError, which says what was asked, what came back,
        and what to do; ConfigError for a key that is refused, one message for each way
        it can be.
    """

    def __init__(self, url: str, key: str, *, patience: float = PATIENCE) -> None:
        from curation.labelstudio.link import Link

        self._link = Link(url, key, patience=patience)
        self.url = self._link.url

    def close(self) -> None:
        """Hang up; nothing can be asked afterwards."""
        self._link.close()

    def __repr__(self) -> str:
        return f"LabelStudio({self.url!r})"

    @classmethod
    def from_environment(cls) -> "LabelStudio":
        """The server that the environment names.

        Raises:
            ConfigError: a variable is missing; says which, and where a key is found.
        """
        missing = [name for name in (URL, KEY) if not os.environ.get(name)]
        if missing:
            message = (
                f"{' and '.join(missing)} not set: where Label Studio is, such as "
                "http://127.0.0.1:8080, and a key, which is made there under "
                "Account & Settings > Personal Access Token"
            )
            raise ConfigError(message)
        return cls(os.environ[URL], os.environ[KEY])

    def greet(self) -> str:
        """Make sure that Label Studio answers there and knows the key.

        Returns: the server's version, such as 1.23.2.

        Raises:
            LabelStudioError: nothing answers, or another service does.
        """
        version = self._link.version()
        with self._link.explained():
            known = self._link.sdk.users.whoami().email
        if not known:
            what = "nobody's name for our key"
            raise self._link.strange(what)
        if version != TESTED:
            _log.warning(
                "Label Studio %s answers; this was made with %s", version, TESTED
            )
        return version

    def people(self) -> dict[int, str]:
        """E-mail address by user id: everyone who may answer."""
        with self._link.explained():
            return {
                person.id: person.email or "" for person in self._link.sdk.users.list()
            }

    # projects -----------------------------------------------------------------------

    def project(self, number: int) -> Project | None:
        """A project; None when the server has none of that number."""
        try:
            return self._there(number)
        except LabelStudioError as error:
            if error.status != 404:
                raise
        self._link.version()  # it is Label Studio that has no such project
        return None

    def projects(self) -> Iterator[Project]:
        """Every project the key may see."""
        wanted = "id,title,description,label_config,task_number,maximum_annotations"
        with self._link.explained():
            pages: Iterable[Any] = self._link.sdk.projects.list(
                include=wanted, page_size=100
            )
            found = [_project(one) for one in pages]
        yield from found

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
        self._validated(interface)
        with self._link.explained():
            made = self._link.sdk.projects.create(
                title=title,
                description=description,
                label_config=interface,
                expert_instruction=instructions,
                show_instruction=bool(instructions),
                maximum_annotations=answers,
                show_collab_predictions=show_proposals,
                show_skip_button=True,
                skip_queue="REQUEUE_FOR_OTHERS",
                enable_empty_annotation=False,
                sampling="Sequential sampling",
            )
            number = int(made.id or 0)
        return self._there(number)

    def update_project(self, number: int, **settings: Any) -> Project:  # noqa: ANN401
        """Change settings of a project, by the names of `create_project`.

        Changing `answers` resets what `set_overlap` set: set it again.
        """
        if "interface" in settings:
            self._validated(settings["interface"])
        named = {_NAMES[name]: value for name, value in settings.items()}
        if "expert_instruction" in named:
            named["show_instruction"] = bool(named["expert_instruction"])
        with self._link.explained():
            self._link.sdk.projects.update(number, **named)
        return self._there(number)

    def delete_project(self, number: int) -> None:
        """Delete a project with all that is in it: for tests and benchmarks."""
        try:
            with self._link.explained():
                self._link.sdk.projects.delete(number)
        except LabelStudioError as error:
            if error.status != 404:  # an earlier attempt whose answer was lost
                raise

    # tasks --------------------------------------------------------------------------

    def import_tasks(
        self, project: int, tasks: Sequence[Mapping[str, Any]]
    ) -> list[int]:
        """Add tasks in one request; their ids in the order given.

        It is never sent twice: a lost answer is an error, `keys` tells what arrived.
        """
        from curation.labelstudio import reading

        if not tasks:
            return []
        with self._link.explained():
            answer = self._link.sdk.projects.import_tasks(
                project,
                request=tasks,  # type: ignore[arg-type]  # plain JSON is sent as it is
                return_task_ids=True,
                request_options={"timeout_in_seconds": reading.IMPORT_SECONDS},
            )
            ids = getattr(answer, "task_ids", None)  # the SDK's type lacks it
            later = None if ids else answer.import_
        if later is not None:
            ids = reading.imported(self._link, project, later)
        if ids is None or len(ids) != len(tasks):
            what = f"{len(ids or ())} numbers for {len(tasks)} tasks imported"
            raise self._link.strange(what)
        return list(ids)

    def keys(self, project: int, *, after: int = 0) -> Iterator[tuple[int, str]]:
        """Id and `data.key` of every task of a project; an empty key where it lacks.

        Args:
            project: its number.
            after: only tasks with larger ids, which were made later.
        """
        from curation.labelstudio import reading

        for task in reading.tasks(self._link, project, "id", "data", after=after):
            yield task["id"], str((task["data"] or {}).get("key") or "")

    def set_overlap(self, task: int, annotators: int) -> None:
        """How many annotators one task wants, whatever its project wants."""
        with self._link.explained():
            self._link.sdk.tasks.update(str(task), overlap=annotators)

    def set_data(self, task: int, data: Mapping[str, Any]) -> None:
        """Replace the data of a task, such as where its picture is."""
        with self._link.explained():
            self._link.sdk.tasks.update(str(task), data=dict(data))

    def changed_since(
        self, project: int, moment: datetime | None
    ) -> list[tuple[int, datetime]]:
        """Tasks that were updated after a moment (all when None), and when.

        None is later than the latest update there was when this began, so the largest
        moment returned is where to go on: a task that changes meanwhile comes then.
        """
        from curation.labelstudio import reading

        return reading.changed_since(self._link, project, moment)

    def count_changed(self, project: int, after: datetime, until: datetime) -> int:
        """How many tasks were last updated after a moment, and not after another."""
        from curation.labelstudio import reading

        return reading.count_changed(self._link, project, after, until)

    def export(
        self, project: int, tasks: Iterable[int] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Whole tasks with all their annotations, skipped ones included.

        As `export?exportType=JSON` gives them; tasks that are gone are left out.
        `tasks=None` exports every annotated task of the project.
        """
        from curation.labelstudio import reading

        return reading.export(self._link, project, tasks)

    def picture(self, image: str, *, task: int) -> Picture:
        """Fetch a task's picture the way the labelling page does."""
        from curation.labelstudio import picture as pictures

        return pictures.fetch(self._link, image, task=task)

    # storage and webhooks -----------------------------------------------------------

    def connect_folder(self, project: int, *, path: str, title: str) -> None:
        """Let a project show files of a folder on the server's disk; once is enough.

        Args:
            project: its number.
            path: as the server sees it; a strict subfolder of its document root.
            title: for people.
        """
        from curation.labelstudio import storage

        storage.connect_folder(self._link, project, path=path, title=title)

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
        from curation.labelstudio import storage

        storage.connect_bucket(
            self._link,
            project,
            bucket=bucket,
            prefix=prefix,
            endpoint=endpoint,
            region=region,
            key=key,
            secret=secret,
            title=title,
        )

    def nudge(self, project: int, url: str) -> None:
        """Have the server post to a URL whenever an annotation changes; once only."""
        from curation.labelstudio import storage

        storage.nudge(self._link, project, url)

    # what these stand on ------------------------------------------------------------

    def _there(self, number: int) -> Project:
        with self._link.explained():
            return _project(self._link.sdk.projects.get(number))

    def _validated(self, interface: str) -> None:
        """The SDK can only validate for a project that is there already."""
        self._link.ask(
            "POST", "/api/projects/validate/", content={"label_config": interface}
        )


def host(url: str) -> str:
    """Host and port of a URL, which is all that is kept of it."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _project(found: Any) -> Project:  # noqa: ANN401
    return Project(
        id=found.id,
        title=found.title or "",
        description=found.description or "",
        interface=found.label_config or "",
        tasks=found.task_number or 0,
        answers=found.maximum_annotations or 1,
    )
