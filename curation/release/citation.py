"""How a dataset is cited: CITATION.cff and BibTeX, from the same facts."""

import re
from collections.abc import Mapping
from typing import Any

from huggingface_hub import CardData

from curation.config import Dataset
from curation.release.facts import Facts

CFF = "CITATION.cff"
PAPER = {
    "type": "article",
    "title": "A Sober Look at the Robustness of CLIPs to Spurious Features",
    "authors": [
        {"family-names": family, "given-names": given}
        for given, family in (
            ("Qizhou", "Wang"), ("Yong", "Lin"), ("Yongqiang", "Chen"),
            ("Ludwig", "Schmidt"), ("Bo", "Han"), ("Tong", "Zhang"),
        )
    ],
    "year": 2024,
    "url": "https://arxiv.org/abs/2403.11497",
    "notes": "CounterAnimal: the way of making such a dataset",
}  # fmt: skip
KEYWORDS = ("robustness", "spurious-correlation", "distribution-shift", "animals")

# licences that CFF 1.2.0 has a name for, of those a photo may have here
_SPDX = re.compile(
    r"CC0-1\.0|CC-BY(?:-NC)?(?:-ND|-SA)?-(?:1|2|3|4)\.0|CC-BY(?:-NC)?(?:-ND|-SA)?-2\.5"
)
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


def title(config: Dataset) -> str:
    """The dataset's name for people."""
    return " ".join((config.dataset.title or config.dataset.name).split())


def makers(config: Dataset) -> list[str]:
    """Whom to name as authors: those stated, or a name that claims no more."""
    return list(config.dataset.authors) or [f"The makers of {title(config)}"]


def cff(facts: Facts, config: Dataset) -> str:
    """CITATION.cff, version 1.2.0.

    No day of release: a release is the same bytes whenever it is written.
    """
    content: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use this dataset, please cite it, and credit the "
        "photographers: LICENSES.csv names them.",
        "type": "dataset",
        "title": title(config),
        "version": config.dataset.version,
        "authors": [_author(name) for name in makers(config)],
        "keywords": list(KEYWORDS),
    }
    if config.dataset.description:
        content["abstract"] = " ".join(config.dataset.description.split())
    if (contact := _contact(config)) is not None:
        content["contact"] = [contact]
    names = [licence.name for licence in facts.licences]
    if len(names) == 1 and _SPDX.fullmatch(names[0]):
        content["license"] = names[0]
    content["references"] = [PAPER]
    return f"{CardData(**content).to_yaml()}\n"


def bibtex(config: Dataset) -> str:
    """An entry of the same content."""
    named = config.dataset.authors
    people = [_tex(name) if "," in name else f"{{{_tex(name)}}}" for name in named]
    fields = {
        "author": " and ".join(people or [f"{{{_tex(makers(config)[0])}}}"]),
        "title": f"{{{_tex(title(config))}}}",
        "note": f"Dataset, version {config.dataset.version}",
    }
    key = re.sub(r"[^a-z0-9]+", "-", config.dataset.name.lower()).strip("-")
    width = max(map(len, fields))
    lines = [f"  {name:<{width}} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@misc{{{key},", *lines, "}"])


def creators(config: Dataset) -> list[dict[str, str]]:
    """The same people for schema.org."""
    found = []
    for name in makers(config):
        family, comma, given = name.partition(",")
        if comma:
            person = f"{given.strip()} {family.strip()}"
            found.append({"@type": "Person", "name": person})
        else:
            found.append({"@type": "Organization", "name": name})
    return found


def _author(name: str) -> Mapping[str, str]:
    """`Family, Given` is a person, anything else the name of a group."""
    family, comma, given = name.partition(",")
    if comma and family.strip() and given.strip():
        return {"family-names": family.strip(), "given-names": given.strip()}
    return {"name": name.strip()}


def _contact(config: Dataset) -> Mapping[str, str] | None:
    """Whom to reach, where it is an address that CFF has a field for."""
    told, name = config.dataset.contact.strip(), makers(config)[0]
    if _MAIL.fullmatch(told):
        return {**_author(name), "email": told}
    if re.fullmatch(r"https?://[^\s<>\"{}|\\^`]+", told):
        return {**_author(name), "website": told}
    return None


def _tex(text: str) -> str:
    r"""Text in which TeX sees nothing but text.

    Example:
        >>> print(_tex("50 % of R&D {x}"))
        50 \% of R\&D \{x\}
    """
    plain = re.sub(r"[\\`~^]", " ", text)
    return re.sub(r"([&%$#_{}])", r"\\\1", " ".join(plain.split()))
