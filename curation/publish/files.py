"""Files of a release: their hashes, and which of them a loader reads."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import metadata_load

from curation.errors import InputError
from curation.hub import Blob
from curation.release.write import CHECKSUMS

_IN_GIT = 64 * 2**20  # bytes; what the Hub keeps in git itself is far smaller


@dataclass(frozen=True, slots=True)
class File:
    """A file of the release: where it is, its size in bytes and its hashes."""

    path: Path
    size: int
    sha256: str
    git: str

    def same(self, blob: Blob | None) -> bool:
        """Whether the Hub holds these very bytes."""
        if blob is None:
            return False
        return self.sha256 == blob.sha256 if blob.sha256 else self.git == blob.git


def release_files(folder: Path) -> dict[str, File]:
    """Every file of a release, with the hashes its checksums state.

    Raises:
        InputError: there is no release.
    """
    listing = folder / CHECKSUMS
    if not listing.is_file():
        message = f"{folder}: no release there; `counterset run` writes one"
        raise InputError(message)
    stated = listed(listing.read_bytes())
    stated[CHECKSUMS] = hashlib.sha256(listing.read_bytes()).hexdigest()
    return {
        name: _file(folder / name, sha256)
        for name, sha256 in sorted(stated.items())
        if (folder / name).is_file()
    }


def listed(checksums: bytes) -> dict[str, str]:
    """sha256 by path, of lines as `sha256sum` writes them."""
    lines = checksums.decode(errors="replace").splitlines()
    fits = (re.fullmatch(r"([0-9a-f]{64})  (.+)", line) for line in lines)
    return {found[2]: found[1] for found in fits if found}


def _file(path: Path, sha256: str) -> File:
    size = path.stat().st_size
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    # files kept in git are small: a large one is known by its sha256
    if size <= _IN_GIT:
        digest.update(path.read_bytes())
        return File(path, size, sha256, digest.hexdigest())
    return File(path, size, sha256, "")


def patterns(folder: Path) -> list[str]:
    """Globs of the files that a release's configurations read."""
    return [glob for _, _, globs in configurations(folder) for glob in globs]


def configurations(folder: Path) -> list[tuple[str, str, list[str]]]:
    """Configuration, split and globs of its files, as the card's metadata say."""
    try:
        front: Any = metadata_load(folder / "README.md")
    except (OSError, ValueError):
        front = None
    result = []
    for config in (front or {}).get("configs") or ():
        for data in config.get("data_files") or ():
            path = data["path"]
            globs = list(path) if isinstance(path, list) else [path]
            result.append((config["config_name"], data["split"], globs))
    return result
