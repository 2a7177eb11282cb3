"""Sources: one file is one place photos come from; its name is `kind` in dataset.toml.

A source module has

    class Spec(SourceSpec)     its keys in dataset.toml
    REMOTE: bool               whether its photos come over the network
    PER_CLASS: bool            whether each class is crawled on its own
    pages(spec, targets, *, settings, cursor, door) -> Iterator[Page]
    cost(spec, targets, *, settings) -> Cost                        where REMOTE
    again(spec, keys, *, door) -> Iterator[Standing]                where REMOTE
    read(url, spec, limit) -> bytes                                 where not REMOTE

and may have

    VERSION: int               raised when the same question gives other records
    TAXA: str                  authority whose taxon ids it asks with (`curation.taxa`)
    SETTINGS: tuple            fields of `collect` that its answers depend on
    CONTACT: bool              it demands to know how we can be reached
    ROBOTS: bool               robots.txt is asked before each of its photos
    AGAIN_AT_ONCE: int         keys that `again` is given at once

`pages` names what there is without opening pictures; a record that can never become a
photo is still a candidate, with `refused` saying why, so that nothing is dropped
silently. Everything that goes over the network goes through the door
(`curation.http`); photos of remote sources are fetched through it by their URL.

Modules outside of this package join by an entry point in the group
`counterset.sources`, whose name is the kind.
"""

import hashlib
import importlib
import json
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from curation.config import Collect, SourceSpec
from curation.errors import ConfigError, nearest

if TYPE_CHECKING:
    from curation.http import Door


@dataclass(frozen=True, slots=True)
class Target:
    """A class of dataset.toml as sources look for it.

    Attributes:
        name: the class.
        query: words to search for where there are no taxa.
        scientific_name: taxon; "" where dataset.toml gives none.
        taxa: the taxon's id by authority ("inaturalist", "gbif"), as pinned.
    """

    name: str
    query: str
    scientific_name: str = ""
    taxa: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One record of a source; the columns are those of the table `candidates`.

    `refused` is why it can never become a photo, such as a symbolic link.
    """

    source: str
    key: str
    revision: str
    class_: str
    url: str
    photo_key: str | None = None
    source_url: str | None = None
    title: str | None = None
    author: str | None = None
    licence: str | None = None
    licence_text: str | None = None
    attribution: str | None = None
    observation_id: str | None = None
    observer: str | None = None
    observed_on: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    composed: bool = False
    note: str | None = None
    refused: str | None = None

    @property
    def candidate_id(self) -> str:
        """Stands for the record: changes when the file behind it does."""
        parts = json.dumps([self.source, self.key, self.revision, self.class_])
        return hashlib.sha256(parts.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Page:
    """What a source answered at once.

    Attributes:
        candidates: its records, in the source's order; may be empty.
        cursor: where to go on, given back to `pages` as it is; None when this page is
            the last. It is kept together with the page, or neither is.
    """

    candidates: Sequence[Candidate]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a source will be asked, at most: an estimate that needs no network.

    Attributes:
        requests: by host, requests for records.
        photos: photos that will be fetched.
        photo_host: where from.
        bytes: of all photos together.
    """

    requests: Mapping[str, int]
    photos: int
    photo_host: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a record stands now.

    Attributes:
        key: of the record.
        state: "there", or "gone": the photo is not offered any more.
        licence_text: as the source spells it now; None where it is gone or has none.
    """

    key: str
    state: Literal["there", "gone"]
    licence_text: str | None = None


class Source(Protocol):
    """What a module in this folder provides."""

    Spec: type[SourceSpec]
    REMOTE: bool
    PER_CLASS: bool

    def pages(
        self,
        spec: Any,  # noqa: ANN401 - each source has its own
        targets: Sequence[Target],
        *,
        settings: Collect,
        cursor: str | None,
        door: "Door | None",
    ) -> Iterator[Page]:
        """Records of the source, from a cursor on, in a stable order."""

    def cost(
        self,
        spec: Any,  # noqa: ANN401
        targets: Sequence[Target],
        *,
        settings: Collect,
    ) -> Cost:
        """What asking for all targets will take; only where REMOTE."""

    def again(
        self,
        spec: Any,  # noqa: ANN401
        keys: Sequence[str],
        *,
        door: "Door",
    ) -> Iterator[Standing]:
        """How records stand now, in any order; only where REMOTE."""

    def read(
        self,
        url: str,
        spec: Any,  # noqa: ANN401
        limit: int,
    ) -> bytes:
        """Bytes of one record's photo; only where not REMOTE."""


def kinds() -> list[str]:
    """Every kind of source there is, our own first."""
    own = sorted(_own())
    others = {point.name for point in entry_points(group="counterset.sources")}
    return own + sorted(others - set(own))


@cache  # asked for each photo
def source(kind: str) -> Source:
    """The module of a kind of source.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind in _own():
        return cast("Source", importlib.import_module(f"{__name__}.{kind}"))
    for point in entry_points(group="counterset.sources"):
        if point.name == kind:
            return cast("Source", point.load())
    message = f"no such kind of source: {kind!r}; {nearest(kind, kinds())}"
    raise ConfigError(message)


@cache
def _own() -> frozenset[str]:
    """Modules of this folder; what they share begins with an underscore."""
    names = {found.name for found in pkgutil.iter_modules(__path__)}
    return frozenset(name for name in names if not name.startswith("_"))
