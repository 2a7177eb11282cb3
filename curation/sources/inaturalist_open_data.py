"""iNaturalist's open data: monthly tables of all openly licensed photos.

The tables are on this machine (`dumps`), or are read over https (`url`) without being
stored: quicker once, slower every time after. One join (`sources._open_data`) serves
all classes. It reads tables of tens of gigabytes once, a block at a time, and keeps as
much of each class as its quota could use.

The order is that of observations, `random` by a hash of the observation and the seed;
photos of one observation follow each other as their observer arranged them. Classes
take turns, and a cursor is a place in that order: to go on from one repeats the join,
and none of its rows.

The tables do not say which places are obscured, so none is given.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import Field

from curation.config import Collect, SourceSpec
from curation.errors import ConfigError, InputError
from curation.sources import Candidate, Cost, Page, Standing, Target
from curation.sources import _open_data as open_data
from curation.sources import _tsv as tsv
from curation.sources._records import host_of, licence_of, position, text
from curation.sources._uuids import uuid

if TYPE_CHECKING:
    from curation.http import Door

VERSION = 1
REMOTE = True
PER_CLASS = False
TAXA = "inaturalist"
"""Whose taxon ids are needed, see `Target.taxa`."""

SETTINGS = (
    "order", "seed", "licences", "per_class", "per_observation", "per_observer",
    "per_observer_day",
)  # fmt: skip
"""What the join depends on, of `collect`: a larger quota is another join."""

AGAIN_AT_ONCE = 10_000_000
"""Keys that `again` should be given at once: one pass over a table serves them all."""

PAGE = 1000
"""Candidates in a page, about."""

_TABLES = ("taxa", "observations", "photos", "observers")
_HOME = "https://inaturalist-open-data.s3.amazonaws.com"
_BYTES = {
    "thumb": 5_000, "small": 20_000, "medium": 60_000, "large": 250_000,
    "original": 1_500_000,
}  # fmt: skip
"""What a photo takes, about, by size; for estimates."""
_EPOCH = date(1970, 1, 1)

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Spec(SourceSpec):
    """iNaturalist's monthly tables of openly licensed photos, read in bulk."""

    kind: Literal["inaturalist_open_data"] = Field(
        description="iNaturalist's open data, for many photos of many classes"
    )
    dumps: Path | None = Field(
        None,
        description="folder with taxa, observations, photos and observers (.csv.gz or "
        ".csv), relative to dataset.toml; absent: read from url",
    )
    url: str = Field(_HOME, description="where the tables are when dumps is absent")
    photo_url: str = Field(
        f"{_HOME}/photos", description="where the photos are, without their id"
    )
    api: str = Field(
        "https://api.inaturalist.org/v1",
        description="where taxa are looked up by name, once",
    )
    quality_grade: Literal["research", "needs_id", "casual", "any"] = Field(
        "research", description="of observations; any: every grade"
    )
    size: Literal["thumb", "small", "medium", "large", "original"] = Field(
        "medium",
        description="longer side of photos: 100, 240, 500, 1024 or up to 2048 pixels",
    )

    LOCATED: ClassVar[tuple[str, ...]] = ("dumps",)


def pages(
    spec: Spec,
    targets: Sequence[Target],
    *,
    settings: Collect,
    cursor: str | None,
    door: "Door | None",
) -> Iterator[Page]:
    """Photos of all classes, taking turns; the join is made before the first page.

    Raises:
        ConfigError: no class has a taxon.
        InputError: a table is not there, cannot be read to its end, or lacks a column.
        SourceError: a table cannot be had over the network.
    """
    known = [target for target in targets if TAXA in target.taxa]
    first = position(cursor)
    joined = _joined(spec, known, settings, door)
    classes = [target.name for target in known]
    step = max(1, PAGE // len(classes))
    levels = joined.rows["level"].to_numpy()
    end = int(levels[-1]) + 1 if levels.size else 0
    if first >= end:
        yield Page([], None)
    for level in range(first, end, step):
        low, high = levels.searchsorted([level, level + step])
        rows = joined.rows[int(low) : int(high)].iter_rows(named=True)
        found = [_candidate(row, joined, classes, spec) for row in rows]
        following = level + step
        yield Page(found, str(following) if following < end else None)


def cost(spec: Spec, targets: Sequence[Target], *, settings: Collect) -> Cost:
    """A request for each table, none where they are on this machine."""
    photos = settings.per_class * sum(TAXA in target.taxa for target in targets)
    return Cost(
        {} if spec.dumps else {host_of(spec.url): len(_TABLES)},
        photos,
        host_of(spec.photo_url),
        photos * _BYTES[spec.size],
    )


def again(spec: Spec, keys: Sequence[str], *, door: "Door") -> Iterator[Standing]:
    """How photos stand in the tables as they are now: `photos` is read once for all.

    A photo that is not in it is gone: deleted, or its licence is not open any more.
    With `dumps` the files in that folder are asked: renew them first.

    Raises:
        InputError: the table is not there, cannot be read to its end, or has no rows.
        SourceError: it cannot be had over the network.
    """
    ids = {key: int(key) for key in keys if key.isdecimal() and len(key) < 19}

    def reading(table: tsv.Table) -> dict[int, str]:
        found = open_data.licences_of(table, list(ids.values()))
        if not table.rows:
            message = f"{table.name} has no rows, so it says nothing of any photo"
            raise InputError(message)
        return found

    licences = _Tables(spec, door)("photos", ("photo_id", "license"), reading)
    for key in keys:
        licence = licences.get(ids.get(key, -1))
        if licence is None:
            yield Standing(key, "gone")
        else:
            yield Standing(key, "there", licence or None)


class _Tables:
    """Opens the tables of a source."""

    def __init__(self, spec: Spec, door: "Door | None") -> None:
        self._spec, self._door = spec, door

    def __call__(
        self, name: str, columns: Sequence[str], reading: Callable[[tsv.Table], _T], /
    ) -> _T:
        """What `reading` makes of a table."""
        table = self._open(name, columns)
        made = reading(table)
        if table.ragged:
            fields = "rows left out, their number of fields is not the header's"
            _log.warning("%s: %d %s", table.name, table.ragged, fields)
        return made

    def _open(self, name: str, columns: Sequence[str]) -> tsv.Table:
        folder, door = self._spec.dumps, self._door
        if folder is None:
            assert door is not None, "there is a door for every remote source"
            url = f"{self._spec.url.rstrip('/')}/{name}.csv.gz"
            return tsv.Table(tsv.pieces_of_lines(door.lines(url)), columns, name=url)
        for path in (folder / f"{name}.csv.gz", folder / f"{name}.csv"):
            if path.is_file():
                return tsv.Table(tsv.pieces_of_file(path), columns, name=str(path))
        message = (
            f"{folder}: there is neither {name}.csv.gz nor {name}.csv (dataset.toml, "
            "sources.dumps)"
        )
        raise InputError(message)


def _joined(
    spec: Spec, targets: Sequence[Target], settings: Collect, door: "Door | None"
) -> open_data.Joined:
    if not targets:
        message = (
            "sources: inaturalist_open_data finds photos by taxon; give "
            "classes.scientific_name in dataset.toml"
        )
        raise ConfigError(message)
    choice = open_data.Choice(len(targets), spec.quality_grade, settings)
    roots = [target.taxa[TAXA] for target in targets]
    joined = open_data.join(_Tables(spec, door), roots, choice)
    for place in sorted(joined.absent):
        name, root = targets[place].name, roots[place]
        _log.warning("class %s: taxon %d is not in the tables of taxa", name, root)
    for place in sorted(joined.short):
        few = "of the observations looked at, too few have photos that are let in"
        _log.warning("class %s: %s", targets[place].name, few)
    return joined


def _candidate(
    row: Mapping[str, Any], joined: open_data.Joined, classes: Sequence[str], spec: Spec
) -> Candidate:
    photo, observer, day = row["photo"], row["observer"], row["day"]
    stated = joined.licences[row["licence"]].strip()
    licence, refused = licence_of(stated)
    extension = joined.extensions[row["extension"]]
    if not (extension.isalnum() and extension.isascii()):
        refused = refused or f"no address: its extension is {extension!r}"
    author = text(joined.observers.get(observer))
    return Candidate(
        source="inaturalist_open_data",
        key=str(photo),
        revision=spec.size,
        class_=classes[row["class"]],
        url=f"{spec.photo_url.rstrip('/')}/{photo}/{spec.size}.{extension}",
        photo_key=f"inaturalist:{photo}",
        source_url=f"https://www.inaturalist.org/photos/{photo}",
        title=text(joined.taxa.get(row["taxon"])),
        author=author,
        licence=licence,
        licence_text=text(stated),
        attribution=_credit(author or f"observer {observer}", stated),
        observation_id=uuid(row["high"], row["low"]),
        observer=str(observer) if observer >= 0 else None,
        observed_on=_day(day),
        refused=refused,
    )


def _credit(author: str, licence: str) -> str | None:
    """The line iNaturalist asks for.

    Example:
        >>> _credit("Ann", "CC-BY")
        '© Ann, some rights reserved (CC-BY)'
    """
    if not licence:
        return None
    if licence == "CC0":
        return f"{author}, no rights reserved (CC0)"
    return f"© {author}, some rights reserved ({licence})"


def _day(number: int) -> str | None:
    if number == open_data.NEVER:
        return None
    try:
        return (_EPOCH + timedelta(days=number)).isoformat()
    except OverflowError:
        return None
