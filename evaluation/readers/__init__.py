"""Robustness sets by name: `<reader>:<folder>` or `<reader>:hub:<org>/<name>`.

One file here is one family of sets; its `READERS` name them:

    READERS: Mapping[str, Reader]      # such as "imagenet-r"

A reader knows what a plain folder does not say: which ImageNet classes the set has,
which of them are one class, what models choose among, and what the set is to others.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from evaluation.errors import ConfigError, nearest

if TYPE_CHECKING:
    from evaluation.examples import ExampleSet, Role


class Reader(Protocol):
    """Opens one set."""

    @property
    def name(self) -> str:
        """What the command line calls it."""

    @property
    def role(self) -> "Role":
        """What the set is to others."""

    @property
    def about(self) -> str:
        """A line for people."""

    def open_set(self, place: str) -> "ExampleSet":
        """The set in a folder, or of a dataset of the Hub (`hub:<org>/<name>`).

        Raises:
            InputError: no such folder, or not this set.
            RemoteError: the Hub cannot be reached or does not have it.
        """


@cache
def readers() -> Mapping[str, Reader]:
    """Readers by name."""
    found: dict[str, Reader] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            found |= importlib.import_module(f"{__name__}.{module.name}").READERS
    return found


def named(spec: str) -> tuple[Reader, str] | None:
    """The reader that a dataset's name begins with, and the rest of the name.

    Raises:
        ConfigError: a name that begins like a reader's, but there is none.
    """
    name, colon, place = spec.partition(":")
    if not colon or name == "hub" or Path(spec).expanduser().exists():
        return None
    known = readers()
    if name not in known:
        message = f"dataset {spec!r}: no reader {name!r}; {nearest(name, known)}"
        raise ConfigError(message)
    if not place:
        message = f"dataset {spec!r}: name its folder, as {name}:<folder>"
        raise ConfigError(message)
    return known[name], place
