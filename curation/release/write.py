"""Write a release folder: shards, card, licences, provenance, checksums."""

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa

from curation import licences
from curation.config import Dataset
from curation.errors import InputError, WorkFolderError
from curation.release import card, contents, swap
from curation.release.columns import arrow_schema, pair_columns
from curation.release.contents import SPLITS, Contents
from curation.release.facts import Cell, Facts, Interval, collect
from curation.release.portable import portable
from curation.release.shards import Split, as_arrow, open_parquet, write_split

CHECKSUMS, LICENCES, PROVENANCE = "checksums.sha256", "LICENSES.csv", "provenance.json"
# sections of the configuration that change nothing in a release
_NOT_MADE_BY = ("run", "http", "evaluate", "report")


def write(
    folder: Path,
    *,
    config: Dataset,
    tables: Mapping[str, pa.Table],
    read: Callable[[str], bytes],
    provenance: Mapping[str, object],
    text: str | None = None,
) -> Facts:
    """Write the release that `datasets.load_dataset(folder)` opens.

    The folder is built beside its place and put there when complete: whoever looks, and
    whenever the process ends, finds the old release or the new one, whole. Equal inputs
    give equal bytes. Memory holds one row group (at most 100 photos, 64 MiB) at a time.

    Args:
        folder: the release's place; an older release there is replaced.
        config: the dataset's configuration.
        tables: at least candidates, photos and groups; whatever else there is of
            duplicates, proposals, labels and evidence fills columns and card.
        read: bytes of a photo, as fetched, by its photo_id.
        provenance: what made the tables: recipes, versions, models; free of times and
            machine paths. Under key `agreement`, rows with question, alpha and ci
            are shown in the card.
        text: the dataset's own section of the card, in Markdown.

    Returns: what was written, as counted.

    Raises:
        InputError: nothing to publish (it says what to do), a photo cannot be read, or
            the folder holds something that is not a release.
        WorkFolderError: the folder cannot be written.
    """
    _ours(folder)
    chosen = contents.select(config, tables)
    new = swap.partial(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        swap.settle(folder)
        facts = _fill(new, chosen, config, tables, read, provenance, text)
        swap.replace(folder)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        message = f"{folder}: the release cannot be written ({error.strerror or error})"
        raise WorkFolderError(message) from error
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    return facts


def verify(folder: Path) -> list[str]:
    """Files of a release that are missing, altered or not listed; empty when sound.

    Raises:
        InputError: there is no release in the folder.
    """
    listing = folder / CHECKSUMS
    if not listing.is_file():
        message = f"{folder}: no {CHECKSUMS}, so no release"
        raise InputError(message)
    lines = listing.read_text(encoding="utf-8").splitlines()
    stated = {line[66:]: line[:64] for line in lines}
    there = set(_files(folder)) - {CHECKSUMS}
    wrong = there.symmetric_difference(stated)
    wrong |= {n for n in there & set(stated) if _sha256(folder / n) != stated[n]}
    return sorted(wrong)


def _ours(folder: Path) -> None:
    """Refuse to replace what may be someone's own files."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    parts = (CHECKSUMS, PROVENANCE, LICENCES, "README.md", "data", "pairs")
    if sum((folder / part).exists() for part in parts) < len(parts) // 2:
        message = f"{folder} is not a release, so it is not replaced; name another"
        raise InputError(message)


def _fill(
    folder: Path,
    chosen: Contents,
    config: Dataset,
    tables: Mapping[str, pa.Table],
    read: Callable[[str], bytes],
    provenance: Mapping[str, object],
    text: str | None,
) -> Facts:
    for name in ("data", "pairs"):
        (folder / name).mkdir(parents=True)
    splits = {}
    for name in SPLITS:
        rows = chosen.rows.filter(group=name)
        splits[name] = write_split(
            folder / "data", name, rows, config=config, read=read
        )
    facts = collect(config, chosen, tables, splits)
    pairs = _write_pairs(folder / "pairs/test-00000-of-00001.parquet", facts, config)
    _write_licences(folder / LICENCES, chosen, splits)
    made_by = config.model_dump(mode="json", exclude=set(_NOT_MADE_BY))
    record = portable({**provenance, "config": made_by})
    _write_text(folder / PROVENANCE, _json(record))
    sizes = {
        "default": sum(p.stat().st_size for p in (folder / "data").iterdir()),
        "pairs": sum(p.stat().st_size for p in (folder / "pairs").iterdir()),
    }
    agreement = provenance.get("agreement", ())
    readme = card.readme(
        facts, config=config, splits=splits, pairs=pairs, sizes=sizes, text=text,
        agreement=agreement if isinstance(agreement, list) else (),
    )  # fmt: skip
    _write_text(folder / "README.md", readme)
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in _files(folder)]
    _write_text(folder / CHECKSUMS, "".join(lines))
    return facts


def _write_pairs(path: Path, facts: Facts, config: Dataset) -> Split:
    names = [c.name for c in config.classes]
    schema = arrow_schema(pair_columns(names))
    rows = [
        {
            "label": names.index(pair.name),
            "imagenet_index": pair.imagenet_index,
            "common_background": ", ".join(c.background for c in pair.common),
            "counter_background": ", ".join(c.background for c in pair.counter),
            "n_common": pair.n_common,
            "n_counter": pair.n_counter,
            "common_accuracy": _only(pair.common),
            "counter_accuracy": _only(pair.counter),
            **_ends("naive", pair.naive),
            **_ends("cross", pair.cross),
            "p_value": pair.p_value,
            "q_value": pair.q_value,
        }
        for pair in facts.pairs
    ]
    table = as_arrow(pl.from_dicts(rows, infer_schema_length=None), schema)
    with open_parquet(path, schema) as writer:
        writer.write_table(table)
    return Split(table.num_rows, table.nbytes, frozenset())


def _only(cells: tuple[Cell, ...]) -> float | None:
    """Accuracy of a group that is one background."""
    return cells[0].accuracy if len(cells) == 1 else None


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    return {
        f"{name}_drop": interval.value if interval else None,
        f"{name}_low": interval.low if interval else None,
        f"{name}_high": interval.high if interval else None,
    }


def _write_licences(path: Path, chosen: Contents, splits: Mapping[str, Split]) -> None:
    rewritten = frozenset().union(*(split.rewritten for split in splits.values()))
    columns = ("photo_id", "licence", "author", "source_url", "title")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, "changes", "licence_url", "note"])
        for row in chosen.rows.iter_rows(named=True):
            changes = "metadata removed" if row["photo_id"] in rewritten else ""
            writer.writerow(
                [
                    *(row[name] for name in columns),
                    changes,
                    licences.url(row["licence"]),
                    row["note"],
                ]
            )


def _write_text(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8", newline="\n")


def _json(content: object) -> str:
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _files(folder: Path) -> list[str]:
    """Paths of all files, relative, with forward slashes, sorted."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
