"""Sources: one file is one place photos come from; its name is `kind` in dataset.toml.

A source module has

    candidates(spec, classes) -> Iterator[Candidate]   # in a stable order
    read(candidate_url, spec, limit) -> bytes          # at most `limit` bytes

`candidates` names what there is without opening pictures; a record that can never
become a photo is still a candidate, with `refused` saying why, so that nothing is
dropped silently. `read` raises FetchError for one photo's trouble.
"""

import hashlib
import importlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from curation.config import FolderSource
from curation.errors import InputError


class FetchError(InputError):
    """One photo cannot be had; `str(error)` is the reason kept in its row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One record of a source; the columns are those of the table `candidates`.

    `refused` is why it can never become a photo, such as a symbolic link.
    """

    source: str
    key: str
    revision: str
    class_: str
    url: str
    source_url: str | None = None
    title: str | None = None
    author: str | None = None
    licence: str | None = None
    licence_text: str | None = None
    observation_id: str | None = None
    composed: bool = False
    note: str | None = None
    refused: str | None = None

    @property
    def candidate_id(self) -> str:
        """Stands for the record: changes when the file behind it does."""
        parts = json.dumps([self.source, self.key, self.revision, self.class_])
        return hashlib.sha256(parts.encode()).hexdigest()


class Source(Protocol):
    """What a module in this folder provides."""

    def candidates(
        self, spec: FolderSource, classes: Sequence[str]
    ) -> Iterator[Candidate]:
        """Records of the source, in a stable order."""

    def read(self, url: str, spec: FolderSource, limit: int) -> bytes:
        """Bytes of one record's photo."""


def source(kind: str) -> Source:
    """The module of a kind of source."""
    return cast("Source", importlib.import_module(f"{__name__}.{kind}"))
