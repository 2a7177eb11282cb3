"""Write a release folder: shards, card, licences, provenance, checksums."""

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from curation import licences
from curation.config import Dataset
from curation.errors import InputError, WorkFolderError
from curation.release import changelog, contents, documents, manifest, swap, versions
from curation.release.contents import SPLITS, Contents, frame
from curation.release.facts import Facts, collect
from curation.release.pairs import write_pairs
from curation.release.portable import portable
from curation.release.shards import Split, write_split
from curation.schemas import GROUPS, empty

CHECKSUMS, LICENCES, PROVENANCE = "checksums.sha256", "LICENSES.csv", "provenance.json"
TAKEDOWNS = "takedowns.csv"
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
    past: Sequence[versions.Published] = (),
    history: str = "",
) -> Facts:
    """Write the release that `datasets.load_dataset(folder)` opens.

    The folder is built beside its place and put there when complete: whoever looks, and
    whenever the process ends, finds the old release or the new one, whole. Equal inputs
    give equal bytes. Memory holds one row group (at most 100 photos, 64 MiB) at a time.

    Args:
        folder: the release's place; an older release there is replaced.
        config: the dataset's configuration.
        tables: at least candidates, photos and groups; whatever else there is of
            duplicates, leaks, proposals, labels, evidence and takedowns fills columns,
            card and takedowns.csv.
        read: bytes of a photo, as fetched, by its photo_id.
        provenance: what made the tables: recipes, versions, models; free of times and
            machine paths. Under key `agreement`, rows with question, alpha and ci
            are shown in the card.
        text: the dataset's own section of the card, in Markdown.
        past: releases published before this one, oldest first; CHANGELOG.md tells
            the differences.
        history: the CHANGELOG.md so far; its words and older sections are kept.

    Returns: what was written, as counted.

    Raises:
        InputError: nothing to publish (it says what to do), a photo cannot be read, or
            the folder holds something that is not a release.
        WorkFolderError: the folder cannot be written.
    """
    _ours(folder)
    chosen = contents.select(config, tables)
    changes = changelog.render(
        config.dataset.version,
        manifest.parse(manifest.render(chosen.every), name=manifest.NAME),
        past=past,
        history=history,
    )
    new = swap.partial(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        swap.settle(folder)
        facts = _fill(new, chosen, config, tables, read, provenance, text, changes)
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
    changes: str,
) -> Facts:
    """Write every file; each is a line here, the checksums last."""
    for name in ("data", "pairs"):
        (folder / name).mkdir(parents=True)
    splits = {}
    for name in GROUPS:
        rows = chosen.every.filter(group=name)
        splits[name] = write_split(
            folder / "data", name, rows, config=config, read=read
        )
    facts = collect(config, chosen, tables, splits)
    pairs = write_pairs(
        folder / "pairs/test-00000-of-00001.parquet", facts, chosen.rows,
        classes=[c.name for c in config.classes],
    )  # fmt: skip
    _write_licences(folder / LICENCES, chosen, splits)
    _write_text(folder / manifest.NAME, manifest.render(chosen.every))
    _write_text(folder / TAKEDOWNS, _takedowns(tables))
    _write_text(folder / changelog.NAME, changes)
    made_by = config.model_dump(mode="json", exclude=set(_NOT_MADE_BY))
    record = portable({**provenance, "config": made_by})
    _write_text(folder / PROVENANCE, _json(record))
    documents.write(
        folder, facts, chosen=chosen, config=config, tables=tables, read=read,
        provenance=provenance, text=text, splits=splits, pairs=pairs,
        sizes=_sizes(folder),
    )  # fmt: skip
    _write_checksums(folder)
    return facts


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes on disk of each config's files."""
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*.parquet")
    }
    return {
        config: sum(size for name, size in sizes.items() if name.startswith(starts))
        for config, starts in (
            ("default", tuple(f"data/{side}-" for side in SPLITS)),
            ("all", ("data/",)),
            ("pairs", ("pairs/",)),
        )
    }


def _write_licences(path: Path, chosen: Contents, splits: Mapping[str, Split]) -> None:
    rewritten = frozenset().union(*(split.rewritten for split in splits.values()))
    columns = ("photo_id", "licence", "author", "source_url", "title")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, "changes", "licence_url", "note"])
        for row in chosen.every.iter_rows(named=True):
            changes = "metadata removed" if row["photo_id"] in rewritten else ""
            writer.writerow(
                [
                    *(row[name] for name in columns),
                    changes,
                    licences.url(row["licence"]),
                    row["note"],
                ]
            )


def _takedowns(tables: Mapping[str, pa.Table]) -> str:
    """Every photo ever taken down, and the day; nothing else of it."""
    log = frame({"takedowns": tables.get("takedowns", empty("takedowns"))}, "takedowns")
    first = log.group_by("photo_id").agg(pl.col("at").min().str.head(len("2026-01-31")))
    rows = first.sort("at", "photo_id").iter_rows()
    return "photo_id,date\n" + "".join(f"{photo},{day}\n" for photo, day in rows)


def _write_checksums(folder: Path) -> None:
    """List every other file with its sha256."""
    names = [name for name in _files(folder) if name != CHECKSUMS]
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in names]
    _write_text(folder / CHECKSUMS, "".join(lines))


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
