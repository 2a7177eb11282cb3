"""Load a published dataset as anybody would, and write down its rows.

A process of its own: `python -m curation.publish.loaded REPO REVISION FILE`, with a
cache that holds nothing yet. One JSON line per row: configuration, split, content.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datasets

PHOTO = ("photo_id", "label", "background", "group")
"""What is compared of a photo; of other rows, everything."""


def columns(names: list[str]) -> list[str]:
    """Columns that are compared."""
    return list(PHOTO) if set(PHOTO) <= set(names) else names


def line(config: str, split: str, row: dict[str, Any]) -> str:
    """A row as it is compared."""
    return json.dumps([config, split, row], sort_keys=True, default=str)


def write(repo: str, revision: str, out: Path) -> None:
    """Every row of every configuration, one a line.

    The default configuration is loaded whole, as anybody would. Others hold the same
    photos: of those, only the columns that are compared.
    """
    import datasets

    datasets.disable_progress_bars()
    where = {"path": repo, "revision": revision}
    default = datasets.get_dataset_default_config_name(repo, revision=revision)
    with out.open("w", encoding="utf-8") as file:
        for config in datasets.get_dataset_config_names(repo, revision=revision):
            builder = datasets.load_dataset_builder(name=config, **where)
            wanted = columns(list(builder.info.features))
            part = {} if config == default else {"columns": wanted}
            loaded = datasets.load_dataset(name=config, **where, **part)
            for split, rows in loaded.items():
                names = {
                    name: feature.names
                    for name, feature in rows.features.items()
                    if isinstance(feature, datasets.ClassLabel)
                }
                for row in _rows(rows.select_columns(wanted)):
                    for name in names.keys() & row.keys():
                        if row[name] is not None:
                            row[name] = names[name][row[name]]
                    file.write(line(config, str(split), row) + "\n")


def _rows(rows: "datasets.Dataset") -> Iterator[dict[str, Any]]:
    for table in rows.with_format("arrow").iter(1000):
        yield from table.to_pylist()


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
