"""What made each model's predictions, told once where it is the same everywhere."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.results import Result


@dataclass(frozen=True, slots=True)
class Origin:
    """What made a model's predictions: on all its datasets, then on each."""

    model: str
    note: str
    same: Mapping[str, str]
    by_dataset: Mapping[str, Mapping[str, str]]


def provenance(rows: Sequence[Result], models: Sequence[str]) -> list[Origin]:
    """Per model, what is the same on all datasets told once."""
    found = []
    for model in models:
        told: dict[str, dict[str, str]] = {}
        for row in rows:
            if row.model == model:
                name = row.dataset
                while name in told:
                    name += f", {row.prompts or row.label_space}"
                told[name] = {
                    key.replace("_", " "): _plain(value)
                    for key, value in row.provenance.items()
                    if value not in (None, "") and key not in ("model", "dataset")
                }
        first = next(iter(told.values()))
        same = {
            key: value
            for key, value in first.items()
            if all(one.get(key) == value for one in told.values())
        }
        other = {
            name: {key: value for key, value in one.items() if key not in same}
            for name, one in told.items()
        }
        note = next((row.note for row in rows if row.model == model and row.note), "")
        found.append(
            Origin(model, note, same, {key: one for key, one in other.items() if one})
        )
    return found


def _plain(value: Any) -> str:  # noqa: ANN401
    """A value of the provenance as a reader wants it."""
    if isinstance(value, Mapping):
        return "; ".join(
            f"{str(key).replace('_', ' ')} {_plain(one)}"
            for key, one in value.items()
            if one is not None
        )
    if isinstance(value, list | tuple):
        return ", ".join(_plain(one) for one in value)
    return value if isinstance(value, str) else json.dumps(value, default=str)
