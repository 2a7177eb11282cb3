"""What models say of photos, computed by an engine and put into a store of features.

This is the image work of `predict`: once the store has it, asking costs no look at a
photo. As an engine runs map stages, this module is one: a part is the photos of one or
more blocks of `evaluation.extract`, cut where it would cut them, so that a model sees
photos in the same company and says the same of them, bit for bit.
"""

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from curation.engines.work import PART, Work, same_weights

if TYPE_CHECKING:
    from curation.engines import Engine
    from evaluation.extract import Models
    from evaluation.features import FeatureStore

STAGE = __name__
PROCESSES = False
SCHEMA = pa.schema(
    [
        pa.field("photo_id", pa.string(), nullable=False),
        # by model, in the order of the settings: the feature, or why there is none
        pa.field("features", pa.list_(pa.list_(pa.float32()))),
        pa.field("errors", pa.list_(pa.string())),
    ]
)
"""Columns of a part."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is computed.

    Attributes:
        models: names of the models.
        identities: what tells the weights of each apart from others of its name.
        block: photos in a block.
    """

    models: tuple[str, ...]
    identities: tuple[str, ...]
    block: int


def fill(
    engine: "Engine",
    store: "FeatureStore",
    models: Sequence[str],
    photo_ids: Sequence[str],
    *,
    blob: Callable[[str], Path],
    jobs: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Compute the features that a store lacks.

    Models known by a file of what they said see no photo, and vision-language models
    answer questions instead; both are left out.

    Args:
        engine: where they are computed.
        store: where they are kept, part by part.
        models: full names.
        photo_ids: photos, in the order in which `extract` will ask for them.
        blob: file of a photo.
        jobs: processes to use on this machine.
        progress: told how many photos are done, and of how many.

    Returns: photos that models were run on.

    Raises:
        ConfigError: no such model.
        InputError: a node lacks a model's weights or cannot read the photos.
        RemoteError: weights cannot be fetched, or the cluster failed.
    """
    from evaluation.extract import Models, block_size
    from evaluation.models import FP32, identity

    known = Models(store)
    unique = list(dict.fromkeys(photo_ids))
    groups: dict[frozenset[str], list[str]] = {}
    for name in dict.fromkeys(models):
        if name.startswith("file:") or known.record(name).kind == "lvlm":
            continue
        have = store.images(known.record(name)).keys()
        missing = frozenset(one for one in unique if one not in have)
        if missing:
            groups.setdefault(missing, []).append(name)
    known.forget()
    done, total = 0, sum(map(len, groups))
    for missing, names in groups.items():
        records = [known.record(name) for name in names]
        settings = Settings(tuple(names), tuple(map(identity, names)), block_size(FP32))

        def keep(table: pa.Table) -> None:
            nonlocal done
            for place, record in enumerate(records):  # noqa: B023 - called in the loop
                store.images(record).append(*_of_model(table, place))
            done += table.num_rows
            progress(done, total)

        engine.compute(
            _works(unique, missing, settings, blob),
            jobs=jobs,
            processes=PROCESSES,
            keep=keep,
        )
    return done


def run(inputs: Mapping[str, pa.Table], settings: Settings) -> pa.Table:
    """Compute one part.

    Args:
        inputs: `photos` with the columns photo_id, block and data.
        settings: of this part.

    Returns: `SCHEMA`, a row per photo.

    Raises:
        InputError: this machine has other weights under a model's name.
    """
    from evaluation.extract import extract

    known = _known()
    for name, wanted in zip(settings.models, settings.identities, strict=True):
        same_weights(name, wanted)
    rows: list[dict[str, object]] = []
    photos = pl.DataFrame(inputs["photos"])
    for _, block in photos.group_by("block", maintain_order=True):
        data = dict(zip(block["photo_id"], block["data"], strict=True))
        shutil.rmtree(known.store.folder / "images", ignore_errors=True)
        found = extract(
            settings.models,
            list(data),
            data.__getitem__,
            store=known.store,
            batch_size=settings.block,
            jobs=int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1),
            loaded=known,
        )
        for place, photo_id in enumerate(data):
            errors = [found[name].errors[place] for name in settings.models]
            values = [found[name].values[place] for name in settings.models]
            rows.append(
                {
                    "photo_id": photo_id,
                    "errors": errors,
                    "features": [
                        None if error else value.tolist()
                        for value, error in zip(values, errors, strict=True)
                    ],
                }
            )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _works(
    photo_ids: Sequence[str],
    missing: frozenset[str],
    settings: Settings,
    blob: Callable[[str], Path],
) -> list[Work]:
    """Parts of whole blocks, less the photos that are known."""
    size = max(1, PART // settings.block) * settings.block
    works = []
    for start in range(0, len(photo_ids), size):
        part = [
            (one, (start + place) // settings.block)
            for place, one in enumerate(photo_ids[start : start + size])
            if one in missing and blob(one).exists()  # else `extract` tells of it
        ]
        if part:
            photos = pa.table(
                {
                    "photo_id": pa.array([one for one, _ in part], pa.string()),
                    "block": pa.array([block for _, block in part], pa.int64()),
                }
            )
            works.append(Work(STAGE, settings, photos, [blob(one) for one, _ in part]))
    return works


def _of_model(
    table: pa.Table, place: int
) -> tuple[list[str], NDArray[np.float32], list[tuple[str, str]]]:
    """What a store is given of a part for one model: keys, values, failures."""
    keys, values, failed = [], [], []
    for row in table.to_pylist():
        if row["errors"][place] is None:
            keys.append(row["photo_id"])
            values.append(row["features"][place])
        else:
            failed.append((row["photo_id"], row["errors"][place]))
    return keys, np.asarray(values, np.float32).reshape(len(keys), -1), failed


@functools.cache
def _known() -> "Models":
    """This process's models, and a store of what is just being computed."""
    from evaluation.extract import Models
    from evaluation.features import FeatureStore

    folder = Path(tempfile.mkdtemp(prefix="counterset-features-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Models(FeatureStore(folder))
