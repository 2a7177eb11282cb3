"""The only door to a Label Studio server.

Built on `label-studio-sdk`; plain HTTP, over the SDK's own connection and token, only
where the SDK lacks a call or gets it wrong. Nothing here knows of datasets, questions
or work folders: `curation.labelling` does.

LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY say where and who. A personal access token and
a legacy token both do; neither is written anywhere, logged, or part of an error.
"""

import itertools
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from curation.errors import ConfigError, LabelStudioError

URL, KEY = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"
TESTED = "1.23.2"
"""Version of the server that this was made with."""

PATIENCE = 60.0
"""Seconds to wait for a server that does not answer, such as one that restarts."""

_PAGE = 1000
_BATCH = 400  # ids in one address: about 5 kB, and nginx takes 8
_IMPORT_SECONDS = 600
_NAMES = {
    "title": "title",
    "description": "description",
    "interface": "label_config",
    "instructions": "expert_instruction",
    "answers": "maximum_annotations",
    "show_proposals": "show_collab_predictions",
}
_CHANGES = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
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
        patience: seconds to wait for a server that does not answer.

    Raises (every method): LabelStudioError, which says what was asked, what came back,
        and what to do; ConfigError for a key that is refused, one message for each way
        it can be.
    """

    def __init__(self, url: str, key: str, *, patience: float = PATIENCE) -> None:
        from curation.labelstudio_link import Link

        self._link = Link(url, key, patience=patience)
        self.url = self._link.url

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
        about = self._link.ask("GET", "/api/version")
        if not isinstance(about, dict) or "label-studio-os-package" not in about:
            raise self._link.strange(json.dumps(about)[:100])
        version = str(about.get("release", "unknown"))
        with self._link.explained():
            me = self._link.sdk.users.whoami()
        if not me.email:
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
        from curation.labelstudio_link import Missing

        try:
            with self._link.explained():
                return _project(self._link.sdk.projects.get(number))
        except Missing:
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
        return self._there(int(made.id or 0))

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
        from curation.labelstudio_link import Missing

        try:
            with self._link.explained():
                self._link.sdk.projects.delete(number)
        except Missing:
            return  # an earlier attempt whose answer was lost

    # tasks --------------------------------------------------------------------------

    def import_tasks(
        self, project: int, tasks: Sequence[Mapping[str, Any]]
    ) -> list[int]:
        """Add tasks in one request; their ids in the order given.

        It is never sent twice: a lost answer is an error, `keys` tells what arrived.
        """
        if not tasks:
            return []
        with self._link.explained():
            answer = self._link.sdk.projects.import_tasks(
                project,
                request=tasks,  # type: ignore[arg-type]  # plain JSON is sent as it is
                return_task_ids=True,
                request_options={"timeout_in_seconds": _IMPORT_SECONDS},
            )
        ids = getattr(answer, "task_ids", None)  # the SDK's type lacks it
        if ids is None and answer.import_ is not None:
            ids = self._imported(project, answer.import_)
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
        for task in self._tasks(project, "id", "data", after=after):
            yield task["id"], str(task["data"].get("key") or "")

    def set_overlap(self, task: int, annotators: int) -> None:
        """How many annotators one task wants, whatever its project wants."""
        with self._link.explained():
            self._link.sdk.tasks.update(str(task), overlap=annotators)

    def changed_since(
        self, project: int, moment: datetime | None
    ) -> list[tuple[int, datetime]]:
        """Tasks that were updated after a moment (all when None), and when.

        None is later than the latest update there was when this began, so the largest
        moment returned is where to go on: a task that changes meanwhile comes then.
        """
        since = [] if moment is None else [_updated("greater", moment)]
        latest = self._page(project, since, ("updated_at",), size=1, by="-updated_at")
        if not latest["tasks"]:
            return []
        until = datetime.fromisoformat(latest["tasks"][0]["updated_at"])
        window = [*since, _updated("less_or_equal", until)]
        return [
            (task["id"], datetime.fromisoformat(task["updated_at"]))
            for task in self._tasks(project, "id", "updated_at", where=window)
        ]

    def export(
        self, project: int, tasks: Iterable[int] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Whole tasks with all their annotations, skipped ones included.

        As `export?exportType=JSON` gives them; tasks that are gone are left out.
        `tasks=None` exports every annotated task of the project.
        """
        if tasks is None:
            counts = ("total_annotations", "cancelled_annotations")
            tasks = (
                task["id"]
                for task in self._tasks(project, "id", *counts)
                if any(task[count] for count in counts)
            )
        numbers = iter(tasks)
        while batch := list(dict.fromkeys(itertools.islice(numbers, _BATCH))):
            which = "".join(f"&ids[]={number}" for number in batch)
            found = self._link.ask(
                "GET",
                f"/api/projects/{project}/export"
                f"?exportType=JSON&download_all_tasks=true{which}",
            )
            if not isinstance(found, list):
                raise self._link.strange(json.dumps(found)[:100])
            yield from found

    def picture(self, image: str, *, task: int) -> Picture:
        """Fetch a task's picture the way the labelling page does."""
        from curation import labelstudio_picture

        return labelstudio_picture.fetch(self._link, image, task=task)

    # storage and webhooks -----------------------------------------------------------

    def connect_folder(self, project: int, *, path: str, title: str) -> None:
        """Let a project show files of a folder on the server's disk; once is enough.

        Args:
            project: its number.
            path: as the server sees it; a strict subfolder of its document root.
            title: for people.
        """
        stores = self._link.sdk.import_storage.local
        with self._link.explained():
            there = stores.list(project=project)
        if any((store.path or "").rstrip("/") == path.rstrip("/") for store in there):
            return
        try:
            with self._link.explained():
                stores.create(
                    project=project, path=path, title=title, use_blob_urls=True
                )
        except LabelStudioError as error:
            raise _advised(error, _FOLDER_ADVICE) from None

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
        stores = self._link.sdk.import_storage.s3
        with self._link.explained():
            there = stores.list(project=project)
        settings: dict[str, Any] = {
            "project": project,
            "bucket": bucket,
            "prefix": prefix,
            "s3endpoint": endpoint or None,
            "region_name": region or None,
            "aws_access_key_id": key,
            "aws_secret_access_key": secret,
            "title": title,
            "presign": True,
            "use_blob_urls": True,
        }
        same = [
            store.id
            for store in there
            if (store.bucket, store.prefix or "", store.s3endpoint or "")
            == (bucket, prefix, endpoint)
        ]
        try:
            with self._link.explained():
                if same:  # its keys may have been changed
                    stores.update(same[0], **settings)
                else:
                    stores.create(**settings)
        except LabelStudioError as error:
            raise _advised(error, _BUCKET_ADVICE, hide=(key, secret)) from None

    def nudge(self, project: int, url: str) -> None:
        """Have the server post to a URL whenever an annotation changes; once only."""
        hooks = self._link.sdk.webhooks
        with self._link.explained():
            if any(hook.url == url for hook in hooks.list(project=str(project))):
                return
        try:
            with self._link.explained():
                hooks.create(
                    url=url,
                    project=project,
                    actions=_CHANGES,
                    send_for_all_actions=False,
                    send_payload=False,
                )
        except LabelStudioError as error:
            raise _advised(error, _NUDGE_ADVICE) from None

    # what these stand on ------------------------------------------------------------

    def _there(self, number: int) -> Project:
        with self._link.explained():
            return _project(self._link.sdk.projects.get(number))

    def _validated(self, interface: str) -> None:
        """The SDK can only validate for a project that is there already."""
        self._link.ask(
            "POST", "/api/projects/validate/", content={"label_config": interface}
        )

    def _imported(self, project: int, number: int) -> list[int] | None:
        """Ids of an import that a hosted server does in its own time."""
        path, pause = f"/api/projects/{project}/imports/{number}", 0.5
        end = time.monotonic() + _IMPORT_SECONDS
        while time.monotonic() < end:
            state = self._link.ask("GET", path)
            if not isinstance(state, dict) or state.get("status") == "failed":
                said = state.get("error") if isinstance(state, dict) else state
                message = f"import {number} of project {project} failed: {said}"
                raise LabelStudioError(message, url=self.url + path)
            if state.get("status") == "completed":
                return state.get("task_ids")
            time.sleep(pause)
            pause = min(pause * 1.5, 5.0)
        message = f"import {number} of project {project} goes on for too long"
        raise LabelStudioError(message, url=self.url + path)

    def _tasks(
        self,
        project: int,
        *fields: str,
        where: Sequence[Mapping[str, Any]] = (),
        after: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Tasks by number, each page from where the last one ended.

        Pages by number would skip a task when another is deleted between two of them.
        """
        last = after
        while True:
            here = _filter("id", "greater", "Number", last)
            page = self._page(project, [*where, here], fields, size=_PAGE, by="id")
            yield from page["tasks"]
            if len(page["tasks"]) >= page["total"]:
                return
            last = max((task["id"] for task in page["tasks"]), default=last)

    def _page(
        self,
        project: int,
        where: Sequence[Mapping[str, Any]],
        fields: Sequence[str],
        *,
        size: int,
        by: str,
    ) -> dict[str, Any]:
        """First page of tasks that a filter lets through, with some of their fields."""
        sign, name = ("-", by[1:]) if by.startswith("-") else ("", by)
        query: dict[str, Any] = {"ordering": [f"{sign}tasks:{name}"]}
        if where:
            query["filters"] = {"conjunction": "and", "items": list(where)}
        found = self._link.ask(
            "GET",
            "/api/tasks",
            params={
                "project": project,
                "page_size": size,
                "fields": "task_only",
                "include": ",".join(fields),
                "resolve_uri": "false",
                "query": json.dumps(query),
            },
        )
        if not isinstance(found, dict) or not isinstance(found.get("tasks"), list):
            raise self._link.strange(json.dumps(found)[:100])
        if found["total"] and not found["tasks"]:
            what = "an empty page of tasks"
            raise self._link.strange(what)
        return found


def host(url: str) -> str:
    """Host and port of a URL, which is all that is kept of it."""
    return urlsplit(url).netloc.rpartition("@")[2]


_FOLDER_ADVICE = (
    "the server must run with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
    "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT set to a folder above this one"
)
_BUCKET_ADVICE = (
    "the server must reach the bucket with these keys; an endpoint in a private "
    "network needs SSRF_PROTECTION_ENABLED=false on the server"
)
_NUDGE_ADVICE = (
    "Label Studio posts to private addresses only with SSRF_PROTECTION_ENABLED=false; "
    "without --listen answers come at each look"
)


def _advised(
    error: LabelStudioError, advice: str, *, hide: Sequence[str] = ()
) -> LabelStudioError:
    """The same error with what to do about it, and without secrets it may repeat."""
    text = str(error)
    for secret in hide:
        text = text.replace(secret, "…") if secret else text
    return LabelStudioError(f"{text}: {advice}", url=error.url, status=error.status)


def _project(found: Any) -> Project:  # noqa: ANN401
    return Project(
        id=found.id,
        title=found.title or "",
        description=found.description or "",
        interface=found.label_config or "",
        tasks=found.task_number or 0,
        answers=found.maximum_annotations or 1,
    )


def _filter(name: str, operator: str, kind: str, value: object) -> dict[str, object]:
    return {
        "filter": f"filter:tasks:{name}",
        "operator": operator,
        "type": kind,
        "value": value,
    }


def _updated(operator: str, moment: datetime) -> dict[str, object]:
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return _filter("updated_at", operator, "Datetime", text)
