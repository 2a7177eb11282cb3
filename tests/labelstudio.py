"""The real Label Studio for tests: servers, and annotators with accounts.

Its environment is installed by `make test` (scripts/labelstudio.sh). Without it these
tests are skipped, which under CI is a failure. Each test makes projects of its own.

A start costs seconds, so there are two servers for all tests: `label_studio`, as
`make labelstudio` starts it, and `near` (tests/buckets.py), which may post to this
machine and which tests may kill. Tests of the second are in xdist's group `near`, so
that one worker starts it.
"""

import os
import re
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from filelock import FileLock

from curation.labelstudio import LabelStudio
from scripts import labelstudio

CACHE = Path(
    os.environ.get("COUNTERSET_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "counterset"
)
# kept at import, for processes that inherit the tests' own cache folder (conftest.py)
os.environ["COUNTERSET_CACHE"] = str(CACHE)
HOME = CACHE / "label-studio-1.23.2"
PASSWORD = "correct horse battery"


@dataclass(slots=True)
class Person:
    """An annotator with an account."""

    id: int
    email: str
    token: str


@dataclass(slots=True)
class Studio:
    """A server of the tests, the folder it is in, and what else it was started with."""

    server: labelstudio.Server
    folder: Path
    more: dict[str, str] | None = None

    @property
    def documents(self) -> Path:
        """Folder whose files it may show."""
        return self.folder / "documents"

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def token(self) -> str:
        return self.server.token

    @property
    def environment(self) -> dict[str, str]:
        """What tells `counterset labels` about it."""
        return {"LABEL_STUDIO_URL": self.url, "LABEL_STUDIO_API_KEY": self.token}

    def ask(self, method: str, path: str, token: str = "", **more) -> requests.Response:
        """A plain request, as some other program would make it."""
        return requests.request(
            method,
            self.url + path,
            headers={"Authorization": f"Token {token or self.token}"},
            timeout=60,
            **more,
        )

    def restart(self) -> None:
        """Start it again, dead or alive, at its address: it goes on where it was."""
        port = int(self.url.rpartition(":")[2])
        self.server.kill()
        self.server = labelstudio.start(
            needed(), self.folder / "data", self.documents, port=port, more=self.more
        )

    def annotator(self, name: str) -> Person:
        """An account, made through the invitation link; the same one if it is there."""
        email = f"{name}@example.org"
        invite = self.ask("GET", "/api/invite").json()["invite_url"]
        page = requests.Session()
        page.trust_env = False
        address = invite if invite.startswith("http") else self.url + invite
        path = address.split("/", 3)[3]
        form = page.get(f"{self.url}/{path}", timeout=60)
        page.post(
            f"{self.url}/{path}",
            data={
                "email": email,
                "password": PASSWORD,
                "csrfmiddlewaretoken": page.cookies.get("csrftoken")
                or re.search(r'csrfmiddlewaretoken" value="(\w+)', form.text)[1],
            },
            headers={"Referer": f"{self.url}/{path}"},
            timeout=60,
        )
        return self.login(email)

    def login(self, email: str) -> Person:
        """The account of an address, by its password."""
        page = requests.Session()
        page.trust_env = False
        page.get(f"{self.url}/user/login/", timeout=60)
        page.post(
            f"{self.url}/user/login/",
            data={
                "email": email,
                "password": PASSWORD,
                "csrfmiddlewaretoken": page.cookies["csrftoken"],
            },
            headers={"Referer": f"{self.url}/user/login/"},
            timeout=60,
        )
        token = page.get(f"{self.url}/api/current-user/token", timeout=60).json()
        about = page.get(f"{self.url}/api/current-user/whoami", timeout=60).json()
        return Person(id=about["id"], email=email, token=token["token"])


def needed() -> Path:
    """Environment of the server, or the test is skipped."""
    if not (HOME / ".ready").exists():
        pytest.skip("needs Label Studio: run scripts/labelstudio.sh")
    return HOME


def launch(folder: Path, *, more: dict[str, str] | None = None) -> Studio:
    """A server in a folder; `more` are further environment variables."""
    home, data = needed(), folder / "data"
    with FileLock(home / "seed.lock"):
        labelstudio.seeded(home, data)
    server = labelstudio.start(home, data, folder / "documents", more=more)
    return Studio(server, folder, more)


@pytest.fixture(scope="session")
def label_studio_server(tmp_path_factory):
    """The server that tests share, for fixtures that outlive a test."""
    folder = tmp_path_factory.mktemp("labelstudio")
    studio = launch(folder)
    yield studio
    studio.server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def label_studio(label_studio_server):
    """The server that tests share; what a test leaves there is no other test's find."""
    studio = label_studio_server
    yield studio
    with closing(LabelStudio(studio.url, studio.token)) as door:
        for project in door.projects():
            door.delete_project(project.id)
