"""The page of `counterset dedup --html`: what is alike, side by side.

One file that needs no network and asks for nothing. Names and reasons are strangers'
words: they are escaped, and the page may run no script. What a page can hold is
bounded; what did not fit is counted on it, and `--json` has it.
"""

import base64
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image, JpegImagePlugin

from curation.duplicates import findings, folder
from curation.duplicates.crew import Crew
from curation.duplicates.findings import Cluster, Findings, Photo
from curation.duplicates.folder import How
from curation.errors import InputError
from evaluation import images
from evaluation.errors import DecodeError

BUDGET = 8_000_000
"""Characters of pictures that a page may hold."""

CLUSTERS, PAIRS, ROWS = 400, 120, 500
"""Clusters, suggestions and leaks, and lines of a table, that a page may hold."""

PICTURES, NAMES = 7, 30
"""Members of a cluster shown as pictures, and as names after these."""

SIDE, QUALITY = 240, 72
"""Longer side of a small picture, pixels, and its quality as JPEG."""

_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = Path(__file__).parents[1] / "reports" / "templates" / "style.css"
_PART = 8
_SURE = ("pixels", "bytes")


@dataclass(frozen=True, slots=True)
class Thumb:
    """A small picture as a data URI; `why` says why there is none."""

    uri: str
    width: int
    height: int
    why: str = ""


def write(path: Path, found: Findings, crew: Crew, how: How) -> None:
    """Write the page; equal findings give equal bytes.

    Args:
        path: the file; it is there when it is complete.
        found: what to show.
        crew: processes that open the pictures.
        how: limits on pictures.

    Raises:
        InputError: it cannot be written.
    """
    page = render(found, _thumbs(_wanted(found), crew, how))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror or error}"
        raise InputError(message) from error
    finally:
        part.unlink(missing_ok=True)


def render(found: Findings, thumbs: dict[str, Thumb]) -> str:
    """The page.

    Args:
        found: what to show.
        thumbs: small pictures by sha256; one that is missing did not fit.
    """
    clusters = ordered(found.clusters)
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., object]] = {
        "name": folder.printable,
        "size": findings.kilobytes,
        "why": findings.why,
    }
    environment.filters.update(filters)
    content: dict[str, Any] = {
        "found": found,
        "title": folder.printable(found.folder.resolve().name or str(found.folder)),
        "clusters": clusters[:CLUSTERS],
        "suggestions": found.suggestions[:PAIRS],
        "leaks": found.leaks[:PAIRS],
        "failed": found.failed[:ROWS],
        "animated": found.animated[:ROWS],
        "spare": sum(member.photo.bytes for member in found.members),
        "thumbs": thumbs,
        "full": Thumb("", SIDE, SIDE * 3 // 4, "left out: the page is full"),
        "counted": findings.counted,
        "apart": findings.apart,
        "pictures": PICTURES,
        "names": NAMES,
        "style": Markup(_STYLE.read_text(encoding="utf-8")),
        "own_style": Markup((_TEMPLATES / "gallery.css").read_text(encoding="utf-8")),
    }
    return environment.get_template("gallery.html.j2").render(content)


def ordered(clusters: Iterable[Cluster]) -> list[Cluster]:
    """Clusters in the order of how much they are worth a look.

    First those whose members differ most, last those of equal bytes; then by name, as
    they came.
    """

    def doubt(cluster: Cluster) -> tuple[int, float]:
        worst = max(
            (one.reason not in _SURE, one.distance, one.reason == "pixels")
            for one in cluster.members
        )
        return -int(worst[0]) * 2 - int(worst[2]), -worst[1]

    return sorted(clusters, key=doubt)


def _wanted(found: Findings) -> Iterator[Photo]:
    """Photos the page would show, the most wanted first."""
    for one in found.suggestions[:PAIRS]:
        yield from (one.a, one.b)
    for cluster in ordered(found.clusters)[:CLUSTERS]:
        yield cluster.keeper
        yield from (member.photo for member in cluster.members[:PICTURES])
    yield from (one.photo for one in found.leaks[:PAIRS])


def _thumbs(photos: Iterable[Photo], crew: Crew, how: How) -> dict[str, Thumb]:
    """Small pictures by sha256, until the page is full."""
    files = list({one.sha256: (one.path, one.sha256) for one in photos}.values())
    parts = (files[at : at + _PART] for at in range(0, len(files), _PART))
    thumbs: dict[str, Thumb] = {}
    left = BUDGET
    made = crew.each(
        partial(small, how=how), parts, died=lambda *_: _missing("crashed")
    )
    place = 0
    for part in made:
        for thumb in part:
            left -= len(thumb.uri)
            if left < 0:
                return thumbs
            thumbs[files[place][1]] = thumb
            place += 1
    return thumbs


def _crashed(_: tuple[str, str], how: str) -> Thumb:
    return _missing(f"the decoder crashed ({how})")


def _missing(why: str) -> Thumb:
    return Thumb("", SIDE, SIDE * 3 // 4, why)


# what runs in a process of the crew -------------------------------------------------


def small(files: Sequence[tuple[str, str]], *, how: How) -> list[Thumb]:
    """Small pictures of files.

    Args:
        files: path and sha256 of the bytes they had.
        how: limits.
    """
    return [_small(path, sha256, how) for path, sha256 in files]


def _small(path: str, sha256: str, how: How) -> Thumb:
    try:
        data = folder.reread(path, sha256)
        with folder.room(data, how):
            picture = _opened(data, how)
    except DecodeError as error:
        return _missing(str(error))
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    text = base64.b64encode(file.getvalue()).decode("ascii")
    return Thumb(f"data:image/jpeg;base64,{text}", picture.width, picture.height)


def _opened(data: bytes, how: How) -> Image.Image:
    """The picture, no smaller than needed where the decoder can scale."""
    if not images.plain_jpeg(data, max_pixels=how.max_pixels):
        return images.decode(data, max_pixels=how.max_pixels)
    picture = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    picture.draft("RGB", (2 * SIDE, 2 * SIDE))
    try:
        picture.load()
    except OSError as error:
        raise DecodeError(str(error)) from error
    return picture
