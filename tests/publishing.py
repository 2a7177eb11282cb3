"""A released world to publish, and a process that publishes it again and again.

The Hub's clients read their environment when they are imported, so they run in a
process of their own. It imports them once and forks for every attempt, which can then
be killed; waits between attempts are cut short in it.
"""

import functools
import importlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from typer.testing import CliRunner

from curation.cli import app
from tests.forked import Forker
from tests.standins.hub import Hub
from tests.world import World, make


def released(shared: Path, clip: str) -> World:
    """A world whose release was written; once for all workers. Only to be copied."""
    folder = shared / "released"
    world = World(folder / "mine", folder / "work")
    with FileLock(shared / "released.lock"):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            world = make(folder, clip)
            world.run("--until", "tasks")
            world.label()
            world.run("--until", "release")
            (folder / "done").touch()
    return world


@dataclass
class Mine:
    """A copy of the released world, with a dataset.toml of its own beside the photos.

    Attributes:
        config: dataset.toml.
        work: work folder.
    """

    config: Path
    work: Path

    @classmethod
    def copy(cls, world: World, place: Path) -> "Mine":
        config = world.root / f"{place.name}-{os.getpid()}.toml"
        shutil.copyfile(world.config, config)
        shutil.copytree(world.work, place / "work")
        return cls(config, place / "work")

    @property
    def release(self) -> Path:
        return self.work / "release"

    def files(self) -> dict[str, bytes]:
        """Every file of the release."""
        files = sorted(path for path in self.release.rglob("*") if path.is_file())
        return {
            path.relative_to(self.release).as_posix(): path.read_bytes()
            for path in files
        }

    def change(self, old: str, new: str) -> None:
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def version(self, version: str) -> None:
        """Set dataset.version and write the release anew."""
        lines = self.config.read_text().splitlines()
        lines = [line for line in lines if not line.startswith("version =")]
        place = lines.index("[dataset]") + 1
        lines.insert(place, f'version = "{version}"')
        self.config.write_text("\n".join(lines) + "\n")
        self.invoke("run", "--until", "release", "-c", str(self.config))

    def invoke(self, *words: str) -> str:
        """A command that needs no Hub."""
        done = CliRunner().invoke(app, [*words, "--work", str(self.work)])
        assert done.exit_code == 0, (done.output, done.stderr, done.exception)
        return done.stdout

    def publish(
        self, hub: Hub, *words: str, token: str | None = Hub.token, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """`counterset publish` as people run it."""
        command = [sys.executable, "-m", "curation.cli", "publish", *words]
        return subprocess.run(
            [*command, "-c", str(self.config), "--work", str(self.work)],
            env=hub.environment(token) | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


class Server:
    """Forks a publisher for every attempt."""

    def __init__(self, hub: Hub, token: str | None = Hub.token) -> None:
        self._forker = Forker("tests.publishing", hub.environment(token))

    def begin(self, mine: Mine, repo: str, **options: Any) -> int:
        """Start an attempt; its process."""
        order = {"config": str(mine.config), "work": str(mine.work), "repo": repo}
        self._forker.tell(order | options)
        return int(self._forker.line())

    def end(self) -> dict[str, Any]:
        """What came of it: `commit`, or `error` with its message; neither: killed."""
        result: dict[str, Any] = json.loads(self._forker.line())
        return result

    def publish(self, mine: Mine, repo: str, **options: Any) -> dict[str, Any]:
        self.begin(mine, repo, **options)
        return self.end()

    def close(self) -> None:
        self._forker.close()


def _serve() -> None:
    import huggingface_hub

    from curation import hub, publish  # noqa: F401
    from curation.pipeline import Route  # noqa: F401

    wait = time.sleep
    time.sleep = lambda seconds: wait(min(seconds, 0.02))
    # each client reads the certificates, which on loopback nobody needs, several times
    ssl.create_default_context = functools.cache(ssl.create_default_context)
    huggingface_hub.get_session().close()
    for order in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            known = set(sys.modules)
            with os.fdopen(writing, "w") as out:
                result = _attempt(json.loads(order))
                json.dump([result, sorted(set(sys.modules) - known)], out)
                out.flush()
                os._exit(0)
        os.close(writing)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        with os.fdopen(reading) as said:
            told = said.read()
        os.waitpid(child, 0)
        result, imported = json.loads(told or '[{"commit": null, "error": null}, []]')
        sys.stdout.write(f"{json.dumps(result)}\n")
        sys.stdout.flush()
        for name in imported:  # so that the next need not
            with suppress(ImportError):
                importlib.import_module(name)


def _attempt(order: dict[str, Any]) -> dict[str, Any]:
    from curation import publish
    from curation.commands import looking
    from curation.errors import CounterSetError
    from curation.hub import Hub as Door
    from curation.publish.commit import send

    config, work = Path(order.pop("config")), Path(order.pop("work"))
    repo = order.pop("repo")
    try:
        with looking(config, work, write=True) as route:
            door = Door.from_environment()
            plan = publish.plan(route, repo, hub=door, **order)
            publish.confirm(plan, yes=True)
            if plan.pull_request:
                made = publish.publish(plan, hub=door, shelf=route.shelf)
                return {"commit": made["pull_request"], "error": None}
            return {"commit": send(plan, hub=door), "error": None}
    except CounterSetError as error:
        status = getattr(error, "status", None)
        kind = type(error).__name__
        return {"commit": None, "error": str(error), "kind": kind, "status": status}
    except BaseException as error:
        return {"commit": None, "error": repr(error), "kind": "BUG", "status": None}


if __name__ == "__main__":
    _serve()
