"""Searches that give only so many records, cut into pieces that can be walked through.

A piece is a span of years, or of months in one year, small enough for the service to
show all of it. What is left to ask follows from the plan alone, so that a plan and a
number are all that must be kept to go on.
"""

import random
from collections.abc import Sequence

from curation.errors import InputError
from curation.sources._records import mapping

Slice = tuple[str, str, int]
"""Years, months and records in them; a span is written `2012,2017`, all of them ``."""


def merged(plan: Sequence[Slice], window: int) -> list[Slice]:
    """Neighbouring years, or months of a year, together while the window holds them.

    Example:
        >>> merged([("2012", "", 30), ("2013", "", 9), ("2014", "", 9)], 40)
        [('2012,2013', '', 39), ('2014', '', 9)]
    """
    together: list[Slice] = []
    for year, month, count in plan:
        if together:
            last_year, last_month, last = together[-1]
            if last + count <= window and bool(month) == bool(last_month):
                span = f"{last_year.partition(',')[0]},{year}"
                if not month:
                    together[-1] = (span, "", last + count)
                    continue
                if year == last_year:
                    span = f"{last_month.partition(',')[0]},{month}"
                    together[-1] = (year, span, last + count)
                    continue
        together.append((year, month, count))
    return together


def unfolded(
    plan: object,
) -> tuple[list[dict[str, str]], list[tuple[int, int, int]], int]:
    """The searches, the answers to ask for (search, offset, limit), and where to go on.

    Raises:
        InputError: this is no plan.
    """
    stored = mapping(plan)
    try:
        size, window, start = stored["size"], stored["window"], stored["next"]
        blocks = [
            (which, offset, min(size, min(count, window) - offset))
            for which, (_, _, count) in enumerate(stored["plan"])
            for offset in range(0, min(count, window), size)
        ]
        slices = [
            {name: str(value) for name, value in (("year", y), ("month", m)) if value}
            for y, m, _ in stored["plan"]
        ]
        if stored["shuffle"] is not None:
            random.Random(stored["shuffle"]).shuffle(blocks)
        return slices, blocks[: stored["pages"]], int(start)
    except (KeyError, TypeError, ValueError) as error:
        message = f"the place where collecting stopped cannot be read: {plan!r}"
        raise InputError(message) from error
