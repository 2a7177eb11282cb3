"""Results of benchmarks that were never run, plausible and of any size.

Numbers are drawn from a seed: classes and photos as in CounterAnimal, models that
do better on the counter group the better they do on the common one. Nothing in here
says anything of a real model.
"""

import math
from dataclasses import replace

import numpy as np

from evaluation.intervals import wilson
from evaluation.metrics.calibration import Bin, Calibration
from evaluation.metrics.comparison import Comparison, PairedTest
from evaluation.metrics.effective_robustness import Line, Robustness, RobustPoint
from evaluation.metrics.factors import FACTORS, FactorAccuracy, FactorResult
from evaluation.metrics.ood import Detection
from evaluation.metrics.scaling import ScalingCurve, ScalingPoint
from evaluation.results import (
    Cell,
    ClassDrop,
    Detected,
    FactorLine,
    Lines,
    Result,
    Results,
    Scaling,
)

BACKGROUNDS = ("grass", "snow", "sand", "water", "sky", "tree", "rock", "road")
SHIFTS = (
    "imagenet-v2",
    "imagenet-sketch",
    "imagenet-r",
    "imagenet-a",
    "objectnet",
    "vid-robust",
)
UNKNOWN = ("inaturalist", "sun", "places", "texture")
SCALES = {
    "linear": (lambda p: p, lambda v: v),
    "logit": (
        lambda p: math.log(p / (1 - p)),
        lambda v: 1 / (1 + math.exp(-v)),
    ),
}
BACKBONES = ("ViT-B-32", "ViT-B-16", "ViT-L-14", "RN50", "convnext_base_w", "ViT-H-14")
SEEN = {
    "laion400m_e32": 12.8e9, "laion2b_s34b_b79k": 34e9, "openai": 12.8e9,
    "LAION400M": 12.8e9, "LAION2B": 34e9, "OpenAI": 12.8e9, "DataComp": 12.8e9,
    "DFN": 39e9,
}  # fmt: skip


def names(text: int, classifiers: int) -> list[str]:
    """So many image-text models, then so many classifiers."""
    found = [
        f"open_clip:{BACKBONES[n % 6]}/{list(SEEN)[n % 3]}" + (f"-{n}" * (n >= 6))
        for n in range(text)
    ]
    return found + [
        f"torchvision:resnet{18 + n}/IMAGENET1K_V1" for n in range(classifiers)
    ]


def interval(value: float, n: int) -> tuple[float, float]:
    low, high = wilson(value / 100 * n, n)
    return 100 * float(low), 100 * float(high)


def grouped(
    model: str,
    common: float,
    counter: float,
    *,
    classes: int = 45,
    seed: int = 0,
    **changes,
) -> Result:
    """A model on a dataset with groups; accuracies near those asked for, in points."""
    rng = np.random.default_rng(seed)
    cells, drops = [], []
    for number in range(classes):
        name = f"class {number + 1}" if number else "ostrich, struthio camelus"
        n = rng.integers(50, 300, 2)
        level = 0.55 * rng.normal()
        k = [
            int(rng.binomial(many, _near(mean, level)))
            for many, mean in zip(n, (common, counter), strict=True)
        ]
        both = [100 * right / many for right, many in zip(k, n, strict=True)]
        for group, right, many, value in zip(
            ("common", "counter"), k, n, both, strict=True
        ):
            cells.append(
                Cell(
                    name=name, group=group, k=right, n=int(many), accuracy=value,
                    ci=interval(value, int(many)),
                )
            )  # fmt: skip
        drops.append(
            ClassDrop(
                name=name, common=both[0], counter=both[1], drop=both[0] - both[1],
                n_common=int(n[0]), n_counter=int(n[1]),
            )
        )  # fmt: skip
    mean = [float(np.mean([getattr(one, key) for one in drops]))
            for key in ("common", "counter")]  # fmt: skip
    total = [sum(getattr(one, key) for one in drops)
             for key in ("n_common", "n_counter")]  # fmt: skip
    text = model.startswith(("open_clip", "demo:clip"))
    settings = {
        "model": model,
        "dataset": "counteranimal",
        "label_space": "imagenet",
        "prompts": "paper" if text else None,
        "accuracy": sum(mean) / 2,
        "accuracy_ci": (sum(mean) / 2 - 1, sum(mean) / 2 + 1),
        "micro": sum(mean) / 2 + 0.4,
        "n_photos": sum(total),
        "n_failed": 0,
        "common": mean[0],
        "counter": mean[1],
        "drop": mean[0] - mean[1],
        "common_ci": (mean[0] - 1.2, mean[0] + 1.2),
        "counter_ci": (mean[1] - 1.3, mean[1] + 1.3),
        "drop_ci": (mean[0] - mean[1] - 1.7, mean[0] - mean[1] + 1.7),
        "drop_ci_classes": (mean[0] - mean[1] - 3.9, mean[0] - mean[1] + 4.1),
        "micro_common": mean[0] + 0.5,
        "micro_counter": mean[1] - 0.5,
        "n_common": total[0],
        "n_counter": total[1],
        "balanced": True,
        "worst": min(cells, key=lambda cell: cell.accuracy),
        "classes": tuple(cells),
        "backgrounds": backgrounds(common, counter, rng),
        "drops": tuple(drops),
        "calibration": tuple(
            replace(one, group=group)
            for group, value in zip(("common", "counter"), mean, strict=True)
            for one in calibration(rng, value / 100)
        ),
        "role": "groups",
        "provenance": provenance(model, text=text),
    }
    return Result(**settings | changes)


def _near(mean: float, level: float) -> float:
    share = min(max(mean / 100, 0.01), 0.99)
    return 1 / (1 + math.exp(-(math.log(share / (1 - share)) + level)))


def backgrounds(common: float, counter: float, rng) -> tuple[Cell, ...]:
    found = []
    for number, name in enumerate(BACKGROUNDS):
        for group, mean in (("common", common), ("counter", counter)):
            if number in (2, 5) and group == "counter":
                continue
            n = int(rng.integers(100, 900))
            k = int(rng.binomial(n, _near(mean, 0.4 * rng.normal())))
            value = 100 * k / n
            found.append(
                Cell(name=name, group=group, k=k, n=n, accuracy=value,
                     ci=interval(value, n))
            )  # fmt: skip
    return tuple(found)


def provenance(model: str, *, text: bool) -> dict:
    return {
        "model": model,
        "kind": "zero_shot" if text else "classifier",
        "weights": "0123456789abcdef" * 4,
        "dtype": "float32",
        "quick_gelu": text and "openai" in model,
        "note": "A demonstration model." if "demo:clip" in model else "",
        "preprocessing": {"size": 224, "interpolation": "bicubic"},
        "prompts": {"name": "paper", "sha256": "ab" * 32, "templates": 1}
        if text
        else None,
        "versions": {"torch": "2.15.0", "open_clip_torch": "3.3.0"},
    }  # fmt: skip


def calibration(rng, accuracy: float, *, bins: int = 15) -> tuple[Calibration, ...]:
    """As given, overconfident; then at a temperature, nearly right."""
    found = []
    shape = rng.dirichlet(np.linspace(0.4, 3, bins)) if bins else []
    for fitted, gap in (("", 0.09), ("imagenet-val, half", 0.01)):
        bars = []
        for number, part in enumerate(shape):
            middle = (number + 0.5) / bins
            n = int(4000 * part)
            right = min(max(middle - gap * math.sin(3 * middle), 0.0), 1.0)
            bars.append(
                Bin(number / bins, (number + 1) / bins, n,
                    middle if n else math.nan, right if n else math.nan)
            )  # fmt: skip
        found.append(
            Calibration(
                temperature=1.37 if fitted else 1.0, fitted_on=fitted,
                probabilities="softmax", bins=15, n=4000, accuracy=accuracy,
                confidence=min(accuracy + gap, 1), ece=gap,
                ece_ci=(gap - 0.005, gap + 0.006), ece_adaptive=gap - 0.001,
                ece_classwise=gap / 100, nll=1.1 - accuracy + gap,
                brier=0.9 - accuracy * 0.8, reliability=tuple(bars),
            )
        )  # fmt: skip
    return tuple(found)


def factors(rng, average: float) -> FactorResult:
    found = []
    for number, name in enumerate(FACTORS):
        n = max(30, 16000 // (number + 1) ** 2)
        k = int(rng.binomial(n, _near(100 * average - 2 * number, 0.2 * rng.normal())))
        low, high = wilson(k, n)
        found.append(
            FactorAccuracy(
                factor=name, k=k, n=n, accuracy=k / n, ci=(float(low), float(high)),
                accuracy_balanced=k / n - 0.01,
                error_ratio=(1 - k / n) / (1 - average), ece=0.05,
            )
        )  # fmt: skip
    worst = min(found, key=lambda one: one.accuracy)
    return FactorResult(
        annotations="imagenet-x 0.0.7", mode="top", kind="class", n=48868,
        average=average, worst_factor=worst.factor, worst_classes=average - 0.3,
        factors=tuple(found),
    )  # fmt: skip


def plain(model: str, dataset: str, accuracy: float, *, seed: int = 0, **changes):
    """A model on a dataset without groups; points."""
    rng = np.random.default_rng(seed)
    cell = Cell(name="class 7", group="", k=3, n=50, accuracy=6.0, ci=interval(6, 50))
    text = model.startswith("open_clip")
    settings = {
        "model": model,
        "dataset": dataset,
        "label_space": "imagenet",
        "prompts": "paper" if text else None,
        "accuracy": accuracy,
        "accuracy_ci": (accuracy - 0.8, accuracy + 0.8),
        "micro": accuracy + 0.1,
        "n_photos": 10000,
        "n_failed": seed % 2,
        "worst": cell,
        "classes": (cell,),
        "backgrounds": (),
        "calibration": calibration(rng, accuracy / 100),
        "role": "id" if dataset == "imagenet-val" else "shift",
        "provenance": provenance(model, text=text),
    }
    return Result(**settings | changes)


def fitted(
    places: dict[str, tuple[float, float]],
    baseline: set[str],
    *,
    scale: str,
    x_name: str,
    y_name: str,
    label: str,
) -> Robustness:
    """A least-squares line through the baseline; fractions."""
    to, back = SCALES[scale]
    inside = {
        name: [min(max(one, 1e-3), 1 - 1e-3) for one in both]
        for name, both in places.items()
    }
    some = [inside[name] for name in sorted(baseline)]
    x, y = (np.array([to(one[axis]) for one in some]) for axis in (0, 1))
    slope, intercept = np.polyfit(x, y, 1) if len(some) > 1 else (1.0, 0.0)
    spread = float(np.var(y)) or 1.0
    band = [
        (back(place), back(slope * place + intercept - 0.05 * (scale != "linear")
                           - 0.02 * (scale == "linear")),
         back(slope * place + intercept + 0.05 * (scale != "linear")
              + 0.02 * (scale == "linear")))
        for place in np.linspace(x.min(), x.max(), 25)
    ]  # fmt: skip
    points = []
    for name, (one, other) in inside.items():
        predicted = back(slope * to(one) + intercept)
        height = other - predicted
        points.append(
            RobustPoint(
                model=name, x=one, y=other, predicted=predicted,
                effective_robustness=height,
                effective_robustness_ci=(height - 0.01, height + 0.01),
                baseline=name in baseline, x_ci=(one - 0.005, one + 0.005),
                y_ci=(max(other - 0.01, 0.0), min(other + 0.01, 1.0)),
            )
        )  # fmt: skip
    line = Line(
        scale=scale, slope=float(slope), intercept=float(intercept),
        r2=1 - float(np.var(y - slope * x - intercept)) / spread, n=len(some),
        slope_ci=(float(slope) - 0.1, float(slope) + 0.1),
        intercept_ci=(float(intercept) - 0.1, float(intercept) + 0.1),
        baseline=label, band=tuple(band),
    )  # fmt: skip
    return Robustness(x_name=x_name, y_name=y_name, line=line, points=tuple(points))


def full(
    text: int = 28,
    classifiers: int = 15,
    *,
    accuracies: dict[str, tuple[float, float]] | None = None,
    shifts: tuple[str, ...] = SHIFTS,
    unknown: tuple[str, ...] = UNKNOWN,
    selected: int | None = 0,
) -> Results:
    """Every family, for so many models.

    Args:
        text: image-text models.
        classifiers: ImageNet classifiers.
        accuracies: (common, counter) per model, points, in place of drawn ones.
        shifts: datasets without groups.
        unknown: out-of-distribution sets.
        selected: place of the model that helped to choose the groups.
    """
    rng = np.random.default_rng(5)
    models = list(accuracies) if accuracies else names(text, classifiers)
    places = accuracies or drawn(models, rng)
    rows = [
        grouped(model, *places[model], seed=number, selected_on=number == selected)
        for number, model in enumerate(models)
    ]
    known = {model: 45 + (places[model][0] - 45) * 0.75 for model in models}
    for number, dataset in enumerate(("imagenet-val", *shifts)):
        for row, model in enumerate(models):
            less = 0 if not number else 6 + 5 * number + 4 * rng.random()
            accuracy = max(2.0, known[model] - less + 8 * is_text(model) * (number > 2))
            more = {} if number else {"factors": factors(rng, known[model] / 100)}
            rows.append(plain(model, dataset, accuracy, seed=row, **more))
    return Results(
        tuple(rows),
        lines=tuple(lines(rows, shifts)),
        detected=tuple(detected(models, unknown, rng)),
        scaling=tuple(scaling(rows)),
        comparisons=tuple(comparisons(rows, rng)),
        factor_lines=tuple(factor_lines(rows)),
        notes=(
            "imagenet-r: no line, because open_clip publishes no accuracy on its "
            "matched classes.",
            "ImageNet-X 'multi' factors: the annotations are not installed.",
        ),
    )


def is_text(model: str) -> bool:
    return model.startswith("open_clip")


def drawn(models, rng) -> dict[str, tuple[float, float]]:
    found = {}
    for model in models:
        common = 60 + 32 * rng.beta(2, 1.6)
        slope, start = (1.35, -57) if is_text(model) else (1.25, -38)
        counter = slope * common + start + rng.normal() * 2
        found[model] = common, float(np.clip(counter, 3, 97))
    return found


def lines(rows, shifts) -> list[Lines]:
    found = []
    groups = {
        row.model: (row.common / 100, row.counter / 100)
        for row in rows
        if row.drop is not None
    }
    kinds = {
        "ImageNet classifiers": {name for name in groups if not is_text(name)},
        "image-text models": {name for name in groups if is_text(name)},
    }
    for scale in SCALES:
        for weighting in ("balanced", "micro"):
            for label, baseline in kinds.items():
                if len(baseline) < 3:
                    continue
                robust = fitted(groups, baseline, scale=scale, x_name="common group",
                                y_name="counter group", label=label)  # fmt: skip
                found.append(
                    Lines(dataset="counteranimal", x="common", weighting=weighting,
                          label_space="imagenet", robustness=robust)
                )  # fmt: skip
    known = {row.model: row.micro for row in rows if row.dataset == "imagenet-val"}
    for dataset in shifts:
        places = {
            row.model: (known[row.model] / 100, row.micro / 100)
            for row in rows
            if row.dataset == dataset
        }
        published = {f"published baseline {n}": (0.5 + n / 90, 0.35 + n / 75)
                     for n in range(30)}  # fmt: skip
        for scale in SCALES:
            robust = fitted(
                places | published, set(published), scale=scale,
                x_name=f"imagenet-val on {dataset}'s classes", y_name=dataset,
                label="ImageNet classifiers of the testbed",
            )  # fmt: skip
            found.append(
                Lines(dataset=dataset, x="imagenet-val", weighting="micro",
                      label_space="imagenet", robustness=robust)
            )  # fmt: skip
    return found


def detected(models, unknown, rng) -> list[Detected]:
    found = []
    for dataset in unknown:
        for model in models:
            for score in ("msp", "energy", *(("mcm",) if is_text(model) else ())):
                power = 0.1 + 0.25 * rng.random()
                rate = np.linspace(0, 1, 101)
                area = 1 / (1 + power)
                detection = Detection(
                    score=score, temperature=1.0, n_id=5000, n_ood=4000, auroc=area,
                    auroc_ci=(area - 0.005, area + 0.005), aupr_in=area + 0.01,
                    aupr_out=area - 0.02, fpr95_id_pos=0.95 ** (1 / power),
                    fpr95_ood_pos=0.3,
                    curve=tuple((float(x), float(x**power)) for x in rate),
                )  # fmt: skip
                found.append(
                    Detected(model=model, id_dataset="imagenet-val",
                             ood_dataset=dataset, label_space="imagenet",
                             prompts="paper" if is_text(model) else None,
                             detection=detection)
                )  # fmt: skip
    return found


def scaling(rows) -> list[Scaling]:
    found = []
    for group in ("common", "counter"):
        points = []
        for row in rows:
            if row.drop is None or not is_text(row.model):
                continue
            backbone, tag = row.model.removeprefix("open_clip:").split("/", 1)
            seen = next((n for key, n in SEEN.items() if tag.startswith(key)), 3e9)
            points.append(
                ScalingPoint(
                    model=row.model, seen=seen,
                    value=getattr(row, group) / 100, family=backbone,
                    source="inferred" if "openai" in tag.lower() else "model card",
                )
            )  # fmt: skip
        if not points:
            continue
        curves = [_curve("", points)]
        for family in dict.fromkeys(point.family for point in points):
            curves.append(_curve(family, [p for p in points if p.family == family]))
        found.append(
            Scaling(dataset="counteranimal", group=group, curves=tuple(curves))
        )
    return found


def _curve(family, points) -> ScalingCurve:
    x = np.log10([point.seen for point in points])
    y = np.log10([1 - point.value for point in points])
    if len(points) > 1 and np.ptp(x):
        slope, intercept = np.polyfit(x, y, 1)
    else:
        slope, intercept = math.nan, math.nan
    return ScalingCurve(
        family=family, slope=float(slope), intercept=float(intercept), r2=0.8,
        n=len(points), slope_ci=None, points=tuple(points),
    )  # fmt: skip


def comparisons(rows, rng) -> list[Comparison]:
    some = [row for row in rows if row.drop is not None][:8]
    found = []
    for place, first in enumerate(some):
        for second in some[place + 1 :]:
            gap = (first.drop - second.drop) / 100
            tests = tuple(
                PairedTest(
                    group=group, n=5900, only_first=int(rng.integers(50, 400)),
                    only_second=int(rng.integers(50, 400)), difference=gap,
                    p_exact=float(rng.random()) / 10, p_mid=float(rng.random()) / 11,
                )
                for group in ("", "common", "counter")
            )  # fmt: skip
            found.append(
                Comparison(
                    first=first.model, second=second.model, dataset=first.dataset,
                    tests=tests, drop_difference=gap,
                    drop_difference_ci=(gap - 0.02, gap + 0.02),
                    drop_difference_p=float(rng.random()) / 20,
                )
            )  # fmt: skip
    return found


def factor_lines(rows) -> list[FactorLine]:
    with_factors = [row for row in rows if row.factors]
    baseline = {row.model for row in with_factors if not is_text(row.model)}
    if len(baseline) < 3:
        return []
    found = []
    for name in FACTORS:
        places = {
            row.model: (row.factors.average, one.accuracy)
            for row in with_factors
            for one in row.factors.factors
            if one.factor == name
        }
        robust = fitted(places, baseline, scale="linear", x_name="all photos",
                        y_name=name, label="ImageNet classifiers")  # fmt: skip
        found.append(FactorLine(dataset="imagenet-val", factor=name, robustness=robust))
    return found
