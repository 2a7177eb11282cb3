"""How a dataset was made: code, versions, models, recipes; no times, no machine."""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from curation.pipeline import ORDER, Route
from evaluation.models import identity

_PACKAGES = (
    "counterset", "torch", "torchvision", "open_clip_torch", "timm", "pillow",
    "imagehash", "numpy", "scipy", "polars", "pyarrow", "matplotlib", "jinja2",
    "huggingface_hub",
)  # fmt: skip
_MADE_BEFORE_RELEASE = ORDER[: ORDER.index("release")]
_MEASURES = ("gold", "accepted", "wrong_accepted", "cannot_tell", "skipped")
_AGREEMENT = ("question", "alpha", "ci", "same", "same_ci", "n_photos", "n_annotators")
_GIT_S = 10


def provenance(route: Route) -> dict[str, Any]:
    """Code, versions, recipes of the tables, and the models with what tells them apart.

    Equal while checkout, packages, configuration and tables are: nothing in it says
    when or where.
    """
    from curation import answers

    config, found = route.config, answers.agreement(route)
    return {
        "code": code(),
        "versions": versions(),
        "recipes": recipes(route),
        "models": {
            "proposals": identity(config.embed.model),
            "discovery": [identity(name) for name in config.group.reference],
        },
        "agreement": [
            {key: row[key] for key in _AGREEMENT} for row in found["questions"]
        ],
        "annotators": quality(found["annotators"]),
    }


def recipes(route: Route) -> dict[str, str]:
    """Recipe of every step whose outcome the release holds."""
    return {step: route.recipe(step) for step in _MADE_BEFORE_RELEASE}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers or bytes depend on."""
    python = ".".join(map(str, sys.version_info[:3]))
    return {"python": python} | {name: _version(name) for name in _PACKAGES}


def code(root: Path | None = None) -> dict[str, Any]:
    """Which state of this package's code ran.

    Args:
        root: folder that holds the packages; the one this module is in when None.

    Returns: `commit` and `changed` (whether files of the packages differ from it) in a
        git checkout of CounterSet; otherwise the `version` that is installed.
    """
    root = root or Path(__file__).parents[1]
    # a package inside somebody else's repository is not a checkout of it
    if (root / ".git").exists() and _git(root, "ls-files", "curation/provenance.py"):
        commit = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--", "curation", "evaluation")
        if commit and changes is not None:
            return {"commit": commit, "changed": bool(changes)}
    return {"version": _version("counterset")}


def quality(annotators: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is measured of each annotator, over all of them and without names.

    Args:
        annotators: rows of `curation.quality.annotators`.

    Returns: by measure: share of all answers it is about, 0-1, the number `n` of these
        answers, and the lowest and highest share of one annotator. There is no
        interval: answers of one annotator are not independent.
    """
    found = {}
    for measure in _MEASURES:
        rows = [
            (row[measure], row[f"{measure}_n"])
            for row in annotators
            if row[f"{measure}_n"]
        ]
        total = sum(n for _, n in rows)
        if total:
            found[measure] = {
                "share": sum(share * n for share, n in rows) / total,
                "n": total,
                "lowest": min(share for share, _ in rows),
                "highest": max(share for share, _ in rows),
                "annotators": len(rows),
            }
    return found


def _git(root: Path, *words: str) -> str | None:
    """What git says; None where there is none, or it fails."""
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_GIT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
