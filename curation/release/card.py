"""The data card: README.md with the metadata that loaders read and text for people.

Numbers come from `Facts` and `Story`; nothing is written by hand but the dataset's own
text. Its sections are those of the Hub's dataset card template and those of Datasheets
for Datasets (Gebru et al. 2021), each said once.
"""

import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

import jinja2
from huggingface_hub import DatasetCardData

from curation.config import Dataset
from curation.release import citation
from curation.release.columns import pair_columns, photo_columns, yaml_features
from curation.release.contents import SPLITS
from curation.release.facts import Cell, Facts, Interval
from curation.release.pictures import Picture
from curation.release.portable import portable
from curation.release.shards import Split
from curation.release.story import Story
from curation.release.text import cell, count, many, number

OWN = "\x00own text\x00"
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
    story: Story | None = None,
    figures: Mapping[str, Picture] | None = None,
) -> str:
    """The whole README.md.

    Args:
        facts: what the release holds.
        config: the dataset's configuration.
        splits: what was written of common, counter and unused.
        pairs: what was written of config pairs.
        sizes: bytes on disk of configs `default`, `all` and `pairs`.
        text: the dataset's own section, in Markdown; it is kept to the letter but for
            blank lines around it.
        agreement: Krippendorff's alpha per question: question, alpha, ci.
        story: whose photos, from where, and who answered.
        figures: pictures of the release, by name, see `pictures.draw`.
    """
    front = _front(facts, config=config, splits=splits, pairs=pairs, sizes=sizes)
    rendered = body(
        facts, config=config, text=text, agreement=agreement, story=story,
        figures=figures,
    )  # fmt: skip
    return f"---\n{front.to_yaml()}\n---\n\n{rendered}"


def body(
    facts: Facts,
    *,
    config: Dataset,
    text: str | None = None,
    agreement: Iterable[Mapping[str, object]] = (),
    story: Story | None = None,
    figures: Mapping[str, Picture] | None = None,
) -> str:
    """The card without its metadata, see `readme`."""
    own = (text or "").strip()
    kinds = {source.kind for source in config.sources}
    rendered = (
        _environment()
        .get_template("card.md.jinja")
        .render(
            title=citation.title(config),
            config=config,
            facts=facts,
            columns=photo_columns([c.name for c in config.classes]),
            text=OWN if own else "",
            agreement=list(agreement),
            story=story or Story(),
            figures=figures or {},
            makers=citation.makers(config),
            bibtex=citation.bibtex(config),
            made_with=version("counterset"),
            networked=bool(kinds - {"folder"}),
            n_prompts=sum(len(b.prompts) for b in config.backgrounds),
        )
    )
    lines = (line.rstrip() for line in rendered.splitlines())
    tidy = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return tidy.replace(OWN, own) + "\n"


def sections(markdown: str) -> dict[str, str]:
    r"""Heading → plain text of its own lines: no tables, code, pictures or markup.

    Example:
        >>> sections("# A\n\n**Big** [news](x).\n\n| a |\n\n## B\n\n- one")
        {'A': 'Big news.', 'B': 'one'}
    """
    found: dict[str, list[str]] = {}
    heading, code = "", False
    for line in markdown.splitlines():
        if line.startswith("```"):
            code = not code
        elif not code and re.match(r"#{1,6} ", line):
            heading = line.lstrip("#").strip()
            found[heading] = []
        elif heading and not code and not line.startswith(("|", "![")):
            found[heading].append(_plain(line))
    return {
        heading: re.sub(r"\n{2,}", "\n", "\n".join(lines)).strip()
        for heading, lines in found.items()
    }


def check(folder: Path) -> list[str]:
    """What a release's card states that its files do not bear out, see `checks`."""
    from curation.release import checks  # which reads what is written from the card

    return checks.check(folder)


def _plain(line: str) -> str:
    line = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line.removeprefix("- "))
    line = re.sub(r"(?<!\\)(?:\*\*|`)", "", line)
    return html.unescape(re.sub(r"\\([\\`*_\[\]|{}~])", r"\1", line))


def _front(
    facts: Facts,
    *,
    config: Dataset,
    splits: Mapping[str, Split],
    pairs: Split,
    sizes: Mapping[str, int],
) -> DatasetCardData:
    names, own = [c.name for c in config.classes], _hub_licence(facts)
    groups = {name: splits[name] for name in SPLITS}
    files = [{"split": name, "path": f"data/{name}-*"} for name in groups]
    # of a group without photos there is no file
    every = [f"data/{name}-*" for name, split in splits.items() if split.photos]
    whole = {"photos": sum(splits.values(), Split(0, 0, frozenset()))}
    test = [{"split": "test", "path": "pairs/test-*"}]
    return DatasetCardData(
        license=own or "other",
        license_name=None if own else "per-photo",
        license_link=None if own else "LICENSES.csv",
        pretty_name=citation.title(config),
        language=["en"],
        task_categories=["image-classification", "zero-shot-image-classification"],
        size_categories=[_size(facts.photos + facts.more)],
        annotations_creators=["other" if facts.labelling else "no-annotation"],
        source_datasets=["original"],
        tags=list(citation.KEYWORDS),
        configs=[
            {"config_name": "default", "default": True, "data_files": files},
            {
                "config_name": "all",
                "data_files": [{"split": "photos", "path": every}],
            },
            {"config_name": "pairs", "data_files": test},
        ],
        dataset_info=[
            # each its own, for YAML writes the same object as a reference
            _info("default", yaml_features(photo_columns(names)), groups, sizes),
            _info("all", yaml_features(photo_columns(names)), whole, sizes),
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
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "cell": cell, "count": count, "number": number, "interval": _points,
        "names": _names, "accuracies": _accuracies, "portable": portable,
        "many": many, "percent": _percent, "reasons": _reasons, "bytes": _bytes,
        "address": _address,
    }  # fmt: skip
    return environment


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _bytes(number: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000  # type: ignore[assignment]
    return f"{number:,.3g} GB"


def _reasons(counts: Mapping[str, int]) -> dict[str, int]:
    """Reasons without the photo or number each may name, most frequent first."""
    found: Counter[str] = Counter()
    for reason, photos in counts.items():
        plain = re.sub(r" of [0-9a-f]{64}$", "", reason)
        found[re.sub(r"(?<=too few photos): .*", "", plain)] += photos
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _address(text: str) -> str:
    """The first web address in a text, such that it ends no Markdown link."""
    found = re.search(r"https?://[^\s|]+", text)
    if found is None:
        return "#examples"
    url = found[0]
    return re.sub(r"[\s()<>\[\]|`\\\"]", lambda m: f"%{ord(m[0]):02X}", url)


def _points(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.1f}"
    return f"{interval.value:.1f} ({interval.low:.1f} to {interval.high:.1f})"


def _names(cells: tuple[Cell, ...]) -> str:
    return ", ".join(cell(c.background) for c in cells)


def _accuracies(cells: tuple[Cell, ...]) -> str:
    return ", ".join(f"{cell(c.background)} {number(c.accuracy)}" for c in cells)
