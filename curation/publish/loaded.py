"""Load a published dataset as anybody would, and write down its rows.

A process of its own: `python -m curation.publish.loaded REPO REVISION FILE`, with a
cache that holds nothing yet. One JSON line per row: configuration, split, content.
"""

import json
import sys
from pathlib import Path
from typing import Any

PHOTO = ("photo_id", "label", "background", "group")
"""What is compared of a photo; of other rows, everything."""


def columns(names: list[str]) -> list[str]:
    """Columns that are compared."""
    return list(PHOTO) if set(PHOTO) <= set(names) else names


def line(config: str, split: str, row: dict[str, Any]) -> str:
    """A row as it is compared."""
    return json.dumps([config, split, row], sort_keys=True, default=str)


def write(repo: str, revision: str, out: Path) -> None:
    """Every row of every configuration, one a line."""
    import datasets

    datasets.disable_progress_bars()
    with out.open("w", encoding="utf-8") as file:
        for config in datasets.get_dataset_config_names(repo, revision=revision):
            loaded = datasets.load_dataset(repo, config, revision=revision)
            for split, rows in loaded.items():
                features = rows.features
                names = {
                    name: feature.names
                    for name, feature in features.items()
                    if isinstance(feature, datasets.ClassLabel)
                }
                for row in rows.select_columns(columns(list(features))):
                    for name in names.keys() & row.keys():
                        if row[name] is not None:
                            row[name] = names[name][row[name]]
                    file.write(line(config, str(split), row) + "\n")


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
