"""Measures of predictions: one file is one measure or family.

A module here has pure functions on arrays, and

    SOURCE: str                              where the definition is from
    measure(outcomes: Outcomes) -> dict      its main numbers by name, fractions; only
                                             where one model on one set is enough

Modules outside join with an entry point in the group `counterset.metrics`; they have a
`measure`, and what it finds is in every result under `more`. A measure of no photos is
an error, never 0 or nan.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from evaluation.errors import MetricError
from evaluation.tables import frame

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Photos that a model answered; photos that failed are not among them.

    Attributes:
        correct: (N,) bool.
        classes: (N,) class names of the dataset.
        groups: (N,) "common", "counter" or "".
        backgrounds: (N,) background names, "" where there is none.
        clusters: (N,) photos that are not independent share it.
        probability: (N,) float64, of the predicted class, 0 to 1.
        label_probability: (N,) float64, of the right class, 0 to 1.
    """

    correct: "NDArray[np.bool_]"
    classes: "NDArray[Any]"
    groups: "NDArray[Any]"
    backgrounds: "NDArray[Any]"
    clusters: "NDArray[Any]"
    probability: "NDArray[np.float64]"
    label_probability: "NDArray[np.float64]"


class Metric(Protocol):
    """What a module in this folder provides."""

    SOURCE: str

    def measure(self, outcomes: Outcomes) -> dict[str, float]:
        """Main numbers by name.

        Raises:
            MetricError: undefined for these photos, such as for none.
        """


def families() -> dict[str, ModuleType]:
    """Modules of this folder by name, with or without a `measure`."""
    return {
        module.name: importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
        if not module.name.startswith("_")
    }


def metrics() -> dict[str, Metric]:
    """Measures by name: modules of this folder that have one, then entry points."""
    found = {
        name: cast("Metric", module)
        for name, module in families().items()
        if hasattr(module, "measure")
    }
    for point in entry_points(group="counterset.metrics"):
        found.setdefault(point.name, point.load())
    return found


def outside(outcomes: Outcomes) -> dict[str, float]:
    """What measures from outside this package find, as `<measure>.<number>`.

    Raises:
        MetricError: one of them is undefined for these photos.
    """
    found: dict[str, float] = {}
    for point in entry_points(group="counterset.metrics"):
        if point.name not in families():
            numbers = point.load().measure(outcomes)
            found |= {f"{point.name}.{key}": one for key, one in numbers.items()}
    return found


def outcomes(examples: "pa.Table", predictions: "pa.Table") -> Outcomes:
    """Examples and what was predicted of them, row by row.

    Args:
        examples: `evaluation.examples.SCHEMA`.
        predictions: `evaluation.predict.SCHEMA`, rows in the same order.

    Raises:
        MetricError: rows do not belong together.
    """
    left, right = frame(examples), frame(predictions)
    if not left["photo_id"].equals(right["photo_id"]):
        message = "predictions are not of these examples, or in another order"
        raise MetricError(message)
    good = (right["status"] == "ok").to_numpy()

    def text(name: str) -> "NDArray[Any]":
        values = left[name].fill_null("").to_numpy()[good]
        return np.asarray(values, dtype=np.str_)

    def real(name: str) -> "NDArray[np.float64]":
        return np.asarray(right[name].to_numpy()[good], np.float64)

    return Outcomes(
        correct=right["correct"].fill_null(value=False).to_numpy()[good],
        classes=text("class_name"),
        groups=text("group"),
        backgrounds=text("background"),
        clusters=text("cluster"),
        probability=real("probability"),
        label_probability=real("label_probability"),
    )
