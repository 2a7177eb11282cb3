"""Checkpoints that are folders of files, on this machine or on the Hub."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from evaluation.errors import ConfigError, RemoteError, nearest
from evaluation.hub import head
from evaluation.models._weights import file_identity, short

_WANTED = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
_INDEX = "model.safetensors.index.json"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_SHA256 = re.compile("[0-9a-f]{64}")


def folder_of(rest: str, *, model: str, known: Iterable[str]) -> Path:
    """The folder that a name means: itself, or the Hub's, downloaded where it is not.

    Args:
        rest: a folder, or `<org>/<name>`, with `@<revision>` where one is wanted.
        model: full name of the model, for messages.
        known: repositories to propose when it is neither.

    Raises:
        ConfigError: neither a folder nor a repository's name.
        RemoteError: not at hand, and the Hub cannot be reached or does not have it.
    """
    from huggingface_hub import snapshot_download

    path = _local(rest, model=model, known=known)
    if path is not None:
        return path
    there = _cached(rest)
    if there is not None and _complete(there):
        return there
    repo, _, revision = rest.partition("@")
    what = f"weights of {model}"
    advice = (
        "give a folder with the model's files in the model's name, set HF_HOME to a "
        "folder that holds the weights, or HF_ENDPOINT to a mirror that can be reached"
    )
    at = f"{repo}/resolve/{revision or 'main'}/config.json"
    if head(at, needed_for=what, advice=advice) == 404:
        message = f"{what}: the Hub has no {at}; {advice}"
        raise RemoteError(message)
    try:
        return Path(
            snapshot_download(
                repo, revision=revision or None, allow_patterns=list(_WANTED)
            )
        )
    except Exception as error:  # the client's own kinds, and those below it
        message = f"{what}: the download failed ({short(error)}); {advice}"
        raise RemoteError(message) from error


def files_identity(rest: str, *, model: str, known: Iterable[str]) -> str:
    """What tells a folder's contents apart: its files' sha256, or the Hub's revision.

    Raises:
        ConfigError: neither a folder nor a repository's name.
    """
    path = _local(rest, model=model, known=known)
    if path is not None:
        return files_sha256(path)
    there = _cached(rest)
    return f"revision {there.name}" if there is not None else "not at hand"


def files_sha256(folder: Path) -> str:
    """Sha256 (hex) over names and contents of weights, settings and vocabulary.

    The Hub's cache names large files by their sha256, so these are not read.
    """
    sha = hashlib.sha256()
    files = {path for pattern in _WANTED for path in folder.glob(pattern)}
    for path in sorted(files):
        real = path.resolve()
        known = real.parent.name == "blobs" and _SHA256.fullmatch(real.name)
        found = f"sha256:{real.name}" if known else file_identity(path)
        sha.update(f"{path.name}={found}\n".encode())
    return sha.hexdigest()


def at_hand(rest: str) -> bool:
    """Whether all files of a repository are on this machine."""
    there = _cached(rest)
    return there is not None and _complete(there)


def _local(rest: str, *, model: str, known: Iterable[str]) -> Path | None:
    path = Path(rest).expanduser()
    if path.is_dir():
        return path
    if not _REPOSITORY.fullmatch(rest):
        message = (
            f"model {model!r}: {rest} is neither a folder nor a Hub id <org>/<name>; "
            f"{nearest(rest, known)}"
        )
        raise ConfigError(message)
    return None


def _cached(rest: str) -> Path | None:
    """A repository's folder in the Hub's cache, whole or not."""
    from huggingface_hub import try_to_load_from_cache

    repo, _, revision = rest.partition("@")
    found = try_to_load_from_cache(repo, "config.json", revision=revision or None)
    return Path(found).parent if isinstance(found, str) else None


def _complete(folder: Path) -> bool:
    """Whether a folder has all the weights that it says it has."""
    index = folder / _INDEX
    try:
        files = set(json.loads(index.read_text())["weight_map"].values())
    except (OSError, ValueError, KeyError):
        files = {"model.safetensors"}
    return all((folder / name).is_file() for name in files)
