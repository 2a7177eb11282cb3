"""Names to taxa: each class's scientific name becomes one id per authority, once.

Services of photos know taxa by number. What a name stands for is looked up when a
class is first collected, and pinned in `taxa.lock.json` beside dataset.toml, which
belongs in version control: taxonomy moves, and a dataset should not move with it. A
class is looked up again when its scientific name changes, or its lines are taken out of
the file.

A name is taken exactly. A synonym leads to the taxon that is accepted now. Of several
taxa of one name the animal is meant, a genus rather than its subgenus, and a species
rather than the complex that is called after it; if that does not settle it, nobody
guesses: the error lists them, and a person chooses one by putting it into the file.
"""

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.config import Dataset
from curation.errors import ConfigError, SourceError, WorkFolderError
from curation.sources import Target, source
from curation.sources._records import listing, mapping, text, whole

if TYPE_CHECKING:
    from curation.http import Door

LOCK = "taxa.lock.json"
"""Name of the file, beside dataset.toml."""
BASES = {
    "inaturalist": "https://api.inaturalist.org/v1",
    "gbif": "https://api.gbif.org/v1",
}
"""Where each authority is asked."""

_Raw = Mapping[str, Any]
_ANIMALS = 1  # iNaturalist's id of the kingdom
_PAGES = 5  # of 200 taxa: a name that begins more than a thousand is no name of a taxon
_NAMED = 8  # taxa named in an error


@dataclass(frozen=True, slots=True)
class Taxon:
    """A taxon as an authority knows it.

    Attributes:
        id: its number there.
        name: its accepted name; not the one that was asked for where that is a synonym.
        rank: species, genus, family, …
        common: a common name; "" where there is none.
        within: a larger group it belongs to, such as Aves.
    """

    id: int
    name: str = ""
    rank: str = ""
    common: str = ""
    within: str = ""

    def __str__(self) -> str:
        common = f" ({self.common})" if self.common else ""
        within = f", {self.within}" if self.within else ""
        return f"{self.id}: {self.rank or '?'} {self.name or '?'}{common}{within}"


class Unresolved(Exception):
    """A name does not lead to one taxon; says why."""

    def __init__(self, reason: str, taxa: Sequence[Taxon] = ()) -> None:
        lines = [f"\n    {taxon}" for taxon in taxa[:_NAMED]]
        if len(taxa) > _NAMED:
            lines.append(f"\n    and {len(taxa) - _NAMED} more")
        super().__init__(reason + "".join(lines))


def needed(config: Dataset) -> dict[str, str]:
    """The authorities that the sources need, and where each is asked.

    A source says which in its constant `TAXA`; its `api`, if it has one, says where.
    """
    found: dict[str, str] = {}
    for spec in config.sources:
        authority = getattr(source(spec.kind), "TAXA", None)
        if authority in BASES:
            base = getattr(spec, "api", None) or found.get(authority)
            found[authority] = (base or BASES[authority]).rstrip("/")
    return found


def targets(
    config: Dataset,
    *,
    lock: Path,
    door: "Door",
    authorities: Collection[str],
    bases: Mapping[str, str] = BASES,
) -> list[Target]:
    """The classes as sources look for them, with their taxa.

    Args:
        config: the dataset.
        lock: where taxa are pinned; written, whole or not at all, when any is new.
        door: way to the authorities; not used when all is pinned.
        authorities: those whose taxa are needed: keys of `BASES`.
        bases: where they are asked.

    Raises:
        ConfigError: a class has no scientific name, a name does not lead to one taxon,
            or the lock file cannot be read; every class that is wrong has its lines.
        SourceError: an authority failed, or answered what makes no sense; what was
            found before is pinned.
        HostBlocked: an authority will not answer for some time.
        WorkFolderError: the lock file cannot be written.
    """
    wanted = sorted(set(authorities))
    pins = _read(lock) if wanted else {}
    before = {name: dict(pin.taxa) for name, pin in pins.items()}
    faults: list[str] = []
    try:
        for place, spec in enumerate(config.classes if wanted else []):
            where, name = f"classes[{place}].scientific_name", spec.scientific_name
            if not name:
                faults.append(
                    f"{where}: missing; the sources find {spec.name!r} by its taxon"
                )
                continue
            if pins.setdefault(spec.name, _Pin(name)).scientific_name != name:
                pins[spec.name] = _Pin(name)
            pin = pins[spec.name]
            for authority in (each for each in wanted if each not in pin.taxa):
                base = bases.get(authority, BASES[authority]).rstrip("/")
                try:
                    pin.taxa[authority] = RESOLVERS[authority](name, base, door)
                except Unresolved as reason:
                    faults.append(f"{where}: {name!r}: {reason}")
                    example = {"scientific_name": name, authority: {"id": 0}}
                    faults.append(
                        f"    to choose a taxon, put its id into {lock}: "
                        f"{json.dumps({spec.name: example}, ensure_ascii=False)}"
                    )
    finally:
        if any(pin.taxa != before.get(name, {}) for name, pin in pins.items()):
            _write(lock, {spec.name: pins.get(spec.name) for spec in config.classes})
    if faults:
        raise ConfigError("\n".join(faults))
    return [
        Target(
            spec.name,
            spec.label or spec.name,
            spec.scientific_name,
            {each: pins[spec.name].taxa[each].id for each in wanted},
        )
        for spec in config.classes
    ]


# authorities ------------------------------------------------------------------------


def inaturalist(name: str, base: str, door: "Door") -> Taxon:
    """The taxon of a name at iNaturalist.

    The search is for names that begin so, in any language; of what it finds, the active
    taxon of exactly this scientific name is taken. Otherwise the one active taxon that
    is found by this name as a synonym, which needs two words: one word may be a common
    name of something else. Otherwise the active taxon that an inactive one of this name
    was made part of.

    Raises:
        Unresolved: there is none, or there are several.
        SourceError: the service failed, or answered what makes no sense.
        HostBlocked: the service will not answer for some time.
    """
    found = _search(name, base, door, active="true")
    exact = [taxon for taxon in found if _same(taxon.get("name"), name)]
    if exact:
        return _only(exact, f"stands for {len(exact)} taxa at iNaturalist")
    if " " in name:
        known = [taxon for taxon in found if _same(taxon.get("matched_term"), name)]
        if len(known) == 1:
            return _taxon(known[0])
    former = [
        taxon
        for taxon in _search(name, base, door, active="false")
        if _same(taxon.get("name"), name)
    ]
    ids = {
        id_
        for taxon in former
        for each in listing(taxon.get("current_synonymous_taxon_ids"))
        if (id_ := whole(each))
    }
    if ids:
        url = f"{base}/taxa/{','.join(map(str, sorted(ids)[:30]))}"
        now = [one for one in _results(door.json(url), url) if one.get("is_active")]
        if now:
            return _only(now, f"was divided into {len(now)} taxa at iNaturalist")
    reason = "iNaturalist has no active taxon of this name"
    if found:
        reason += "; it found"
    raise Unresolved(reason, [_taxon(one) for one in found])


def gbif(name: str, base: str, door: "Door") -> Taxon:
    """The taxon of a name in GBIF's backbone.

    Only an exact match is taken: GBIF also offers a similar name, or the genus of a
    species that it does not know.

    Raises:
        Unresolved: there is none, or there are several.
        SourceError: the service failed, or answered what makes no sense.
        HostBlocked: the service will not answer for some time.
    """
    url = f"{base}/species/match"
    answer: Mapping[str, Any] = {}
    # a name that plants or bacteria have as well is not matched without a kingdom
    for hint in ({}, {"kingdom": "Animalia"}):
        said = door.json(url, params={"name": name, "verbose": "true", **hint})
        if not isinstance(said, dict) or "matchType" not in said:
            raise _strange(said, url, "a matchType")
        answer = answer or said
        if said["matchType"] == "EXACT":
            return _accepted(said, url)
        if said["matchType"] != "NONE":
            break
    kind, note = text(answer.get("matchType")), text(answer.get("note"))
    reason = f"GBIF's backbone has no exact match for this name: {kind}"
    others = [answer] if whole(answer.get("usageKey")) else []
    others += filter(None, map(mapping, listing(answer.get("alternatives"))))
    raise Unresolved(f"{reason}, {note}" if note else reason, list(map(_usage, others)))


RESOLVERS: Mapping[str, Callable[[str, str, "Door"], Taxon]] = {
    "inaturalist": inaturalist,
    "gbif": gbif,
}


def _search(name: str, base: str, door: "Door", *, active: str) -> list[_Raw]:
    """Every taxon of iNaturalist with a name that begins so."""
    url, found = f"{base}/taxa", []
    for page in range(1, _PAGES + 1):
        params: dict[str, str | int] = {"q": name, "is_active": active}
        answer = door.json(url, params=params | {"per_page": 200, "page": page})
        results = _results(answer, url)
        found += results
        if not results or len(found) >= (whole(answer.get("total_results")) or 0):
            break
    return found


def _results(answer: object, url: str) -> list[_Raw]:
    results = mapping(answer).get("results")
    if not isinstance(results, list):
        raise _strange(answer, url, "a list of results")
    return [one for one in results if whole(mapping(one).get("id"))]


def _only(found: Sequence[_Raw], reason: str) -> Taxon:
    """The taxon that is meant: an animal, a species, the one the others belong to."""
    if len(found) > 1:
        animals = [one for one in found if _ANIMALS in listing(one.get("ancestor_ids"))]
        found = animals or found
        found = [one for one in found if one.get("rank") == "species"] or found
    for one in found:
        others = [other for other in found if other is not one]
        if all(one["id"] in listing(other.get("ancestor_ids")) for other in others):
            return _taxon(one)
    raise Unresolved(reason, [_taxon(one) for one in found])


def _taxon(raw: _Raw) -> Taxon:
    parts = ("name", "rank", "preferred_common_name", "iconic_taxon_name")
    return Taxon(int(raw["id"]), *(text(raw.get(part)) or "" for part in parts))


def _accepted(said: _Raw, url: str) -> Taxon:
    """The accepted taxon of an exact match."""
    taxon = _usage(said)
    if not taxon.id:
        raise _strange(said, url, "a usageKey")
    key = whole(said.get("acceptedUsageKey"))
    if key is None:
        return taxon
    # of a synonym only the key is told, and the names of the groups it belongs to
    return replace(taxon, id=key, name=text(said.get(taxon.rank)) or taxon.name)


def _usage(said: _Raw) -> Taxon:
    name = text(said.get("canonicalName")) or text(said.get("scientificName"))
    within = text(said.get("class")) or text(said.get("kingdom"))
    rank = (text(said.get("rank")) or "").lower()
    id_ = whole(said.get("usageKey")) or 0
    return Taxon(id_, name or "", rank, within=within or "")


def _same(said: object, name: str) -> bool:
    return isinstance(said, str) and said.casefold() == name.casefold()


def _strange(answer: object, url: str, expected: str) -> SourceError:
    keys = ", ".join(map(str, mapping(answer))) or type(answer).__name__
    return SourceError(f"{url}: expected {expected}, found {text(keys, 100)}", url=url)


# the lock file ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pin:
    """What a class stands for, by authority."""

    scientific_name: str
    taxa: dict[str, Taxon] = field(default_factory=dict)


def _read(lock: Path) -> dict[str, _Pin]:
    try:
        content = json.loads(lock.read_text(encoding="utf-8"))
        return {name: _pin(entry) for name, entry in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        message = (
            f"{lock} cannot be read ({error!r}); restore it, or delete it to have "
            "every class looked up again"
        )
        raise ConfigError(message) from error


def _pin(entry: dict[str, Any]) -> _Pin:
    taxa = {each: Taxon(**entry[each]) for each in BASES if each in entry}
    if wrong := [taxon.id for taxon in taxa.values() if not whole(taxon.id)]:
        message = f"{wrong[0]!r} is no id of a taxon"
        raise ValueError(message)
    return _Pin(entry["scientific_name"], taxa)


def _filled(taxon: Taxon) -> dict[str, Any]:
    return {name: value for name, value in asdict(taxon).items() if value}


def _write(lock: Path, pins: Mapping[str, _Pin | None]) -> None:
    content = {
        name: {"scientific_name": pin.scientific_name}
        | {each: _filled(pin.taxa[each]) for each in sorted(pin.taxa)}
        for name, pin in sorted(pins.items())
        if pin and pin.taxa
    }
    part = lock.with_name(f".{lock.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(lock)
    except OSError as error:
        part.unlink(missing_ok=True)
        message = (
            f"{lock} cannot be written ({error.strerror}): taxa are pinned beside "
            "dataset.toml; have it in a folder of your own"
        )
        raise WorkFolderError(message) from error
