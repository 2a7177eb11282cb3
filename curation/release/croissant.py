"""croissant.json: the files, columns and making of a release, for machines.

Croissant 1.1 with the fields for responsible AI (RAI 1.0). What these say is read from
the sections of the card, so that both say the same.

Source: http://mlcommons.org/croissant/1.1, http://mlcommons.org/croissant/RAI/1.0.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curation import licences
from curation.config import Dataset
from curation.release import citation
from curation.release.card import sections
from curation.release.columns import Column, pair_columns, photo_columns
from curation.release.contents import SPLITS
from curation.release.facts import Facts
from curation.release.story import Story

NAME = "croissant.json"
CONFORMS_TO = (
    "http://mlcommons.org/croissant/1.1",
    "http://mlcommons.org/croissant/RAI/1.0",
)
UNLISTED = (NAME, "README.md", "checksums.sha256")
"""Files that are not listed: they speak of the others, so their sums would change."""

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES = {
    "image": "sc:ImageObject",
    "class": "sc:Integer",
    "int64": "sc:Integer",
    "float64": "sc:Float",
    "string": "sc:Text",
    "strings": "sc:Text",
    "bool": "sc:Boolean",
}
_FORMATS = {
    ".parquet": "application/x-parquet",
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".cff": "application/yaml",
}
# RAI field → sections of the card whose text it holds
_RAI = {
    "dataCollection": ("Data Collection and Processing",),
    "dataAnnotationProtocol": ("Annotation process",),
    "annotatorDemographics": ("Who are the annotators?",),
    "dataBiases": ("Bias, Risks, and Limitations",),
    "dataLimitations": ("Recommendations", "Out-of-Scope Use"),
    "dataUseCases": ("Direct Use",),
    "personalSensitiveInformation": ("Personal and Sensitive Information",),
    "dataReleaseMaintenancePlan": ("Distribution and Maintenance", "Takedown"),
}


def render(
    release: Path,
    facts: Facts,
    *,
    config: Dataset,
    card: str,
    story: Story | None = None,
) -> str:
    """The whole file, as JSON.

    Args:
        release: the release's folder, all but the files of `UNLISTED` written.
        facts: what the release holds.
        config: the dataset's configuration.
        card: the card's Markdown without the dataset's own text.
        story: whose photos, from where, and who answered.
    """
    names = [spec.name for spec in config.classes]
    content: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": config.dataset.name,
        "alternateName": citation.title(config),
        "description": " ".join(config.dataset.description.split())
        or next(iter(sections(card).values())),
        "version": config.dataset.version,
        "license": [_licence(name.name) for name in facts.licences],
        "creator": citation.creators(config),
        "keywords": list(citation.KEYWORDS),
        "inLanguage": "en",
        "isLiveDataset": False,
        "citeAs": citation.bibtex(config),
        **_responsible(card, facts, config=config, story=story or Story()),
        "distribution": [*_files(release), *_sets(release)],
        "recordSet": [
            _classes("classes", "classes of animals", names),
            _classes("groups", "groups of photos", photo_columns(names)["group"].names),
            *_records(names),
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _licence(name: str) -> str:
    return licences.url(name) or name


def _responsible(
    card: str, facts: Facts, *, config: Dataset, story: Story
) -> dict[str, Any]:
    """The fields of the RAI vocabulary for which there is something to say."""
    told = sections(card)
    found: dict[str, Any] = {
        f"rai:{name}": "\n".join(told[heading] for heading in headings)
        for name, headings in _RAI.items()
    }
    if story.platform:
        found["rai:dataAnnotationPlatform"] = list(story.platform)
    if labelling := facts.labelling:
        asked = labelling.resolved + labelling.ties + labelling.too_few
        found["rai:annotationsPerItem"] = (
            f"{labelling.answers / asked:.1f} answers about the background on average; "
            f"{config.tasks.answers} wanted"
        )
    if facts.proposed:
        from curation.release.portable import portable

        found["rai:machineAnnotationTools"] = [
            f"{portable(config.embed.model)}, which proposed backgrounds"
        ]
    return dict(sorted(found.items()))


def files(release: Path) -> set[str]:
    """Paths of the files that are listed: all but those of `UNLISTED`."""
    there = (p for p in release.rglob("*") if p.is_file())
    return {p.relative_to(release).as_posix() for p in there} - set(UNLISTED)


def _files(release: Path) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "contentUrl": name,
            "contentSize": f"{(release / name).stat().st_size} B",
            "encodingFormat": _FORMATS.get(Path(name).suffix, "text/plain"),
            "sha256": sha256(release / name),
        }
        for name in sorted(files(release))
    ]


def _sets(release: Path) -> list[dict[str, Any]]:
    """The shards of each config: as many files as there are."""
    there = [p.name for p in (release / "data").glob("*.parquet")]
    every = [s for s in (*SPLITS, "unused") if any(n.startswith(s) for n in there)]
    patterns = {
        "default": [f"data/{side}-*.parquet" for side in SPLITS],
        "all": [f"data/{side}-*.parquet" for side in every],
        "pairs": ["pairs/test-*.parquet"],
    }
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"{config}-files",
            "name": f"{config}-files",
            "description": f"Parquet files of config {config}",
            "encodingFormat": _FORMATS[".parquet"],
            "includes": includes,
        }
        for config, includes in patterns.items()
    ]


def _classes(name: str, meaning: str, names: Sequence[str]) -> dict[str, Any]:
    """What the integers of a class column stand for."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"Names of the {meaning}, by the integer that stands for each",
        "dataType": "sc:Enumeration",
        "key": {"@id": f"{name}/id"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{field}",
                "name": field,
                "dataType": kind,
            }
            for field, kind in (("id", "sc:Integer"), ("name", "sc:Text"))
        ],
        "data": [
            {f"{name}/id": place, f"{name}/name": each}
            for place, each in enumerate(names)
        ],
    }


def _records(names: Sequence[str]) -> list[dict[str, Any]]:
    photos, pairs = photo_columns(names), pair_columns(names)
    described = {
        "default": (photos, "photo_id", "Photos of the groups common and counter"),
        "all": (photos, "photo_id", "These and verified photos in neither group"),
        "pairs": (pairs, "label", "Classes, their backgrounds and the evidence"),
    }
    return [
        {
            "@type": "cr:RecordSet",
            "@id": config,
            "name": config,
            "description": meaning,
            "key": {"@id": f"{config}/{key}"},
            "field": [_field(config, *item) for item in columns.items()],
        }
        for config, (columns, key, meaning) in described.items()
    ]


def _field(config: str, name: str, column: Column) -> dict[str, Any]:
    source: dict[str, Any] = {
        "fileSet": {"@id": f"{config}-files"},
        "extract": {"column": name},
    }
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{config}/{name}",
        "name": name,
        "description": column.meaning,
        "dataType": _TYPES[column.kind],
        "source": source,
    }
    if column.kind == "image":  # a struct of bytes and path
        source["transform"] = {"jsonPath": "bytes"}
    if column.kind == "strings":
        field |= {"isArray": True, "arrayShape": "-1"}
    if column.kind == "class":
        enumeration = "classes" if name == "label" else "groups"
        field["references"] = {"field": {"@id": f"{enumeration}/id"}}
    return field


def sha256(path: Path) -> str:
    """Of a file's bytes, lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stated(content: Mapping[str, Any]) -> dict[str, str]:
    """File → sha256 that a croissant.json states."""
    return {
        file["contentUrl"]: file["sha256"]
        for file in content["distribution"]
        if file["@type"] == "cr:FileObject"
    }
