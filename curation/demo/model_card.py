"""The demonstration models' card, written from their training log.

`python -m curation.demo.model_card` writes it again; every number comes from the log.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.models import demo

_TEMPLATE = Path(__file__).with_name("model_card.md.txt")


def text(log: Mapping[str, Any]) -> str:
    """The card, in Markdown."""
    balanced = log["models"]["clip-balanced"]
    unseen = balanced["proposals_unseen_composites"]
    real = balanced["proposals_real_photos"]
    labels = sorted({*unseen["per_background"], *real["per_background"]})
    animals = [
        f"| demo:{name} | {found['on']:.3f} | {found['off']:.3f} "
        f"| {found['unplanted']:.3f} |"
        for name, model in log["models"].items()
        for found in [model["animals"]]
    ]
    return _TEMPLATE.read_text(encoding="utf-8").format(
        tokens=balanced["tokens"],
        pictures=balanced["pictures"],
        epochs=log["plan"]["epochs"],
        seed=log["plan"]["seed"],
        hidden=log["hidden"],
        strength=log["strength"],
        planted="\n".join(f"| {name} | {at} |" for name, at in log["planted"].items()),
        animals="\n".join(animals),
        unseen=unseen["top1"],
        n_unseen=unseen["n"],
        real=real["top1"],
        n_real=real["n"],
        backgrounds="\n".join(
            f"| {label} | {_share(unseen, label)} | {_share(real, label)} |"
            for label in labels
        ),
    )


def _share(found: Mapping[str, Any], label: str) -> str:
    share = found["per_background"].get(label)
    if share is None:
        return "none"
    return f"{share:.3f} of {found['photos_per_background'][label]}"


def write(folder: Path = demo.FOLDER) -> Path:
    """Write `card.md` beside the log."""
    log = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    path = folder / "card.md"
    path.write_text(text(log), encoding="utf-8")
    return path


if __name__ == "__main__":
    write()
