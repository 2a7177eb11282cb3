"""Files of stored values: reading and writing them. `file` describes the format."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa

from evaluation.errors import ConfigError, InputError, nearest
from evaluation.models import PixelSpec
from evaluation.models._weights import file_identity
from evaluation.tables import frame, read, write_bytes
from evaluation.tables import write as write_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

_METADATA = b"counterset.model"
_TEXTS = "texts.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What made the values of a file.

    Attributes:
        kind: "zero_shot" or "classifier".
        name: of the model.
        logit_scale: factor on cosines.
        logit_bias: added after.
        link: "softmax", or "sigmoid" where each pair was trained on its own.
        weights: what is known of them; "" for nothing.
        dtype: that the model ran in.
        quick_gelu: activation; None where it has no meaning or is not known.
        note: what a reader must know.
        spec: pixels it got; a size of 0 is not known.
    """

    kind: Literal["zero_shot", "classifier"]
    name: str
    logit_scale: float = 1.0
    logit_bias: float = 0.0
    link: Literal["softmax", "sigmoid"] = "softmax"
    weights: str = ""
    dtype: str = "float32"
    quick_gelu: bool | None = None
    note: str = ""
    spec: PixelSpec = PixelSpec(0)


@dataclass(slots=True)
class Found:
    """Contents of a file, as they are in it."""

    about: About
    photo_ids: list[str]
    values: "NDArray[np.float32]"
    errors: dict[str, str] = field(default_factory=dict)
    prompts: list[str] = field(default_factory=list)
    texts: "NDArray[np.float32]" = field(
        default_factory=lambda: np.zeros((0, 0), np.float32)
    )


def write(
    path: Path,
    photo_ids: Sequence[str],
    values: "NDArray[np.float32]",
    *,
    about: About,
    errors: Mapping[str, str] | None = None,
    texts: "Mapping[str, NDArray[np.float32]] | None" = None,
) -> None:
    """Write what `load` reads.

    Args:
        path: ends in `.parquet` or `.npz`.
        photo_ids: N different ones.
        values: (N, D) logits or embeddings.
        about: what made them.
        errors: why further photos have none; `.parquet` only.
        texts: embeddings by prompt; beside a `.parquet` file as `<name>.texts.parquet`.

    Raises:
        ConfigError: another suffix, or errors for an archive.
    """
    failed = dict(errors or {})
    said = json.dumps(asdict(about))
    words = dict(texts or {})
    if path.suffix == ".npz" and not failed:
        arrays: dict[str, Any] = {
            "photo_ids": np.array(photo_ids, str),
            "values": values,
        }
        if words:
            arrays |= {
                "prompts": np.array(list(words), str),
                "prompt_values": np.stack(list(words.values())),
            }
        sink = io.BytesIO()
        arrays["model"] = np.array(said)
        np.savez(sink, **arrays)
        write_bytes(path, sink.getvalue())
        return
    if path.suffix != ".parquet":
        message = f"{path}: values are written to .parquet, or without errors to .npz"
        raise ConfigError(message)
    good = _listed("photo_id", photo_ids, values).with_columns(
        status=pl.lit("ok"), error=pl.lit(None, pl.String)
    )
    bad = pl.DataFrame(
        {"photo_id": list(failed), "error": list(failed.values())},
        schema={"photo_id": pl.String, "error": pl.String},
    ).with_columns(status=pl.lit("failed"))
    table = pl.concat([good, bad], how="diagonal").to_arrow()
    write_table(path, table.replace_schema_metadata({_METADATA: said.encode()}))
    if words:
        rows = _listed("prompt", list(words), np.stack(list(words.values())))
        write_table(path.with_suffix(f".{_TEXTS}"), rows.to_arrow())


def _listed(
    key: str, keys: Sequence[str], values: "NDArray[np.float32]"
) -> pl.DataFrame:
    feature = pl.Series("feature", np.asarray(values, np.float32))
    return pl.DataFrame(
        [
            pl.Series(key, list(keys), pl.String),
            feature.cast(pl.List(pl.Float32)),
        ]
    )


def _files(path: Path) -> list[Path]:
    """Everything that belongs to a path."""
    if path.is_dir():
        return sorted(
            one for one in path.iterdir() if one.suffix in (".parquet", ".json")
        )
    beside = [path.with_suffix(".json"), path.with_suffix(f".{_TEXTS}")]
    return [path, *(one for one in beside if one.is_file() and one != path)]


def files_sha256(path: Path) -> str:
    """Hex digest over everything that belongs to a path."""
    lines = (f"{one.suffix}={file_identity(one)}\n" for one in _files(path))
    return sha256("".join(lines).encode()).hexdigest()


def read_values(path: Path) -> Found:
    """Contents of a Parquet file, a folder of them, or an archive.

    Raises:
        InputError: it cannot be read, is not described, or is of another shape.
    """
    try:
        if path.is_dir():
            return _read_folder(path)
        if path.suffix == ".npz":
            return _read_archive(path)
        return _read_parquet(path)
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        message = f"{path} cannot be read as stored values: {reason}"
        raise InputError(message) from error
    except (pa.ArrowException, pl.exceptions.PolarsError) as error:
        reason = " ".join(str(error).split())[:200]
        message = f"{path} cannot be read as stored values: {reason}"
        raise InputError(message) from error


def _read_parquet(path: Path) -> Found:
    table = read(path)
    said = (table.schema.metadata or {}).get(_METADATA)
    about = _about(said, path.with_suffix(".json"), path)
    return _collected([frame(table)], about, path, path.with_suffix(f".{_TEXTS}"))


def _read_folder(path: Path) -> Found:
    parts = [one for one in sorted(path.glob("*.parquet")) if one.name != _TEXTS]
    demand(bool(parts), path, "the folder has no Parquet files")
    tables = [read(one) for one in parts]
    said = (tables[0].schema.metadata or {}).get(_METADATA)
    if said is None and not (path / "model.json").exists():
        said = _of_store(path)
    about = _about(said, path / "model.json", path)
    return _collected([frame(one) for one in tables], about, path, path / _TEXTS)


def _of_store(path: Path) -> bytes | None:
    """What a feature store knows of the model that one of its folders is of."""
    from evaluation.features import ModelRecord

    for one in sorted((path.parent.parent / "models").glob("*.json")):
        try:
            known = json.loads(one.read_text(encoding="utf-8"))
            known["spec"] = PixelSpec(**known["spec"])
            record = ModelRecord(**known)
        except (OSError, ValueError, TypeError, KeyError):
            continue
        if record.key == path.name:
            names = {item.name for item in fields(About)}
            kept = {key: value for key, value in known.items() if key in names}
            return json.dumps(kept | {"spec": asdict(record.spec)}).encode()
    return None


def _read_archive(path: Path) -> Found:
    with np.load(path, allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    said = str(arrays["model"]).encode() if "model" in arrays else None
    about = _about(said, path.with_suffix(".json"), path)
    values = np.asarray(arrays["values"], np.float32)
    ids = [str(one) for one in arrays["photo_ids"]]
    demand(
        values.ndim == 2 and len(values) == len(ids),
        path,
        f"values are of the shape {values.shape} for {len(ids)} photo_ids",
    )
    found = Found(about, ids, values)
    if "prompts" in arrays:
        found.prompts = [str(one) for one in arrays["prompts"]]
        found.texts = np.asarray(arrays["prompt_values"], np.float32)
        demand(
            found.texts.ndim == 2 and len(found.texts) == len(found.prompts),
            path,
            f"prompt_values are of the shape {found.texts.shape} for "
            f"{len(found.prompts)} prompts",
        )
    return found


def _collected(
    tables: Sequence[pl.DataFrame], about: About, path: Path, texts: Path
) -> Found:
    rows = pl.concat(tables, how="diagonal_relaxed")
    bad = pl.DataFrame()
    if "status" in rows.columns:
        bad, rows = (
            rows.filter(pl.col("status") != "ok"),
            rows.filter(pl.col("status") == "ok"),
        )
    keys, values = _features(rows, "photo_id", path)
    found = Found(about, keys, values)
    if len(bad):
        reasons = bad["error"] if "error" in bad.columns else [None] * len(bad)
        found.errors = {
            photo: reason or "failed"
            for photo, reason in zip(bad["photo_id"], reasons, strict=True)
        }
    if texts.is_file():
        found.prompts, found.texts = _features(frame(read(texts)), "prompt", texts)
    return found


def _features(
    rows: pl.DataFrame, key: str, path: Path
) -> "tuple[list[str], NDArray[np.float32]]":
    missing = {key, "feature"} - set(rows.columns)
    demand(not missing, path, f"it has no column {', '.join(sorted(missing))}")
    if not len(rows):
        return [], np.zeros((0, 0), np.float32)
    feature = rows["feature"].cast(pl.List(pl.Float32))
    widths = feature.list.len().unique().to_list()
    demand(
        len(widths) == 1 and None not in widths and not rows[key].null_count(),
        path,
        f"a row has no {key} or feature, or features differ in length: {widths[:5]}",
    )
    values = feature.explode().to_numpy().reshape(-1, widths[0])
    return rows[key].cast(pl.String).to_list(), values


def _about(said: bytes | None, beside: Path, path: Path) -> About:
    """The model's description, from the file itself or from beside it."""
    if said is None and beside.is_file():
        said = beside.read_bytes()
    if said is None:
        message = (
            f"{path} does not say what made its values: describe the model in {beside} "
            'as in {"kind": "classifier", "name": "timm:resnet50"}'
        )
        raise InputError(message)
    known = json.loads(said)
    names = {item.name for item in fields(About)}
    for key in known:
        demand(key in names, path, f"unknown key {key!r}; {nearest(key, names)}")
    for key in ("kind", "name"):
        demand(key in known, path, f"the model's description lacks {key!r}")
    kinds, links = ("zero_shot", "classifier"), ("softmax", "sigmoid")
    demand(known["kind"] in kinds, path, f"kind is none of {', '.join(kinds)}")
    demand(known.get("link", "softmax") in links, path, "link is unknown")
    if "spec" in known:
        known["spec"] = PixelSpec(**known["spec"])
    return About(**known)


def demand(met: bool, path: Path, reason: str) -> None:
    """Raise an InputError that names the file, unless a condition is met."""
    if not met:
        message = f"{path}: {reason}"
        raise InputError(message)
