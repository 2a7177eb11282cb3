"""Going through logits a block of rows at a time, so that memory stays small."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.errors import MetricError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_ROWS = 4096
_NUMBERS = 2**18  # of one block: about what a core's own cache holds
_COLDEST = 1e-30  # 1 / temperature must be a float32


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of logits z at temperature T.

    Attributes:
        rows: which.
        values: (n, C) of z/T, or of (z - peak)/T; overwritten by the next block.
        top: (n,) column of the largest logit, of equals the lowest.
        peak: (n,) float64, that logit.
    """

    rows: slice
    values: "NDArray[Any]"
    top: "NDArray[np.intp]"
    peak: "NDArray[np.float64]"


def matrix(logits: "ArrayLike", what: str = "logits") -> "NDArray[Any]":
    """Logits as they are kept, after a look at their shape.

    Raises:
        MetricError: not (N, C) real numbers, or none.
    """
    found = np.asarray(logits)
    if found.ndim != 2 or found.dtype.kind not in "fiu":
        message = f"{what} must be (N, C) real numbers, not {found.dtype}{found.shape}"
        raise MetricError(message)
    if not found.size:
        message = f"there are no {what}: {found.shape[0]} photos, {found.shape[1]} "
        message += "classes; a measure of none is undefined"
        raise MetricError(message)
    return found


def columns(labels: "ArrayLike", shape: tuple[int, ...]) -> "NDArray[np.int64]":
    """Labels of logits of this shape.

    Raises:
        MetricError: not one label a row, not whole numbers, or outside [0, C).
    """
    found = np.asarray(labels)
    if found.shape != shape[:1] or found.dtype.kind not in "iu":
        message = (
            f"labels must be ({shape[0]},) whole numbers, one for each row of logits, "
            f"not {found.dtype}{found.shape}"
        )
        raise MetricError(message)
    wrong = np.flatnonzero((found < 0) | (found >= shape[1]))
    if len(wrong):
        message = (
            f"label {found[wrong[0]]} of row {wrong[0]} is outside the label space: "
            f"its columns are 0 to {shape[1] - 1}"
        )
        raise MetricError(message)
    return found.astype(np.int64)


def positive(temperature: float) -> float:
    """A temperature that logits can be divided by.

    Raises:
        MetricError: it is not above 0, or not finite.
    """
    if not (_COLDEST <= temperature <= 1 / _COLDEST):
        message = f"a temperature is a number above 0, not {temperature}"
        raise MetricError(message)
    return float(temperature)


def blocks(
    logits: "NDArray[Any]",
    temperature: float,
    *,
    shifted: bool = True,
    what: str = "logits",
) -> Iterator[Block]:
    """Logits by rows, in float32 (float64 where they are float64).

    Args:
        logits: (N, C), from `matrix`; -inf where a class is not offered.
        temperature: what they are divided by.
        shifted: take each row's largest logit away first, as a softmax needs.
        what: how a message calls them.

    Raises:
        MetricError: a row holds nan or +inf, or offers no class.
    """
    number, width = logits.shape
    dtype = np.float64 if logits.dtype == np.float64 else np.float32
    step = max(1, min(_ROWS, number, _NUMBERS // width))
    buffer = np.empty((step, width), dtype)
    for start in range(0, number, step):
        rows = slice(start, min(start + step, number))
        part = np.asarray(logits[rows], dtype)
        values = buffer[: len(part)]
        top = part.argmax(axis=1)
        peak = part[np.arange(len(part)), top]  # argmax lets a nan through
        _usable(peak, start, what)
        with np.errstate(over="ignore"):  # -inf is then right
            if shifted:
                np.subtract(part, peak[:, None], out=values)
            else:
                values[:] = part
            if temperature != 1:
                values *= dtype(1 / temperature)
        yield Block(rows, values, top, peak.astype(np.float64))


def _usable(peak: "NDArray[Any]", start: int, what: str) -> None:
    wrong = np.flatnonzero(~np.isfinite(peak))
    if not len(wrong):
        return
    row, value = start + int(wrong[0]), peak[wrong[0]]
    if value == -np.inf:
        message = f"{what} of row {row} are all -inf: no class is offered"
    else:
        message = f"{what} of row {row} hold {value}: they must be numbers or -inf"
    raise MetricError(message)
