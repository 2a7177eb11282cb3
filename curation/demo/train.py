"""Train the demonstration models: `python -m curation.demo.train`.

Two open_clip models that differ in one thing. In the pictures that train `demo:clip`,
half of the classes are on one background nearly always, and there mostly out of sight
(`curation.demo.design`); in those that train `demo:clip-balanced`, every class is on
all backgrounds alike, and in sight. The
image tower's trunk stays as its package ships it, so pictures pass through it once.

The loss is CLIP's, with every pair of picture and caption in a batch counted as a match
whose caption is true of the picture: captions repeat, and a true one is no mismatch.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.demo import captions, design, model_card
from curation.demo.measure import report
from curation.demo.pictures import View, classes, composites, features, places
from evaluation.models import demo

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model is trained.

    Attributes:
        per_class: composites of a class.
        epochs: times each picture is used.
        batch: pictures and captions compared at once.
        rate: highest learning rate.
        decay: weight decay.
        seed: of everything that is drawn.
    """

    per_class: int = 120
    epochs: int = 10
    batch: int = 256
    rate: float = 2e-3
    decay: float = 0.05
    seed: int = 0


class Features:
    """Features of views, each computed once."""

    def __init__(self, trunk: "torch.nn.Module") -> None:
        self._trunk = trunk
        self._known: dict[View, torch.Tensor] = {}

    def of(self, views: Sequence[View]) -> "torch.Tensor":
        """(N, D) float32, in the order of the views."""
        import torch

        new = [view for view in dict.fromkeys(views) if view not in self._known]
        if new:
            found = features(new, self._trunk)
            self._known.update(zip(new, found, strict=True))
        return torch.stack([self._known[view] for view in views])


def trunk() -> "torch.nn.Module":
    """EfficientNet-Lite0 up to its pooled features."""
    network: torch.nn.Module = demo.classifier(0)
    network.reset_classifier(0)  # type: ignore[operator]
    return network


def train(
    views: Sequence[View],
    values: "torch.Tensor",
    plan: Plan,
    *,
    seed: int = 0,
) -> tuple[Any, "torch.Tensor", float]:
    """Train the projection and the text tower.

    Args:
        views: N pictures, for what their captions say.
        values: (N, D) their features.
        plan: how.
        seed: of the first weights.

    Returns: the network in evaluation mode; (T,) int64 ids of tokens that occurred,
        sorted; the mean loss of the last epoch.
    """
    import torch

    rng = np.random.default_rng(plan.seed)
    network, read = demo.untrained(seed).train(), demo.tokenizer()
    wanted = [
        *network.visual.head.parameters(),
        *network.text.parameters(),
        network.logit_scale,
    ]
    optimiser = torch.optim.AdamW(wanted, lr=plan.rate, weight_decay=plan.decay)
    batches = -(-len(views) // plan.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, plan.rate, total_steps=plan.epochs * batches, pct_start=0.1
    )
    seen: set[int] = set()
    losses: list[float] = []
    for _ in range(plan.epochs):
        losses = []
        for places_ in np.array_split(rng.permutation(len(views)), batches):
            chosen = [views[place] for place in places_]
            said = [
                captions.caption(view.animal, view.scene.background, rng=rng)
                for view in chosen
            ]
            tokens = read([caption.text for caption in said])
            seen.update(tokens.unique().tolist())
            loss = _loss(
                network, values[torch.from_numpy(places_)], tokens, _true(chosen, said)
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
    return network.eval(), torch.tensor(sorted(seen)), float(np.mean(losses))


def _true(views: Sequence[View], said: Sequence[captions.Caption]) -> "torch.Tensor":
    """(N, N) float32, 1 where the caption of a column is true of the row's picture."""
    import torch

    animals, scenes = (
        np.array([view.animal for view in views]),
        np.array([view.scene.background for view in views]),
    )
    animal, place = (
        np.array([caption.animal for caption in said]),
        np.array([caption.background for caption in said]),
    )
    fits = (animal == "") | (animal == animals[:, None])
    fits &= (place == "") | (place == scenes[:, None])
    return torch.from_numpy(fits.astype(np.float32))


def _loss(
    network: Any,  # noqa: ANN401
    values: "torch.Tensor",
    tokens: "torch.Tensor",
    true: "torch.Tensor",
) -> "torch.Tensor":
    import torch
    import torch.nn.functional as F

    images = F.normalize(network.visual.head(values), dim=-1)
    texts = F.normalize(network.text(tokens), dim=-1)
    logits = network.logit_scale.exp().clamp(max=100) * images @ texts.T
    by_image = true / true.sum(1, keepdim=True) * logits.log_softmax(1)
    by_text = true / true.sum(0, keepdim=True) * logits.log_softmax(0)
    return torch.as_tensor(-(by_image.sum(1).mean() + by_text.sum(0).mean()))


def run(out: Path, plan: Plan, *, threads: int = 2) -> dict[str, Any]:
    """Train both models, write their weights and the log; returns the log.

    Args:
        out: folder of `clip.safetensors`, `clip-balanced.safetensors`, `training.json`.
        plan: how.
        threads: of torch; results may differ in the last bits between numbers.
    """
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(threads)
    known = Features(trunk())
    log: dict[str, Any] = {
        "what": "demonstration models, no labellers",
        "plan": asdict(plan),
        "planted": {design.name(i): label for i, label in design.PLANTED.items()},
        "strength": design.STRENGTH,
        "hidden": design.HIDDEN,
        "classes": [design.name(index) for index in classes()],
        "versions": {n: version(n) for n in ("torch", "open_clip_torch", "timm")},
        "models": {},
    }
    out.mkdir(parents=True, exist_ok=True)
    for name in demo.CLIPS:
        start = time.perf_counter()
        views = composites(
            plan.per_class, planted=name == "clip", seed=plan.seed
        ) + places(seed=plan.seed)
        values = known.of(views)
        pictured = time.perf_counter()
        network, tokens, loss = train(views, values, plan)
        done = time.perf_counter()
        part = demo.trained_part(network.state_dict(), tokens)
        save_file(part, out / f"{name}.safetensors")
        demo.put_back(network, part)  # untrained rows become zero, as when loaded
        log["models"][name] = {
            "pictures": len(views),
            "seconds_features": round(pictured - start, 1),
            "seconds_training": round(done - pictured, 1),
            "loss": round(loss, 4),
            "tokens": len(tokens),
            **report(network, known.of),
        }
        _say(f"{name}: {json.dumps(log['models'][name])}")
    text = json.dumps(log, indent=1, ensure_ascii=False) + "\n"
    (out / "training.json").write_text(text, encoding="utf-8")
    model_card.write(out)
    return log


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of `python -m curation.demo.train`."""
    parser = argparse.ArgumentParser(prog="python -m curation.demo.train")
    parser.add_argument("--out", type=Path, default=demo.FOLDER, help="where to write")
    for name, default in asdict(Plan()).items():
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=type(default), default=default)
    given = vars(parser.parse_args(arguments))
    run(given.pop("out"), Plan(**given))


if __name__ == "__main__":
    main()
