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

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
import polars as pl
import pyarrow as pa

from evaluation.errors import ConfigError, DecodeError, InputError
from evaluation.extract import Models, Progress
from evaluation.features import ModelRecord, describe
from evaluation.images import decode, fit
from evaluation.models import AnsweringModel, PixelSpec
from evaluation.questions import DEFAULT_QUESTION, QUESTIONS, Question, question
from evaluation.tables import frame, read, write

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

__all__ = [
    "DEFAULT_QUESTION",
    "QUESTIONS",
    "Losses",
    "PairwiseModel",
    "Question",
    "Reduction",
    "answer_losses",
    "question",
]

Reduction = Literal["mean", "sum"]

_ANSWERS_A_PART = 4096
_SECONDS_A_PART = 20.0
_COLUMNS = {
    "photo_id": pl.String,
    "name": pl.String,
    "status": pl.String,
    "error": pl.String,
    "nll": pl.Float32,
    "tokens": pl.Int32,
}


@runtime_checkable
class PairwiseModel(AnsweringModel, Protocol):
    """A model whose questions may differ from answer to answer."""

    def pair_losses(
        self, pixels: "torch.Tensor", pairs: Sequence[Sequence[tuple[str, str]]]
    ) -> "list[NDArray[np.float32]]":
        """As `AnsweringModel.losses`, of N lists of (question, answer)."""
        ...

    def lengths(self, pairs: Sequence[tuple[str, str]]) -> "NDArray[np.int32]":
        """Tokens of each answer."""
        ...


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
    """

    record: ModelRecord
    question: Question
    reduction: Reduction
    photo_ids: tuple[str, ...]
    candidates: tuple[tuple[str, ...], ...]
    values: "tuple[NDArray[np.float32], ...]"
    errors: tuple[str | None, ...]
    computed: int

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
    store = _Store(known, record, what)
    missing = store.missing(wanted)
    unreadable: dict[str, str] = {}
    computed = 0
    if missing:
        model = known.load(model_name)
        if describe(model).key != record.key:  # its weights are others by now
            record = describe(model)
            store = _Store(known, record, what)
            missing = store.missing(wanted)
        assert isinstance(model, PairwiseModel)
        run = _Pass(model, store, what, size=batch_size, jobs=jobs)
        unreadable = run.over(missing, read_photo, progress)
        computed = run.computed
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


def _reduced(
    rows: pl.DataFrame, candidates: Sequence[Sequence[str]], reduction: Reduction
) -> "Iterator[NDArray[np.float32]]":
    nll = rows["nll"].to_numpy().astype(np.float32)
    if reduction == "mean":
        nll = nll / rows["tokens"].to_numpy().astype(np.float32)
    ends = np.cumsum([len(some) for some in candidates])
    for end, some in zip(ends.tolist(), candidates, strict=True):
        yield nll[end - len(some) : end]


class _Store:
    """Losses of one model and question."""

    def __init__(self, known: Models, record: ModelRecord, what: Question) -> None:
        self.folder: Path = known.store.folder / "losses" / record.key / what.key

    def missing(self, wanted: pl.DataFrame) -> list[tuple[str, list[str]]]:
        """Photos and the names that have to be scored, in the order wanted."""
        have = self._read()
        failed = have.filter(pl.col("status") != "ok")
        left = (
            wanted.unique(maintain_order=True)
            .join(have, on=["photo_id", "name"], how="anti", maintain_order="left")
            .join(failed, on="photo_id", how="anti", maintain_order="left")
        )
        photos = left.group_by("photo_id", maintain_order=True).agg("name")
        return list(photos.iter_rows())

    def append(self, rows: pl.DataFrame) -> None:
        """Add a part; durable when this returns."""
        text = "\n".join(f"{one}\t{name}" for one, name in rows[:, :2].iter_rows())
        part = hashlib.sha256(text.encode()).hexdigest()[:16]
        write(self.folder / f"{part}.parquet", rows.to_arrow())

    def collect(
        self,
        wanted: pl.DataFrame,
        photo_ids: Sequence[str],
        candidates: Sequence[Sequence[str]],
        unreadable: dict[str, str],
    ) -> tuple[pl.DataFrame, tuple[str | None, ...]]:
        """A row per row of `wanted`, NaN where there is none, and errors by photo."""
        have = self._read()
        bad = have.filter(pl.col("status") != "ok")
        failed = dict(bad.select("photo_id", "error").iter_rows()) | unreadable
        good = have.filter(pl.col("status") == "ok").unique(["photo_id", "name"])
        rows = wanted.join(
            good, on=["photo_id", "name"], how="left", maintain_order="left"
        ).with_columns(pl.col("nll").fill_null(np.nan), pl.col("tokens").fill_null(1))
        blank = rows.filter(pl.col("nll").is_nan())["photo_id"].unique()
        missing = dict.fromkeys(blank, "the model has not seen it") | failed
        errors = tuple(
            missing.get(photo) if some else failed.get(photo)
            for photo, some in zip(photo_ids, candidates, strict=True)
        )
        return rows, errors

    def _read(self) -> pl.DataFrame:
        """All parts; a damaged one is set aside, since its rows can be made again."""
        found = [pl.DataFrame(schema=_COLUMNS)]
        for path in sorted(self.folder.glob("*.parquet")):
            try:
                found.append(frame(read(path)).cast(pl.Schema(_COLUMNS)))
            except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
                log.warning("losses %s are damaged and made again: %s", path, error)
                path.unlink(missing_ok=True)
        return pl.concat(found)


@dataclass(slots=True)
class _Pass:
    """One model over the photos that lack something."""

    model: PairwiseModel
    store: _Store
    what: Question
    size: int
    jobs: int
    computed: int = 0
    _rows: list[tuple[str, str, str, str | None, float | None, int | None]] = field(
        default_factory=list
    )
    _written: float = field(default_factory=time.monotonic)

    def over(
        self,
        missing: Sequence[tuple[str, list[str]]],
        read_photo: Callable[[str], bytes],
        progress: Progress | None,
    ) -> dict[str, str]:
        """Score everything; returns reasons that are not kept, by photo."""
        unreadable: dict[str, str] = {}
        done = 0
        try:
            for block, pictures in self._decoded(missing, read_photo):
                for (photo, _), picture in zip(block, pictures, strict=True):
                    if picture.error is not None and picture.lasting:
                        self._fail(photo, picture.error)
                    elif picture.error is not None:
                        unreadable[photo] = picture.error
                good = [
                    (photo, names, picture.square)
                    for (photo, names), picture in zip(block, pictures, strict=True)
                    if picture.square is not None
                ]
                if good:
                    self._score(good)
                self._flush(whole=False)
                done += len(block)
                if progress:
                    progress(done, len(missing))
        finally:
            self._flush(whole=True)  # what is finished is kept
        return unreadable

    def _decoded(
        self,
        missing: Sequence[tuple[str, list[str]]],
        read_photo: Callable[[str], bytes],
    ) -> "Iterator[tuple[Sequence[tuple[str, list[str]]], list[_Picture]]]":
        """Blocks with their pictures, the next being decoded meanwhile."""
        blocks = [
            missing[start : start + self.size]
            for start in range(0, len(missing), self.size)
        ]
        spec = self.model.spec
        with ThreadPoolExecutor(max(1, self.jobs)) as pool:

            def start(
                block: Sequence[tuple[str, list[str]]],
            ) -> "list[Future[_Picture]]":
                return [
                    pool.submit(_picture, one, spec, read_photo) for one, _ in block
                ]

            waiting = start(blocks[0])
            try:
                for block, coming in zip(blocks, [*blocks[1:], []], strict=True):
                    current, waiting = waiting, start(coming)
                    yield block, [future.result() for future in current]
            finally:
                for future in waiting:
                    future.cancel()

    def _score(
        self, good: "Sequence[tuple[str, list[str], NDArray[np.uint8]]]"
    ) -> None:
        import torch

        squares = np.stack([square for _, _, square in good])
        pixels = torch.from_numpy(squares.transpose(0, 3, 1, 2).copy())
        pairs = [[self.what.pair(name) for name in names] for _, names, _ in good]
        found = self.model.pair_losses(pixels, pairs)
        for (photo, names, _), some, sums in zip(good, pairs, found, strict=True):
            self.computed += len(names)
            if not np.isfinite(sums).all():
                self._fail(photo, "the model gave a value that is not finite")
                continue
            counts = self.model.lengths(some)
            for name, nll, tokens in zip(
                names, sums.tolist(), counts.tolist(), strict=True
            ):
                self._rows.append((photo, name, "ok", None, nll, tokens))

    def _fail(self, photo: str, reason: str) -> None:
        self._rows.append((photo, "", "failed", reason, None, None))

    def _flush(self, *, whole: bool) -> None:
        late = time.monotonic() - self._written > _SECONDS_A_PART
        if self._rows and (whole or late or len(self._rows) >= _ANSWERS_A_PART):
            self.store.append(pl.DataFrame(self._rows, schema=_COLUMNS, orient="row"))
            self._rows.clear()
            self._written = time.monotonic()


@dataclass(frozen=True, slots=True)
class _Picture:
    """A photo's square, or why there is none."""

    square: "NDArray[np.uint8] | None"
    error: str | None = None
    lasting: bool = True  # the error is the bytes' fault, and will come again


def _picture(
    photo_id: str, spec: PixelSpec, read_photo: Callable[[str], bytes]
) -> _Picture:
    try:
        data = read_photo(photo_id)
    except (OSError, InputError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return _Picture(None, f"cannot be read: {reason}", lasting=False)
    try:
        return _Picture(fit(decode(data), spec))
    except DecodeError as error:
        return _Picture(None, str(error))
