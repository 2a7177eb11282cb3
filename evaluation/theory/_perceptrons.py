"""Perceptrons for MultiColoredMNIST: all seeds and both methods trained at once.

Weights of all networks are stacked, so a step is a few batched products instead of
many small ones. Adam works number by number: networks do not touch each other.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from evaluation.theory.colored_mnist import (
    METHODS,
    PALETTE,
    Coloured,
    Colouring,
    Method,
    Training,
    World,
)
from evaluation.theory.digits import SIDE, Digits

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    Weights = dict[str, torch.Tensor]

_TEST_BATCH = 2000


def accuracies(
    digits: Digits,
    drawn: Mapping[Colouring, Sequence[Coloured]],
    *,
    world: World,
    training: Training,
    seed: int,
) -> "dict[Method, dict[str, NDArray[np.float64]]]":
    """Train a network for each seed and method, and test it.

    Networks of one seed begin with the same weights and see the same batches; only the
    loss differs.

    Args:
        digits: the greys.
        drawn: photos of "train", "rand" and "rev"; one for each seed.
        world: the distribution.
        training: how to train.
        seed: of weights and batches.

    Returns: for each method "rand01", "rev01" and "rest", each (seeds,) fractions; nan
        where a test has no such photo.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    seeds = len(drawn["train"])
    weights = _begin(seeds, world.k, training, generator)
    photos = _on_device(drawn["train"], training.device)
    greys = torch.from_numpy(digits.train).to(training.device)
    # the colour's loss counts for contrastive networks only
    telling = torch.tensor(
        [[method == "contrastive"] * seeds for method in METHODS],
        dtype=torch.float32,
        device=training.device,
    )
    optimiser = torch.optim.Adam(list(weights.values()), lr=training.lr)
    for _ in range(training.epochs):
        order = torch.stack(
            [torch.randperm(world.n_train, generator=generator) for _ in range(seeds)]
        ).to(training.device)
        for rows in torch.split(order, training.batch, dim=1):
            photo, label, colour = (part.gather(1, rows) for part in photos)
            of_object, of_colour = _logits(weights, greys[photo], colour)
            loss = _entropy(of_object, label) + telling * _entropy(of_colour, colour)
            optimiser.zero_grad()
            torch.autograd.backward([loss.sum()])
            optimiser.step()

    greys = torch.from_numpy(digits.test).to(training.device)
    rand, rev = (
        _right(weights, greys, _on_device(drawn[test], training.device))
        for test in ("rand", "rev")
    )
    leaning = {
        test: np.stack([part.label < 2 for part in drawn[test]])
        for test in ("rand", "rev")
    }
    return {
        method: {
            "rand01": _share(rand[row], leaning["rand"]),
            "rev01": _share(rev[row], leaning["rev"]),
            "rest": _share(rand[row], ~leaning["rand"]),
        }
        for row, method in enumerate(METHODS)
    }


def _begin(
    seeds: int, k: int, training: Training, generator: "torch.Generator"
) -> "Weights":
    """Stacked weights; equal for both methods.

    The hidden layer is (seeds, in, methods x hidden): both methods see the same photos,
    so one product serves both. The heads are (methods, seeds, hidden, k).
    """
    import torch

    def drawn(below: int, *shape: int) -> "torch.Tensor":
        values = torch.empty(*shape)
        return values.uniform_(-(below**-0.5), below**-0.5, generator=generator)

    inputs, hidden = 3 * SIDE * SIDE, training.hidden
    both = len(METHODS)
    found = {
        "hidden.weight": drawn(inputs, seeds, inputs, hidden).repeat(1, 1, both),
        "hidden.bias": drawn(inputs, seeds, 1, hidden).repeat(1, 1, both),
    }
    for head in ("object", "colour"):
        weight = drawn(hidden, 1, seeds, hidden, k)
        bias = drawn(hidden, 1, seeds, 1, k)
        found[f"{head}.weight"] = weight.repeat(both, 1, 1, 1)
        found[f"{head}.bias"] = bias.repeat(both, 1, 1, 1)
    return {
        name: value.to(training.device).requires_grad_()
        for name, value in found.items()
    }


def _on_device(
    drawn: Sequence[Coloured], device: str
) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    """(seeds, N) rows of greys, labels and colours."""
    import torch

    photo, label, colour = (
        torch.from_numpy(np.stack([getattr(part, name) for part in drawn])).to(device)
        for name in ("photo", "label", "colour")
    )
    return photo, label, colour


def _logits(
    weights: "Weights", greys: "torch.Tensor", colour: "torch.Tensor"
) -> "tuple[torch.Tensor, torch.Tensor]":
    """(methods, seeds, B, k) logits of object and colour."""
    import torch

    rgb = torch.from_numpy(PALETTE).to(greys.device)[colour]
    pixels = (rgb.unsqueeze(-1) * greys.unsqueeze(-2)).flatten(-2)
    hidden = torch.baddbmm(weights["hidden.bias"], pixels, weights["hidden.weight"])
    hidden = torch.stack(hidden.relu().chunk(len(METHODS), dim=-1))
    of_object = hidden @ weights["object.weight"] + weights["object.bias"]
    of_colour = hidden @ weights["colour.weight"] + weights["colour.bias"]
    return of_object, of_colour


def _entropy(logits: "torch.Tensor", wanted: "torch.Tensor") -> "torch.Tensor":
    """(methods, seeds) mean cross-entropy; `wanted` is (seeds, B)."""
    import torch

    chosen = wanted.expand(logits.shape[:-1]).unsqueeze(-1)
    return torch.Tensor(-logits.log_softmax(-1).gather(-1, chosen).squeeze(-1).mean(-1))


def _right(
    weights: "Weights",
    greys: "torch.Tensor",
    photos: "tuple[torch.Tensor, torch.Tensor, torch.Tensor]",
) -> "NDArray[np.bool_]":
    """(methods, seeds, N) whether the object's label was told."""
    import torch

    found = []
    with torch.inference_mode():
        for photo, label, colour in zip(
            *(torch.split(part, _TEST_BATCH, dim=1) for part in photos), strict=True
        ):
            told = _logits(weights, greys[photo], colour)[0].argmax(-1)
            found.append((told == label).cpu())
    return np.asarray(torch.cat(found, dim=-1).numpy())


def _share(
    right: "NDArray[np.bool_]", counted: "NDArray[np.bool_]"
) -> "NDArray[np.float64]":
    """(seeds,) share right of the photos that count."""
    n = counted.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray((right & counted).sum(axis=1) / n, np.float64)
