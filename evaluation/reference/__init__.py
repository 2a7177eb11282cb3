"""Figures that others have published, as facts: see README.md in this folder.

Lines of ImageNet models to measure effective robustness by, open_clip's own zero-shot
accuracies, CounterAnimal's tables, and how many image-text pairs models have seen.
"""

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

from evaluation.errors import ConfigError, MetricError, nearest
from evaluation.metrics.effective_robustness import SCALES, Line, Scale

_FOLDER = Path(__file__).parent

PLAIN = "val"
"""ImageNet's 50,000 validation photos, all 1,000 classes: x if nothing is said."""

TABLES = (3, 4, 5, 10, 11, 12, 13, 14)
"""Tables of CounterAnimal with accuracies of models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Where a bundled line may be used.

    Attributes:
        name: such as "testbed:imagenet-v2".
        shift: what y is.
        x_setting: what x must be: "val", or ImageNet's photos of the shift's classes.
        classes: how many classes both are on.
    """

    name: str
    shift: str
    x_setting: str
    classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRow:
    """A model in one of CounterAnimal's tables, in points as printed.

    Attributes:
        table: number of the table.
        kind: "clip", "imagenet" or "lvlm".
        backbone: the paper's name for it, such as "ViT/B/32".
        pretrain: what a CLIP was trained on, such as "LAION400M"; "" for others.
        high_quality: trained on data the paper calls of high quality; None if not told.
        label_space: "1v1000" or "1v20".
        prompts: "paper" or "openai80"; "" without prompts.
        balanced: mean over classes; else over photos.
        common: accuracy of the common group, 0 to 100.
        counter: accuracy of the counter group.
        drop: as printed, which is not always common - counter.
    """

    table: int
    kind: str
    backbone: str
    pretrain: str
    high_quality: bool | None
    label_space: str
    prompts: str
    balanced: bool
    common: float
    counter: float
    drop: float

    @property
    def model(self) -> str:
        """Backbone and data, such as "ViT/B/32 LAION400M"."""
        return f"{self.backbone} {self.pretrain}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShot:
    """What open_clip publishes of a model of CounterAnimal's table 3; fractions.

    Attributes:
        model: open_clip's name.
        tag: open_clip's tag.
        paper: the paper's name, such as "ViT/B/32 LAION400M".
        accuracy: by example set: imagenet_1k, imagenet_v2, imagenet_r, imagenet_a,
            imagenet_sketch, objectnet, imagenet_o.
    """

    model: str
    tag: str
    paper: str
    accuracy: dict[str, float]


def baselines() -> tuple[Baseline, ...]:
    """The bundled lines, and what each may be used with."""
    found = {
        row["name"]: Baseline(
            name=row["name"],
            shift=row["shift"],
            x_setting=row["x_setting"],
            classes=int(row["classes"]),
        )
        for row in _rows("testbed_standard_fits.csv")
    }
    return tuple(found.values())


def baseline(name: str, *, scale: Scale = "logit", x: str = PLAIN) -> Line:
    """A bundled line by name.

    Args:
        name: one of `baselines()`, such as "testbed:imagenet-v2".
        scale: logit is imagenet-testbed's own; probit and linear are fits to the same
            models.
        x: what your accuracy in distribution was measured on. The lines of ImageNet-A,
            -R and ObjectNet go with ImageNet's photos of their own classes only, for
            which x must be that setting's name.

    Raises:
        ConfigError: unknown name or scale.
        MetricError: the line does not go with such an x.

    Source: imagenet-testbed (Taori et al. 2020), models with standard training.

    Example:
        >>> line = baseline("testbed:imagenet-v2")
        >>> line.n, round(line.slope, 4), round(line.intercept, 4)
        (87, 0.9114, -0.4815)
    """
    known = {one.name: one for one in baselines()}
    if name not in known:
        message = f"no bundled line {name!r}; {nearest(name, known)}"
        raise ConfigError(message)
    if scale not in SCALES:
        message = f"unknown scale {scale!r}; {nearest(scale, SCALES)}"
        raise ConfigError(message)
    about = known[name]
    if x != about.x_setting:
        message = (
            f"the line {name} goes with accuracy on {about.x_setting} "
            f"({about.classes} classes), not on {x}: {about.shift} must be set against "
            f"ImageNet's photos of the same classes. If that is what was measured, say "
            f"{about.x_setting}"
        )
        raise MetricError(message)
    row = next(
        row
        for row in _rows("testbed_standard_fits.csv")
        if row["name"] == name and row["scale"] == scale
    )
    return Line(
        scale=scale,
        slope=float(row["slope"]),
        intercept=float(row["intercept"]),
        r2=float(row["r2"]),
        n=int(row["n_models"]),
        slope_ci=(float(row["slope_low"]), float(row["slope_high"])),
        intercept_ci=(float(row["intercept_low"]), float(row["intercept_high"])),
        baseline="imagenet-testbed's models with standard training",
        draws=1000,
    )


def paper_table(number: int) -> tuple[PaperRow, ...]:
    """Models of one of CounterAnimal's tables, in its order.

    Raises:
        ConfigError: no table of models.

    Source: arXiv:2403.11497v1.

    Example:
        >>> row = paper_table(3)[10]
        >>> row.model, row.common, row.counter, row.drop
        ('ViT/B/32 LAION400M', 67.13, 36.95, 30.18)
    """
    if number not in TABLES:
        known = ", ".join(str(one) for one in TABLES)
        message = f"no accuracies of models in table {number}; there are in {known}"
        raise ConfigError(message)
    quality = {"": None, "0": False, "1": True}
    return tuple(
        PaperRow(
            table=number,
            kind=row["kind"],
            backbone=row["backbone"],
            pretrain=row["pretrain_dataset"],
            high_quality=quality[row["high_quality_data"]],
            label_space=row["label_space"],
            prompts=row["prompts"],
            balanced=row["weighting"] == "balanced",
            common=float(row["common"]),
            counter=float(row["counter"]),
            drop=float(row["drop"]),
        )
        for row in _rows("counteranimal_tables.csv")
        if row["table"] == str(number)
    )


def zero_shot() -> tuple[ZeroShot, ...]:
    """Zero-shot accuracies of CounterAnimal's CLIPs, as open_clip publishes them.

    29 rows for 28 models: ViT/B/32 LAION400M is there with and without QuickGELU.
    """
    names = (
        "imagenet_1k", "imagenet_v2", "imagenet_r", "imagenet_a", "imagenet_sketch",
        "objectnet", "imagenet_o",
    )  # fmt: skip
    return tuple(
        ZeroShot(
            model=row["open_clip_model"],
            tag=row["open_clip_tag"],
            paper=f"{row['paper_backbone']} {row['paper_dataset']}",
            accuracy={name: float(row[name]) for name in names},
        )
        for row in _rows("openclip_zero_shot.csv")
    )


def published_samples(model: str, tag: str) -> tuple[float, str] | None:
    """Image-text pairs seen in training, for tags that do not say so themselves.

    Args:
        model: open_clip's name, "-quickgelu" or not.
        tag: open_clip's tag.

    Returns: pairs and where that is from, which begins with "inferred" if it was
        counted from epochs; None if not known.
    """
    name = model.removesuffix("-quickgelu")
    for row in _rows("samples_seen.csv"):
        if row["tag"] == tag and row["model"] in ("", name):
            told = (
                row["source"]
                if row["stated"] == "yes"
                else f"inferred: {row['source']}"
            )
            return float(row["seen"]), told
    return None


@functools.cache
def _rows(file: str) -> tuple[dict[str, str], ...]:
    with (_FOLDER / file).open(encoding="utf-8", newline="") as lines:
        return tuple(csv.DictReader(lines))
