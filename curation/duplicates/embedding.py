"""Embeddings of a folder's photos, where a model is asked for its opinion.

Files are opened by the crew; the model runs in this process, and torch is imported only
for it.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curation.duplicates import folder
from curation.duplicates.crew import Crew
from curation.duplicates.findings import Photo
from curation.duplicates.folder import How
from curation.duplicates.neighbours import Vectors
from curation.progress import Say, progress
from evaluation import images
from evaluation.errors import DecodeError

if TYPE_CHECKING:
    from evaluation.models import Model, PixelSpec

_BATCH = 32


def vectors(
    photos: Sequence[Photo], name: str, crew: Crew, how: How, *, say: Say
) -> tuple[list[str], Vectors]:
    """What a model sees in photos.

    Args:
        photos: the photos; one that cannot be decoded in full is left out.
        name: the model's name, as `counterset models` lists them.
        crew: processes that decode.
        how: limits on pictures.
        say: takes lines of progress.

    Returns: sha256 of the photos, and (N, D) float32 of unit length. They are rounded
        to float16 on the way, as the route stores them.

    Raises:
        ConfigError: there is no such model, or its weights are not at hand.
    """
    from evaluation import models

    say(f"load {name}")
    model = models.load(name)
    files = [(photo.path, photo.sha256) for photo in photos]
    parts = [files[at : at + _BATCH] for at in range(0, len(files), _BATCH)]
    squares = crew.each(
        partial(_squares, spec=model.spec, how=how), parts, died=lambda *_: None
    )
    known: list[str] = []
    rows: list[Vectors] = [np.empty((0, 0), np.float32)]
    with progress(len(files), step="embed", say=say) as bar:
        for part, found in zip(parts, squares, strict=True):
            good = [pixels for pixels in found if pixels is not None]
            known += [
                key
                for (_, key), pixels in zip(part, found, strict=True)
                if pixels is not None
            ]
            rows += _embedded(model, good)
            bar.add(len(part), failed=len(part) - len(good))
    whole = rows[1:] or rows
    return known, np.concatenate(whole)


def _embedded(model: "Model", pixels: list[NDArray[np.uint8]]) -> Iterator[Vectors]:
    """(N, D) of unit length; nothing for no photos."""
    if not pixels:
        return
    import torch

    batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    features = model.images(batch).numpy().astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    stored = features.astype(np.float16).astype(np.float32)
    yield stored / np.linalg.norm(stored, axis=1, keepdims=True)


def _squares(
    files: Sequence[tuple[str, str]], *, spec: "PixelSpec", how: How
) -> list[NDArray[np.uint8] | None]:
    return [_square(path, sha256, spec, how) for path, sha256 in files]


def _square(
    path: str, sha256: str, spec: "PixelSpec", how: How
) -> NDArray[np.uint8] | None:
    try:
        data = folder.reread(path, sha256)
        with folder.room(data, how):
            picture = images.decode(data, max_pixels=how.max_pixels)
            return images.fit(picture, spec)
    except DecodeError:
        return None
