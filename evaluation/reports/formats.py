"""Numbers for people: rounded here and nowhere before."""

import math

DASH, MINUS = "\u2013", "\u2212"


def points(value: float | None) -> str:
    """Points for people: two decimals, a true minus, a dash where there is no number.

    Example:
        >>> points(67.128), points(-1.5), points(None), points(float("nan"))
        ('67.13', '\u22121.50', '\u2013', '\u2013')
    """
    return number(value, 2)


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals.

    Example:
        >>> number(0.98765), number(-0.0001), number(None)
        ('0.988', '0.000', '\u2013')
    """
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if not float(text) else text.replace("-", MINUS)


def share(fraction: float | None) -> str:
    """A fraction, in points.

    Example:
        >>> share(0.5), share(None)
        ('50.00', '\u2013')
    """
    return points(None if fraction is None else 100 * fraction)


def bounds(
    interval: tuple[float, float] | None, digits: int = 2, *, times: float = 1
) -> str:
    """An interval for people.

    Example:
        >>> bounds((1, 2.5)), bounds(None), bounds((0.5, 0.75), times=100)
        ('1.00 to 2.50', 'undefined', '50.00 to 75.00')
    """
    if interval is None or not all(math.isfinite(end) for end in interval):
        return "undefined"
    low, high = interval
    return f"{number(times * low, digits)} to {number(times * high, digits)}"


def p_value(value: float | None) -> str:
    """A p-value; very small ones are only bounded.

    Example:
        >>> p_value(0.04567), p_value(0.0000001), p_value(None)
        ('0.046', '< 0.001', '\u2013')
    """
    if value is not None and value < 0.001:
        return "< 0.001"
    return number(value)


def amount(value: float) -> str:
    """A large count, three digits.

    Example:
        >>> amount(12.8e9), amount(400e6), amount(950)
        ('12.8 B', '400 M', '950')
    """
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def short(name: str, length: int = 28) -> str:
    """A name that fits into a figure.

    Example:
        >>> short("ostrich, struthio camelus", 12)
        'ostrich, st\u2026'
    """
    return name if len(name) <= length else name[: length - 1].rstrip() + "\u2026"
