"""What models said of photos and texts, kept so that no model need say it twice.

    <folder>/models/<hash of name and identity>.json  what the name's weights are
    <folder>/images/<key>/<part>.parquet              photo_id, status, error, feature
    <folder>/texts/<key>/<prompts>/<part>.parquet     class_name, the rest likewise

The key stands for weights, pixels and dtype: two names of the same weights share parts.
Parts are written whole or not at all and never changed, so a killed run loses at most
the photos it had not yet written.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
import pyarrow as pa

from evaluation.models import Kind, Model, PixelSpec, Precision
from evaluation.tables import frame, read, write, write_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

_LIBRARIES = (
    "counterset", "torch", "torchvision", "open_clip_torch", "timm", "transformers",
    "pillow", "numpy", "numba",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What must be known of a model to use its features without loading it.

    Attributes:
        name: full name as asked for.
        kind: "zero_shot", "classifier" or "lvlm".
        spec: pixels it got.
        weights: sha256 over its weights.
        dtype: dtype the image tower ran in.
        quick_gelu: activation; None where it has no meaning.
        note: what a reader must know of it.
        logit_scale: factor on cosines; 1 for a classifier.
        logit_bias: added after; 0 for most.
        link: "softmax", or "sigmoid" where each pair was trained on its own.
        normalisation: means and standard deviations of the pixels it got.
        versions: of the libraries that ran it.
    """

    name: str
    kind: Kind
    spec: PixelSpec
    weights: str
    dtype: str
    quick_gelu: bool | None
    note: str
    logit_scale: float
    logit_bias: float
    link: Literal["softmax", "sigmoid"]
    normalisation: tuple[tuple[float, ...], ...]
    versions: dict[str, str]

    @property
    def key(self) -> str:
        """Folder name of its features: what makes them differ, and nothing else."""
        parts = [
            self.kind,
            self.weights,
            self.dtype,
            self.quick_gelu,  # equal weights run with another activation are others
            asdict(self.spec),
            self.normalisation,
            _pillow(self.versions),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _pillow(versions: dict[str, str]) -> str:
    """Major version of Pillow, this one's if none is named: pixels hang on it."""
    return versions.get("pillow", version("pillow")).partition(".")[0]


def describe(model: Model) -> ModelRecord:
    """The record of a loaded model."""
    text = model.kind == "zero_shot"
    return ModelRecord(
        name=model.name,
        kind=model.kind,
        spec=model.spec,
        weights=model.weights,
        dtype=model.dtype,
        quick_gelu=model.quick_gelu,
        note=model.note,
        logit_scale=float(getattr(model, "logit_scale", 1.0)) if text else 1.0,
        logit_bias=float(getattr(model, "logit_bias", 0.0)) if text else 0.0,
        link=getattr(model, "link", "softmax"),
        normalisation=getattr(model, "normalisation", ()),
        versions={name: found for name in _LIBRARIES if (found := _version(name))},
    )


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class Vectors:
    """Features by key.

    Attributes:
        place: row of each key in `values` and `errors`.
        values: (N, D) float32; zeros where there is an error.
        errors: why a key has no feature, None where it has one.
    """

    place: dict[str, int]
    values: "NDArray[np.float32]"
    errors: tuple[str | None, ...]


class Parts:
    """A folder of Parquet parts that map a key to a feature or an error."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key

    def read(self) -> Vectors:
        """All parts; a damaged one is set aside, since its rows can be made again."""
        tables = self._tables(None)
        if not tables:
            return Vectors({}, np.zeros((0, 0), np.float32), ())
        rows = pl.concat(tables).unique(self.key, keep="first", maintain_order=True)
        good = rows.filter(pl.col("status") == "ok")
        bad = rows.filter(pl.col("status") != "ok")
        width = len(good["feature"][0]) if len(good) else 0
        values = np.zeros((len(rows), width), np.float32)
        if len(good):
            values[: len(good)] = (
                good["feature"].explode().to_numpy().reshape(-1, width)
            )
        keys = good[self.key].to_list() + bad[self.key].to_list()
        return Vectors(
            place={key: row for row, key in enumerate(keys)},
            values=values,
            errors=(*([None] * len(good)), *bad["error"].to_list()),
        )

    def keys(self) -> set[str]:
        """Keys there are, with a feature or an error."""
        return {key for table in self._tables([self.key]) for key in table[self.key]}

    def append(
        self,
        keys: Sequence[str],
        values: "NDArray[np.float32]",
        failed: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Add a part; durable when this returns.

        Args:
            keys: of `values`, in its order.
            values: (N, D) float32.
            failed: (key, reason) of those that have no feature.
        """
        good = {
            self.key: list(keys),
            "status": ["ok"] * len(keys),
            "error": [None] * len(keys),
        }
        feature = pl.List(pl.Float32)
        kinds = {self.key: pl.String, "status": pl.String, "error": pl.String}
        rows = pl.DataFrame(good, schema=kinds).with_columns(
            pl.Series("feature", values, strict=True).cast(feature)
            if len(keys)
            else pl.Series("feature", [], feature)
        )
        bad = pl.DataFrame(
            {
                self.key: [key for key, _ in failed],
                "status": ["failed"] * len(failed),
                "error": [reason for _, reason in failed],
            },
            schema=kinds,
        ).with_columns(pl.lit(None, feature).alias("feature"))
        table = pl.concat([rows, bad]).to_arrow()
        names = "\n".join([*keys, *(key for key, _ in failed)])
        part = hashlib.sha256(names.encode()).hexdigest()[:16]
        write(self.folder / f"{part}.parquet", table)

    def _tables(self, columns: list[str] | None) -> list[pl.DataFrame]:
        found = []
        for path in sorted(self.folder.glob("*.parquet")):
            try:
                found.append(frame(read(path, columns)))
            except (OSError, pa.ArrowException) as error:
                log.warning("features %s are damaged and made again: %s", path, error)
                path.unlink(missing_ok=True)
        return found


class FeatureStore:
    """Features of any number of models, in one folder.

    Args:
        folder: made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def record(
        self, name: str, identity: str, precision: Precision = "fp32"
    ) -> ModelRecord | None:
        """What is known of a model's name; None when it was never loaded.

        A model is known by what tells its weights apart, so a changed checkpoint file
        is another model.
        """
        path = self._record_path(name, identity, precision)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            found["spec"] = PixelSpec(**found["spec"])
            found["normalisation"] = tuple(map(tuple, found["normalisation"]))
            record = ModelRecord(**found)
        except (OSError, ValueError, TypeError, KeyError):
            return None  # not there, or of another version: the model tells it anew
        return record if _pillow(record.versions) == _pillow({}) else None

    def remember(
        self,
        name: str,
        identity: str,
        record: ModelRecord,
        precision: Precision = "fp32",
    ) -> None:
        """Keep what a loaded model said of itself."""
        text = json.dumps(asdict(replace(record, name=name)), indent=1)
        write_bytes(self._record_path(name, identity, precision), text.encode())

    def images(self, record: ModelRecord) -> Parts:
        """Features of photos, by photo_id."""
        return Parts(self.folder / "images" / record.key, "photo_id")

    def texts(self, record: ModelRecord, prompts: str) -> Parts:
        """Rows of zero-shot classifiers, by class name, for a prompt set's sha256."""
        return Parts(self.folder / "texts" / record.key / prompts[:24], "class_name")

    def _record_path(self, name: str, identity: str, precision: Precision) -> Path:
        text = f"{name}\n{identity}\n{precision}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:24]
        return self.folder / "models" / f"{digest}.json"
