"""How a dataset was made: versions, models, recipes; no times, no machine."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from curation.pipeline import ORDER, Route
from evaluation.models import identity

_PACKAGES = (
    "counterset", "torch", "open_clip_torch", "timm", "pillow", "imagehash", "numpy",
    "scipy", "polars", "pyarrow",
)  # fmt: skip
_MADE_BEFORE_RELEASE = ORDER[: ORDER.index("release")]


def provenance(route: Route) -> dict[str, Any]:
    """Versions, recipes of the tables, and the models with what tells them apart."""
    config = route.config
    return {
        "versions": {name: _version(name) for name in _PACKAGES},
        "recipes": recipes(route),
        "models": {
            "proposals": identity(config.embed.model),
            "discovery": [identity(name) for name in config.group.reference],
        },
        "agreement": _agreement(route),
    }


def recipes(route: Route) -> dict[str, str]:
    """Recipe of every step whose outcome the release holds."""
    return {step: route.recipe(step) for step in _MADE_BEFORE_RELEASE}


def _agreement(route: Route) -> list[dict[str, Any]]:
    """Krippendorff's alpha per question, for the card."""
    from curation import answers

    questions: list[dict[str, Any]] = answers.agreement(route)["questions"]
    return [{key: row[key] for key in ("question", "alpha", "ci")} for row in questions]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
