"""How likely a vision-language model finds a class's name as an answer about a photo.

CounterAnimal (appendix C.3) scores LLaVA-1.5 and MiniGPT-4 so: the model is asked "What
is the main object in the image?", and a class is predicted when "A <name>" is the
answer with the smallest language-model loss among 20 candidates. `QUESTIONS` has the
three other questions that it names too.

The paper does not say whether the loss is summed over an answer's tokens or their mean.
The loss that transformers gives for labels is the mean over them, so "mean" is the
default; "sum" is the answer's log-likelihood, which favours short names. Both are
worked out of what is stored, as is every subset of the candidates:

    <store>/losses/<model's key>/<question's key>/<part>.parquet
        photo_id, name, status, error, nll (nats, summed), tokens
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from evaluation._answer_parts import Pass, Store
from evaluation.errors import ConfigError
from evaluation.extract import Features, Models, Progress
from evaluation.features import ModelRecord, describe
from evaluation.label_spaces import LabelSpace
from evaluation.models import AnsweringModel
from evaluation.questions import DEFAULT_QUESTION, QUESTIONS, Question, question

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DEFAULT_QUESTION",
    "QUESTIONS",
    "Losses",
    "Question",
    "Reduction",
    "answer_losses",
    "features_over",
    "question",
]

Reduction = Literal["mean", "sum"]


@dataclass(frozen=True, slots=True)
class Losses:
    """What one model said of the photos and names asked for.

    Attributes:
        record: the model.
        question: what it was asked.
        reduction: "mean" or "sum" over an answer's tokens.
        photo_ids: as asked for.
        candidates: names asked about, by photo.
        values: by photo, float32 in the candidates' order, nats; NaN where it failed.
        errors: why a photo has no losses; None where it has them.
        computed: answers that were scored now.
        photos: photos that were run through the model now.
    """

    record: ModelRecord
    question: Question
    reduction: Reduction
    photo_ids: tuple[str, ...]
    candidates: tuple[tuple[str, ...], ...]
    values: "tuple[NDArray[np.float32], ...]"
    errors: tuple[str | None, ...]
    computed: int
    photos: int

    def logits(
        self, columns: Sequence[Sequence[int]], width: int
    ) -> "NDArray[np.float32]":
        """Scores over a label space: minus the loss, so the likeliest is the largest.

        Args:
            columns: by photo, the column of each of its candidates; the largest of
                several in one column counts.
            width: columns of the label space.

        Returns: (N, width) float32; -inf where no candidate is, 0 where it failed.
        """
        found = np.full((len(self.values), width), -np.inf, np.float32)
        for row, places, values, error in zip(
            found, columns, self.values, self.errors, strict=True
        ):
            if error is None:
                np.maximum.at(row, np.asarray(places, np.int64), -values)
            else:
                row[:] = 0
        return found


def answer_losses(
    model_name: str,
    photo_ids: Sequence[str],
    read_photo: Callable[[str], bytes],
    candidates: Sequence[Sequence[str]],
    *,
    known: Models,
    asked: str = DEFAULT_QUESTION,
    reduction: Reduction = "mean",
    batch_size: int = 8,
    jobs: int = 2,
    progress: Progress | None = None,
) -> Losses:
    """Losses of names for photos, computed only where the store lacks them.

    Args:
        model_name: full name of a vision-language model.
        photo_ids: photos wanted; one may be named twice.
        read_photo: bytes of a photo by its id, called from several threads.
        candidates: names to score, by photo.
        known: loaded models, and the store of what they said.
        asked: name of a question.
        reduction: "mean" or "sum" over an answer's tokens.
        batch_size: photos the model sees at once.
        jobs: threads that decode.
        progress: told how far the pass is.

    Raises:
        ConfigError: unknown question or model, or a model that answers none.
        RemoteError: weights are not at hand and cannot be fetched.
    """
    what = question(asked)
    record = known.record(model_name)
    if record.kind != "lvlm":
        message = (
            f"model {model_name!r} is no vision-language model and answers no "
            f"questions (it is of the kind {record.kind})"
        )
        raise ConfigError(message)
    wanted = _wanted(photo_ids, candidates)
    store = _store(known, record, what)
    missing = store.missing(wanted)
    unreadable: dict[str, str] = {}
    computed = photos = 0
    if missing:
        model = known.load(model_name)
        if describe(model).key != record.key:  # its weights are others by now
            record = describe(model)
            store = _store(known, record, what)
            missing = store.missing(wanted)
        if not isinstance(model, AnsweringModel):
            message = (
                f"model {model_name!r} lacks what its backend must provide: see "
                "evaluation.models.AnsweringModel"
            )
            raise ConfigError(message)
        run = Pass(model, store, what, size=batch_size, jobs=jobs)
        unreadable = run.over(missing, read_photo, progress)
        computed, photos = run.computed, run.photos
    values, errors = store.collect(wanted, photo_ids, candidates, unreadable)
    return Losses(
        record=record,
        question=what,
        reduction=reduction,
        photo_ids=tuple(photo_ids),
        candidates=tuple(tuple(some) for some in candidates),
        values=tuple(_reduced(values, candidates, reduction)),
        errors=errors,
        computed=computed,
        photos=photos,
    )


def features_over(
    model_name: str,
    photo_ids: Sequence[str],
    read_photo: Callable[[str], bytes],
    space: LabelSpace,
    own: "NDArray[np.int64]",
    *,
    known: Models,
    asked: str = DEFAULT_QUESTION,
    reduction: Reduction = "mean",
    batch_size: int = 8,
    jobs: int = 2,
    progress: Progress | None = None,
) -> Features:
    """What a vision-language model says of photos, as logits of a label space.

    Args:
        model_name: full name of a vision-language model.
        photo_ids: photos wanted.
        read_photo: bytes of a photo by its id, called from several threads.
        space: C classes; where it offers other classes for each label, only these are
            scored.
        own: (N,) column of each photo's class; negative where it has none.
        known: loaded models, and the store of what they said.
        asked: name of a question.
        reduction: "mean" or "sum" over an answer's tokens.
        batch_size: photos the model sees at once.
        jobs: threads that decode.
        progress: told how far the pass is.

    Returns: `values` are (N, C): minus the loss of a column's likeliest word, -inf
        where a class is not offered, 0 where the photo failed.

    Raises:
        ConfigError: as `answer_losses`.
        RemoteError: weights are not at hand and cannot be fetched.
    """
    everything = tuple(range(len(space.columns)))
    offered = [space.choices.get(place, everything) for place in own.tolist()]
    pairs = {
        column: [(word, column) for word, _ in space.columns[column].words]
        for column in everything
    }
    wanted = [[pair for column in some for pair in pairs[column]] for some in offered]
    found = answer_losses(
        model_name,
        photo_ids,
        read_photo,
        [[word for word, _ in some] for some in wanted],
        known=known,
        asked=asked,
        reduction=reduction,
        batch_size=batch_size,
        jobs=jobs,
        progress=progress,
    )
    columns = [[column for _, column in some] for some in wanted]
    return Features(
        record=found.record,
        photo_ids=found.photo_ids,
        values=found.logits(columns, len(everything)),
        errors=found.errors,
        computed=found.photos,
    )


def _wanted(
    photo_ids: Sequence[str], candidates: Sequence[Sequence[str]]
) -> pl.DataFrame:
    """A row per photo and name, in the order asked."""
    pairs = list(zip(photo_ids, candidates, strict=True))
    return pl.DataFrame(
        {
            "photo_id": [photo for photo, some in pairs for _ in some],
            "name": [name for _, some in pairs for name in some],
        },
        schema={"photo_id": pl.String, "name": pl.String},
    )


def _store(known: Models, record: ModelRecord, what: Question) -> Store:
    return Store(known.store.folder / "losses" / record.key / what.key)


def _reduced(
    rows: pl.DataFrame, candidates: Sequence[Sequence[str]], reduction: Reduction
) -> "Iterator[NDArray[np.float32]]":
    nll = rows["nll"].to_numpy().astype(np.float32)
    if reduction == "mean":
        nll = nll / rows["tokens"].to_numpy().astype(np.float32)
    ends = np.cumsum([len(some) for some in candidates])
    for end, some in zip(ends.tolist(), candidates, strict=True):
        yield nll[end - len(some) : end]
