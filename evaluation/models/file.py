"""`file:<path>`: what a model said once, read from a file; no weights and no pixels.

For logits or embeddings made elsewhere, and for results that must be worked out again
on a machine without the weights. `write` makes such a file. The path is one of

    <name>.parquet   columns photo_id (text) and feature (list of float), optionally
                     status ("ok" or "failed") and error
    <folder>         such Parquet files, as many as there are; also a folder
                     `images/<key>` of a feature store, whose model is known there
    <name>.npz       arrays photo_ids (N) and values (N, D)

with the model described in JSON, either in the Parquet schema's metadata or the archive
under `model`, or beside the file as `<name>.json`, in a folder as `model.json`:

    kind         "zero_shot": embeddings; "classifier": logits of ImageNet's classes
    name         what made them, such as "open_clip:ViT-B-32/laion2b_s34b_b79k"
    logit_scale, logit_bias, link   of a zero_shot model; 1, 0 and "softmax" by default
    weights, dtype, quick_gelu, note, spec   what is known of it, as in `Model`

An image-text model can answer the prompts whose embeddings are given: Parquet columns
prompt and feature in `<name>.texts.parquet`, in a folder `texts.parquet`; arrays
prompts and prompt_values of the archive. Embeddings that are not of unit length are
normalised, and the note says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from evaluation.errors import ConfigError, InputError
from evaluation.models import FP32, Kind, ModelInfo, PixelSpec, Runtime
from evaluation.models._stored import (
    About,
    Found,
    demand,
    files_sha256,
    read_values,
    write,
)

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

__all__ = [
    "About",
    "FileModel",
    "FileZeroShotModel",
    "available",
    "identity",
    "load",
    "write",
]

_CLASSES = 1000
_UNIT = 1e-4  # how far a length may be from 1


@dataclass(slots=True, kw_only=True)
class FileModel:
    """Values of a file; see `evaluation.models.StoredModel`."""

    name: str
    kind: Kind
    spec: PixelSpec
    weights: str
    dtype: str
    quick_gelu: bool | None
    note: str
    _path: Path = field(repr=False)
    _place: dict[str, int] = field(repr=False)
    _values: "NDArray[np.float32]" = field(repr=False)
    _errors: Mapping[str, str] = field(repr=False)

    def images(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """No pixels are seen.

        Raises:
            InputError: always.
        """
        message = f"model {self.name!r} is a file of values and sees no photos"
        raise InputError(message)

    def stored(
        self, photo_ids: Sequence[str]
    ) -> "tuple[NDArray[np.float32], list[str | None]]":
        """(N, D) features, and why a photo has none; zeros where it has none."""
        rows = [self._place.get(one, -1) for one in photo_ids]
        values = np.zeros((len(rows), self._values.shape[1]), np.float32)
        there = np.array(rows, np.int64) >= 0
        values[there] = self._values[np.array(rows, np.int64)[there]]
        missing = f"not in {self._path}"
        errors = [
            None if row >= 0 else self._errors.get(one, missing)
            for one, row in zip(photo_ids, rows, strict=True)
        ]
        return values, errors


@dataclass(slots=True, kw_only=True)
class FileZeroShotModel(FileModel):
    """The same of an image-text model; see `evaluation.models.ZeroShotModel`."""

    logit_scale: float
    logit_bias: float
    link: Literal["softmax", "sigmoid"]
    _prompts: dict[str, int] = field(repr=False)
    _texts: "NDArray[np.float32]" = field(repr=False)

    def texts(self, prompts: list[str]) -> "torch.Tensor":
        """(M, D) float32 of unit length, of prompts that the file has.

        Raises:
            InputError: it lacks one; names it.
        """
        import torch

        missing = [one for one in dict.fromkeys(prompts) if one not in self._prompts]
        if missing:
            message = (
                f"model {self.name!r} has no embedding of the text {missing[0]!r}"
                f"{f' and {len(missing) - 1} more' * (len(missing) > 1)}; it has "
                f"{len(self._prompts)}. Give their embeddings, as the module "
                "evaluation.models.file describes"
            )
            raise InputError(message)
        rows = [self._prompts[one] for one in prompts]
        return torch.from_numpy(self._texts[rows])


def load(rest: str, runtime: Runtime = FP32) -> FileModel:
    """Read a file or folder.

    Args:
        rest: its path.
        runtime: of no meaning here.

    Raises:
        ConfigError: there is no such file.
        InputError: it cannot be read, is not described, or holds values that cannot be
            right.
    """
    path = _there(rest)
    found = read_values(path)
    if found.about.kind == "classifier":
        demand(
            found.values.shape[1] == _CLASSES,
            path,
            f"a classifier has {_CLASSES} logits, these are {found.values.shape[1]}",
        )
        return FileModel(**_common(rest, path, found, found.about.note))
    values, changed = _unit(found.values, path)
    texts, text_changed = _unit(found.texts, path)
    demand(
        not len(texts) or texts.shape[1] == values.shape[1],
        path,
        f"texts have {texts.shape[1]} dimensions and photos {values.shape[1]}",
    )
    found.values = values
    said = "normalised when read" if changed or text_changed else ""
    return FileZeroShotModel(
        **_common(rest, path, found, "; ".join(filter(None, [found.about.note, said]))),
        logit_scale=float(found.about.logit_scale),
        logit_bias=float(found.about.logit_bias),
        link=found.about.link,
        _prompts={prompt: row for row, prompt in enumerate(found.prompts)},
        _texts=texts,
    )


def identity(rest: str) -> str:
    """Sha256 over the files."""
    return files_sha256(_there(rest))


def available() -> list[ModelInfo]:
    """None: any path may be named."""
    return []


def _common(rest: str, path: Path, found: Found, note: str) -> dict[str, Any]:
    """What both kinds have."""
    about = found.about
    ids = found.photo_ids
    demand(len(set(ids)) == len(ids), path, "a photo_id is there twice")
    demand(bool(np.isfinite(found.values).all()), path, "a value is not finite")
    made = f"stored values of {about.name}" + f" ({about.weights})" * bool(
        about.weights
    )
    return {
        "name": f"file:{rest}",
        "kind": about.kind,
        "spec": about.spec,
        "weights": files_sha256(path),
        "dtype": about.dtype,
        "quick_gelu": about.quick_gelu,
        "note": "; ".join(filter(None, [made, note])),
        "_path": path,
        "_place": {one: row for row, one in enumerate(ids)},
        "_values": found.values,
        "_errors": found.errors,
    }


def _there(rest: str) -> Path:
    path = Path(rest).expanduser()
    if not path.exists():
        message = f"model 'file:{rest}': there is no file or folder {rest}"
        raise ConfigError(message)
    return path


def _unit(
    values: "NDArray[np.float32]", path: Path
) -> "tuple[NDArray[np.float32], bool]":
    """Rows of unit length, and whether they were not."""
    lengths = np.linalg.norm(values.astype(np.float64), axis=1, keepdims=True)
    demand(bool((lengths > 0).all()), path, "an embedding is zero or not a number")
    if (np.abs(lengths - 1) <= _UNIT).all():
        return values, False
    return cast("NDArray[np.float32]", (values / lengths).astype(np.float32)), True
