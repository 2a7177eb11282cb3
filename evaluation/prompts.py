"""Prompt sets, and the zero-shot classifier they make.

paper      `A photo of {}.`, the single prompt of CounterAnimal
openai80   the 80 templates OpenAI published for ImageNet
openclip7  OpenCLIP's seven
FILE       one template per line, `{}` where the class name goes, # starts a comment
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from evaluation.errors import ConfigError, nearest
from evaluation.imagenet import open_clip_metadata

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evaluation.models import ZeroShotModel

NAMED = ("openai80", "openclip7", "paper")
_BLANK = "{}"
_TEXTS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class PromptSet:
    """Templates with one `{}` each.

    Attributes:
        name: the name or file asked for.
        templates: in order; the order does not change the classifier but its hash.
    """

    name: str
    templates: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hex digest of the templates, one a line."""
        return hashlib.sha256("\n".join(self.templates).encode()).hexdigest()

    def fill(self, class_name: str) -> list[str]:
        """One prompt per template.

        Example:
            >>> PromptSet("paper", ("A photo of {}.",)).fill("ice bear")
            ['A photo of ice bear.']
        """
        return [template.replace(_BLANK, class_name) for template in self.templates]


def prompt_set(name: str) -> PromptSet:
    """The prompt set of a name, or of a file.

    Raises:
        ConfigError: neither a known name nor a file, or a template without exactly
            one `{}`.

    Example:
        >>> prompt_set("paper").templates
        ('A photo of {}.',)
        >>> len(prompt_set("openai80").templates)
        80
    """
    if name == "paper":
        return PromptSet(name, ("A photo of {}.",))
    if name == "openai80":
        return PromptSet(name, _from_open_clip("OPENAI_IMAGENET_TEMPLATES"))
    if name == "openclip7":
        return PromptSet(name, _from_open_clip("SIMPLE_IMAGENET_TEMPLATES"))
    path = Path(name).expanduser()
    if not path.is_file():
        message = f"no prompt set and no file {name!r}; {nearest(name, NAMED)}"
        raise ConfigError(message)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"prompt file {name} cannot be read: {error}"
        raise ConfigError(message) from error
    templates = tuple(
        line.strip() for line in lines if line.strip() and not line.startswith("#")
    )
    for template in templates or ("",):
        if template.count(_BLANK) != 1:
            message = (
                f"prompt file {name}: found {template!r}, but a template has one {{}} "
                "where the class name goes, such as 'A photo of {}.'"
            )
            raise ConfigError(message)
    return PromptSet(name, templates)


def classifier(
    model: "ZeroShotModel", names: Sequence[str], prompts: PromptSet
) -> "NDArray[np.float32]":
    """Zero-shot classifier: one unit vector per class name.

    Every prompt's embedding has unit length; they are averaged over the templates, and
    the average is brought to unit length again.

    Args:
        model: embeds the prompts.
        names: C class names.
        prompts: the templates.

    Returns: (C, D) float32, rows of unit length.

    Source: Radford et al. 2021, section 3.1.4 (arXiv:2103.00020).
    """
    count = len(prompts.templates)
    step = max(1, _TEXTS_AT_ONCE // count)
    parts = []
    for start in range(0, len(names), step):
        some = names[start : start + step]
        texts = [text for name in some for text in prompts.fill(name)]
        embedded = model.texts(texts).numpy().astype(np.float32, copy=False)
        mean = embedded.reshape(len(some), count, -1).mean(axis=1)
        parts.append(mean / np.linalg.norm(mean, axis=1, keepdims=True))
    rows: NDArray[np.float32] = np.concatenate(parts).astype(np.float32, copy=False)
    return rows


def _from_open_clip(constant: str) -> tuple[str, ...]:
    templates = cast("tuple[Callable[[str], str], ...]", open_clip_metadata()[constant])
    return tuple(template(_BLANK) for template in templates)
