"""A release as WebDataset tars, in the layout clip-benchmark reads.

<out>/common/0.tar, 1.tar, …, nshards.txt      one split per group; counter likewise
<out>/classnames.txt                           one a line; tars hold a line's place
<out>/zeroshot_classification_templates.txt, dataset_type.txt
<out>/LICENSES.csv

    clip_benchmark eval --dataset wds/<any name> --dataset_root <out> --split common …

A tar has `<photo_id>.jpg` (png, webp) and `<photo_id>.cls` of each photo.
"""

import io
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from curation.errors import ConfigError, InputError, WorkFolderError, nearest
from curation.release import swap
from curation.release.contents import SPLITS
from curation.release.folders import rows, shards_of
from curation.release.write import LICENCES
from evaluation import images, prompts
from evaluation.examples import open_examples
from evaluation.label_spaces import ClassInfo, LabelSpace, label_space

LABEL_SPACES = ("dataset", "imagenet")
SHARD_BYTES = 300_000_000
"""A tar ends before its photos exceed this many bytes."""
_AT_LEAST = 4
# clip-benchmark reads with four workers unless told otherwise; one that gets no tar
# ends the run ("No samples found in dataset")
_READ = {".jpg": "jpg", ".png": "png", ".webp": "webp"}
_PILLOW = 80_000_000  # pixels; Pillow's own `open` warns of a little more
_ANY_SIZE = 2**62  # the release was let in with limits of its own


@dataclass(frozen=True, slots=True)
class Tars:
    """What was written.

    Attributes:
        photos: in both splits.
        shards: tars of each split.
        rewritten: photos written as PNG, because what reads the tars would not see
            them as they are displayed: turned by EXIF, see-through, or BMP.
    """

    photos: int
    shards: dict[str, int]
    rewritten: int


def export_webdataset(
    release: Path,
    out: Path,
    *,
    labels: str = "dataset",
    shard_bytes: int = SHARD_BYTES,
) -> Tars:
    """Write the tars; equal releases give equal bytes.

    Class names and places are those of `evaluation.label_spaces`, the template is the
    paper's, so that clip-benchmark's accuracy is that of `counterset evaluate`.

    Args:
        release: a release folder.
        out: where to; it must not hold anything yet. It appears when complete.
        labels: "dataset" (a model chooses among the release's classes) or "imagenet"
            (among all 1,000; a photo's number is its ImageNet index).
        shard_bytes: photos in one tar, bytes.

    Returns: what was written.

    Raises:
        InputError: no release there, `out` holds files already, or a class has no
            ImageNet index and `labels` is "imagenet".
        ConfigError: another label space.
        WorkFolderError: `out` cannot be written.
    """
    if labels not in LABEL_SPACES:
        hint = nearest(labels, LABEL_SPACES)
        message = f"label space {labels!r}: tars have one of their own two; {hint}"
        raise ConfigError(message)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        message = f"{out} is not empty; name a folder that is not there yet"
        raise InputError(message)
    shards = {side: shards_of(release, side) for side in SPLITS}
    space, place = _classes(release, labels)
    new, written, rewritten, photos = swap.partial(out), {}, 0, 0
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        swap.settle(out)
        new.mkdir()
        for side, paths in shards.items():
            many = _many(paths, shard_bytes)
            with closing(_Writer(new / side, many, shard_bytes)) as tars:
                for row in rows(paths):
                    rewritten += tars.add(row, place[row["class"]])
            written[side] = tars.count
            photos += tars.photos
        _texts(new, space)
        shutil.copyfile(release / LICENCES, new / LICENCES)
        swap.replace(out)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        message = f"{out}: cannot be written ({error.strerror or error})"
        raise WorkFolderError(message) from error
    return Tars(photos, written, rewritten)


def _classes(release: Path, labels: str) -> tuple[LabelSpace, Mapping[str, int]]:
    """The classes that names are written of, and the place of each of the release's."""
    classes = open_examples(str(release)).classes
    outside = [item.name for item in classes if item.imagenet_index is None]
    if labels == "imagenet":
        classes = _of_imagenet(release, classes, outside)
    space = label_space(labels, classes)
    names = [item.name for item in classes]
    return space, dict(zip(names, space.places(classes), strict=True))


def _of_imagenet(
    release: Path, classes: Sequence[ClassInfo], outside: Sequence[str]
) -> tuple[ClassInfo, ...]:
    """Classes of ImageNet; others may be in the list, but not have photos."""
    shards = [path for side in SPLITS for path in shards_of(release, side)]
    shown = {row["class"] for row in rows(shards, ["label", "group"])}
    if lost := sorted(shown & set(outside)):
        message = (
            f"class {', '.join(repr(name) for name in lost[:5])} has no ImageNet "
            "index, so it is none of the 1,000; state classes.imagenet_index, or "
            "write tars with --label-space dataset"
        )
        raise InputError(message)
    return tuple(item for item in classes if item.imagenet_index is not None)


def _many(paths: Sequence[Path], limit: int) -> list[int]:
    """Photos in each tar, so that tars are of about one size."""
    photos = sum(pq.read_metadata(path).num_rows for path in paths)
    size = sum(path.stat().st_size for path in paths)
    count = max(min(_AT_LEAST, photos), -(-size // limit))
    ends = [photos * number // count for number in range(count + 1)]
    return [stop - start for start, stop in zip(ends, ends[1:], strict=False)]


class _Writer:
    """Tars of one split, one after the other.

    Args:
        folder: made here.
        many: photos in each tar.
        limit: bytes of photos in a tar; it holds before `many` does.
    """

    def __init__(self, folder: Path, many: Sequence[int], limit: int) -> None:
        folder.mkdir()
        self._folder, self._many, self._limit = folder, iter(many), limit
        self._tar: tarfile.TarFile | None = None
        self._left = self._bytes = 0
        self.count = self.photos = 0

    def add(self, row: Mapping[str, Any], label: int) -> bool:
        """Write a photo; whether it had to become another file."""
        data, suffix = row["image"]["bytes"], Path(row["image"]["path"]).suffix
        ending = _READ.get(suffix)
        changed = ending is None or not _as_displayed(data)
        if changed:
            ending, file = "png", io.BytesIO()
            images.decode(data, max_pixels=_ANY_SIZE).save(file, "PNG")
            data = file.getvalue()
        tar = self._open(len(data))
        _put(tar, f"{row['photo_id']}.{ending}", data)
        _put(tar, f"{row['photo_id']}.cls", str(label).encode())
        self._left -= 1
        self._bytes += len(data)
        self.photos += 1
        return changed

    def close(self) -> None:
        """Finish, and say how many tars there are."""
        if self._tar is not None:
            self._tar.close()
            self._tar = None
        (self._folder / "nshards.txt").write_text(f"{self.count}\n")

    def _open(self, size: int) -> tarfile.TarFile:
        full = self._bytes and self._bytes + size > self._limit
        if self._tar is None or not self._left or full:
            if self._tar is not None:
                self._tar.close()
            path = self._folder / f"{self.count}.tar"
            self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
            if not self._left:
                self._left = next(self._many)
            self._bytes = 0
            self.count += 1
        return self._tar


def _put(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)  # time, owner and group are 0
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _as_displayed(data: bytes) -> bool:
    """Whether a reader that knows nothing of EXIF and transparency sees the photo."""
    header = images.sniff(data, max_pixels=_ANY_SIZE)
    if header.orientation != 1:
        return False
    if header.format == "JPEG" and header.mode in ("RGB", "L"):
        return True
    if header.width * header.height > _PILLOW:
        return False
    with Image.open(io.BytesIO(data)) as image:
        seen = image.convert("RGB").tobytes()
    return bool(seen == images.decode(data, max_pixels=_ANY_SIZE).tobytes())


def _texts(folder: Path, space: LabelSpace) -> None:
    """What models choose among, and how they are asked."""
    template = prompts.prompt_set("paper").templates[0].replace("{}", "{c}")
    contents = {
        "classnames.txt": _lines(column.words[0][0] for column in space.columns),
        "zeroshot_classification_templates.txt": f"{template}\n",
        "dataset_type.txt": "classification\n",
    }
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def _lines(names: Iterator[str]) -> str:
    """One name a line, whatever is in it."""
    return "".join(f"{' '.join(name.split())}\n" for name in names)
