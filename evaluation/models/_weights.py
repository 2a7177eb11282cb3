"""Weights: telling them apart, and finding them on disk or on the Hub."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from evaluation.errors import ConfigError, RemoteError
from evaluation.hub import head

if TYPE_CHECKING:
    import torch

SUFFIXES = frozenset({".bin", ".ckpt", ".npz", ".pt", ".pth", ".safetensors", ".tar"})
"""File names that end so are checkpoints, whether or not they exist."""


def digest(state: "Mapping[str, torch.Tensor]") -> str:
    """Sha256 (hex) over a state dict: names, dtypes, shapes and bytes, by name.

    The same for the same weights, whatever file they came in.
    """
    import torch

    sha = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        sha.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def looks_like_path(text: str) -> bool:
    """Whether a name means a checkpoint file or folder rather than a tag."""
    path = Path(text).expanduser()
    return os.sep in text or path.suffix in SUFFIXES or path.exists()


def checkpoint(text: str, *, model: str) -> Path:
    """The checkpoint file that a model's name gives.

    Raises:
        ConfigError: there is no such file.
    """
    path = Path(text).expanduser()
    if not path.is_file():
        message = f"model {model!r}: there is no checkpoint file {text}"
        raise ConfigError(message)
    return path


def file_identity(path: Path) -> str:
    """`sha256:<hex>` of a file's bytes; reads at disk speed and needs no torch.

    Read once in a process, unless its size or time of change say that it is another.
    """
    now = path.stat()
    return _hashed(path, now.st_size, now.st_mtime_ns)


@cache
def _hashed(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def short(error: Exception) -> str:
    """A library's message on one line, cut where it starts to list everything."""
    return " ".join(str(error).split())[:300]


def cached(repo: str, names: Iterable[str]) -> Path | None:
    """The first of a Hub repository's files that is already on this machine."""
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        found = try_to_load_from_cache(repo, name)
        if isinstance(found, str):
            return Path(found)
    return None


def from_hub(repo: str, names: Iterable[str], *, model: str) -> Path:
    """A file of a Hub repository: from the cache, else downloaded.

    Args:
        repo: `<org>/<name>`.
        names: file names, the preferred one first.
        model: full name of the model that needs it, for messages.

    Raises:
        RemoteError: not at hand, and the Hub cannot be reached or does not have it.
    """
    from huggingface_hub import hf_hub_download

    wanted = list(names)
    if found := cached(repo, wanted):
        return found
    what = f"weights of {model} ({repo})"
    advice = (
        "give a checkpoint file in the model's name, set HF_HOME to a folder that "
        "holds the weights, or HF_ENDPOINT to a mirror that can be reached"
    )
    for name in wanted:
        path = f"{repo}/resolve/main/{name}"
        if head(path, needed_for=what, advice=advice) == 404:
            continue
        try:
            return Path(hf_hub_download(repo, name))
        except Exception as error:  # the client's own kinds, and those below it
            message = f"{what}: the download failed ({short(error)}); {advice}"
            raise RemoteError(message) from error
    message = f"{what}: the repository has none of {', '.join(wanted)}; {advice}"
    raise RemoteError(message)


def reachable(url: str, *, needed_for: str, advice: str) -> None:
    """Ask once and briefly for a file that a library is about to download.

    Args:
        url: of the file.
        needed_for: what is missing, to begin the message with.
        advice: what would help, to end the message with.

    Raises:
        RemoteError: no connection, or no such file.
    """
    import requests

    host = urlsplit(url).netloc
    try:
        status = requests.head(url, timeout=(5, 10), allow_redirects=True).status_code
    except requests.RequestException as error:
        message = (
            f"{needed_for}: not on this machine, and {host} cannot be reached "
            f"({type(error).__name__}); {advice}"
        )
        raise RemoteError(message) from error
    if status >= 400:
        message = f"{needed_for}: {url} answered {status}; {advice}"
        raise RemoteError(message)
