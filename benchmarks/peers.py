"""Environments of those we are measured beside; each has its own.

    python -m benchmarks.peers [NAME ...] [--remove]

Without names: says which there are and whether they are made. With names: makes them,
with uv or else pip, below `$XDG_CACHE_HOME/counterset/peers` (`~/.cache/…`); what
cannot be installed is told with the installer's own words, and the exit status is 1.
imagehash, open_clip and clip-benchmark are in the development environment already.
"""

import argparse
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

PEERS: Mapping[str, tuple[str, ...]] = {
    "clip-benchmark": ("clip-benchmark==1.6.2", "numpy<2.3", "requests"),
    "cleanvision": ("cleanvision==0.3.7",),
    "czkawka": ("czkawka==0.1.2",),
    "faiss": ("faiss-cpu==1.15.1",),
    "imagededup": ("imagededup==0.3.3.post2",),
    "img2dataset": ("img2dataset==1.47.0",),
}
"""What is installed for each. clip-benchmark imports requests without asking for it,
and fails with a newer numpy."""

_READY = "ready"
_WORDS = 300  # of an installer's complaint


class Unavailable(Exception):
    """A peer cannot be installed; the text says why."""


def folder(name: str) -> Path:
    """Where a peer's environment is, or will be."""
    base = os.environ.get("XDG_CACHE_HOME")
    cache = Path(base) if base else Path.home() / ".cache"
    release = PEERS[name][0].partition("==")[2]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return cache / "counterset" / "peers" / f"{name}-{release}-python{python}"


def python(name: str) -> Path | None:
    """The Python of a peer's environment; None when that is not made."""
    made = folder(name)
    return made / "bin" / "python" if (made / _READY).exists() else None


def make(name: str) -> Path:
    """The Python of a peer's environment, made if it is not there.

    Raises:
        Unavailable: the installer failed.
    """
    found = python(name)
    if found:
        return found
    place = folder(name)
    shutil.rmtree(place, ignore_errors=True)  # one that was broken off
    beside = Path(sys.executable).parent
    uv = shutil.which("uv", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    there = place / "bin" / "python"
    venv.create(place, with_pip=uv is None)
    tool: list[str | Path] = (
        [uv, "pip", "install", "--python", there]
        if uv
        else [there, "-m", "pip", "install"]
    )
    _install([*tool, "--quiet", *PEERS[name]])
    (place / _READY).touch()
    return there


def _install(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        told = " ".join((done.stderr or done.stdout).split())
        message = told[:_WORDS] or f"the installer ended with {done.returncode}"
        raise Unavailable(message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*PEERS, []])
    parser.add_argument("--remove", action="store_true", help="remove them instead")
    chosen = parser.parse_args()
    for name in chosen.names or PEERS:
        if chosen.remove:
            shutil.rmtree(folder(name), ignore_errors=True)
            print(f"{name}: removed")
        elif not chosen.names:
            print(f"{name}: {python(name) or 'not made'} ({', '.join(PEERS[name])})")
    if chosen.remove:
        return
    troubles = 0
    for name in chosen.names:
        try:
            print(f"{name}: {make(name)}", flush=True)
        except Unavailable as error:
            troubles += 1
            print(f"{name}: cannot be installed: {error}", flush=True)
    sys.exit(bool(troubles))


if __name__ == "__main__":
    main()
