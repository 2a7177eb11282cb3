"""1 against 20: the classes that a reference model confuses each class with most.

For a class y of a dataset, the K classes l of ImageNet with the largest sum over its
photos (common and counter together) of cos(T_l, x_i): T_l is the text embedding of l
with one prompt, x_i the image embedding. The table is made once, with one model, and
then every model chooses among the same K classes.

A mean of cosines is the cosine with the summed unit vectors, up to a factor that is the
same for all l, so photos are summed before they are compared with 1,000 texts.

Source: CounterAnimal, appendix C.1 (arXiv:2403.11497). Its formula does not say that y
is among its own K classes. Without it no answer could be right, so it is put in the
last place then, and the table says so.
"""

import csv
import hashlib
import io
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluation import imagenet
from evaluation.answers import word_vectors
from evaluation.errors import ConfigError, InputError, RemoteError
from evaluation.examples import ExampleSet
from evaluation.extract import Models, Progress, extract
from evaluation.label_spaces import LabelSpace, confusing, label_space
from evaluation.prompts import PromptSet, prompt_set
from evaluation.tables import write_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

REFERENCE = "open_clip:ViT-B-32-quickgelu/laion400m_e31"
"""The paper's model, with the activation that its weights were trained with."""

PROMPTS = "paper"
COLUMNS = (
    "imagenet_index",
    "rank",
    "candidate_index",
    "candidate_name",
    "mean_cosine",
    "forced",
    "model",
    "weights",
    "prompts",
    "n_photos",
)
"""Columns of a table's CSV; `evaluation.label_spaces` reads it."""

# sums of whole numbers do not depend on the order of the photos
_STEPS = float(2**40)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One class that photos of another are chosen among.

    Attributes:
        imagenet_index: of the photos' class.
        rank: 1 for the largest mean cosine.
        candidate_index: ImageNet index of the class that is offered.
        mean_cosine: over the class's photos, -1 to 1.
        forced: it is the right class and was not among the K.
        n_photos: photos of the class that were compared.
    """

    imagenet_index: int
    rank: int
    candidate_index: int
    mean_cosine: float
    forced: bool
    n_photos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusingTable:
    """Candidates of each class, by ImageNet index and rank.

    Attributes:
        rows: K for each class.
        candidate_names: names of all classes by index, as prompts used them.
        model: the reference model's name.
        weights: sha256 of its weights.
        prompts: name of the prompt set.
    """

    rows: tuple[Candidate, ...]
    candidate_names: Sequence[str]
    model: str
    weights: str
    prompts: str

    def to_csv(self) -> str:
        """The table as text, columns `COLUMNS`."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self.rows:
            writer.writerow(
                (
                    row.imagenet_index,
                    row.rank,
                    row.candidate_index,
                    self.candidate_names[row.candidate_index],
                    f"{row.mean_cosine:.9f}",
                    str(row.forced).lower(),
                    self.model,
                    self.weights,
                    self.prompts,
                    row.n_photos,
                )
            )
        return file.getvalue()

    def write(self, path: Path) -> None:
        """Write the CSV, whole or not at all.

        Raises:
            InputError: the folder cannot be written to.
        """
        write_bytes(path, self.to_csv().encode())


def candidates(
    texts: "NDArray[np.float32]",
    photos: "NDArray[np.float32]",
    labels: "NDArray[np.int64]",
    *,
    count: int,
) -> tuple[Candidate, ...]:
    """The K classes each class is confused with most.

    Args:
        texts: (C, D) embeddings of class names, by class.
        photos: (N, D) embeddings of photos, in any order.
        labels: (N,) class of each photo, 0 to C - 1.
        count: K, at most C.

    Returns: K candidates for each class among `labels`, by class and rank; of equal
        means the lower index comes first.

    Raises:
        ConfigError: `count` is not 1 to C.
        InputError: no photos, or an embedding that has no direction.
    """
    if not 1 <= count <= len(texts):
        message = f"{count} candidates of {len(texts)} classes: take 1 to {len(texts)}"
        raise ConfigError(message)
    if not len(photos):
        message = "no photo to find confusing classes with"
        raise InputError(message)
    words = _unit(texts, "text")
    found: list[Candidate] = []
    for label in np.unique(labels).tolist():
        own = np.rint(_unit(photos[labels == label], "photo") * _STEPS)
        means = words @ (own.astype(np.int64).sum(axis=0) / (_STEPS * len(own)))
        order = np.argsort(-means, kind="stable")[:count].tolist()
        forced = label not in order
        if forced:
            order[-1] = label
        found.extend(
            Candidate(
                imagenet_index=label,
                rank=rank,
                candidate_index=index,
                mean_cosine=float(means[index]),
                forced=forced and index == label,
                n_photos=len(own),
            )
            for rank, index in enumerate(order, start=1)
        )
    return tuple(found)


def make(
    examples: ExampleSet,
    name: str,
    *,
    known: Models,
    folder: Path,
    class_names: str = imagenet.DEFAULT_NAMES,
    batch_size: int = 64,
    jobs: int = 2,
    progress: Progress | None = None,
) -> Path:
    """Make the table that a label space's name asks for.

    Args:
        examples: the dataset, all its photos.
        name: `confusing<K>[@MODEL]`; without a model, `REFERENCE`.
        known: loaded models, and the store of their features.
        folder: where the table is written; its file's name tells dataset, model, K and
            photos apart, so the same question gives the same file.
        class_names: list of ImageNet names for the prompt.
        batch_size: photos the model sees at once.
        jobs: threads that decode.
        progress: told how far the pass over the photos is.

    Returns: the table's file, a label space by itself.

    Raises:
        ConfigError: another name, a model that reads no text, or a class of the dataset
            that is not one ImageNet class.
        RemoteError: the model's weights are not at hand and cannot be fetched.
        InputError: no photo could be read, or the folder cannot be written to.
    """
    asked = confusing(name)
    if asked is None:
        message = f"label space {name!r}: the form is confusing<K>[@MODEL]"
        raise ConfigError(message)
    count, model = asked[0], asked[1] or REFERENCE
    if count > imagenet.CLASSES:
        message = f"label space {name!r}: ImageNet has {imagenet.CLASSES} classes"
        raise ConfigError(message)
    labels = _labels(examples, name)
    _reads_text(model, known, name)
    space = label_space("imagenet", (), class_names=class_names)
    prompts = prompt_set(PROMPTS)
    photo_ids = examples.table.column("photo_id").to_pylist()
    features = extract(
        [model],
        photo_ids,
        examples.read,
        store=known.store,
        batch_size=batch_size,
        jobs=jobs,
        progress=progress,
        loaded=known,
    )[model]
    good = np.array([error is None for error in features.errors], bool)
    if missing := set(labels.tolist()) - set(labels[good].tolist()):
        message = (
            f"label space {name!r}: no photo of ImageNet class {min(missing)} of "
            f"dataset {examples.name!r} can be read"
        )
        raise InputError(message)
    rows = candidates(
        _texts(model, space, prompts, known),
        features.values[good],
        labels[good],
        count=count,
    )
    if forced := [row.imagenet_index for row in rows if row.forced]:
        log.warning(
            "%s of %s: %d of %d classes were not among their own %d and took the last "
            "place, such as %s",
            name,
            examples.name,
            len(forced),
            len(rows) // count,
            count,
            space.names[forced[0]],
        )
    table = ConfusingTable(
        rows=rows,
        candidate_names=space.names,
        model=model,
        weights=features.record.weights,
        prompts=prompts.name,
    )
    pairs = sorted({*zip(photo_ids, labels.tolist(), strict=True)})
    stands_for = (pairs, features.record.key, class_names, prompts.sha256)
    digest = hashlib.sha256(repr(stands_for).encode()).hexdigest()[:12]
    parts = (f"confusing{count}", _plain(examples.name), _plain(model), digest)
    path = folder / f"{'-'.join(parts)}.csv"
    table.write(path)
    return path


def _labels(examples: ExampleSet, name: str) -> "NDArray[np.int64]":
    """(N,) ImageNet index of each example."""
    what = f"label space {name!r} needs photos of ImageNet classes: dataset "
    if examples.role == "ood":
        message = f"{what}{examples.name!r} shows none of them"
        raise ConfigError(message)
    for item in examples.classes:
        if len(item.indices) != 1:
            found = f"{len(item.indices)} of them" if item.indices else "none of them"
            message = f"{what}{examples.name!r} has class {item.name!r}, which is "
            raise ConfigError(message + found)
    return np.array(examples.table.column("label").to_pylist(), np.int64)


def _reads_text(model: str, known: Models, name: str) -> None:
    try:
        record = known.record(model)
    except RemoteError as error:
        message = f"{error}; or name another model that confuses, as in {name}@MODEL"
        if "@" in name:
            raise
        raise RemoteError(message) from error
    if record.kind != "zero_shot":
        message = (
            f"label space {name!r}: model {model!r} reads no text; name an image-text "
            "model, such as open_clip's"
        )
        raise ConfigError(message)


def _texts(
    model: str, space: LabelSpace, prompts: PromptSet, known: Models
) -> "NDArray[np.float32]":
    """(1000, D) vectors by ImageNet index; classes of one name share one."""
    vectors = word_vectors(model, space, prompts, known=known)
    assert vectors is not None
    place: dict[str, int] = {}
    keys = [prompts.word_key(column.words[0]) for column in space.columns]
    for key in keys:
        place.setdefault(key, len(place))
    by_class: NDArray[np.float32] = vectors[[place[key] for key in keys]]
    return by_class


def _unit(vectors: "NDArray[np.float32]", what: str) -> "NDArray[np.float64]":
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        message = f"an embedding of a {what} is zero or not finite"
        raise InputError(message)
    unit: NDArray[np.float64] = wide / lengths
    return unit


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", name).strip("._")[-60:]
