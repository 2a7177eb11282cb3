"""Load what was published in a fresh process, and compare it with what was sent."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import HubError
from curation.hub import Hub
from curation.publish.files import configurations
from curation.publish.loaded import columns, line

ATTEMPTS = 3
_CACHES = ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_XET_CACHE", "HUGGINGFACE_HUB_CACHE")


def compare(folder: Path, repo: str, revision: str, *, hub: Hub) -> int:
    """Compare every photo_id, label, background and group, and every other row.

    The process starts with an empty cache in the system's folder for temporary files,
    which needs about twice the dataset's size there, and is deleted afterwards.

    Args:
        folder: the release.
        repo: ORG/NAME.
        revision: the tag.
        hub: where it was published.

    Returns: rows compared.

    Raises:
        HubError: it cannot be loaded, or a row is not as it was sent.
    """
    with tempfile.TemporaryDirectory(prefix="counterset-published-") as place:
        out = Path(place) / "rows.jsonl"
        _load(repo, revision, out, hub=hub)
        with out.open(encoding="utf-8") as file:
            there = sorted(row.rstrip("\n") for row in file)
    here = sorted(rows(folder))
    if here == there:
        return len(here)
    missing, strange = _first(here, there), _first(there, here)
    told = [f"not there: {missing}"] if missing else []
    told += [f"not ours: {strange}"] if strange else []
    message = (
        f"{repo} at {revision} is not what was sent: {len(there):,} rows there, "
        f"{len(here):,} here; {'; '.join(told) or 'a row is there more often'}. "
        "Publish again under a higher version"
    )
    raise HubError(message, url=f"{hub.endpoint}/datasets/{repo}")


def rows(folder: Path) -> Iterator[str]:
    """The rows of a release folder, as the process writes those that it loads."""
    for config, split, globs in configurations(folder):
        for glob in globs:
            for path in sorted(folder.glob(glob)):
                for row in _read(path):
                    yield line(config, split, row)


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        names = _classes(file.schema_arrow)
        wanted = columns(file.schema_arrow.names)
        for batch in file.iter_batches(1024, columns=wanted):
            for row in batch.to_pylist():
                for name in names.keys() & row.keys():
                    if row[name] is not None:
                        row[name] = names[name][row[name]]
                yield row


def _classes(schema: pa.Schema) -> Mapping[str, list[str]]:
    """Names of the ClassLabel columns, as the file itself states them."""
    info = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = info.get("info", {}).get("features", {})
    return {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }


def _load(repo: str, revision: str, out: Path, *, hub: Hub) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in _CACHES}
    environment |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(out.parent / "home")}
    if hub.token:
        environment["HF_TOKEN"] = hub.token
    command = [
        sys.executable,
        "-m",
        "curation.publish.loaded",
        repo,
        revision,
        str(out),
    ]
    said = ""
    for _ in range(ATTEMPTS):  # downloads that were finished are not repeated
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if not done.returncode:
            return
        lines = [text for text in done.stderr.splitlines() if text.strip()]
        said = lines[-1] if lines else f"exit code {done.returncode}"
    message = (
        f"{repo} was published as {revision}, but does not load back: "
        f"{hub.clean(said)}. Run the same command again to compare again"
    )
    raise HubError(message, url=f"{hub.endpoint}/datasets/{repo}")


def _first(some: list[str], others: list[str]) -> str:
    """The first row that the others lack."""
    lacking = set(some) - set(others)
    return min(lacking)[:300] if lacking else ""
