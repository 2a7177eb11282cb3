"""What a model answers: features and a question to logits over a label space.

A question is made of prompts, class names and a label space. Everything here is worked
out of features that are at hand, so another question costs no image work. Normalised
embeddings, similarities and softmax are in float32; sums over classes in float64.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evaluation.errors import ConfigError
from evaluation.examples import ExampleSet
from evaluation.extract import Features, Models
from evaluation.features import ModelRecord
from evaluation.imagenet import DEFAULT_NAMES
from evaluation.label_spaces import LabelSpace
from evaluation.prompts import Ensemble, PromptSet, Word, classifier
from evaluation.questions import DEFAULT_QUESTION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evaluation.models import ZeroShotModel

ROWS_AT_ONCE = 4096
UNLABELLED = -1


@dataclass(frozen=True, slots=True)
class Asked:
    """How a model is asked.

    Attributes:
        prompts: prompt set's name or file; classifiers do not use it.
        label_space: label space's name or file; "" for what the dataset's authors use.
        label_space_name: what results call it, where that is not its file; "" is.
        class_names: list of ImageNet names that prompts are made of.
        ensemble: what is averaged over templates: "embeddings", as is usual, or
            "probabilities".
        question: what vision-language models are asked: see `evaluation.questions`.
        reduction: "mean" or "sum" of an answer's loss over its tokens.
    """

    prompts: str = "paper"
    label_space: str = ""
    label_space_name: str = ""
    class_names: str = DEFAULT_NAMES
    ensemble: Ensemble = "embeddings"
    question: str = DEFAULT_QUESTION
    reduction: Literal["mean", "sum"] = "mean"


@dataclass(frozen=True)
class Answers:
    """One model's logits for every example, worked out when asked for.

    Attributes:
        examples: what was asked about.
        features: unit embeddings, ImageNet logits, or (for "lvlm") logits of `space`.
        space: C classes.
        prompts: what texts are made of; unused by classifiers.
        ensemble: what is averaged over templates.
        words: (W, D) unit vectors of the space's words, in their order and each once;
            (T, W, D) for an ensemble of probabilities. None without texts.
        own: (N,) column of the right class, `UNLABELLED` where there is none.
        asked: what a vision-language model was asked; "" for others.
    """

    examples: ExampleSet
    features: Features
    space: LabelSpace
    prompts: PromptSet
    ensemble: Ensemble
    words: "NDArray[np.float32] | None"
    own: "NDArray[np.int64]"
    asked: str = ""

    @property
    def record(self) -> ModelRecord:
        """The model."""
        return self.features.record

    @cached_property
    def good(self) -> "NDArray[np.bool_]":
        """(N,) photos that the model answered."""
        return np.array([error is None for error in self.features.errors], bool)

    def logits(self, rows: "slice | NDArray[Any]") -> "NDArray[np.float32]":
        """Logits of some examples.

        Args:
            rows: which of them.

        Returns: (rows, C) float32; -inf for classes that are not offered.
        """
        values = self.features.values[rows]
        found: NDArray[np.float32]
        if self.record.kind == "lvlm":
            return values
        if self.words is None:
            members = [column.indices for column in self.space.columns]
            found = _largest(values, members)
        elif self.words.ndim == 2:
            found = self._scaled(values @ self.words.T)
        else:
            found = np.log(self._mean_probability(values, rows))
        return self._offered(found, rows)

    def all_logits(self) -> "tuple[NDArray[np.float32], NDArray[np.int64]]":
        """Logits and right columns of the labelled photos that were answered.

        Returns: (n, C) float32 and (n,) int64; n rows in the examples' order.
        """
        rows = np.flatnonzero(self.good & (self.own != UNLABELLED))
        found = np.empty((len(rows), len(self.space.columns)), np.float32)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            found[start : start + len(part)] = self.logits(part)
        return found, self.own[rows]

    def cosines(self, rows: "slice | NDArray[Any]") -> "NDArray[np.float32] | None":
        """(rows, C) similarities of photos and texts; None for models without texts."""
        if self.words is None:
            return None
        vectors = self.words if self.words.ndim == 2 else self.words.mean(axis=0)
        found = _largest(self.features.values[rows] @ vectors.T, self._places)
        return self._offered(found, rows)

    @cached_property
    def _places(self) -> list[tuple[int, ...]]:
        """Rows of `words` behind each column."""
        place = {
            key: row for row, key in enumerate(_distinct(self.space, self.prompts))
        }
        return [
            tuple(place[self.prompts.word_key(word)] for word in column.words)
            for column in self.space.columns
        ]

    def _scaled(self, cosines: "NDArray[np.float32]") -> "NDArray[np.float32]":
        scale = np.float32(self.record.logit_scale)
        bias = np.float32(self.record.logit_bias)
        return _largest(cosines * scale + bias, self._places)

    def _mean_probability(
        self, values: "NDArray[np.float32]", rows: "slice | NDArray[Any]"
    ) -> "NDArray[np.float32]":
        assert self.words is not None
        total = np.zeros((len(values), len(self.space.columns)), np.float32)
        for vectors in self.words:
            found = self._offered(self._scaled(values @ vectors.T), rows)
            shares = np.exp(found - found.max(axis=1, keepdims=True))
            total += shares / shares.sum(axis=1, keepdims=True)
        return np.maximum(total / len(self.words), np.finfo(np.float32).tiny)

    def _offered(
        self, logits: "NDArray[np.float32]", rows: "slice | NDArray[Any]"
    ) -> "NDArray[np.float32]":
        """The same, -inf where a class is not among those offered."""
        if not self.space.choices:
            return logits
        return np.where(self._mask[self.own[rows]], logits, np.float32(-np.inf))

    @cached_property
    def _mask(self) -> "NDArray[np.bool_]":
        """(C, C): whether a column is offered to photos of a right column."""
        count = len(self.space.columns)
        mask = np.zeros((count, count), bool)
        for right, offered in self.space.choices.items():
            mask[right, list(offered)] = True
        return mask


def _distinct(space: LabelSpace, prompts: PromptSet) -> dict[str, Word]:
    found: dict[str, Word] = {}
    for column in space.columns:
        for word in column.words:
            found.setdefault(prompts.word_key(word), word)
    return found


def right_columns(examples: ExampleSet, space: LabelSpace) -> "NDArray[np.int64]":
    """(N,) column of each example's class; `UNLABELLED` in an OOD set.

    Raises:
        ConfigError: a class outside the label space, or one without candidates in a
            space of confusing classes.
    """
    if examples.role == "ood":
        if space.choices:
            message = (
                f"dataset {examples.name!r} has no labels, and {space.name!r} offers "
                "other classes for each label"
            )
            raise ConfigError(message)
        return np.full(len(examples.table), UNLABELLED, np.int64)
    places = np.array(space.places(examples.classes), np.int64)
    if space.choices:
        for item, place in zip(examples.classes, places.tolist(), strict=True):
            if place not in space.choices:
                message = (
                    f"label space {space.name!r} has no candidates for class "
                    f"{item.name!r} of dataset {examples.name!r}"
                )
                raise ConfigError(message)
    positions = np.array(examples.table.column("position").to_pylist(), np.int64)
    own: NDArray[np.int64] = places[positions] if len(positions) else positions
    return own


def word_vectors(
    name: str,
    space: LabelSpace,
    prompts: PromptSet,
    *,
    known: Models,
    ensemble: Ensemble = "embeddings",
) -> "NDArray[np.float32] | None":
    """Unit vectors of a label space's words, from the store where it has them.

    Returns: as `Answers.words`; None for a model without texts.

    Raises:
        ConfigError: an ImageNet classifier, and classes that are not in ImageNet.
    """
    record = known.record(name)
    if record.kind == "classifier":
        strange = [column.name for column in space.columns if not column.indices]
        if strange:
            message = (
                f"model {name!r} knows ImageNet's classes only, and the dataset has "
                f"others, such as {strange[0]!r}; measure it on a dataset of ImageNet "
                "classes"
            )
            raise ConfigError(message)
        return None
    if record.kind == "lvlm":
        return None
    wanted = _distinct(space, prompts)
    if ensemble == "probabilities":
        if prompts.own:
            message = (
                f"prompt file {prompts.name} has other prompts for every class; an "
                "ensemble of probabilities needs templates"
            )
            raise ConfigError(message)
        # each template's vectors are those of a prompt set of its own
        single = [PromptSet(prompts.name, (one,)) for one in prompts.templates]
        return np.stack([_vectors(name, wanted, one, known) for one in single])
    return _vectors(name, wanted, prompts, known)


def _vectors(
    name: str, wanted: dict[str, Word], prompts: PromptSet, known: Models
) -> "NDArray[np.float32]":
    parts = known.store.texts(known.record(name), prompts.sha256)
    texts = parts.read()
    missing = [key for key in wanted if key not in texts.place]
    if missing:
        model = _reads_text(known.load(name))
        words = [wanted[key] for key in missing]
        parts.append(missing, classifier(model, words, prompts))
        texts = parts.read()
    vectors: NDArray[np.float32] = texts.values[[texts.place[key] for key in wanted]]
    return vectors


def provenance(answers: Answers) -> dict[str, Any]:
    """Everything that decides a prediction, ready for JSON."""
    record, space = answers.record, answers.space
    prompts = answers.prompts
    return {
        "model": record.name,
        "kind": record.kind,
        "weights": record.weights,
        "dtype": record.dtype,
        "quick_gelu": record.quick_gelu,
        "note": record.note,
        "preprocessing": asdict(record.spec),
        "logit_scale": record.logit_scale,
        "logit_bias": record.logit_bias,
        "link": record.link,
        "prompts": {
            "name": prompts.name,
            "sha256": prompts.sha256,
            "templates": len(prompts.templates),
            "ensemble": answers.ensemble,
        }
        if record.kind == "zero_shot"
        else None,
        "label_space": {
            "name": space.name,
            "keyed_by": space.keyed_by,
            "classes": len(space.columns),
            "class_names": space.class_names,
            "names_sha256": space.sha256,
            **space.about,
        },
        "question": answers.asked or None,
        "dataset": answers.examples.name,
        "versions": record.versions,
    }


def _reads_text(model: object) -> "ZeroShotModel":
    from evaluation.models import ZeroShotModel

    assert isinstance(model, ZeroShotModel)
    return model


def _largest(
    values: "NDArray[np.float32]", members: "list[tuple[int, ...]]"
) -> "NDArray[np.float32]":
    """(N, C): the largest of each column's members among (N, W) values."""
    flat = [one for group in members for one in group]
    found: NDArray[np.float32] = values
    if flat != list(range(values.shape[1])):
        found = values[:, flat]
    if len(flat) == len(members):
        return found
    starts = np.cumsum([0, *(len(group) for group in members[:-1])])
    return np.maximum.reduceat(found, starts, axis=1)
