"""Pictures of a card, drawn from what it states; equal facts give equal bytes."""

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curation.licences import openness
from curation.release.contents import SPLITS
from curation.release.facts import Facts, Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = "figures"
EXAMPLES = 3
"""Classes of which one photo of each group is shown."""
SIDE = 240
"""Width and height of an example, pixels."""
FREE = 1
"""`licences.openness` up to which a photo may be shown resized: CC-BY and freer."""

_BLUE, _ORANGE, _GREY, _INK = "#0072B2", "#D55E00", "#8A8A86", "#222222"
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "grid.color": "#E4E2DC",
    "axes.axisbelow": True,
}


@dataclass(frozen=True, slots=True)
class Example:
    """A photo shown in the card, with what its licence asks for.

    Attributes:
        group: common or counter.
        name: its class.
    """

    photo_id: str
    name: str
    group: str
    background: str
    licence: str
    author: str | None
    source_url: str | None
    composed: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """A file of the folder `figures`.

    Attributes:
        path: relative to the release, with forward slashes.
        alt: what it shows, for those who cannot see it.
        examples: photos in it, in reading order.
    """

    path: str
    alt: str
    examples: tuple[Example, ...] = ()


def draw(
    release: Path,
    facts: Facts,
    *,
    rows: pl.DataFrame,
    read: Callable[[str], bytes],
) -> dict[str, Picture]:
    """Draw what there is data for into the release's folder `figures`.

    Args:
        release: the release's folder; `figures` is made when something is drawn.
        facts: what the card states.
        rows: photos of the groups, as `contents.select` gives them.
        read: bytes of a photo by its photo_id.

    Returns: name → picture, among drops, photos and examples.
    """
    found: dict[str, Picture] = {}
    folder = release / FOLDER
    if any(pair.naive or pair.cross for pair in facts.pairs):
        path = _save(folder / "drop_per_class.png", lambda: _drops(facts))
        found["drops"] = Picture(path, "Accuracy drop per class with 95 % intervals")
    path = _save(folder / "photos_per_class.png", lambda: _photos(facts))
    found["photos"] = Picture(path, "Photos per class and group")
    shown = _examples(facts, rows)
    if shown:
        path = _montage(folder / "examples.jpg", shown, read)
        found["examples"] = Picture(path, "One photo of each group", shown)
    return found


def _save(path: Path, paint: Callable[[], "Figure"]) -> str:
    import matplotlib as mpl

    path.parent.mkdir(exist_ok=True)
    with mpl.rc_context(), warnings.catch_warnings():
        # a name in letters the font lacks is drawn as boxes; the table has it
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        mpl.rcdefaults()  # a matplotlibrc of the user's would change the bytes
        mpl.rcParams.update(_STYLE)  # type: ignore[arg-type]
        file = io.BytesIO()
        paint().savefig(file, format="png", dpi=110, metadata={"Software": None})
    path.write_bytes(file.getvalue())
    return f"{FOLDER}/{path.name}"


def _figure(rows: int) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 1.2 + 0.34 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _drops(facts: Facts) -> "Figure":
    """Naive and cross-fitted drop of each class, the mean first."""
    rows = [(pair.name, pair.naive, pair.cross) for pair in facts.pairs]
    if facts.naive or facts.cross:
        rows.insert(0, ("mean over classes", facts.naive, facts.cross))
    figure = _figure(len(rows))
    axes = figure.subplots()
    for place, (_, naive, cross) in enumerate(rows):
        _dot(axes, naive, place - 0.14, colour=_GREY, face="white")
        _dot(axes, cross, place + 0.14, colour=_ORANGE, face=_ORANGE)
    _named(axes, [name for name, *_ in rows])
    axes.axvline(0, color=_INK, linewidth=0.8)
    axes.set_xlabel("drop, points (common − counter); bars: 95 % intervals")
    axes.set_title("Hollow: naive drop; solid: cross-fitted", loc="left", fontsize=10)
    return figure


def _dot(
    axes: "Axes", drop: Interval | None, at: float, *, colour: str, face: str
) -> None:
    if drop is None:
        return
    reach = None
    if drop.low is not None and drop.high is not None:
        below, above = drop.value - drop.low, drop.high - drop.value
        reach = [[max(0.0, below)], [max(0.0, above)]]
    axes.errorbar(
        [drop.value], [at], xerr=reach, fmt="o", color=colour, markerfacecolor=face,
        markersize=5, linewidth=1.4,
    )  # fmt: skip


def _photos(facts: Facts) -> "Figure":
    """Photos of each class in both groups."""
    figure = _figure(len(facts.pairs))
    axes = figure.subplots()
    for shift, colour, label, counts in (
        (-0.2, _BLUE, "common", [pair.n_common for pair in facts.pairs]),
        (0.2, _ORANGE, "counter", [pair.n_counter for pair in facts.pairs]),
    ):
        places = [place + shift for place in range(len(counts))]
        axes.barh(places, counts, height=0.36, color=colour, label=label)
    _named(axes, [pair.name for pair in facts.pairs])
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("photos")
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure


def _named(axes: "Axes", names: list[str]) -> None:
    # a dollar sign in a name would start mathematics
    axes.set_yticks(range(len(names)), [name.replace("$", r"\$") for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)


def _examples(facts: Facts, rows: pl.DataFrame) -> tuple[Example, ...]:
    """The first photo of each group, by photo_id, of the first classes that have one.

    The order of photo_ids is a random draw, so nobody chose the photos shown.
    """
    found: list[Example] = []
    free = [row for row in rows.iter_rows(named=True) if _may_show(row)]
    for pair in facts.pairs:
        first: dict[str, Mapping[str, Any]] = {}
        for row in free:
            if row["class"] == pair.name:
                first.setdefault(row["group"], row)
        if set(first) == set(SPLITS):
            found += [_example(first[side]) for side in SPLITS]
        if len(found) == EXAMPLES * len(SPLITS):
            break
    return tuple(found)


def _may_show(row: Mapping[str, Any]) -> bool:
    """Freely licensed, and whoever must be named can be."""
    rank = openness(row["licence"])
    return rank == 0 or (rank <= FREE and bool(row["author"]))


def _example(row: Mapping[str, Any]) -> Example:
    return Example(
        photo_id=row["photo_id"],
        name=row["class"],
        group=row["group"],
        background=row["background"],
        licence=row["licence"],
        author=row["author"],
        source_url=row["source_url"],
        composed=bool(row["composed"]),
    )


def _montage(
    path: Path, shown: tuple[Example, ...], read: Callable[[str], bytes]
) -> str:
    """Common photos above, counter photos below them, each whole on white."""
    from PIL import Image, ImageOps

    from evaluation.images import decode

    path.parent.mkdir(exist_ok=True)
    columns, gap = len(shown) // len(SPLITS), 8
    size = (columns * (SIDE + gap) - gap, len(SPLITS) * (SIDE + gap) - gap)
    sheet = Image.new("RGB", size, "white")
    for place, example in enumerate(shown):
        column, row = divmod(place, len(SPLITS))
        photo = ImageOps.contain(
            decode(read(example.photo_id)), (SIDE, SIDE), Image.Resampling.LANCZOS
        )
        left = column * (SIDE + gap) + (SIDE - photo.width) // 2
        top = row * (SIDE + gap) + (SIDE - photo.height) // 2
        sheet.paste(photo, (left, top))
    sheet.save(path, "JPEG", quality=85)
    return f"{FOLDER}/{path.name}"
