"""ImageNet-1k's classes: names, WordNet ids, and which one a folder is called after.

A class is its index, 0 to 999, never its name: two names stand for two classes each.
Lists of names:

openai    those of OpenAI and OpenCLIP, "ostrich": read from the installed open_clip
wordnet   the first lemma of each WordNet synset, "ostrich"
synset    the whole synset, "ostrich, Struthio camelus"
FILE      a CSV with columns imagenet_index and name, all 1,000

The WordNet ids and lemmas come with timm. No package is imported, so no torch.
"""

import csv
import functools
import importlib.util
import re
from collections import defaultdict
from pathlib import Path

from evaluation.errors import ConfigError, nearest

CLASSES = 1000
NAME_LISTS = ("openai", "synset", "wordnet")
DEFAULT_NAMES = "openai"


def names(which: str = DEFAULT_NAMES) -> tuple[str, ...]:
    """The 1,000 class names by index.

    Args:
        which: one of `NAME_LISTS`, or a file.

    Raises:
        ConfigError: no such list, or a file that does not name each class once.

    Example:
        >>> names()[9], names()[657] == names()[744]
        ('ostrich', True)
        >>> names("wordnet")[9], names("synset")[9]
        ('ostrich', 'ostrich, Struthio camelus')
    """
    if which in NAME_LISTS:
        return _listed(which)
    path = Path(which).expanduser()
    if not path.is_file():
        message = f"no list of class names and no file {which!r}; "
        raise ConfigError(message + nearest(which, NAME_LISTS))
    return _names_of_file(path)


@functools.cache
def _listed(which: str) -> tuple[str, ...]:
    if which == "openai":
        return tuple(str(name) for name in open_clip_metadata()["IMAGENET_CLASSNAMES"])
    whole = _synsets()
    return whole if which == "synset" else tuple(one.split(", ")[0] for one in whole)


def _names_of_file(path: Path) -> tuple[str, ...]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
            found = {int(row["imagenet_index"]): row["name"] for row in rows}
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        message = f"class names {path}: needs columns imagenet_index and name ({error})"
        raise ConfigError(message) from error
    if sorted(found) != list(range(CLASSES)) or not all(found.values()):
        missing = [one for one in range(CLASSES) if not found.get(one)]
        message = (
            f"class names {path}: wanted are the indices 0 to 999 once each; "
            f"{len(missing)} are missing, such as {missing[:3]}"
        )
        raise ConfigError(message)
    return tuple(found[index] for index in range(CLASSES))


@functools.cache
def wordnet_ids() -> tuple[str, ...]:
    """The 1,000 WordNet ids by index.

    Example:
        >>> wordnet_ids()[9]
        'n01518878'
    """
    return tuple(_timm("imagenet_synsets.txt").split())


def find(folder: str) -> int | None:
    """Index of the class a folder or label is called after; None when it is none.

    Understood, in this order: a leading index ("9 ostrich"), a WordNet id, an OpenCLIP
    name, a WordNet lemma or the whole synset. Case and underscores do not matter. A
    name of two classes is none.

    Example:
        >>> find("9 ostrich"), find("n02134084"), find("Polar_Bear"), find("sofa bed")
        (9, 296, 296, None)
        >>> find("sunglasses") is None
        True
    """
    text = " ".join(folder.replace("_", " ").lower().split())
    if leading := re.match(r"(\d{1,3})(?:\s|$)", text):
        return int(leading[1])
    if text in wordnet_ids():
        return wordnet_ids().index(text)
    for table in _by_name():
        if indices := table.get(text):
            return indices[0] if len(indices) == 1 else None
    return None


def open_clip_metadata() -> dict[str, tuple[object, ...]]:
    """Constants of open_clip's zero-shot metadata, without importing the package.

    Raises:
        ConfigError: open_clip is not installed.
    """
    path = _file("open_clip", "zero_shot_metadata.py")
    spec = importlib.util.spec_from_file_location("_zero_shot_metadata", path)
    if spec is None or spec.loader is None:
        message = f"cannot read {path}"
        raise ConfigError(message)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


@functools.cache
def _by_name() -> tuple[dict[str, list[int]], ...]:
    """Indices by lower-case name: OpenCLIP's names, then WordNet's."""
    plain: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names()):
        plain[name.lower()].append(index)
    lemmas: dict[str, list[int]] = defaultdict(list)
    for index, whole in enumerate(_synsets()):
        synset = whole.lower()
        for text in {synset, *synset.split(", ")}:
            lemmas[text].append(index)
    return dict(plain), dict(lemmas)


@functools.cache
def _synsets() -> tuple[str, ...]:
    """The lemmas of each class's synset by index, ", " between them."""
    lines = _timm("imagenet_synset_to_lemma.txt").splitlines()
    lemmas = dict(line.split("\t", 1) for line in lines)
    return tuple(lemmas[key] for key in wordnet_ids())


@functools.cache
def _timm(file: str) -> str:
    return _file("timm", "data", "_info", file).read_text(encoding="utf-8")


def _file(package: str, *parts: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        message = f"package {package} is not installed: pip install counterset again"
        raise ConfigError(message)
    return Path(spec.origin).parent.joinpath(*parts)
