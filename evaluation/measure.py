"""One model on one example set: everything that is measured of it.

Temperatures are fitted on photos of the kind the model was made for, never on a shift
or on the counter group: on half of the ID set where there is one, else on half of the
common group. Where a temperature is fitted, all that is said about it is measured on
photos it has not seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from evaluation.answers import Answers
from evaluation.errors import MetricError
from evaluation.metrics import Outcomes, outcomes, outside
from evaluation.metrics.calibration import (
    Calibration,
    calibration,
    fit_temperature,
    halves,
)
from evaluation.metrics.factors import FactorResult, factor_accuracy
from evaluation.results import Result
from evaluation.score import score

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from evaluation.metrics.factors import Annotations

SCORES: Mapping[str, str] = {
    "msp": "probability",
    "max_logit": "max_logit",
    "energy": "energy",
    "mcm": "mcm",
}
"""Column of a predictions table that holds each OOD score."""

_COMMON = "common"


@dataclass(frozen=True, slots=True)
class Temperature:
    """What a model's logits are divided by, and the photos that said so."""

    value: float
    fitted_on: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What stays of one model on one set once its logits are gone.

    Attributes:
        model: full name.
        kind: of the model.
        dataset: name of the example set.
        role: of the example set.
        label_space: classes it chose among.
        prompts: prompt set; None for a classifier.
        classes: ImageNet indices of the set's classes.
        result: None for a set without labels.
        outcomes: of the photos that were answered; None without labels.
        photo_ids: (n,) of the photos that were answered.
        scores: (n,) float64 each, by `metrics.ood.SCORES`.
    """

    model: str
    kind: str
    dataset: str
    role: str
    label_space: str
    prompts: str | None
    classes: frozenset[int]
    result: Result | None
    outcomes: Outcomes | None
    photo_ids: "NDArray[np.str_]"
    scores: "Mapping[str, NDArray[np.float64]]" = field(default_factory=dict)


def measure(
    answers: Answers,
    table: "pa.Table",
    *,
    temperature: Temperature | None = None,
    annotations: "Annotations | None" = None,
    probabilities: Literal["softmax", "native"] = "softmax",
    notes: list[str],
) -> tuple[Measured, Temperature | None]:
    """Everything that is measured of one model on one set.

    Args:
        answers: its logits.
        table: `predict.predictions(answers)`.
        temperature: fitted on the ID set before; None lets an ID set, or the common
            group, give its own.
        annotations: ImageNet-X, for a set of ImageNet's validation photos.
        probabilities: "softmax", or "native": what the model was trained with.
        notes: what cannot be measured is added, with the reason.

    Returns: what was measured, and the temperature to be used for later sets.

    Raises:
        MetricError: no photo was answered, or no class is in both groups.
    """
    examples = answers.examples
    plain = Measured(
        model=answers.record.name,
        kind=answers.record.kind,
        dataset=examples.name,
        role=examples.role,
        label_space=answers.space.name,
        prompts=answers.prompts.name if answers.record.kind == "zero_shot" else None,
        classes=frozenset(one for item in examples.classes for one in item.indices),
        result=None,
        outcomes=None,
        photo_ids=_answered(table),
        scores=_scores(table),
    )
    if examples.role == "ood":
        return plain, temperature
    (result,) = score(examples, {plain.model: table}).rows
    found = outcomes(examples.table, table)
    how = answers.record.link if probabilities == "native" else "softmax"
    logits, own = answers.all_logits()
    fitting = None
    if temperature is None and how == "softmax":
        fitting = _to_fit_on(answers, found, plain.photo_ids, own)
    if fitting is not None:
        temperature = _fitted(answers, logits, own, fitting, notes)
    bars = _calibrated(
        found, logits, own, how=how, temperature=temperature, fitting=fitting
    )
    factors = None
    if annotations is not None:
        factors = _factors(answers, found, annotations, notes)
    result = replace(
        result,
        calibration=bars,
        factors=factors,
        more=outside(found),
        role=examples.role,
    )
    return replace(plain, result=result, outcomes=found), temperature


def _answered(table: "pa.Table") -> "NDArray[np.str_]":
    good = np.array(table.column("status").to_pylist()) == "ok"
    ids = np.array(table.column("photo_id").to_pylist(), np.str_)
    found: NDArray[np.str_] = ids[good]
    return found


def _scores(table: "pa.Table") -> "dict[str, NDArray[np.float64]]":
    """Scores of the answered photos; those that the model cannot have are left out."""
    good = np.array(table.column("status").to_pylist()) == "ok"
    found = {}
    for name, column in SCORES.items():
        values = np.array(table.column(column).to_pylist(), np.float64)[good]
        if not np.isnan(values).any():
            found[name] = values
    return found


def _to_fit_on(
    answers: Answers,
    found: Outcomes,
    photo_ids: "NDArray[np.str_]",
    own: "NDArray[np.int64]",
) -> "NDArray[np.bool_] | None":
    """(n,) photos to fit a temperature on; None where a set must not give one."""
    role = answers.examples.role
    if role not in ("id", "groups"):
        return None
    # one photo may show two classes; its bytes are on one side only
    unique, first, place = np.unique(photo_ids, return_index=True, return_inverse=True)
    kinds = np.char.add(own.astype(np.str_), found.groups)[first]
    chosen: NDArray[np.bool_] = halves(unique, kinds)[place.reshape(-1)]
    return chosen if role == "id" else chosen & (found.groups == _COMMON)


def _fitted(
    answers: Answers,
    logits: "NDArray[np.float32]",
    own: "NDArray[np.int64]",
    fitting: "NDArray[np.bool_]",
    notes: list[str],
) -> Temperature | None:
    name = answers.examples.name
    part = "" if answers.examples.role == "id" else "the common group of "
    try:
        value = fit_temperature(logits[fitting], own[fitting])
    except MetricError as error:
        notes.append(f"{answers.record.name} on {name}: {error}")
        return None
    return Temperature(value, f"half of {part}{name}")


def _calibrated(
    found: Outcomes,
    logits: "NDArray[np.float32]",
    own: "NDArray[np.int64]",
    *,
    how: str,
    temperature: Temperature | None,
    fitting: "NDArray[np.bool_] | None",
) -> tuple[Calibration, ...]:
    """As it is and at the temperature, of each group there is."""
    kept = np.ones(len(own), bool) if fitting is None else ~fitting
    groups = [one for one in ("common", "counter") if (found.groups == one).any()]
    asked = [Temperature(1.0, "")]
    if temperature is not None and how == "softmax":
        asked.append(temperature)
    bars = []
    for group in groups or [""]:
        some = kept & (found.groups == group) if group else kept
        if some.any():
            bars += [
                replace(
                    calibration(
                        logits[some],
                        own[some],
                        temperature=one.value,
                        fitted_on=one.fitted_on,
                        probabilities=how,
                        clusters=found.clusters[some],
                    ),
                    group=group,
                )
                for one in asked
            ]
    return tuple(bars)


def _factors(
    answers: Answers, found: Outcomes, annotations: "Annotations", notes: list[str]
) -> FactorResult | None:
    """ImageNet-X by file name; None where the set has no such photos."""
    table, good = answers.examples.table, answers.good
    files = np.array(table.column("file").to_pylist(), object)[good]
    labels = np.array(table.column("label").to_pylist(), object)[good]
    named = all(str(one).startswith("ILSVRC2012_val_") for one in files)
    if answers.examples.role != "id" or not named:
        return None
    try:
        return factor_accuracy(
            [str(one) for one in files],
            found.correct,
            found.probability,
            found=annotations,
            classes=labels.astype(np.int64),
        )
    except MetricError as error:
        notes.append(f"{answers.examples.name}: no visual factors: {error}")
        return None
