"""Write what speaks of the photos: card, pictures, citation and Croissant."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.config import Dataset
from curation.release import card, citation, croissant, pictures, story
from curation.release.contents import Contents
from curation.release.facts import Facts
from curation.release.shards import Split


def write(
    release: Path,
    facts: Facts,
    *,
    chosen: Contents,
    config: Dataset,
    tables: Mapping[str, pa.Table],
    read: Callable[[str], bytes],
    provenance: Mapping[str, Any],
    text: str | None,
    splits: Mapping[str, Split],
    pairs: Split,
    sizes: Mapping[str, int],
) -> None:
    """Write README.md, CITATION.cff, croissant.json and the folder figures.

    Args:
        release: the release's folder, with every other file but the checksums.
        facts: what it holds.
        chosen: the photos.
        config: the dataset's configuration.
        tables: every table there is.
        read: bytes of a photo by its photo_id.
        provenance: keys `agreement` and `annotators` are told in the card.
        text: the dataset's own section of the card, in Markdown.
        splits: what was written, by group.
        pairs: what was written of config pairs.
        sizes: bytes on disk, by config.
    """
    quality, agreement = provenance.get("annotators"), provenance.get("agreement")
    about = story.collect(chosen.every, tables, quality)
    told: dict[str, Any] = {
        "config": config,
        "story": about,
        "agreement": agreement if isinstance(agreement, list) else (),
        "figures": pictures.draw(release, facts, rows=chosen.rows, read=read),
    }
    _text(release / citation.CFF, citation.cff(facts, config))
    readme = card.readme(
        facts, splits=splits, pairs=pairs, sizes=sizes, text=text, **told
    )
    _text(release / "README.md", readme)
    plain = card.body(facts, **told)
    described = croissant.render(release, facts, config=config, card=plain, story=about)
    _text(release / croissant.NAME, described)


def _text(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8", newline="\n")
