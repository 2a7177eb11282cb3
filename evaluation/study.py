"""Many models on many sets: lines, detection, scaling, pairs.

Each model is measured on its own (`measure`); what needs several of them is worked out
here, at the end, from what stayed: who was right about which photo, and the scores.
What cannot be worked out is a note, with the reason.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from evaluation.errors import ConfigError, MetricError, nearest
from evaluation.measure import Measured
from evaluation.metrics.comparison import Comparison, compare
from evaluation.metrics.effective_robustness import (
    SCALES,
    Axis,
    Robustness,
    Scale,
    against_known,
    against_line,
)
from evaluation.metrics.factors import factor_lines
from evaluation.metrics.ood import detection
from evaluation.metrics.scaling import ScalingPoint, curve, curves, samples_seen
from evaluation.reference import baseline as bundled
from evaluation.results import (
    Detected,
    FactorLine,
    Lines,
    Result,
    Results,
    Scaling,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_T = TypeVar("_T")

FEWEST = 3
"""Models a line is fitted to, at least."""

MOST_PAIRS = 66
"""Pairs of models compared on a set: all of up to 12 models."""

KINDS: Mapping[str, str] = {
    "zero_shot": "image-text models",
    "classifier": "ImageNet classifiers",
}
"""Kinds of models that lines are fitted to, and what they are called."""

_BUNDLED: Mapping[str, str] = {
    "imagenet-v2-matched-frequency": "testbed:imagenet-v2",
    "imagenet-sketch": "testbed:imagenet-sketch",
}
"""Shifts whose line others published for plain ImageNet validation accuracy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How models are compared.

    Attributes:
        baseline: what effective robustness is measured against: "classifier",
            "zero_shot", or names of models.
        compare_to: model that all others are compared with; "" compares all pairs.
        selected_on: models that helped to choose the groups; they get no part in a
            line's fit.
        draws: bootstrap replicates.
        seed: of the bootstrap.
    """

    baseline: tuple[str, ...] = ("classifier",)
    compare_to: str = ""
    selected_on: frozenset[str] = frozenset()
    draws: int = 1000
    seed: int = 0


def results(found: Sequence[Measured], setting: Setting) -> Results:
    """Everything that was found, in the order models and sets were measured.

    Args:
        found: every model on every set.
        setting: how they are compared.

    Raises:
        ConfigError: a baseline or a model to compare with that was not measured.
    """
    check(dict.fromkeys(one.model for one in found), setting)
    notes: list[str] = []
    rows = tuple(
        replace(one.result, selected_on=_selected(one, setting))
        for one in found
        if one.result is not None
    )
    return Results(
        rows=rows,
        lines=tuple([*_group_lines(found, setting, notes),
                     *_shift_lines(found, setting, notes)]),
        detected=tuple(_detected(found, notes)),
        scaling=tuple(_scaling(rows, setting)),
        comparisons=tuple(_comparisons(found, setting, notes)),
        factor_lines=tuple(_factor_lines(rows, found, setting)),
        notes=tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def check(models: Collection[str], setting: Setting) -> None:
    """Whether a setting's models are among those measured; costs nothing.

    Raises:
        ConfigError: one is not; names the nearest.
    """
    names = [one for one in setting.baseline if one not in KINDS]
    for name in [*names, *([setting.compare_to] if setting.compare_to else [])]:
        if name not in models:
            message = (
                f"model {name!r} is to be compared with and is not among those "
                f"measured; {nearest(name, [*models, *KINDS])}"
            )
            raise ConfigError(message)


def _selected(one: Measured, setting: Setting) -> bool:
    return one.role == "groups" and one.model in setting.selected_on


def _by_dataset(found: Iterable[Measured]) -> dict[str, list[Measured]]:
    sets: dict[str, list[Measured]] = {}
    for one in found:
        sets.setdefault(one.dataset, []).append(one)
    return sets


# --- lines ---------------------------------------------------------------------------


def _group_lines(
    found: Sequence[Measured], setting: Setting, notes: list[str]
) -> list[Lines]:
    """Counter against common accuracy: a line of each kind of model, on each scale."""
    lines = []
    for name, all_ in _by_dataset(found).items():
        some = [one for one in all_ if one.result and one.result.drop is not None]
        for kind, called in KINDS.items():
            chosen = [one.kind == kind and not _selected(one, setting) for one in some]
            if sum(chosen) < FEWEST:
                if some:
                    notes.append(
                        f"{name}: no line of {called}: {sum(chosen)} of them, and a "
                        f"line needs {FEWEST}"
                    )
                continue
            for weighting in ("balanced", "micro"):
                for scale in SCALES:
                    fit = partial(
                        _group_line, some, chosen, called, weighting, scale, setting
                    )
                    reason = f"{name}: no {scale} line of {called}"
                    lines += _tried(fit, reason, notes)
    return lines


def _group_line(
    some: Sequence[Measured],
    chosen: Sequence[bool],
    called: str,
    weighting: str,
    scale: Scale,
    setting: Setting,
) -> Lines:
    rows = [one.result for one in some if one.result is not None]
    x, y = (
        [_fraction(row, group, weighting) for row in rows]
        for group in ("common", "counter")
    )
    classes = some[0].classes
    made = against_line(
        [one.model for one in some],
        x,
        y,
        chosen,
        scale,
        axes=(Axis("common", classes), Axis("counter", classes)),
        baseline_name=called,
        n_x=[row.n_common for row in rows],
        n_y=[row.n_counter for row in rows],
        draws=setting.draws,
        seed=setting.seed,
    )
    return Lines(
        dataset=some[0].dataset,
        x="common",
        weighting=weighting,
        label_space=some[0].label_space,
        robustness=made,
    )


def _fraction(row: Result, group: str, weighting: str) -> float:
    value = getattr(row, group if weighting == "balanced" else f"micro_{group}")
    return float(value) / 100


def _shift_lines(
    found: Sequence[Measured], setting: Setting, notes: list[str]
) -> list[Lines]:
    """Accuracy under each shift against accuracy on the ID set's same classes."""
    lines = []
    sets = _by_dataset(found)
    ids = [name for name, some in sets.items() if some[0].role == "id"]
    for name, some in sets.items():
        if some[0].role != "shift":
            continue
        same = [one for one in ids if sets[one][0].classes == some[0].classes]
        if not same:
            notes.append(
                f"{name}: no effective robustness without accuracy in distribution on "
                f"its {len(some[0].classes)} classes; give ImageNet's validation "
                "photos as the ID set"
            )
            continue
        before = {one.model: one.result for one in sets[same[0]] if one.result}
        pairs = [
            (one, one.result, before[one.model])
            for one in some
            if one.result is not None and one.model in before
        ]
        lines += _shift_line(name, same[0], pairs, setting, notes)
    return lines


def _shift_line(
    name: str,
    id_name: str,
    pairs: Sequence[tuple[Measured, Result, Result]],
    setting: Setting,
    notes: list[str],
) -> list[Lines]:
    models = [one.model for one, _, _ in pairs]
    x = [before.micro / 100 for _, _, before in pairs]
    y = [after.micro / 100 for _, after, _ in pairs]
    classes = pairs[0][0].classes
    axes = (Axis(id_name, classes), Axis(name, classes))
    n_x = [before.n_photos for _, _, before in pairs]
    n_y = [after.n_photos for _, after, _ in pairs]
    chosen = [_is_baseline(one, setting) for one, _, _ in pairs]
    made: list[Robustness] = []
    if sum(chosen) >= FEWEST:
        for scale in SCALES:
            fit = partial(
                against_line, models, x, y, chosen, scale, axes=axes, n_x=n_x, n_y=n_y,
                baseline_name=_called(setting), draws=setting.draws, seed=setting.seed,
            )  # fmt: skip
            made += _tried(fit, f"{name}: no {scale} line", notes)
    elif name in _BUNDLED:
        line = bundled(_BUNDLED[name])
        place = partial(against_known, models, x, y, line, axes=axes, n_x=n_x, n_y=n_y)
        made += _tried(place, f"{name}: not against the bundled line", notes)
        notes.append(
            f"{name}: measured against the bundled line {_BUNDLED[name]}, because "
            f"{sum(chosen)} baseline models are too few for a line of their own"
        )
    else:
        notes.append(
            f"{name}: no line: {sum(chosen)} baseline models, and it needs {FEWEST}"
        )
    return [
        Lines(
            dataset=name,
            x=id_name,
            weighting="micro",
            label_space=pairs[0][0].label_space,
            robustness=one,
        )
        for one in made
    ]


def _called(setting: Setting) -> str:
    return ", ".join(KINDS.get(one, one) for one in setting.baseline)


def _is_baseline(one: Measured, setting: Setting) -> bool:
    return one.kind in setting.baseline or one.model in setting.baseline


def _factor_lines(
    rows: Sequence[Result], found: Sequence[Measured], setting: Setting
) -> list[FactorLine]:
    """Each factor's accuracy against overall accuracy, where there are factors."""
    kinds = {one.model: one for one in found}
    lines = []
    for name in dict.fromkeys(row.dataset for row in rows if row.factors):
        some = [row for row in rows if row.dataset == name and row.factors]
        chosen = [_is_baseline(kinds[row.model], setting) for row in some]
        if sum(chosen) < FEWEST:
            continue
        made = factor_lines(
            {row.model: row.factors for row in some if row.factors},
            [row.model for row, one in zip(some, chosen, strict=True) if one],
            baseline_name=_called(setting),
            draws=setting.draws,
            seed=setting.seed,
        )
        lines += [
            FactorLine(dataset=name, factor=one.y_name, robustness=one) for one in made
        ]
    return lines


# --- the rest ------------------------------------------------------------------------


def _detected(found: Sequence[Measured], notes: list[str]) -> list[Detected]:
    """Every score of every model, on each set of unknown classes."""
    sets = _by_dataset(found)
    detected = []
    for name, some in sets.items():
        if some[0].role != "ood":
            continue
        known = _known_photos(sets, some[0])
        if known is None:
            notes.append(
                f"{name}: nothing to tell it from; give photos of known classes, "
                "chosen among the same classes, as the ID set"
            )
            continue
        id_name, before = known
        for one in some:
            if one.model not in before:
                continue
            detected += [
                Detected(
                    model=one.model,
                    id_dataset=id_name,
                    ood_dataset=name,
                    label_space=one.label_space,
                    prompts=one.prompts,
                    detection=detection(score, before[one.model][score], values),
                )
                for score, values in one.scores.items()
                if score in before[one.model] and len(values)
            ]
    return detected


def _known_photos(
    sets: Mapping[str, Sequence[Measured]], unknown: Measured
) -> "tuple[str, Mapping[str, Mapping[str, NDArray[np.float64]]]] | None":
    """Scores of photos of known classes by model: of an ID set, else common photos."""
    for role in ("id", "groups"):
        for name, some in sets.items():
            if some[0].role != role or some[0].label_space != unknown.label_space:
                continue
            if role == "id":
                return name, {one.model: one.scores for one in some}
            common = {}
            for one in some:
                assert one.outcomes is not None
                inside = one.outcomes.groups == "common"
                common[one.model] = {
                    score: values[inside] for score, values in one.scores.items()
                }
            return f"{name}, common group", common
    return None


def _scaling(rows: Sequence[Result], setting: Setting) -> list[Scaling]:
    """Accuracy of image-text models whose training is known, of each set and group."""
    found = []
    for name in dict.fromkeys(row.dataset for row in rows):
        some = [row for row in rows if row.dataset == name and row.prompts]
        for group in ("common", "counter", ""):
            points = [point for row in some if (point := _seen(row, group))]
            spread = {point.seen for point in points}
            if len(points) < FEWEST or len(spread) < 2 or _perfect(points):
                continue
            whole = curve(points, draws=setting.draws, seed=setting.seed)
            each = [
                one
                for one in curves(points, draws=setting.draws, seed=setting.seed)
                if one.n < len(points)
            ]
            found.append(Scaling(dataset=name, group=group, curves=(whole, *each)))
    return found


def _perfect(points: Sequence[ScalingPoint]) -> bool:
    return any(point.value >= 1 for point in points)


def _seen(row: Result, group: str) -> ScalingPoint | None:
    value = getattr(row, group) if group else row.accuracy
    seen = samples_seen(row.model)
    if value is None or seen is None or (not group and row.common is not None):
        return None
    family = row.model.partition(":")[2].rpartition("/")[0]
    return ScalingPoint(
        model=row.model,
        seen=seen[0],
        value=value / 100,
        family=family.removesuffix("-quickgelu"),
        source=seen[1],
    )


def _comparisons(
    found: Sequence[Measured], setting: Setting, notes: list[str]
) -> list[Comparison]:
    """Models in pairs on each labelled set, photos that both answered."""
    compared = []
    for name, all_ in _by_dataset(found).items():
        some = [one for one in all_ if one.outcomes is not None]
        pairs = list(combinations(some, 2))
        if setting.compare_to:
            (to,) = [one for one in some if one.model == setting.compare_to]
            pairs = [(one, to) for one in some if one is not to]
        elif len(pairs) > MOST_PAIRS:
            notes.append(
                f"{name}: {len(pairs)} pairs of models are not compared; name one to "
                "compare the others with"
            )
            continue
        for one, two in pairs:
            reason = f"{name}: {one.model} and {two.model} are not compared"
            compared += _tried(partial(_pair, one, two, name, setting), reason, notes)
    return compared


def _pair(one: Measured, two: Measured, name: str, setting: Setting) -> Comparison:
    assert one.outcomes is not None
    assert two.outcomes is not None
    place = {key: row for row, key in enumerate(_keys(two))}
    both = [(row, place[key]) for row, key in enumerate(_keys(one)) if key in place]
    left, right = np.array(both, np.int64).reshape(-1, 2).T
    grouped = one.result is not None and one.result.drop is not None
    return compare(
        one.outcomes.correct[left],
        two.outcomes.correct[right],
        groups=one.outcomes.groups[left] if grouped else None,
        classes=one.outcomes.classes[left] if grouped else None,
        clusters=one.outcomes.clusters[left],
        first=one.model,
        second=two.model,
        dataset=name,
        draws=setting.draws,
        seed=setting.seed,
    )


def _keys(one: Measured) -> list[tuple[str, str]]:
    """Photo and class of each answered example: a photo may show two classes."""
    assert one.outcomes is not None
    classes: list[str] = one.outcomes.classes.tolist()
    return list(zip(one.photo_ids.tolist(), classes, strict=True))


def _tried(work: Callable[[], _T], what: str, notes: list[str]) -> list[_T]:
    """What is found, or a note why it is not."""
    try:
        return [work()]
    except MetricError as error:
        notes.append(f"{what}: {error}")
        return []
