"""A release as folders of photos, in the layout CounterAnimal was published in."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from curation.errors import InputError, WorkFolderError
from curation.release import swap
from curation.release.columns import class_names
from curation.release.contents import SPLITS
from curation.release.write import LICENCES

_PHOTOS_AT_ONCE = 16
_COLUMNS = ("image", "label", "imagenet_index", "group", "background", "photo_id")


def export_folders(release: Path, out: Path, *, index: bool = False) -> int:
    """Write `<class>/common-<background>/<photo_id[:16]>.<ext>` and LICENSES.csv.

    Args:
        release: a release folder.
        out: where to; it must not hold anything yet. It appears when complete.
        index: put the ImageNet index and a space before the class's name, as the
            published CounterAnimal folders have; classes without one stay as they are.

    Returns: photos written.

    Raises:
        InputError: no release there, or `out` holds files already.
        WorkFolderError: `out` cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        message = f"{out} is not empty; name a folder that is not there yet"
        raise InputError(message)
    shards = [path for side in SPLITS for path in shards_of(release, side)]
    new, count = swap.partial(out), 0
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        swap.settle(out)
        new.mkdir()
        for row in rows(shards):
            _write(new / place_of(row, index=index), row)
            count += 1
        shutil.copyfile(release / LICENCES, new / LICENCES)
        swap.replace(out)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        message = f"{out}: cannot be written ({error.strerror or error})"
        raise WorkFolderError(message) from error
    return count


def shards_of(release: Path, side: str) -> list[Path]:
    """Parquet files of a group's photos, in their order.

    Raises:
        InputError: no release there.
    """
    found = sorted((release / "data").glob(f"{side}-*.parquet"))
    if not found:
        message = f"{release}: no release there; `counterset release` writes one"
        raise InputError(message)
    return found


def rows(
    shards: Sequence[Path], columns: Sequence[str] = _COLUMNS
) -> Iterator[dict[str, Any]]:
    """Rows of a release's photos, with the group's name and `class`, the label's.

    Args:
        shards: Parquet files of one release or more.
        columns: those read, `label` and `group` among them.

    Raises:
        InputError: a file is not a release's.
    """
    for path in shards:
        with pq.ParquetFile(path) as file:
            names = class_names(file.schema_arrow, "label")
            groups = class_names(file.schema_arrow, "group")
            for batch in file.iter_batches(_PHOTOS_AT_ONCE, columns=list(columns)):
                for row in batch.to_pylist():
                    named = {"class": names[row["label"]]}
                    yield row | named | {"group": groups[row["group"]]}


def place_of(row: Mapping[str, Any], *, index: bool) -> Path:
    """Folder of a photo, inside any folder whatever its class is called.

    Args:
        row: has class, background, group and, maybe, imagenet_index.
        index: put the ImageNet index before the class's name, where there is one.

    Example:
        >>> row = {"class": "ostrich", "background": "water", "group": "counter"}
        >>> place_of(row | {"imagenet_index": 9}, index=True).as_posix()
        '9 ostrich/counter-water'
    """
    name = row["class"]
    if index and row.get("imagenet_index") not in (None, ""):
        name = f"{row['imagenet_index']} {name}"
    return Path(_safe(name)) / _safe(f"{row['group']}-{row['background']}")


def _safe(name: str) -> str:
    """A name that stays inside its folder, whatever wrote the release."""
    return re.sub(r"[/\\\x00-\x1f]", "_", name).lstrip(".") or "_"


def _write(folder: Path, row: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    suffix = Path(row["image"]["path"]).suffix
    path = folder / _safe(f"{row['photo_id'][:16]}{suffix}")
    if path.exists():  # two photos whose ids start alike
        path = folder / _safe(f"{row['photo_id']}{suffix}")
    path.write_bytes(row["image"]["bytes"])
