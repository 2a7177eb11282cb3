"""One pass over photos for many models: each photo is decoded once.

Pictures are decoded by threads, a bounded number of blocks ahead of the models, and
the next block is put together while the models run; every model gets bytes and
normalises them itself. A block is a fixed stretch of the photos asked for, so a run
that was killed goes on in the same blocks and ends in the same features.

A model that is known by what it once said sees no photo: its answers go to the store
as any model's features do.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from evaluation import models
from evaluation.features import FeatureStore, ModelRecord, describe
from evaluation.models import FP32, Runtime, StoredModel
from evaluation.pixels import Picture, Reader, decoded

if TYPE_CHECKING:
    from numpy.typing import NDArray

Progress = Callable[[int, int], None]
"""Called with how many photos of the pass are done, and how many there are."""

_ROWS_A_PART = 4096
_SECONDS_A_PART = 20.0
_BATCH = 64
_GPU_BATCH = 256  # for each GPU; they want more at once than a core's cache holds


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
    """Models by name, each loaded when first asked for, and what the store knows.

    Args:
        store: where features are kept.
        runtime: precision, device and decoder of all of them.
    """

    def __init__(self, store: FeatureStore, runtime: Runtime = FP32) -> None:
        self.store = store
        self.runtime = runtime
        self._loaded: dict[str, models.Model] = {}
        self._identities: dict[str, str] = {}

    def record(self, name: str) -> ModelRecord:
        """From the store; loads the model only when the store does not know it."""
        if name not in self._loaded:
            found = self.store.record(name, self._identity(name), self._precision)
            if found is not None:
                return found
        return describe(self.load(name))

    def load(self, name: str) -> models.Model:
        """The model, from memory if it is there."""
        if name not in self._loaded:
            model = models.load(name, self.runtime)
            self._loaded[name] = model
            self.store.remember(
                name, self._identity(name), describe(model), self._precision
            )
        return self._loaded[name]

    @property
    def _precision(self) -> models.Precision:
        return self.runtime.precision

    def forget(self) -> None:
        """Free the memory of all that are loaded."""
        self._loaded.clear()

    def _identity(self, name: str) -> str:
        if name not in self._identities:
            self._identities[name] = models.identity(name)
        if self.runtime.decoder != "pillow":  # its pixels are part of a record
            return f"{self._identities[name]} {self.runtime.decoder}"
        return self._identities[name]


def extract(
    model_names: Sequence[str],
    photo_ids: Sequence[str],
    read: Reader,
    *,
    store: FeatureStore,
    batch_size: int | None = None,
    jobs: int = 2,
    progress: Progress | None = None,
    runtime: Runtime = FP32,
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
        batch_size: photos a model sees at once; None: what suits the device.
        jobs: threads that decode.
        progress: told how far the pass is.
        runtime: precision, device and decoder; not read where `loaded` is given, which
            has one.
        loaded: models to share with the caller.

    Returns: features by model name.

    Raises:
        ConfigError: no such model or device.
        RemoteError: a model's weights are not at hand and cannot be fetched.
    """
    known = loaded or Models(store, runtime)
    unique = list(dict.fromkeys(photo_ids))
    plans = [_plan(name, unique, known) for name in dict.fromkeys(model_names)]
    todo = [plan for plan in plans if plan.missing]
    unreadable: dict[str, str] = {}
    if todo:
        try:
            seeing = [plan for plan in todo if not _told(plan, unique, known)]
            if seeing:
                size = batch_size or block_size(known.runtime)
                unreadable = _pass(
                    seeing, unique, read, known, size=size, jobs=jobs, progress=progress
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


def _plan(name: str, photo_ids: Sequence[str], known: Models) -> _Plan:
    record = known.record(name)
    have = known.store.images(record).keys()
    return _Plan(name, record, {one for one in photo_ids if one not in have})


def _told(plan: _Plan, photo_ids: Sequence[str], known: Models) -> bool:
    """Load a plan's model; write what it says of all its photos if it sees none.

    Raises:
        _WeightsChanged: it is not the model that the plan was made for.
    """
    model = known.load(plan.name)
    if describe(model).key != plan.record.key:
        raise _WeightsChanged
    if not isinstance(model, StoredModel):
        return False
    wanted = [one for one in photo_ids if one in plan.missing]
    for start in range(0, len(wanted), _ROWS_A_PART):
        some = wanted[start : start + _ROWS_A_PART]
        values, errors = model.stored(some)
        good = np.array([error is None for error in errors], bool)
        plan.failed.extend(
            (one, error)
            for one, error in zip(some, errors, strict=True)
            if error is not None
        )
        keys = [one for one, there in zip(some, good, strict=True) if there]
        _keep(plan, keys, values[good])
        _flush(plan, known)
    plan.computed += len(wanted)
    return True


def block_size(runtime: Runtime) -> int:
    """Photos in a block: as many at once as suit the device."""
    from evaluation.models._forward import CPU_CHUNK, devices

    places = devices(runtime.device)
    if places[0].type == "cuda":
        return _GPU_BATCH * len(places)
    return max(_BATCH, CPU_CHUNK * (os.cpu_count() or 1))


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

    def specs(photo_id: str) -> set[models.PixelSpec]:
        return {plan.record.spec for plan in plans if photo_id in plan.missing}

    def finish(running: "Future[None]", count: int) -> None:
        nonlocal done
        running.result()
        done += count
        if progress:
            progress(done, len(wanted))

    try:
        # models run in a thread of their own, a block behind: while a device works,
        # the next block is waited for and put together here
        with ThreadPoolExecutor(1, "models") as runner:
            behind: tuple[Future[None], int] | None = None
            for block, pictures in decoded(
                blocks, specs, read, jobs=jobs, runtime=known.runtime
            ):
                for one, picture in zip(block, pictures, strict=True):
                    if picture.error is not None and not picture.lasting:
                        unreadable[one] = picture.error
                batches = [_gather(plan, block, pictures) for plan in plans]
                if behind:
                    finish(*behind)
                behind = (runner.submit(_run, plans, batches, known), len(block))
            if behind:
                finish(*behind)
    finally:
        # what is finished is kept, also when the run is interrupted
        for plan in plans:
            _flush(plan, known)
    return unreadable


@dataclass(frozen=True, slots=True)
class _Batch:
    """A block as one model sees it.

    Attributes:
        keys: photos that can be seen.
        pixels: (N, size, size, 3) uint8; None where N is 0.
        failed: photos that cannot, and why.
        computed: photos that count as worked on.
    """

    keys: list[str]
    pixels: "NDArray[np.uint8] | None"
    failed: list[tuple[str, str]]
    computed: int


def _gather(plan: _Plan, block: Sequence[str], pictures: Sequence[Picture]) -> _Batch:
    keys, squares, failed, computed = [], [], [], 0
    for one, picture in zip(block, pictures, strict=True):
        if one not in plan.missing:
            continue
        if picture.error is None:
            keys.append(one)
            squares.append(picture.squares[plan.record.spec])
        elif picture.lasting:
            failed.append((one, picture.error))
        computed += 1
    return _Batch(keys, np.stack(squares) if squares else None, failed, computed)


def _run(plans: Sequence[_Plan], batches: Sequence[_Batch], known: Models) -> None:
    import torch

    for plan, batch in zip(plans, batches, strict=True):
        plan.failed.extend(batch.failed)
        plan.computed += batch.computed
        if batch.pixels is not None:
            model = known.load(plan.name)
            # a view: the channels of a pixel stay side by side
            pixels = torch.from_numpy(batch.pixels).permute(0, 3, 1, 2)
            _keep(plan, batch.keys, model.images(pixels).numpy())
        full = len(plan.keys) + len(plan.failed) >= _ROWS_A_PART
        if full or time.monotonic() - plan.written > _SECONDS_A_PART:
            _flush(plan, known)


def _keep(plan: _Plan, keys: Sequence[str], values: "NDArray[np.float32]") -> None:
    """Take features into a plan; what is not finite is a failure."""
    finite = np.asarray(np.isfinite(values).all(axis=1))
    plan.keys.extend(one for one, good in zip(keys, finite, strict=True) if good)
    plan.rows.append(values[finite].astype(np.float32, copy=False))
    reason = "the model gave a value that is not finite"
    plan.failed.extend(
        (one, reason) for one, good in zip(keys, finite, strict=True) if not good
    )


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
