"""Matplotlib's SVG as part of a page: its colours, its fonts, ids of its own."""

import hashlib
import html
import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# stand-ins that become the page's own colours, which differ in dark mode
INK, FAINT, PAPER = "#010203", "#040506", "#070809"
SERIES = ("#0a0b0c", "#0d0e0f", "#101112", "#131415", "#161718", "#191a1b")
FIRST, SECOND, THIRD = SERIES[:3]
_NAMES = ("first", "second", "third", "fourth", "fifth", "sixth")
_COLOURS = {INK: "currentColor", FAINT: "var(--faint)", PAPER: "var(--paper)"} | {
    stand_in: f"var(--{name})" for stand_in, name in zip(SERIES, _NAMES, strict=True)
}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "counterset",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "axes.unicode_minus": True,
    "legend.fontsize": 9.5,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
}


def draw(
    width: float, height: float, paint: "Callable[[Figure], None]", *, about: str
) -> str:
    """An SVG element; the same drawing gives the same text.

    Args:
        width: inches; 5.4 fill the page's column.
        height: inches.
        paint: draws on the empty figure.
        about: alternative text.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    file = io.BytesIO()
    with rc_context(_SETTINGS), warnings.catch_warnings():
        # matplotlib's own font may lack a letter; the page's fonts have it
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=(width, height), dpi=72)  # a pixel is a point
        paint(figure)
        figure.savefig(
            file,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None},
        )
    return _for_page(file.getvalue().decode(), about, width)


def axes_at(
    figure: "Figure",
    *,
    left: float,
    bottom: float,
    width: float,
    height: float,
) -> "Axes":
    """Axes at a place in inches, in the page's colours, without a box around."""
    wide, high = figure.get_size_inches()
    axes = figure.add_axes((left / wide, bottom / high, width / wide, height / high))
    axes.tick_params(colors=INK, length=3)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    return axes


def legend(axes: "Axes", *, top: float = 0.0, left: float = 0.0) -> None:
    """The legend above the axes, where it hides nothing.

    Args:
        axes: where its entries are.
        top: room left between, inches.
        left: how far left of the axes it begins, inches.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    height = axes.get_position().height * figure.get_figheight()
    width = axes.get_position().width * figure.get_figwidth()
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(-left / width, 1 + (0.06 + top) / height),
            frameon=False,
            labelcolor=INK,
            borderaxespad=0,
            borderpad=0,
            labelspacing=0.35,
            handlelength=1.6,
        )


LEGEND_LINE = 0.205
"""Inches that a line of a legend takes."""


_REM = 6.6
"""How wide an inch may be on the page: letters are then as large as the page's."""


def _for_page(svg: str, about: str, width: float) -> str:
    """The bare element, with the page's colours and an alternative text."""
    svg = svg[svg.index("<svg") :]
    for pattern in (r"<metadata>.*?</metadata>", r"<!--.*?-->", r"<style.*?</style>"):
        svg = re.sub(pattern, "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*</defs>", "", svg)
    used = set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", svg))
    own = "f" + hashlib.sha256((about + svg).encode()).hexdigest()[:8]

    def tag(found: re.Match[str]) -> str:
        return _tag(found[0], used, own)

    svg = re.sub(r"<[^>]*>", tag, svg)
    svg = re.sub(r">\s+<", "><", svg).strip()
    while "<g></g>" in svg:
        svg = svg.replace("<g></g>", "")
    start, rest = svg.split(">", 1)
    start = re.sub(r'\s(?:width|height|version|xmlns(?::\w+)?)="[^"]*"', "", start)
    label = html.escape(about, quote=True)
    size = f"max-width:{_REM * width:.1f}rem"
    return f'{start} style="{size}" role="img" aria-label="{label}">{rest}'


def _tag(text: str, used: set[str], own: str) -> str:
    """One tag: colours, fewer decimals, the page's font, ids that are used."""
    for stand_in, colour in _COLOURS.items():
        text = text.replace(stand_in, colour)
    text = re.sub(r"(\d\.\d\d)\d+", r"\1", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    text = re.sub(r" ?font-family: [^;\"]*;?", "", text)
    text = text.replace("xlink:href", "href").replace("\n", "")
    text = re.sub(r'\stransform="rotate\(-?0 [^"]*"', "", text)
    identity = re.search(r'\sid="([^"]*)"', text)
    if identity and identity[1] not in used:
        text = text.replace(identity[0], "")
    text = re.sub(r'(\sid=")([^"]*")', rf"\1{own}\2", text)
    return re.sub(r"(url\(|href=\")#", rf"\1#{own}", text)
