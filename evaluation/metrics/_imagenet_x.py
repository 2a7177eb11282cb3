"""Reads ImageNet-X's annotations from where the user has them; copies nothing."""

import csv
import functools
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evaluation.errors import ConfigError, InputError, MetricError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Mode = Literal["top", "multi"]

FACTORS = (
    "pose", "background", "pattern", "color", "smaller", "shape", "partial_view",
    "subcategory", "texture", "larger", "darker", "object_blocking", "person_blocking",
    "style", "brighter", "multiple_objects",
)  # fmt: skip
"""In order of how often they are a photo's top factor."""

METACLASSES = frozenset({
    "device", "dog", "commodity", "bird", "structure", "covering", "wheeled_vehicle",
    "food", "equipment", "insect", "vehicle", "furniture", "primate", "vessel", "snake",
    "natural_object",
})  # fmt: skip
"""Those ImageNet-X keeps apart; the rest are one, "other"."""

PROTOTYPES = "prototypical_paths.csv"
GROUPS = "imagenet_1k_classes_to_100_metaclasses.csv"
REAL = "imagenet_real_labels.jsonl"

_HOW = (
    "pip install --no-deps imagenet-x, or pip download --no-deps imagenet-x and name "
    "the wheel (CC BY-NC 4.0: not for commercial use)"
)

_Read = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Annotations:
    """ImageNet-X's annotations of validation photos.

    Attributes:
        source: file and digest they are from, and whether prototypes are left out.
        mode: "top": each photo's one strongest factor; "multi": all of them.
        names: (N,) file names of the photos.
        classes: (N,) ImageNet indices.
        factors: (N, 16) bool, columns as `FACTORS`.
        metaclasses: (1000,) metaclass of each class; None where the file is not there.
        real: (N,) classes that people saw in each photo, "ReaL"; None likewise.
    """

    source: str
    mode: Mode
    names: tuple[str, ...]
    classes: "NDArray[np.int64]"
    factors: "NDArray[np.bool_]"
    metaclasses: tuple[str, ...] | None = None
    real: tuple[frozenset[int], ...] | None = None

    def rows(self, names: Sequence[str]) -> "NDArray[np.int64]":
        """(P,) rows of photos by file name; -1 where a photo has no annotation.

        Folders before the name, and what follows the number in ImageNet's own names
        ("ILSVRC2012_val_00000293_n01440764.JPEG"), do not matter.
        """
        place = _places(self.names)
        return np.array([place.get(_key(name), -1) for name in names], np.int64)


def annotations(
    path: Path | None = None, *, mode: Mode = "top", keep_prototypes: bool = False
) -> Annotations:
    """ImageNet-X's annotations.

    Args:
        path: a .jsonl file of them, the folder or wheel of the package imagenet-x;
            without it, the installed package, which is not imported.
        mode: "top": each photo's one strongest factor; "multi": all of them.
        keep_prototypes: also the photos that others of their class were compared with.

    Raises:
        InputError: not to be found, damaged, or a file of the other mode.
        ConfigError: unknown mode.

    Source: Idrissi et al. 2022; prototypes are left out as in the package's own tables.
    """
    if mode not in ("top", "multi"):
        message = f"mode is top or multi, not {mode!r}"
        raise ConfigError(message)
    name = f"imagenet_x_val_{mode}_factor.jsonl"
    if path is not None and path.suffix.lower() in (".jsonl", ".json"):
        read, name, where = _folder(path.parent), path.name, str(path)
    else:
        read, where = _opened(path, name)
    data = read(name)
    if data is None:
        message = f"no file {where}; ImageNet-X's annotations: {_HOW}"
        raise InputError(message)
    names, classes, factors = _parsed(data, where, mode)
    keep: NDArray[np.bool_] = np.ones(len(names), bool)
    if not keep_prototypes:
        keep = ~np.isin(names, _prototypes(read, where))
    digest = hashlib.sha256(data).hexdigest()[:12]
    kept = "with" if keep_prototypes else "without"
    chosen = tuple(names[row] for row in np.flatnonzero(keep))
    return Annotations(
        source=f"{_called(path)}{name}, sha256 {digest}, {kept} prototypes",
        mode=mode,
        names=chosen,
        classes=classes[keep],
        factors=factors[keep],
        metaclasses=_metaclasses(read),
        real=_real(read, chosen),
    )


def right(
    names: Sequence[str],
    predicted: Sequence[int],
    *,
    found: Annotations,
    kind: str,
) -> "NDArray[np.bool_]":
    """(P,) whether predictions are right for a kind of error; False without annotation.

    Args:
        names: (P,) file names.
        predicted: (P,) ImageNet indices.
        found: the annotations.
        kind: "class"; "metaclass": any class of the right one's metaclass;
            "real_class": any class people saw in the photo.

    Raises:
        MetricError: unknown kind, lengths differ, or an index outside 0 to 999.
        InputError: the kind needs a file that is not beside the annotations.
    """
    rows = found.rows(names)
    answers = np.asarray(predicted, np.int64)
    if answers.shape != rows.shape:
        message = f"{len(rows)} names and {len(answers)} predictions"
        raise MetricError(message)
    if len(answers) and not (answers.min() >= 0 and answers.max() < 1000):
        message = "predictions are ImageNet indices, 0 to 999"
        raise MetricError(message)
    known: NDArray[np.bool_] = rows >= 0
    good: NDArray[np.bool_]
    if kind == "class":
        good = np.equal(answers, found.classes[rows])
    elif kind == "metaclass":
        if found.metaclasses is None:
            message = f"metaclasses need {GROUPS} beside the annotations"
            raise InputError(message)
        group = np.unique(found.metaclasses, return_inverse=True)[1]
        good = np.equal(group[answers], group[found.classes[rows]])
    elif kind == "real_class":
        if found.real is None:
            message = f"real_class needs {REAL} beside the annotations"
            raise InputError(message)
        good = np.array(
            [int(a) in found.real[row] for a, row in zip(answers, rows, strict=True)],
            bool,
        )
    else:
        message = f"kinds of error are class, metaclass and real_class, not {kind!r}"
        raise MetricError(message)
    result: NDArray[np.bool_] = good & known
    return result


_VAL = re.compile(r"ILSVRC2012_val_\d{8}", re.IGNORECASE)


def _key(name: str) -> str:
    last = name[max(name.rfind("/"), name.rfind("\\")) + 1 :]
    found = _VAL.match(last)
    return found[0].upper() if found else last


@functools.lru_cache(maxsize=4)
def _places(names: tuple[str, ...]) -> dict[str, int]:
    return {_key(name): row for row, name in enumerate(names)}


def _folder(folder: Path) -> _Read:
    def read(name: str) -> bytes | None:
        file = folder / name
        try:
            return file.read_bytes() if file.is_file() else None
        except OSError as error:
            message = f"cannot read {file}: {error.strerror or error}"
            raise InputError(message) from error

    return read


def _wheel(path: Path) -> _Read:
    def read(name: str) -> bytes | None:
        try:
            with zipfile.ZipFile(path) as archive:
                inside = f"imagenet_x/annotations/{name}"
                known = inside in archive.namelist()
                return archive.read(inside) if known else None
        except (OSError, zipfile.BadZipFile) as error:
            message = f"cannot read {path}: {error}"
            raise InputError(message) from error

    return read


def _opened(path: Path | None, name: str) -> tuple[_Read, str]:
    """What reads the files, and where the annotations are looked for."""
    if path is None:
        spec = importlib.util.find_spec("imagenet_x")
        if spec is None or spec.origin is None:
            message = f"the package imagenet-x is not installed: {_HOW}"
            raise InputError(message)
        path = Path(spec.origin).parent
    if path.suffix.lower() in (".whl", ".zip"):
        if not path.is_file():
            message = f"no file {path}; ImageNet-X's annotations: {_HOW}"
            raise InputError(message)
        return _wheel(path), f"{name} in {path}"
    tried = [path, path / "annotations", path / "imagenet_x" / "annotations"]
    folder = next((one for one in tried if (one / name).is_file()), path)
    return _folder(folder), str(folder / name)


def _called(path: Path | None) -> str:
    if path is not None:
        return ""
    try:
        return f"imagenet-x {importlib.metadata.version('imagenet-x')}: "
    except importlib.metadata.PackageNotFoundError:
        return "imagenet-x: "


def _parsed(
    data: bytes, where: str, mode: Mode
) -> tuple[list[str], "NDArray[np.int64]", "NDArray[np.bool_]"]:
    names: list[str] = []
    classes: list[int] = []
    factors: list[list[bool]] = []
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row: dict[str, Any] = json.loads(line)
            names.append(str(row["file_name"]))
            classes.append(int(row["class"]))
            factors.append([_yes(row[factor]) for factor in FACTORS])
        except (ValueError, KeyError, TypeError) as error:
            message = (
                f"{where}, line {number}: not an annotation of ImageNet-X ({error!r}): "
                "file_name, class and 16 factors of 0 or 1 are wanted"
            )
            raise InputError(message) from error
        if mode == "top" and sum(factors[-1]) > 1:
            message = (
                f"{where}, line {number}: {names[-1]} has more than one factor; this "
                "is a file for mode multi"
            )
            raise InputError(message)
    if not names:
        message = f"{where} has no annotations"
        raise InputError(message)
    if len({_key(name) for name in names}) < len(names):
        message = f"{where} has a photo twice"
        raise InputError(message)
    return names, np.array(classes, np.int64), np.array(factors, bool)


def _yes(value: object) -> bool:
    if value not in (0, 1):
        message = f"{value!r} is neither 0 nor 1"
        raise ValueError(message)
    return bool(value)


def _prototypes(read: _Read, where: str) -> list[str]:
    data = read(PROTOTYPES)
    if data is None:
        message = (
            f"no {PROTOTYPES} beside {where}: photos that others were compared with "
            "are left out by default; put it there or keep them"
        )
        raise InputError(message)
    return [row[0] for row in csv.reader(io.StringIO(data.decode("utf-8"))) if row][1:]


def _metaclasses(read: _Read) -> tuple[str, ...] | None:
    data = read(GROUPS)
    if data is None:
        return None
    rows = csv.DictReader(io.StringIO(data.decode("utf-8")))
    return tuple(row["name"] if row["name"] in METACLASSES else "other" for row in rows)


def _real(read: _Read, names: tuple[str, ...]) -> tuple[frozenset[int], ...] | None:
    data = read(REAL)
    if data is None:
        return None
    labels: list[list[int]] = json.loads(data)
    numbers = [re.search(r"_val_(\d{8})", name) for name in names]
    return tuple(
        frozenset(labels[int(found[1]) - 1]) if found else frozenset()
        for found in numbers
    )
