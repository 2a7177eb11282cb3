"""`counterset` in processes of their own that need not import torch each time.

Importing the models' libraries takes seconds, and a test that starts a program twenty
times would mostly import. Here one process imports them, computes nothing, and forks
for every command; what it forks can be killed as any program. How a program starts is
for other tests.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self


class Ended(NamedTuple):
    """How a command ended: exit status, or minus the signal; what it wrote."""

    status: int
    output: str
    errors: str


class Forker:
    """A module of the tests in a process of its own: told and answering in lines."""

    def __init__(self, module: str, env: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, order: Any) -> None:
        """Send what JSON can hold."""
        assert self._process.stdin
        print(json.dumps(order), file=self._process.stdin, flush=True)

    def line(self) -> str:
        """The next line it says."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the process that forks has ended"
        return line

    def close(self) -> None:
        """Let it end, and wait for that."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Forks:
    """Forks for every command; one runs at a time."""

    def __init__(self, folder: Path) -> None:
        self._said = folder / "output", folder / "errors"
        self._forker = Forker("tests.forked")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._forker.close()

    def begin(self, *words: str) -> int:
        """Start `counterset` with these arguments; its process."""
        self._forker.tell([words, [str(path) for path in self._said]])
        return int(self._forker.line())

    def end(self) -> Ended:
        """Wait for it."""
        status = int(self._forker.line())
        return Ended(status, *(path.read_text() for path in self._said))

    def run(self, *words: str) -> Ended:
        """Start it, and wait for it."""
        self.begin(*words)
        return self.end()


def _serve() -> None:
    import open_clip  # noqa: F401  with torch, timm and what they bring
    import polars  # noqa: F401  its threads begin with the first table

    import evaluation.predict  # noqa: F401
    from curation.cli import main
    from curation.pipeline import Route  # noqa: F401

    for line in sys.stdin:
        words, said = json.loads(line)
        child = os.fork()
        if not child:
            os._exit(_command(main, words, said))
        _tell(child)
        _, status = os.waitpid(child, 0)
        _tell(os.waitstatus_to_exitcode(status))


def _command(main: Any, words: Sequence[str], said: Sequence[str]) -> int:
    """What `counterset` does with these words; its exit status."""
    inputs = os.open(os.devnull, os.O_RDONLY)
    os.dup2(inputs, 0)
    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["counterset", *words]
    try:
        main()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(bool(error.code))
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve()
