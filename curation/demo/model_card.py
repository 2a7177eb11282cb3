"""The demonstration models' card, written from their training log.

`python -m curation.demo.model_card` writes it again; every number comes from the log.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curation.demo.assets import SHARED
from curation.demo.captions import PHRASES
from curation.demo.compose import SHARE
from curation.demo.pictures import TRAINING_SHARE
from evaluation.models import demo

ALL = "all"
_TEMPLATE = Path(__file__).with_name("model_card.md.txt")


def text(log: Mapping[str, Any]) -> str:
    """The card, in Markdown."""
    balanced = log["models"]["clip-balanced"]
    unseen = balanced["proposals_unseen_composites"]
    real = balanced["proposals_real_photos"]
    labels = sorted({*unseen["per_background"], *real["per_background"]})
    animals = [
        f"| `demo:{name}` | {found['on']:.3f} | {found['off']:.3f} "
        f"| {found['unplanted']:.3f} |"
        for name, model in log["models"].items()
        for found in [model["animals"]]
    ]
    return _TEMPLATE.read_text(encoding="utf-8").format(
        dimensions=demo.EMBEDDING,
        tokens=balanced["tokens"],
        classes=len(log["classes"]),
        labels=len(PHRASES),
        pictures=balanced["pictures"],
        **{key: log["plan"][key] for key in ("per_class", "epochs", "seed")},
        hidden=log["hidden"],
        strength=log["strength"],
        planted=", ".join(f"{name} on {at}" for name, at in log["planted"].items()),
        small=TRAINING_SHARE,
        large=SHARE,
        shared=" and ".join(SHARED),
        animals="\n".join(animals),
        backgrounds="\n".join(
            f"| {label} | {_share(unseen, label)} | {_share(real, label)} |"
            for label in [*labels, ALL]
        ),
    )


def _share(found: Mapping[str, Any], label: str) -> str:
    """A fraction right and of how many; a dash where there is none."""
    if label == ALL:
        return f"{found['top1']:.3f} (n {found['n']})"
    if label not in found["per_background"]:
        return "–"
    share, n = found["per_background"][label], found["photos_per_background"][label]
    return f"{share:.3f} (n {n})"


def write(folder: Path = demo.FOLDER) -> Path:
    """Write `card.md` beside the log."""
    log = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    path = folder / "card.md"
    path.write_text(text(log), encoding="utf-8")
    return path


if __name__ == "__main__":
    write()
