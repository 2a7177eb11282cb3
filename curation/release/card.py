"""The data card: README.md with the metadata that loaders read and text for people.

Numbers come from `Facts`; nothing is written by hand but the dataset's own text.
"""

import html
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import jinja2
from huggingface_hub import DatasetCardData

from curation.config import Dataset
from curation.release.columns import pair_columns, photo_columns, yaml_features
from curation.release.facts import Cell, Facts, Interval
from curation.release.portable import portable
from curation.release.shards import Split

_SIZES = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"),
)  # fmt: skip
# licences the Hub has identifiers for
_HUB_LICENCES = {
    "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
    "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0",
}  # fmt: skip


def readme(
    facts: Facts,
    *,
    config: Dataset,
    splits: Mapping[str, Split],
    pairs: Split,
    sizes: Mapping[str, int],
    text: str | None = None,
    agreement: Iterable[Mapping[str, object]] = (),
) -> str:
    """The whole README.md.

    Args:
        facts: what the release holds.
        config: the dataset's configuration.
        splits: what was written of common and counter.
        pairs: what was written of config pairs.
        sizes: bytes on disk of configs `default` and `pairs`.
        text: the dataset's own section, in Markdown.
        agreement: Krippendorff's alpha per question: question, alpha, ci.
    """
    front = _front(facts, config=config, splits=splits, pairs=pairs, sizes=sizes)
    body = _environment().get_template("card.md.jinja")
    rendered = body.render(
        title=config.dataset.title or config.dataset.name,
        config=config,
        facts=facts,
        columns=photo_columns([c.name for c in config.classes]),
        text=(text or "").strip(),
        agreement=list(agreement),
    )
    return f"---\n{front.to_yaml()}\n---\n\n{rendered.rstrip()}\n"


def _front(
    facts: Facts,
    *,
    config: Dataset,
    splits: Mapping[str, Split],
    pairs: Split,
    sizes: Mapping[str, int],
) -> DatasetCardData:
    names, own = [c.name for c in config.classes], _hub_licence(facts)
    files = [{"split": name, "path": f"data/{name}-*"} for name in splits]
    test = [{"split": "test", "path": "pairs/test-*"}]
    return DatasetCardData(
        license=own or "other",
        license_name=None if own else "per-photo",
        license_link=None if own else "LICENSES.csv",
        pretty_name=config.dataset.title or config.dataset.name,
        language=["en"],
        task_categories=["image-classification", "zero-shot-image-classification"],
        size_categories=[_size(facts.photos)],
        tags=["robustness", "spurious-correlation", "distribution-shift", "animals"],
        configs=[
            {"config_name": "default", "default": True, "data_files": files},
            {"config_name": "pairs", "data_files": test},
        ],
        dataset_info=[
            _info("default", yaml_features(photo_columns(names)), splits, sizes),
            _info("pairs", yaml_features(pair_columns(names)), {"test": pairs}, sizes),
        ],
    )


def _info(
    name: str,
    features: list[dict[str, object]],
    splits: Mapping[str, Split],
    sizes: Mapping[str, int],
) -> dict[str, object]:
    return {
        "config_name": name,
        "features": features,
        "splits": [
            {
                "name": split,
                "num_bytes": written.memory_bytes,
                "num_examples": written.photos,
            }
            for split, written in splits.items()
        ],
        "download_size": sizes[name],
        "dataset_size": sum(written.memory_bytes for written in splits.values()),
    }


def _hub_licence(facts: Facts) -> str | None:
    """The Hub's identifier of the one licence there is; None when there are several."""
    names = {licence.name.lower() for licence in facts.licences}
    return names.pop() if len(names) == 1 and names <= _HUB_LICENCES else None


def _size(photos: int) -> str:
    return next((name for limit, name in _SIZES if photos < limit), "n>10M")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown: `cell` escapes what comes from outside
        trim_blocks=False,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "cell": cell, "count": _count, "number": _number, "interval": _points,
        "names": _names, "accuracies": _accuracies, "key": _key, "portable": portable,
    }  # fmt: skip
    return environment


def cell(text: str) -> str:
    r"""Text from outside as one line of Markdown that shows it and does nothing.

    Example:
        >>> print(cell("a|b\n<script>"))
        a\|b &lt;script&gt;
    """
    line = html.escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|{}~])", r"\\\1", line)


def _count(number: int) -> str:
    return f"{number:,}"


def _number(number: float | None, digits: int = 1) -> str:
    if number is None or not math.isfinite(number):
        return "–"
    return str(number) if isinstance(number, int) else f"{number:.{digits}f}"


def _points(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.1f}"
    return f"{interval.value:.1f} ({interval.low:.1f} to {interval.high:.1f})"


def _names(cells: tuple[Cell, ...]) -> str:
    return ", ".join(cell(c.background) for c in cells)


def _accuracies(cells: tuple[Cell, ...]) -> str:
    return ", ".join(f"{cell(c.background)} {_number(c.accuracy)}" for c in cells)


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
