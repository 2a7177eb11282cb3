"""Losses of answers: the pass that works them out, and the files that keep them."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from evaluation.errors import DecodeError, InputError
from evaluation.extract import Progress
from evaluation.images import decode, fit
from evaluation.models import AnsweringModel, PixelSpec
from evaluation.questions import Question
from evaluation.tables import frame, read, write

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

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


class Store:
    """Losses of one model and question.

    Args:
        folder: made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

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
class Pass:
    """One model over the photos that lack something."""

    model: AnsweringModel
    store: Store
    what: Question
    size: int
    jobs: int
    computed: int = 0
    photos: int = 0
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
            self.photos += 1
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
