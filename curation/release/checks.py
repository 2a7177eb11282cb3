"""Count a release's files again, and say where its card states something else."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import DatasetCard

from curation import licences
from curation.release import citation, croissant
from curation.release.columns import class_names
from curation.release.contents import SPLITS
from curation.release.text import cell, count, many, number
from curation.schemas import GROUPS

_READ = (
    "photo_id", "label", "imagenet_index", "background", "group", "licence", "composed",
)  # fmt: skip
_CELLS = re.compile(r"(?<!\\)\|")


def check(folder: Path) -> list[str]:
    """What the release's texts state that its Parquet files do not bear out.

    Compared are the metadata (files, rows and sizes of each split), every table of
    photos, the counts in the first lines, config pairs, LICENSES.csv, the sums in
    croissant.json, and the version where it is written.

    Args:
        folder: a release folder.

    Returns: one line per fault, what is stated and what is there; empty when all is
        true. Files that are missing or cannot be read are faults as well.
    """
    try:
        card = DatasetCard.load(folder / "README.md", ignore_metadata_errors=True)
        photos = _photos(folder)
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        return [f"{folder.name}: cannot be checked ({error})"]
    faults = [*_splits(folder, card.data.to_dict()), *_groups(photos)]
    if any(photos["split"].eq(side).sum() == 0 for side in SPLITS):
        return faults  # nothing is left to compare tables with
    return [
        *faults,
        *_tables(card.text, photos),
        *_sentences(card.text, photos),
        *_pairs(folder, photos),
        *_listed(folder, photos),
        *_versions(folder, card.text),
        *_sums(folder),
    ]


def _photos(folder: Path) -> pl.DataFrame:
    """Columns the card counts, of every photo, with the file's split and class."""
    parts = []
    for path in sorted((folder / "data").glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            names = class_names(file.schema_arrow, "label")
            part = pl.from_arrow(file.read(columns=list(_READ)))
        assert isinstance(part, pl.DataFrame)
        parts.append(
            part.with_columns(
                pl.lit(path.name.partition("-")[0]).alias("split"),
                pl.Series("class", [names[n] for n in part["label"]], pl.String),
                pl.Series("side", [GROUPS[n] for n in part["group"]], pl.String),
            )
        )
    if not parts:
        message = "there are no files data/*.parquet"
        raise ValueError(message)
    return pl.concat(parts)


def _splits(folder: Path, front: dict[str, Any]) -> Iterator[str]:
    """Rows and sizes that the metadata states, against the files it names."""
    infos = {info["config_name"]: info for info in front.get("dataset_info", ())}
    configs = {c["config_name"]: c["data_files"] for c in front.get("configs", ())}
    for name in sorted({"default", "all", "pairs"} - (infos.keys() & configs.keys())):
        yield f"README.md: config {name} is not described"
    for name in sorted(infos.keys() & configs.keys()):
        info, size = infos[name], 0
        stated = {split["name"]: split for split in info["splits"]}
        for entry in configs[name]:
            patterns = entry["path"]
            patterns = [patterns] if isinstance(patterns, str) else patterns
            files = [p for pattern in patterns for p in sorted(folder.glob(pattern))]
            rows = sum(pq.read_metadata(path).num_rows for path in files)
            size += sum(path.stat().st_size for path in files)
            told = stated.get(entry["split"], {}).get("num_examples")
            where = f"config {name}, split {entry['split']}"
            if not rows:
                yield f"{where} is empty"
            if told != rows:
                yield (
                    f"README.md: {where}: num_examples is {told}, the files have {rows}"
                )
        if info["download_size"] != size:
            yield (
                f"README.md: config {name}: download_size is {info['download_size']}, "
                f"the files have {size} bytes"
            )
        whole = sum(split["num_bytes"] for split in info["splits"])
        if info["dataset_size"] != whole:
            yield (
                f"README.md: config {name}: dataset_size is {info['dataset_size']}, "
                f"its splits state {whole} bytes"
            )


def _groups(photos: pl.DataFrame) -> Iterator[str]:
    wrong = photos.filter(pl.col("split") != pl.col("side"))
    for row in wrong.head(5).iter_rows(named=True):
        where = f"group {row['side']} is in split {row['split']}"
        yield f"photo {row['photo_id']} of {where}"
    for photo_id, times in Counter(photos["photo_id"].to_list()).most_common(5):
        if times > 1:
            yield f"photo {photo_id} is there {times} times"
    for photo_id in photos.filter(pl.col("licence").is_null())["photo_id"].head(5):
        yield f"photo {photo_id} has no licence"


def _tables(text: str, photos: pl.DataFrame) -> Iterator[str]:
    """Tables of photos in the card, against the same drawn anew."""
    grouped = photos.filter(pl.col("side").is_in(SPLITS))
    sides = Counter(grouped["side"].to_list())
    expected = {
        ("split", "photos"): [[side, count(sides[side])] for side in SPLITS],
        ("config", "split", "photos or rows"): [
            *(["`default`", side, count(sides[side])] for side in SPLITS),
            ["`all`", "photos", count(photos.height)],
            ["`pairs`", "test", count(grouped["label"].n_unique())],
        ],
        ("class", "ImageNet index", "common background"): _classes(grouped),
        ("background", "common", "counter"): _backgrounds(grouped),
        ("licence", "photos", "text"): _licences(photos),
    }
    for head, rows in expected.items():
        stated = _rows(text, head)
        if stated is None:
            yield f"README.md: the table of {head[0]} is missing"
            continue
        table, width = f"README.md, table of {head[0]}", len(rows[0])
        stated = [row[:width] for row in stated]
        for row in stated:
            if row not in rows:
                yield f"{table}: {_said(row)} is not what the files have"
        for row in rows:
            if row not in stated:
                yield f"{table}: the files have {_said(row)}"


def _classes(grouped: pl.DataFrame) -> list[list[str]]:
    found = []
    for (label,), mine in grouped.sort("label").group_by("label", maintain_order=True):
        row = [cell(mine["class"][0]), number(mine["imagenet_index"][0])]
        for side in SPLITS:
            theirs = mine.filter(side=side)
            names = sorted(set(theirs["background"]))
            row += [", ".join(map(cell, names)), count(theirs.height)]
        assert isinstance(label, int)
        found.append(row)
    return found


def _backgrounds(grouped: pl.DataFrame) -> list[list[str]]:
    pairs = Counter(zip(grouped["background"], grouped["side"], strict=True))
    return [
        [cell(name), *(count(pairs[name, side]) for side in SPLITS)]
        for name in sorted({name for name, _ in pairs})
    ]


def _licences(photos: pl.DataFrame) -> list[list[str]]:
    counts = Counter(photos["licence"].drop_nulls().to_list())
    return [[cell(n), count(k), licences.url(n) or "–"] for n, k in counts.items()]


def _rows(text: str, head: Sequence[str]) -> list[list[str]] | None:
    """Rows of the table whose header starts so; None when there is none."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("|") and _split(line)[: len(head)] == list(head):
            next(lines, "")  # the line under the header
            found = []
            for row in lines:
                if not row.startswith("|"):
                    break
                found.append(_split(row))
            return found
    return None


def _split(line: str) -> list[str]:
    return [part.strip() for part in _CELLS.split(line)[1:-1]]


def _said(row: Sequence[str]) -> str:
    return f"“{' | '.join(row)}”"


def _sentences(text: str, photos: pl.DataFrame) -> Iterator[str]:
    grouped = photos.filter(pl.col("side").is_in(SPLITS))
    classes = many(
        grouped["label"].n_unique(), "class of animals", "classes of animals"
    )
    wanted = [f"{many(grouped.height, 'photo')} of {classes} in two groups"]
    if composed := int(grouped["composed"].sum()):
        wanted.append(f"Composed photos: {count(composed)} of {count(grouped.height)}.")
    for sentence in wanted:
        if sentence not in text:
            yield f"README.md does not say what the files have: “{sentence}”"


def _pairs(folder: Path, photos: pl.DataFrame) -> Iterator[str]:
    """Counts in config pairs."""
    for path in sorted((folder / "pairs").glob("test-*.parquet")):
        names = class_names(pq.read_schema(path), "label")
        columns = ["label", *(f"n_{side}" for side in SPLITS)]
        for row in pq.read_table(path, columns=columns).to_pylist():
            for side in SPLITS:
                there = photos.filter(side=side, label=row["label"]).height
                if row[f"n_{side}"] != there:
                    yield (
                        f"config pairs, class {names[row['label']]}: n_{side} is "
                        f"{row[f'n_{side}']}, the files have {there}"
                    )


def _listed(folder: Path, photos: pl.DataFrame) -> Iterator[str]:
    """LICENSES.csv has every photo, under the licence its row has."""
    path = folder / "LICENSES.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            stated = {row["photo_id"]: row["licence"] for row in csv.DictReader(file)}
    except (OSError, KeyError, UnicodeDecodeError) as error:
        yield f"{path.name} cannot be read ({error})"
        return
    there = dict(photos.select("photo_id", "licence").iter_rows())
    for photo_id in sorted(stated.keys() | there.keys()):
        if stated.get(photo_id) != there.get(photo_id):
            yield (
                f"{path.name}: photo {photo_id} has {stated.get(photo_id)}, the files "
                f"have {there.get(photo_id)}"
            )


def _versions(folder: Path, text: str) -> Iterator[str]:
    """One version everywhere."""
    found: dict[str, str | None] = {}
    for name, pattern, content in (
        ("README.md", r"^- \*\*Version:\*\* (\S+)$", text),
        (citation.CFF, r"^version: '?([\d.]+)'?$", _content(folder / citation.CFF)),
        (croissant.NAME, r'^  "version": "([^"]+)"', _content(folder / croissant.NAME)),
    ):
        match = re.search(pattern, content, re.MULTILINE)
        found[name] = match[1] if match else None
    if len(set(found.values())) > 1 or None in found.values():
        told = ", ".join(f"{name} {version}" for name, version in found.items())
        yield f"the version is not the same everywhere: {told}"


def _sums(folder: Path) -> Iterator[str]:
    """Files and sums that croissant.json states."""
    try:
        stated = croissant.stated(json.loads(_content(folder / croissant.NAME)))
    except (ValueError, KeyError, TypeError) as error:
        yield f"{croissant.NAME} cannot be read ({error})"
        return
    there = croissant.files(folder)
    for name in sorted(stated.keys() | there):
        if name not in there:
            yield f"{croissant.NAME} lists {name}, which is not there"
        elif stated.get(name) != croissant.sha256(folder / name):
            yield f"{croissant.NAME}: the sum of {name} is not that of the file"


def _content(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
