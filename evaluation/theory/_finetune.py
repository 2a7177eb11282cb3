"""Training and testing for the coloured objects: the CLIP loss, and ERM.

Networks stay in evaluation mode throughout (batch norms keep their statistics, nothing
is dropped), so that equal seeds give equal results. The learning rate rises over the
warm-up and then falls to 0 along a cosine.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from math import cos, log, pi
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation import models
from evaluation.errors import ConfigError
from evaluation.models import Runtime
from evaluation.theory.colored_objects import (
    COLOURS,
    Approach,
    Choice,
    Design,
    Part,
    Photos,
    caption,
    photos,
)
from evaluation.theory.cutouts import CutOuts

if TYPE_CHECKING:
    import torch

    Embed = Callable[[torch.Tensor], torch.Tensor]

_SIZES: tuple[tuple[Part, str], ...] = (
    ("train", "n_train"),
    ("choose", "n_choose"),
    ("id", "n_test"),
    ("ood", "n_test"),
)
_HIDDEN = 256  # units of ERM's perceptron
_LARGEST_SCALE = log(100)  # where CLIP keeps its learned logit scale


class Bench:
    """A model, the objects, and one seed's photos.

    Args:
        name: an image-text model.
        cutouts: the objects.
        design: sizes and grid.

    Raises:
        ConfigError: the model has no texts, cannot be trained, or its head is unknown.
        RemoteError: its weights are not at hand and cannot be fetched.
    """

    def __init__(self, name: str, cutouts: CutOuts, design: Design) -> None:
        import torch

        from evaluation.models.open_clip import OpenClipModel

        # one GPU is enough here, and copies of the network go where it is
        wanted = design.device
        if wanted == "auto":
            wanted = "cuda" if torch.cuda.is_available() else "cpu"
        model = models.load(name, Runtime(device=wanted, trainable=True))
        if not isinstance(model, OpenClipModel):
            message = (
                f"model {name!r} cannot be fine-tuned with captions: only open_clip "
                "models and demo:clip, demo:clip-balanced can"
            )
            raise ConfigError(message)
        self.design = design
        self.cutouts = cutouts
        self.size = model.spec.size
        # the network itself, to train copies of it
        self._network = model._network
        self._device = next(self._network.parameters()).device
        told = getattr(self._network.visual, "preprocess_cfg", None) or {}
        self._mean, self._std = (
            torch.tensor(told.get(key, (0.5, 0.5, 0.5)), device=self._device).view(
                1, 3, 1, 1
            )
            for key in ("mean", "std")
        )
        if design.tune == "head":
            _head(self._network, name)  # refuse at once what cannot be done
        names = cutouts.classes
        texts: dict[Approach, list[str]] = {
            "obj": [caption(one) for one in names],
            "objbkg": [caption(one, shade) for one in names for shade in COLOURS],
        }
        self._captions = {
            approach: model._tokenizer(lines).to(self._device)
            for approach, lines in texts.items()
        }
        self._photos: dict[Part, Photos] = {}
        self._inputs: dict[Part, torch.Tensor] = {}
        self._seed = 0

    def prepare(self, seed: int) -> None:
        """Compose photos of a seed; for "head", compute their features once."""
        import torch

        rng = np.random.default_rng(seed)
        self._seed = seed
        for part, size in _SIZES:
            drawn = photos(
                self.cutouts,
                getattr(self.design, size),
                part=part,
                size=self.size,
                rng=rng,
            )
            pixels = torch.from_numpy(drawn.pixels)
            self._photos[part] = drawn
            self._inputs[part] = (
                self._features(pixels) if self.design.tune == "head" else pixels
            )

    def measure(
        self, approach: Approach, tell: Callable[[], None]
    ) -> tuple[int, int, Choice | None]:
        """Photos right in and out of distribution, and the settings chosen.

        Args:
            approach: what is done with the model.
            tell: called after every training.
        """
        if approach == "zero shot":
            network = self._network
            told = self._teller(network, self._embed(network))
            return self._right(told, "id"), self._right(told, "ood"), None
        best: tuple[int, Embed, Choice] | None = None
        for choice in self.design.grid():
            train = self._erm if approach == "supervised" else self._clip
            told = train(approach, choice)
            right = self._right(told, "choose")
            if best is None or right > best[0]:  # the first of equals
                best = right, told, choice
            tell()
        assert best is not None
        _, told, choice = best
        return self._right(told, "id"), self._right(told, "ood"), choice

    def _clip(self, approach: Approach, choice: Choice) -> "Embed":
        """Fine-tune with the CLIP loss; gives what tells a photo's class."""
        import torch

        network = copy.deepcopy(self._network)
        embed = self._embed(network)
        trained = _trainable(network, everything=self.design.tune == "all")
        tokens = self._captions[approach]
        said = self._said(approach)
        for rows in self._steps(trained, choice):
            which, back = torch.unique(said[rows], return_inverse=True)
            # each caption is encoded once, however often the batch has it
            text = network.encode_text(tokens[which], normalize=True)[back]
            image = embed(self._inputs["train"][rows])
            loss = clip_loss(image, text, network.logit_scale.exp())
            torch.autograd.backward([loss])
            with torch.no_grad():
                network.logit_scale.clamp_(0, _LARGEST_SCALE)
        return self._teller(network, embed)

    def _erm(self, approach: Approach, choice: Choice) -> "Embed":
        """Train a perceptron on image features; gives what tells a photo's class."""
        import torch
        from torch.nn.functional import cross_entropy

        del approach
        network = copy.deepcopy(self._network)
        tower: Embed = (
            self._embed(network)
            if self.design.tune == "all"
            else (lambda inputs: inputs.to(self._device))
        )
        with torch.no_grad():
            width = tower(self._inputs["train"][:2]).shape[-1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            perceptron = torch.nn.Sequential(
                torch.nn.Linear(width, _HIDDEN),
                torch.nn.ReLU(),
                torch.nn.Linear(_HIDDEN, len(self.cutouts.classes)),
            ).to(self._device)
        trained = list(perceptron.parameters())
        if self.design.tune == "all":
            network.visual.requires_grad_(requires_grad=True)
            trained += list(network.visual.parameters())
        label = torch.from_numpy(self._photos["train"].label)
        for rows in self._steps(trained, choice):
            logits = perceptron(tower(self._inputs["train"][rows]))
            loss = cross_entropy(logits, label[rows].to(self._device))
            torch.autograd.backward([loss])
        return lambda inputs: torch.Tensor(perceptron(tower(inputs)).argmax(-1))

    def _steps(
        self, trained: "Sequence[torch.Tensor]", choice: Choice
    ) -> "Iterator[torch.Tensor]":
        """Rows of each step's photos; the step is taken when the next is asked for."""
        import torch

        generator = torch.Generator().manual_seed(self._seed)
        optimiser = torch.optim.AdamW(
            list(trained), lr=choice.lr, weight_decay=choice.weight_decay, fused=True
        )
        order = torch.empty(0, dtype=torch.int64)
        n = len(self._inputs["train"])
        batch = min(self.design.batch, n)
        for step in range(self.design.steps):
            if len(order) < batch:
                order = torch.randperm(n, generator=generator)
            rows, order = order[:batch], order[batch:]
            rate = choice.lr * _pace(step, self.design.steps, choice.warmup)
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad()
            yield rows
            optimiser.step()

    def _embed(self, network: Any) -> "Embed":  # noqa: ANN401
        """From inputs (features, or uint8 pixels) to embeddings, not normalised."""
        import torch

        if self.design.tune == "head":
            head, _ = _head(network, "")
            return lambda inputs: head(inputs.to(self._device))

        def whole(pixels: torch.Tensor) -> torch.Tensor:
            values = pixels.to(self._device).float().div_(255)
            values = values.sub_(self._mean).div_(self._std)
            half = self._device.type == "cuda"
            with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
                found = network.encode_image(values)
            return torch.Tensor(found.float())

        return whole

    def _teller(self, network: Any, embed: "Embed") -> "Embed":  # noqa: ANN401
        """From inputs to classes, by captions of the object alone."""
        import torch

        with torch.no_grad():
            texts = network.encode_text(self._captions["obj"], normalize=True)
        # a class is told by its direction: a photo's length does not change the order
        return lambda inputs: torch.Tensor((embed(inputs) @ texts.T).argmax(-1))

    def _right(self, tell: "Embed", part: Part) -> int:
        import torch

        label = torch.from_numpy(self._photos[part].label)
        with torch.no_grad():
            told = [
                tell(inputs).cpu()
                for inputs in torch.split(self._inputs[part], self.design.batch)
            ]
        return int((torch.cat(told) == label).sum())

    def _said(self, approach: Approach) -> "torch.Tensor":
        """(n_train,) row of each training photo's caption."""
        import torch

        drawn = self._photos["train"]
        if approach == "obj":
            return torch.from_numpy(drawn.label)
        return torch.from_numpy(drawn.label * len(COLOURS) + drawn.colour)

    def _features(self, pixels: "torch.Tensor") -> "torch.Tensor":
        from evaluation.models._forward import forward

        trunk = _trunk(self._network)
        return forward(trunk, pixels, mean=self._mean, std=self._std).clone()


def clip_loss(
    image: "torch.Tensor", text: "torch.Tensor", scale: "torch.Tensor"
) -> "torch.Tensor":
    """The CLIP loss: each photo's caption among the batch's, and the reverse.

    Captions that say the same are told apart all the same, as in CLIP's own training.

    Args:
        image: (B, D), of any length.
        text: (B, D) of unit length, row i belongs to row i of `image`.
        scale: factor on cosines.
    """
    import torch
    from torch.nn.functional import cross_entropy, normalize

    logits = scale * normalize(image, dim=-1) @ text.T
    own = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def _head(network: Any, name: str) -> "tuple[Embed, list[torch.Tensor]]":  # noqa: ANN401
    """What follows the image tower's features, and its weights.

    Raises:
        ConfigError: the tower is of a kind whose head is not known.
    """
    visual = network.visual
    if hasattr(visual, "trunk") and len(list(visual.head.parameters())):
        return visual.head, list(visual.head.parameters())
    projection = getattr(visual, "proj", None)
    if projection is not None and hasattr(visual, "transformer"):
        return (lambda features: features @ projection), [projection]
    message = (
        f"model {name!r}: what follows its image features is not known; tune all of it "
        "instead of its head"
    )
    raise ConfigError(message)


def _trunk(network: Any) -> "Embed":  # noqa: ANN401
    """The image tower without its head, as it is now."""
    visual = network.visual
    if hasattr(visual, "trunk"):
        found: Embed = visual.trunk
        return found
    bare = copy.copy(visual)
    # its own table of weights, so that taking one out leaves the network whole
    bare._parameters = dict(visual._parameters)
    bare.proj = None
    return lambda values: bare(values)


def _trainable(network: Any, *, everything: bool) -> "list[torch.Tensor]":  # noqa: ANN401
    """Weights that are trained, with their gradients switched on."""
    if everything:
        chosen = list(network.parameters())
    else:
        network.requires_grad_(requires_grad=False)
        text = network.named_parameters()
        chosen = [value for key, value in text if not key.startswith("visual.")]
        chosen += _head(network, "")[1]
    for value in chosen:
        value.requires_grad_(requires_grad=True)
    return chosen


def _pace(step: int, steps: int, warmup: int) -> float:
    """Part of the learning rate at a step: up over the warm-up, down along a cosine.

    Example:
        >>> [round(_pace(step, 6, 2), 2) for step in range(6)]
        [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + cos(pi * (step - warmup) / (steps - warmup)))
