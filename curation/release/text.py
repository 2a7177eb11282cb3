"""Numbers and names as the card writes them."""

import html
import math
import re


def cell(text: str) -> str:
    r"""Text from outside as one line of Markdown that shows it and does nothing.

    Example:
        >>> print(cell("a|b\n<script>"))
        a\|b &lt;script&gt;
    """
    line = html.escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|{}~])", r"\\\1", line)


def many(number: int, one: str, more: str = "") -> str:
    """A count with what is counted.

    Example:
        >>> many(1, "photo"), many(1200, "photo"), many(0, "class", "classes")
        ('1 photo', '1,200 photos', '0 classes')
    """
    return f"{count(number)} {one if number == 1 else more or one + 's'}"


def count(number: int) -> str:
    """A count with commas between its thousands."""
    return f"{number:,}"


def number(value: float | None, digits: int = 1) -> str:
    """A number; a dash for what is not known.

    Example:
        >>> number(2.25), number(7), number(None)
        ('2.2', '7', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.{digits}f}"
