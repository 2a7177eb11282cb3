"""One pass over photos for many models: each photo is decoded once.

Pictures are decoded by threads, a block ahead of the models; every model gets bytes
and normalises them itself. A block is a fixed stretch of the photos asked for, so a run
that was killed goes on in the same blocks and ends in the same features.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from evaluation import models
from evaluation.errors import DecodeError, InputError
from evaluation.features import FeatureStore, ModelRecord, describe
from evaluation.images import decode, fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

Reader = Callable[[str], bytes]
Progress = Callable[[int, int], None]
"""Called with how many photos of the pass are done, and how many there are."""

_ROWS_A_PART = 512
_SECONDS_A_PART = 20.0


@dataclass(frozen=True, slots=True)
class Features:
    """What one model said of the photos asked for.

    Attributes:
        record: the model.
        photo_ids: as asked for.
        values: (N, D) float32; unit embeddings, or logits. Zeros where it failed.
        errors: why a photo has no feature; None where it has one.
        computed: photos that were run through the model now, failures included.
    """

    record: ModelRecord
    photo_ids: tuple[str, ...]
    values: "NDArray[np.float32]"
    errors: tuple[str | None, ...]
    computed: int


class Models:
    """Models by name, each loaded when first asked for, and what the store knows."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self._loaded: dict[str, models.Model] = {}
        self._identities: dict[str, str] = {}

    def record(self, name: str) -> ModelRecord:
        """From the store; loads the model only when the store does not know it."""
        if name not in self._loaded:
            found = self.store.record(name, self._identity(name))
            if found is not None:
                return found
        return describe(self.load(name))

    def load(self, name: str) -> models.Model:
        """The model, from memory if it is there."""
        if name not in self._loaded:
            model = models.load(name)
            self._loaded[name] = model
            self.store.remember(name, self._identity(name), describe(model))
        return self._loaded[name]

    def forget(self) -> None:
        """Free the memory of all that are loaded."""
        self._loaded.clear()

    def _identity(self, name: str) -> str:
        if name not in self._identities:
            self._identities[name] = models.identity(name)
        return self._identities[name]


def extract(
    model_names: Sequence[str],
    photo_ids: Sequence[str],
    read: Reader,
    *,
    store: FeatureStore,
    batch_size: int = 64,
    jobs: int = 2,
    progress: Progress | None = None,
    loaded: Models | None = None,
) -> dict[str, Features]:
    """Features of photos, computed only where the store lacks them.

    All the models named are held in memory at once; models that have every photo are
    not loaded.

    Args:
        model_names: full names, such as "timm:resnet50".
        photo_ids: photos wanted; one may be named twice.
        read: bytes of a photo by its id, called from several threads.
        store: where features are kept.
        batch_size: photos a model sees at once.
        jobs: threads that decode.
        progress: told how far the pass is.
        loaded: models to share with the caller.

    Returns: features by model name.

    Raises:
        ConfigError: no such model.
        RemoteError: a model's weights are not at hand and cannot be fetched.
    """
    known = loaded or Models(store)
    unique = list(dict.fromkeys(photo_ids))
    plans = [_plan(name, unique, known) for name in dict.fromkeys(model_names)]
    todo = [plan for plan in plans if plan.missing]
    unreadable: dict[str, str] = {}
    if todo:
        try:
            unreadable = _pass(
                todo, unique, read, known, size=batch_size, jobs=jobs, progress=progress
            )
        except _WeightsChanged:  # the store has learnt of it by now
            return extract(
                model_names,
                photo_ids,
                read,
                store=store,
                batch_size=batch_size,
                jobs=jobs,
                progress=progress,
                loaded=known,
            )
    return {plan.name: _collect(plan, photo_ids, unreadable, known) for plan in plans}


class _WeightsChanged(Exception):
    """A tag's weights are not those that the store has features of."""


@dataclass(slots=True)
class _Plan:
    """One model's part in a pass."""

    name: str
    record: ModelRecord
    missing: set[str]
    computed: int = 0
    keys: list[str] = field(default_factory=list)
    rows: "list[NDArray[np.float32]]" = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    written: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class _Picture:
    """A decoded photo: a square per `PixelSpec`, or why there is none."""

    squares: "dict[models.PixelSpec, NDArray[np.uint8]]"
    error: str | None = None
    lasting: bool = True  # the error is the bytes' fault, and will come again


def _plan(name: str, photo_ids: Sequence[str], known: Models) -> _Plan:
    record = known.record(name)
    have = known.store.images(record).keys()
    return _Plan(name, record, {one for one in photo_ids if one not in have})


def _pass(
    plans: Sequence[_Plan],
    photo_ids: Sequence[str],
    read: Reader,
    known: Models,
    *,
    size: int,
    jobs: int,
    progress: Progress | None,
) -> dict[str, str]:
    """Run every plan; returns reasons that are not kept, by photo."""
    wanted = set().union(*(plan.missing for plan in plans))
    blocks = [
        [one for one in photo_ids[start : start + size] if one in wanted]
        for start in range(0, len(photo_ids), size)
    ]
    blocks = [block for block in blocks if block]
    unreadable: dict[str, str] = {}
    done = 0
    try:
        for block, pictures in _decoded(blocks, plans, read, jobs):
            for one, picture in zip(block, pictures, strict=True):
                if picture.error is not None and not picture.lasting:
                    unreadable[one] = picture.error
            for plan in plans:
                _run_block(plan, block, pictures, known)
            done += len(block)
            if progress:
                progress(done, len(wanted))
    finally:
        # what is finished is kept, also when the run is interrupted
        for plan in plans:
            _flush(plan, known)
    return unreadable


def _decoded(
    blocks: Sequence[list[str]], plans: Sequence[_Plan], read: Reader, jobs: int
) -> Iterator[tuple[list[str], list[_Picture]]]:
    """Blocks with their pictures, the next block being decoded meanwhile."""

    def specs(photo_id: str) -> set[models.PixelSpec]:
        return {plan.record.spec for plan in plans if photo_id in plan.missing}

    with ThreadPoolExecutor(max(1, jobs)) as pool:

        def start(block: list[str]) -> list[Future[_Picture]]:
            return [pool.submit(_picture, one, specs(one), read) for one in block]

        waiting = start(blocks[0])
        try:
            for block, coming in zip(blocks, [*blocks[1:], []], strict=True):
                current, waiting = waiting, start(coming)
                yield block, [future.result() for future in current]
        finally:
            for future in waiting:
                future.cancel()


def _picture(photo_id: str, specs: set[models.PixelSpec], read: Reader) -> _Picture:
    try:
        data = read(photo_id)
    except (OSError, InputError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return _Picture({}, f"cannot be read: {reason}", lasting=False)
    try:
        image = decode(data)
    except DecodeError as error:
        return _Picture({}, str(error))
    return _Picture({spec: fit(image, spec) for spec in specs})


def _run_block(
    plan: _Plan, block: Sequence[str], pictures: Sequence[_Picture], known: Models
) -> None:
    import torch

    keys, squares = [], []
    for one, picture in zip(block, pictures, strict=True):
        if one not in plan.missing:
            continue
        if picture.error is None:
            keys.append(one)
            squares.append(picture.squares[plan.record.spec])
        elif picture.lasting:
            plan.failed.append((one, picture.error))
        plan.computed += 1
    if keys:
        model = known.load(plan.name)
        if describe(model).key != plan.record.key:
            raise _WeightsChanged
        pixels = torch.from_numpy(np.stack(squares).transpose(0, 3, 1, 2).copy())
        values = model.images(pixels).numpy()
        finite = np.isfinite(values).all(axis=1)
        plan.keys.extend(one for one, good in zip(keys, finite, strict=True) if good)
        plan.rows.append(values[finite].astype(np.float32, copy=False))
        reason = "the model gave a value that is not finite"
        plan.failed.extend(
            (one, reason) for one, good in zip(keys, finite, strict=True) if not good
        )
    full = len(plan.keys) + len(plan.failed) >= _ROWS_A_PART
    if full or time.monotonic() - plan.written > _SECONDS_A_PART:
        _flush(plan, known)


def _flush(plan: _Plan, known: Models) -> None:
    if plan.keys or plan.failed:
        values = np.concatenate(plan.rows) if plan.rows else np.zeros((0, 0))
        known.store.images(plan.record).append(
            plan.keys, values.astype(np.float32, copy=False), plan.failed
        )
    plan.keys, plan.rows, plan.failed = [], [], []
    plan.written = time.monotonic()


def _collect(
    plan: _Plan, photo_ids: Sequence[str], unreadable: dict[str, str], known: Models
) -> Features:
    found = known.store.images(plan.record).read()
    rows = np.array([found.place.get(one, -1) for one in photo_ids], np.int64)
    values = np.zeros((len(photo_ids), found.values.shape[1]), np.float32)
    there = rows >= 0
    values[there] = found.values[rows[there]]
    missing = "the model has not seen it"
    errors = tuple(
        found.errors[row] if row >= 0 else unreadable.get(one, missing)
        for one, row in zip(photo_ids, rows.tolist(), strict=True)
    )
    return Features(
        record=plan.record,
        photo_ids=tuple(photo_ids),
        values=values,
        errors=errors,
        computed=plan.computed,
    )
