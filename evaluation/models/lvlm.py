"""`lvlm:<Hub id or folder>`: vision-language models that answer questions.

LLaVA-1.5 and others that the package transformers loads as an image-text-to-text model
with a decoder; `lvlm:<Hub id>@<revision>` pins a revision. They are scored by how
likely an answer such as "A ostrich" is after a question such as "What is the main
object in the image?" (CounterAnimal, appendix C.3); `evaluation.losses` has the
questions.

The conversation is the processor's own chat template, or, where it has none,
"USER: <image>", a new line, the question and " ASSISTANT:"; the note says which. A
space stands between it and the answer unless it ends in white space. No end-of-text
token is scored. What a model does with the photo is checked when it is loaded, and with
the shared beginning at the first question: one that wants tiles, or whose answers do
not come out as they do one by one, is an error and not a wrong number.
"""

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evaluation.errors import ConfigError
from evaluation.models import FP32, Kind, ModelInfo, PixelSpec, Runtime
from evaluation.models import _answers as answers_of
from evaluation.models._answers import Asked
from evaluation.models._checkpoints import (
    at_hand,
    files_identity,
    files_sha256,
    folder_of,
)
from evaluation.models._forward import devices
from evaluation.models._weights import short

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

PLAIN = "USER: <image>\n{question} ASSISTANT:"
"""Conversation for a processor without a chat template, as LLaVA-1.5 was tuned on."""

KNOWN = ("llava-hf/llava-1.5-7b-hf", "llava-hf/llava-1.5-13b-hf")
ABSENT = {
    "Vision-CAIR/MiniGPT-4": "MiniGPT-4 is not part of transformers, so its answers "
    "cannot be scored here; score it with its authors' code and give the scores of the "
    "1,000 classes as file:<path>"
}
"""Models that papers measured and that cannot be loaded, and why."""

_INSTALL = 'the package transformers is missing: pip install "counterset[lvlm]"'
_KERNELS: dict[int, Literal["bicubic", "bilinear"]] = {2: "bilinear", 3: "bicubic"}
_TILES = ("image_grid_pinpoints", "do_image_splitting", "min_pixels", "max_patches")


@dataclass(slots=True, kw_only=True)
class LvlmModel:
    """A loaded vision-language model; see `evaluation.models.AnsweringModel`."""

    name: str
    spec: PixelSpec
    weights: str
    dtype: str
    note: str = ""
    kind: Kind = "lvlm"
    quick_gelu: bool | None = None
    _network: Any = field(repr=False)
    _processor: Any = field(repr=False)
    _mean: "torch.Tensor" = field(repr=False)
    _std: "torch.Tensor" = field(repr=False)
    _image: tuple[int, ...] = field(default=(), repr=False)
    _checked: bool = field(default=False, repr=False)
    _tokens: dict[tuple[str, str], Asked] = field(default_factory=dict, repr=False)

    def images(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """No features.

        Raises:
            ConfigError: always.
        """
        message = (
            f"model {self.name!r} answers questions and has no features of photos; "
            "see evaluation.losses"
        )
        raise ConfigError(message)

    def losses(
        self, pixels: "torch.Tensor", question: str, answers: Sequence[Sequence[str]]
    ) -> "list[NDArray[np.float32]]":
        """Negative log-likelihood of each answer, summed over its tokens, in nats.

        Args:
            pixels: (N, 3, size, size) uint8, RGB.
            question: asked of every photo.
            answers: N lists of candidate answers.
        """
        pairs = [[(question, answer) for answer in some] for some in answers]
        return self.pair_losses(pixels, pairs)

    def pair_losses(
        self, pixels: "torch.Tensor", pairs: Sequence[Sequence[tuple[str, str]]]
    ) -> "list[NDArray[np.float32]]":
        """The same where the question may differ from answer to answer.

        Args:
            pixels: (N, 3, size, size) uint8, RGB.
            pairs: N lists of (question, answer).

        Raises:
            ConfigError: the network cannot share what all candidates begin with.
        """
        asked = [[self._asked(*pair) for pair in some] for some in pairs]
        values = self._values(pixels)
        if not self._checked and any(asked):
            self._check(values, asked)
            self._checked = True
        return answers_of.losses(self._network, values, asked)

    def lengths(self, pairs: Sequence[tuple[str, str]]) -> "NDArray[np.int32]":
        """Tokens of each answer, so that a sum of losses can be made a mean."""
        asked = [self._asked(*pair) for pair in pairs]
        return np.array([len(one.ids) - one.start for one in asked], np.int32)

    def conversation(self, question: str) -> str:
        """What stands before the answer, the photo as one placeholder."""
        if not getattr(self._processor, "chat_template", None):
            return PLAIN.format(question=question)
        content = [{"type": "image"}, {"type": "text", "text": question}]
        return str(
            self._processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
        )

    def _asked(self, question: str, answer: str) -> Asked:
        """Tokens of a conversation; the same few are asked of every photo."""
        found = self._tokens.get((question, answer))
        if found is None:
            found = self._tokens[question, answer] = self._tokenise(question, answer)
        return found

    def _tokenise(self, question: str, answer: str) -> Asked:
        before = self.conversation(question)
        space = "" if before[-1:].isspace() else " "
        ids, whole = self._ids(before), self._ids(f"{before}{space}{answer}")
        # a token that spans the border is the answer's
        same = [a == b for a, b in zip(ids, whole, strict=False)]
        border = same.index(False) if False in same else len(same)
        place = whole.index(self._image_token)
        if place >= border or border == len(whole):
            message = f"model {self.name!r} cannot be asked {question!r} of a photo"
            raise ConfigError(message)
        spread = (*whole[:place], *self._image, *whole[place + 1 :])
        return Asked(spread, border + len(self._image) - 1)

    @property
    def _image_token(self) -> int:
        return int(self._network.config.image_token_id)

    def _ids(self, text: str) -> list[int]:
        tokenizer = self._processor.tokenizer
        begins = tokenizer.bos_token and text.startswith(tokenizer.bos_token)
        return list(tokenizer(text, add_special_tokens=not begins)["input_ids"])

    def _values(self, pixels: "torch.Tensor") -> "torch.Tensor":
        values = pixels.to(self._mean.device).float().div_(255)
        return values.sub_(self._mean).div_(self._std).to(self._network.dtype)

    def _check(self, values: "torch.Tensor", asked: Sequence[Sequence[Asked]]) -> None:
        """Two answers to a photo must come out as they do one by one."""
        photo = next(place for place, some in enumerate(asked) if some)
        two = asked[photo][:2]
        value = values[photo : photo + 1]
        tolerance = 1e-3 if self.dtype == "float32" else 0.05
        try:
            together = answers_of.losses(self._network, value, [two])[0]
            apart = [answers_of.alone(self._network, value, one) for one in two]
        except Exception as error:  # the library raises whatever its layers raise
            message = f"model {self.name!r} cannot be asked: {short(error)}"
            raise ConfigError(message) from error
        if not np.allclose(together, apart, rtol=tolerance, atol=tolerance):
            message = (
                f"model {self.name!r}: answers scored together ({together.tolist()}) "
                f"differ from those scored one by one ({apart}); only decoders whose "
                "tokens see all earlier ones, such as LLaVA-1.5, are supported"
            )
            raise ConfigError(message)


def load(rest: str, runtime: Runtime = FP32) -> LvlmModel:
    """Load a folder, or a repository of the Hub.

    Raises:
        ConfigError: no such folder, another sort of model, or no transformers.
        RemoteError: weights are not at hand and cannot be fetched.
    """
    name = f"lvlm:{rest}"
    if rest in ABSENT:
        message = f"model {name!r}: {ABSENT[rest]}"
        raise ConfigError(message)
    if not _installed():
        message = f"model {name!r}: {_INSTALL}"
        raise ConfigError(message)
    folder = folder_of(rest, model=name, known=KNOWN)
    import torch

    # not by an import statement: its types are there for those only who have it
    library: Any = importlib.import_module("transformers")
    library.utils.logging.disable_progress_bar()  # of reading a file from the disk
    device = devices(runtime.device)[0]  # answers are scored on one
    dtype = torch.bfloat16 if runtime.precision == "bf16" else torch.float32
    try:
        processor = library.AutoProcessor.from_pretrained(folder, local_files_only=True)
        network = library.AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, attn_implementation="sdpa", local_files_only=True
        )
    except Exception as error:  # the library raises whatever its readers raise
        message = f"model {name!r} cannot be loaded: {short(error)}"
        raise ConfigError(message) from error
    if network.config.is_encoder_decoder or not hasattr(
        network.config, "image_token_id"
    ):
        message = f"model {name!r} is no decoder that reads image tokens"
        raise ConfigError(message)
    wanted = processor.image_processor
    template = getattr(processor, "chat_template", None)
    template = "the processor's" if template else repr(PLAIN)
    model = LvlmModel(
        name=name,
        spec=_spec(wanted, name),
        weights=files_sha256(folder),
        dtype=str(dtype).removeprefix("torch."),
        note=f"chat template: {template}",
        _network=network.eval().to(device),
        _processor=processor,
        _mean=torch.tensor(wanted.image_mean, device=device).view(1, 3, 1, 1),
        _std=torch.tensor(wanted.image_std, device=device).view(1, 3, 1, 1),
    )
    model._image = _image_tokens(model)
    return model


def identity(rest: str) -> str:
    """Of a folder the sha256 of its files; of a Hub id its revision on this machine."""
    return files_identity(rest, model=f"lvlm:{rest}", known=(*KNOWN, *ABSENT))


def available() -> list[ModelInfo]:
    """LLaVA-1.5 as the Hub has it, and what papers measured but cannot be loaded."""
    missing = "" if _installed() else _INSTALL
    known = [
        ModelInfo(f"lvlm:{repo}", "lvlm", not missing and at_hand(repo), missing)
        for repo in KNOWN
    ]
    return known + [
        ModelInfo(f"lvlm:{repo}", "lvlm", False, why) for repo, why in ABSENT.items()
    ]


def _installed() -> bool:
    return importlib.util.find_spec("transformers") is not None


def _spec(wanted: Any, name: str) -> PixelSpec:  # noqa: ANN401
    """The pixels of an image processor of transformers."""
    size, crop = _plain(wanted.size), _plain(getattr(wanted, "crop_size", None))
    kernel = _KERNELS.get(int(wanted.resample or 0))
    cropped = bool(getattr(wanted, "do_center_crop", False))
    square = {size.get("height"), size.get("width")}
    tiles = any(getattr(wanted, key, None) for key in _TILES)
    padded = bool(getattr(wanted, "do_pad", False))
    if kernel is not None and not tiles and not padded:
        if cropped and "shortest_edge" in size and crop.get("height") == crop["width"]:
            return PixelSpec(crop["width"], "shortest", size["shortest_edge"], kernel)
        if not cropped and len(square) == 1 and None not in square:
            side = size["width"]
            return PixelSpec(side, "squash", side, kernel)
    message = (
        f"model {name!r} wants preprocessing that is not supported "
        f"({type(wanted).__name__}, size {size}, crop {crop if cropped else 'none'}"
        f"{', tiles' if tiles else ''}{', padding' if padded else ''}); allowed are "
        "squares, cropped from the centre or squashed whole, bicubic or bilinear"
    )
    raise ConfigError(message)


def _plain(size: Any) -> dict[str, int]:  # noqa: ANN401
    """A size as a dictionary without what is not set."""
    return {key: value for key, value in dict(size or {}).items() if value is not None}


def _image_tokens(model: LvlmModel) -> tuple[int, ...]:
    """What the processor puts in place of the photo's placeholder.

    Also makes sure that the processor would give the network the very values that
    `LvlmModel` gives it.

    Raises:
        ConfigError: it would not.
    """
    import torch
    from PIL import Image

    rng = np.random.default_rng(0)
    side = model.spec.size
    square = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    text = model.conversation("?")
    try:
        given = model._processor(
            text=text, images=Image.fromarray(square), return_tensors="pt"
        )
        long, plain = given["input_ids"][0].tolist(), model._ids(text)
        place = plain.index(model._image_token)
        after = len(plain) - place - 1
        run = tuple(long[place : len(long) - after])
        same = [*plain[:place], *run, *plain[place + 1 :]] == long
        ours = model._values(torch.from_numpy(square).permute(2, 0, 1)[None])
        theirs = given["pixel_values"].to(ours)
        if same and run and torch.allclose(ours, theirs, atol=1e-2):
            return run
        reason = "tokens or pixels that differ from a square's"
    except Exception as error:  # the library raises whatever its processors raise
        reason = short(error)
    message = (
        f"model {model.name!r}: its processor makes of a photo what is not supported "
        f"({reason})"
    )
    raise ConfigError(message)
