"""Prompt sets, and the zero-shot classifier they make.

paper      `A photo of {}.`, the single prompt of CounterAnimal
openai80   the 80 templates OpenAI published for ImageNet
openclip7  OpenCLIP's seven
FILE.txt   one template per line, `{}` where the class name goes, # starts a comment
FILE.json  prompts of each class on its own, whole sentences (as CuPL's):
           {"<ImageNet index or class name>": ["A black and white bird …", …]}
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from evaluation.errors import ConfigError, nearest
from evaluation.imagenet import open_clip_metadata

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evaluation.models import ZeroShotModel

NAMED = ("openai80", "openclip7", "paper")
Ensemble = Literal["embeddings", "probabilities"]
Word = tuple[str, int | None]
"""A class name, and its ImageNet index where it has one."""

_BLANK = "{}"
_TEXTS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class PromptSet:
    """Templates with one `{}` each, or prompts of each class on its own.

    Attributes:
        name: the name or file asked for.
        templates: in order; the order does not change the classifier but its hash.
        own: prompts by class: ImageNet index as text, or name; empty with templates.
    """

    name: str
    templates: tuple[str, ...]
    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hex digest of the templates, one a line; or of the prompts by class."""
        lines = [*self.templates]
        lines += [f"{key}\t{text}" for key, all_ in self.own.items() for text in all_]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def fill(self, class_name: str, index: int | None = None) -> list[str]:
        """Prompts of a class.

        Args:
            class_name: put into the templates, or looked up.
            index: ImageNet index, looked up first.

        Raises:
            ConfigError: a set of prompts by class lacks this one.

        Example:
            >>> PromptSet("paper", ("A photo of {}.",)).fill("ice bear")
            ['A photo of ice bear.']
        """
        if not self.own:
            return [template.replace(_BLANK, class_name) for template in self.templates]
        for key in (str(index), class_name):
            if key in self.own:
                return list(self.own[key])
        message = (
            f"prompt file {self.name}: no prompts for class {class_name!r} "
            f"(ImageNet index {index}); {nearest(class_name, self.own)}"
        )
        raise ConfigError(message)

    def word_key(self, word: Word) -> str:
        """What tells a class's prompts apart within this set."""
        name, index = word
        return f"{index} {name}" if self.own and index is not None else name


def prompt_set(name: str) -> PromptSet:
    """The prompt set of a name, or of a file.

    Raises:
        ConfigError: neither a known name nor a file, a template without exactly one
            `{}`, or a JSON file of another form.

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
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        message = f"prompt file {name} cannot be read: {error}"
        raise ConfigError(message) from error
    if path.suffix.lower() == ".json":
        return PromptSet(name, (), _own(name, text))
    templates = tuple(
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.startswith("#")
    )
    for template in templates or ("",):
        if template.count(_BLANK) != 1:
            message = (
                f"prompt file {name}: found {template!r}, but a template has one {{}} "
                "where the class name goes, such as 'A photo of {}.'"
            )
            raise ConfigError(message)
    return PromptSet(name, templates)


def _own(name: str, text: str) -> dict[str, tuple[str, ...]]:
    """Prompts by class out of a JSON file's text."""
    try:
        content = json.loads(text)
        found = {str(key): tuple(value) for key, value in content.items()}
    except (ValueError, AttributeError, TypeError) as error:
        message = f"prompt file {name}: not a JSON object of lists of prompts: {error}"
        raise ConfigError(message) from error
    for key, prompts in found.items():
        if isinstance(content[key], str) or not prompts or "" in prompts:
            message = f"prompt file {name}: class {key!r} needs a list of prompts"
            raise ConfigError(message)
        if not all(isinstance(one, str) for one in prompts):
            message = f"prompt file {name}: class {key!r} has a prompt that is no text"
            raise ConfigError(message)
    if not found:
        message = f"prompt file {name}: no class in it"
        raise ConfigError(message)
    return found


def classifier(
    model: "ZeroShotModel", names: Sequence[str | Word], prompts: PromptSet
) -> "NDArray[np.float32]":
    """Zero-shot classifier: one unit vector per class name.

    Every prompt's embedding has unit length; they are averaged over the templates, and
    the average is brought to unit length again.

    Args:
        model: embeds the prompts.
        names: C class names, with their ImageNet index where prompts go by class.
        prompts: the templates.

    Returns: (C, D) float32, rows of unit length.

    Raises:
        ConfigError: a set of prompts by class lacks one.

    Source: Radford et al. 2021, section 3.1.4 (arXiv:2103.00020).
    """
    parts = []
    for embedded in _embedded(model, names, prompts):
        mean = embedded.mean(axis=0)
        parts.append(mean / np.linalg.norm(mean))
    rows: NDArray[np.float32] = np.stack(parts).astype(np.float32, copy=False)
    return rows


def _embedded(
    model: "ZeroShotModel", names: Sequence[str | Word], prompts: PromptSet
) -> "Iterator[NDArray[np.float32]]":
    """(prompts, D) unit vectors of each name, texts embedded many at once."""
    waiting: list[list[str]] = []

    def flush() -> "Iterator[NDArray[np.float32]]":
        if not waiting:
            return
        values = model.texts([text for texts in waiting for text in texts]).numpy()
        ends = np.cumsum([len(texts) for texts in waiting])[:-1]
        yield from np.split(values.astype(np.float32, copy=False), ends)
        waiting.clear()

    for one in names:
        name, index = (one, None) if isinstance(one, str) else one
        waiting.append(prompts.fill(name, index))
        if sum(map(len, waiting)) >= _TEXTS_AT_ONCE:
            yield from flush()
    yield from flush()


def _from_open_clip(constant: str) -> tuple[str, ...]:
    templates = cast("tuple[Callable[[str], str], ...]", open_clip_metadata()[constant])
    return tuple(template(_BLANK) for template in templates)
