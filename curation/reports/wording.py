"""Numbers as people read them."""

from markupsafe import Markup

from curation.reports.facts import Estimate


def thousands(count: int) -> str:
    """A count with thin spaces between its thousands."""
    return f"{count:,}".replace(",", "\u202f")


def num(value: float | None, digits: int = 1) -> str:
    """A number for people: a true minus sign, no minus zero, a dash for None.

    Example:
        >>> num(-3.25, 1), num(-0.04), num(None)
        ('−3.2', '0.0', '–')
    """
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if not float(text) else text.replace("-", "−")


def pvalue(value: float) -> str:
    """A p- or q-value with its sign.

    Example:
        >>> pvalue(0.0004), pvalue(0.0312), pvalue(0.4)
        ('< 0.001', '= 0.031', '= 0.40')
    """
    if value < 0.001:
        return "< 0.001"
    return f"= {value:.3f}" if value < 0.1 else f"= {value:.2f}"


def span(estimate: Estimate) -> Markup:
    """The interval as it stands in a sentence."""
    if not estimate.bounded:
        return Markup("")
    low, high = num(estimate.low), num(estimate.high)
    return Markup(' <span class="ci">[{}, {}]</span>').format(low, high)
