"""Label Studio's own export, a JSON file, for people whose server `pull` cannot reach.

The project must be one that `push` made, for its controls are read as `pull` reads
them. Annotators are named `user <id>`, since a file has no addresses; so what was
pulled already is not to be read from a file again: it would count twice.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curation.config import Dataset
from curation.errors import InputError
from curation.labelling.interface import BACKGROUND, KEY, NOTE
from curation.labelling.reading import read

Row = dict[str, Any]


def rows(path: Path, config: Dataset) -> Iterator[tuple[str, Row]]:
    """Where in the file, and one row of `curation.labels` per answer.

    Of an annotation that cannot be read there is one row without an answer, whose place
    says why.

    Raises:
        InputError: it is no export of Label Studio's with whole annotations (the kind
            called JSON).
    """
    try:
        tasks = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read as JSON ({error})"
        raise InputError(message) from error
    if not isinstance(tasks, list) or not all(_is_task(task) for task in tasks):
        message = (
            f"{path}: no export of Label Studio's; export as JSON (JSON_MIN leaves out "
            "skips and who changed what), or give CSV or JSONL"
        )
        raise InputError(message)
    for task in tasks:
        for annotation in task["annotations"]:
            place = f"task {task.get('id')}, annotation {annotation.get('id')}"
            yield from _rows(place, task["data"], annotation, config)


def _is_task(task: object) -> bool:
    return (
        isinstance(task, Mapping)
        and isinstance(task.get("data"), Mapping)
        and isinstance(task.get("annotations"), list)
        and all(isinstance(one, Mapping) for one in task["annotations"])
    )


def _rows(
    place: str, data: Row, annotation: Row, config: Dataset
) -> Iterator[tuple[str, Row]]:
    who = annotation.get("completed_by")
    number = who.get("id") if isinstance(who, Mapping) else who
    found = read(annotation, config)
    base: Row = {
        "photo": data.get(KEY),
        "annotator": "" if number is None else f"user {number}",
        "time": annotation.get("updated_at") or annotation.get("created_at"),
        "lead_time_s": annotation.get("lead_time"),
        "proposal": None,
    }
    if found.fault:
        yield f"{place}: {found.fault}", base | {"question": BACKGROUND, "answer": None}
        return
    proposed = data.get("proposed_background")
    for question, answer in found.answers.items():
        row = base | {"question": question, "answer": answer}
        if question == BACKGROUND:
            if proposed and proposed != "none":
                row["proposal"] = proposed
            row |= {NOTE: found.note, "origin": found.origin}
        yield place, row
