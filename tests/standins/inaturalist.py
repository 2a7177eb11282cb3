"""iNaturalist's API v1, its photo files, and GBIF's name matching, on loopback.

    world = World(["Ursus maritimus", "Castor"], observations=300, seed=1)
    with serving(world) as server:
        spec = {"kind": "inaturalist", "api": f"{server.url}/v1"}
        id_ = world.taxon("Castor").id              # `taxa={"inaturalist": id_}`
        world.later(flipped=0.1, vanished=0.1)      # licences change, photos go

`observations` is how many each named taxon gets, its descendants included.
`server.asked` lists the requests. Photos are small distinct pictures, JPEG, PNG or GIF
as their extension says; those under an open licence are below `/open-data`, others
below `/static`, and asking in the wrong place is answered with 403, as storage does.

Switches, which may be turned while it serves: `world.rate` (answers in `world.window`
seconds before 429; photos do not count), `world.retry_after`, `world.truncate_every`
(each so-manyth answer of the API is cut off in the middle). `gbif_match(world, name)`
is what `/v1/species/match` answers.
"""

import hashlib
import io
import json
import random
import re
import threading
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from PIL import Image

from tests.standins.server import Answer, Asked, Server

OPEN = (
    "cc0",
    "cc-by",
    "cc-by-nc",
    "cc-by-sa",
    "cc-by-nc-sa",
    "cc-by-nd",
    "cc-by-nc-nd",
)
LICENCES = (*OPEN[:4], "cc-by-nc", "cc-by-nc", "cc-by-nc-sa", None, None, "cc-by-nd")
EXTENSIONS = ("jpg", "jpg", "jpeg", "jpeg", "JPG", "png", "gif")
SIZES = {"square": 75, "thumb": 100, "small": 120, "medium": 160, "large": 200}
SIZES |= {"original": 240}
WINDOW = (
    "Result window is too large, page x size must be less than or equal to [10000]. "
    "Please narrow your search, or use a sliding window approach with id_above or "
    "id_below params."
)
FIRST, GAP = 1_000_000, 40
GBIF = 2_000_000


@dataclass(slots=True)
class Taxon:
    """One name of the tree; `synonymous` are the active taxa that replace it."""

    id: int
    name: str
    rank: str
    parent: int | None
    common: str = ""
    synonyms: tuple[str, ...] = ()
    active: bool = True
    synonymous: tuple[int, ...] = ()
    iconic: str = "Animalia"
    lineage: tuple[int, ...] = ()


@dataclass(slots=True)
class Photo:
    id: int
    licence: str | None
    extension: str
    flags: list[dict[str, Any]] = field(default_factory=list)
    hidden: bool = False


@dataclass(slots=True)
class Observation:
    id: int
    taxon: int
    user: int
    day: date
    place: tuple[float, float]
    photos: list[Photo]
    quality: str = "research"
    captive: bool = False
    geoprivacy: str | None = None
    taxon_geoprivacy: str | None = "open"

    @property
    def obscured(self) -> bool:
        hidden = ("obscured", "private")
        return self.geoprivacy in hidden or self.taxon_geoprivacy in hidden


class World:
    """Taxa, people, observations and photos, the same for the same arguments."""

    def __init__(
        self,
        taxa: Sequence[str | Taxon] = ("Ursus maritimus", "Vulpes lagopus"),
        *,
        observations: int = 300,
        seed: int = 0,
        rate: int | None = None,
        truncate_every: int = 0,
    ) -> None:
        self.rate, self.window, self.retry_after = rate, 60.0, 60
        self.truncate_every = truncate_every
        self.taxa: dict[int, Taxon] = {}
        self.observations: dict[int, Observation] = {}
        self.photos: dict[int, Photo] = {}
        self.users: list[dict[str, Any]] = []
        self._ids: dict[int, list[int]] = {}
        self._random = random.Random(seed)
        self._answers: deque[float] = deque()
        self._served = 0
        self._lock = threading.Lock()
        self.add_taxon("Life", "stateofmatter", None, id_=48460)
        self.add_taxon("Animalia", "kingdom", 48460, id_=1)
        leaves = [self._grow(each) for each in taxa]
        self._people(max(8, observations * len(leaves) // 6))
        self._observe([leaf for leaf in leaves for _ in range(observations)])

    # taxa --------------------------------------------------------------------------

    def add_taxon(
        self,
        name: str,
        rank: str,
        parent: int | None = 1,
        *,
        id_: int | None = None,
        **more: Any,
    ) -> Taxon:
        """Put a taxon into the tree; homonyms and inactive ones are welcome."""
        id_ = id_ or 40_000 + 7 * len(self.taxa)
        lineage = (*self.taxa[parent].lineage, id_) if parent else (id_,)
        taxon = Taxon(id_, name, rank, parent, lineage=lineage, **more)
        self.taxa[id_] = taxon
        return taxon

    def taxon(self, name: str) -> Taxon:
        """The active taxon of a name, also of a synonym."""
        named = [t for t in self.taxa.values() if t.active and t.name == name]
        known = [t for t in self.taxa.values() if t.active and name in t.synonyms]
        return (named or known)[0]

    def _grow(self, name: str | Taxon) -> list[int]:
        """The leaves that a taxon's observations are of."""
        if isinstance(name, Taxon):
            parent = self.taxa[name.parent or 1]
            name.lineage = (*parent.lineage, name.id)
            self.taxa[name.id] = name
            return [name.id]
        genus, *rest = name.split()
        if rest:
            above = [
                t for t in self.taxa.values() if (t.name, t.rank) == (genus, "genus")
            ]
            parent = above[0] if above else self.add_taxon(genus, "genus")
            return [self.add_taxon(name, "species", parent.id, common=f"{rest[0]}").id]
        taxon = self.add_taxon(name, rank_of(name), common=f"{name.lower()} kind")
        stem = name.removesuffix("idae")
        species = ("alba", "minor", "vulgaris")
        return [
            self.add_taxon(f"{stem} {each}", "species", taxon.id).id for each in species
        ]

    # people and what they saw ------------------------------------------------------

    def _people(self, count: int) -> None:
        names = (
            "Ana Silva",
            "J. Müller",
            "李 明",
            'O\'Brien "Ob"',
            "Zoë",
            None,
            None,
            "",
        )
        for n in range(count):
            name = self._random.choice(names)
            full = f"{name} {n}" if name else name
            self.users.append({"id": 100 + n, "login": f"watcher{n}", "name": full})

    def _observe(self, subjects: list[list[int]]) -> None:
        self._random.shuffle(subjects)
        id_, photo_id = FIRST, 50_000_000
        last: dict[int, tuple[int, date]] = {}
        for number, leaves in enumerate(subjects):
            id_ += self._random.randint(1, GAP)
            if leaves[0] not in last or self._random.random() > 0.2:
                days = timedelta(days=number * 3600 // len(subjects))
                user = self._random.randrange(len(self.users))
                last[leaves[0]] = (user, date(2015, 1, 1) + days)
            user, day = last[leaves[0]]
            photos = []
            for _ in range(self._random.choices((1, 2, 3, 6), (70, 18, 8, 4))[0]):
                photo_id += self._random.randint(1, 9)
                photos.append(self._photo(photo_id))
            self._add(id_, self._random.choice(leaves), user, day, photos)

    def _photo(self, id_: int) -> Photo:
        photo = Photo(
            id_, self._random.choice(LICENCES), self._random.choice(EXTENSIONS)
        )
        odd = self._random.random()
        if odd < 0.01:
            text = "copyright infringement"
            photo.flags = [{"id": id_, "flag": text, "resolved": False}]
        elif odd < 0.02:
            photo.flags = [{"id": id_, "flag": "spam", "resolved": True}]
        photo.hidden = odd > 0.99
        self.photos[id_] = photo
        return photo

    def _add(
        self, id_: int, taxon: int, user: int, day: date, photos: list[Photo]
    ) -> None:
        chance = self._random.random
        place = (round(chance() * 180 - 90, 6), round(chance() * 360 - 180, 6))
        seen = Observation(id_, taxon, user, day, place, photos)
        seen.quality = self._random.choices(
            ("research", "needs_id", "casual"), (80, 14, 6)
        )[0]
        seen.captive = chance() < 0.03
        seen.geoprivacy = self._random.choices(
            (None, "obscured", "private"), (92, 6, 2)
        )[0]
        seen.taxon_geoprivacy = "obscured" if chance() < 0.02 else "open"
        self.observations[id_] = seen
        for above in self.taxa[taxon].lineage:
            self._ids.setdefault(above, []).append(id_)

    # what changes between two times ------------------------------------------------

    def relicense(self, photo_id: int, licence: str | None) -> None:
        """Its owner chooses another licence; the file moves if need be."""
        self.photos[photo_id].licence = licence

    def remove_photo(self, photo_id: int) -> None:
        """The photo is deleted; its observation stays."""
        self.photos.pop(photo_id, None)
        for seen in self.observations.values():
            seen.photos = [photo for photo in seen.photos if photo.id != photo_id]

    def remove_observation(self, observation_id: int) -> None:
        """The observation is deleted with its photos."""
        for photo in self.observations.pop(observation_id).photos:
            self.photos.pop(photo.id, None)

    def later(self, *, flipped: float = 0, vanished: float = 0, seed: int = 0) -> None:
        """Time passes: shares of the photos get another licence, or vanish."""
        chance = random.Random(seed)
        for seen in self.observations.values():
            for photo in list(seen.photos):
                draw = chance.random()
                if draw < vanished:
                    seen.photos.remove(photo)
                    del self.photos[photo.id]
                elif draw < vanished + flipped:
                    photo.licence = None if photo.licence else "cc-by"

    # answers -----------------------------------------------------------------------

    def reply(self, asked: Asked) -> Answer:
        """What the services answer."""
        parts = asked.path.strip("/").split("/")
        if "photos" in parts[:2]:
            return self._file(parts)
        with self._lock:
            refusal = self._too_fast(asked.at)
            self._served += not refusal
            cut = self.truncate_every and self._served % self.truncate_every == 0
        if refusal:
            return refusal
        base = f"http://{asked.headers.get('host', '')}"
        status, content = self._api(parts, asked.query, base)
        body = json.dumps(content).encode()
        if cut:
            body = body[: len(body) // 2]
        return Answer(status, body, {"Content-Type": "application/json; charset=utf-8"})

    def _too_fast(self, now: float) -> Answer | None:
        if self.rate is None:
            return None
        while self._answers and self._answers[0] <= now - self.window:
            self._answers.popleft()
        if len(self._answers) < self.rate:
            self._answers.append(now)
            return None
        body = {"error": "You are requesting too fast. Slow down.", "status": 429}
        headers = {"Retry-After": str(self.retry_after)}
        headers["Content-Type"] = "application/json; charset=utf-8"
        return Answer(429, json.dumps(body).encode(), headers)

    def _api(
        self, parts: list[str], query: dict[str, str], base: str
    ) -> tuple[int, Any]:
        match parts:
            case ["v1", "observations"]:
                return self._search(query, base)
            case ["v1", "taxa"] | ["v1", "taxa", "autocomplete"]:
                return 200, self._names(query, 30 if len(parts) == 3 else 500)
            case ["v1", "taxa", ids]:
                found = [self.taxa[i] for i in _ints(ids) if i in self.taxa]
                return 200, _envelope(len(found), 1, 30, map(self._taxon_json, found))
            case ["v1", "species", "match"]:
                return 200, gbif_match(self, query.get("name", ""), **_kingdom(query))
        return 404, {"error": "Not Found", "status": 404}

    def _search(self, query: dict[str, str], base: str) -> tuple[int, Any]:
        size = min(int(query.get("per_page", 30)), 200)
        page = max(int(query.get("page", 1)), 1)
        if page * size > 10_000:
            return 403, {"error": WINDOW, "status": 403}
        found = list(filter(self._filter(query), self._range(query)))
        by = query.get("order_by", "created_at")
        down = query.get("order", "desc") == "desc"
        found.sort(
            key=lambda seen: (seen.day if by == "observed_on" else 0, seen.id),
            reverse=down,
        )
        shown = found[(page - 1) * size : page * size]
        if query.get("only_id") == "true":
            rows: Iterable[Any] = ({"id": seen.id} for seen in shown)
        else:
            rows = (self._observation_json(seen, base) for seen in shown)
        return 200, _envelope(len(found), page, size, rows)

    def _range(self, query: dict[str, str]) -> Iterator[Observation]:
        """Observations of the taxa between id_above and id_below, both left out."""
        above, below = (
            int(query.get("id_above", 0)),
            int(query.get("id_below", 1 << 60)),
        )
        found: set[int] = set()
        for taxon in _ints(query.get("taxon_id", "48460")):
            ids = self._ids.get(taxon, [])
            found.update(ids[bisect_right(ids, above) : bisect_left(ids, below)])
        if "id" in query:
            found &= set(_ints(query["id"]))
        return (self.observations[id_] for id_ in found if id_ in self.observations)

    def _filter(self, query: dict[str, str]) -> Callable[[Observation], bool]:
        grades = query["quality_grade"].split(",") if "quality_grade" in query else None
        licences = (
            set(query["photo_license"].split(",")) if "photo_license" in query else None
        )

        def wanted(seen: Observation) -> bool:
            return (
                (grades is None or seen.quality in grades)
                and query.get("captive") in (None, str(seen.captive).lower())
                and (query.get("photos") != "true" or bool(seen.photos))
                and (
                    licences is None or any(p.licence in licences for p in seen.photos)
                )
                and query.get("geoprivacy") in (None, seen.geoprivacy or "open")
                and query.get("taxon_geoprivacy") in (None, seen.taxon_geoprivacy)
                and query.get("d1", "") <= seen.day.isoformat()
                and seen.day.isoformat() <= query.get("d2", "9999")
                and query.get("place_id") in (None, str(seen.id % 5))
            )

        return wanted

    def _names(self, query: dict[str, str], most: int) -> Any:
        size = min(int(query.get("per_page", 30)), most)
        page = max(int(query.get("page", 1)), 1)
        active = query.get("is_active", "true")
        words = query.get("q", "").lower().split()
        found = []
        for taxon in self.taxa.values():
            if active != "any" and str(taxon.active).lower() != active:
                continue
            if query.get("rank") not in (None, taxon.rank):
                continue
            if "taxon_id" in query and int(query["taxon_id"]) not in taxon.lineage:
                continue
            names = (taxon.name, *taxon.synonyms, taxon.common)
            matched = [name for name in names if _begins(name, words)]
            if matched:
                best = max(matched, key=lambda name: name.lower().split() == words)
                found.append(self._taxon_json(taxon) | {"matched_term": best})
        found.sort(key=lambda taxon: -taxon["observations_count"])
        return _envelope(len(found), page, size, found[(page - 1) * size : page * size])

    def _taxon_json(self, taxon: Taxon) -> dict[str, Any]:
        parents = [id_ for id_ in taxon.lineage if id_ != taxon.id]
        depth = {"kingdom": 70, "class": 50, "order": 40, "family": 30, "genus": 20}
        return {
            "id": taxon.id,
            "name": taxon.name,
            "rank": taxon.rank,
            "rank_level": depth.get(taxon.rank, 10),
            "is_active": taxon.active,
            "parent_id": taxon.parent,
            "ancestor_ids": list(taxon.lineage),
            "ancestry": "/".join(map(str, parents)) or None,
            "iconic_taxon_name": taxon.iconic,
            "preferred_common_name": taxon.common or None,
            "current_synonymous_taxon_ids": list(taxon.synonymous) or None,
            "observations_count": 1000 - len(taxon.lineage) if taxon.active else 0,
            "extinct": False,
        }

    def _observation_json(self, seen: Observation, base: str) -> dict[str, Any]:
        user, taxon = self.users[seen.user], self.taxa[seen.taxon]
        latitude, longitude = seen.place
        if seen.obscured:
            latitude, longitude = round(latitude, 1) + 0.0321, round(longitude, 1)
        private = seen.geoprivacy == "private"
        photos = [self._photo_json(photo, user, base) for photo in seen.photos]
        return {
            "id": seen.id,
            "uuid": f"c44b91f3-0000-4000-8000-{seen.id:012x}",
            "quality_grade": seen.quality,
            "captive": seen.captive,
            "license_code": seen.photos[0].licence if seen.photos else None,
            "uri": f"https://www.inaturalist.org/observations/{seen.id}",
            "observed_on": seen.day.isoformat(),
            "created_at": f"{seen.day.isoformat()}T18:00:51+00:00",
            "updated_at": f"{seen.day.isoformat()}T18:54:19+00:00",
            "species_guess": taxon.common or taxon.name,
            "taxon": self._taxon_json(taxon),
            "user": user,
            "obscured": seen.obscured,
            "geoprivacy": seen.geoprivacy,
            "taxon_geoprivacy": seen.taxon_geoprivacy,
            "location": None if private else f"{latitude},{longitude}",
            "geojson": None
            if private
            else {"type": "Point", "coordinates": [longitude, latitude]},
            "positional_accuracy": None,
            "public_positional_accuracy": 27754 if seen.obscured else None,
            "private_location": None,
            "place_guess": "somewhere",
            "annotations": [],
            "flags": [],
            "photos": photos,
            "observation_photos": [
                {"id": photo["id"] - 1, "position": n, "uuid": f"{n}", "photo": photo}
                for n, photo in enumerate(photos)
            ],
        }

    def _photo_json(
        self, photo: Photo, user: dict[str, Any], base: str
    ) -> dict[str, Any]:
        name = user["name"] or user["login"]
        code = (photo.licence or "").upper().replace("CC-", "CC ")
        credit = {None: f"(c) {name}, all rights reserved", "cc0": "no rights reserved"}
        where = "open-data" if photo.licence in OPEN else "static"
        stamp = "" if photo.licence in OPEN else "?1598551272"
        return {
            "id": photo.id,
            "license_code": photo.licence,
            "url": f"{base}/{where}/photos/{photo.id}/square.{photo.extension}{stamp}",
            "attribution": credit.get(
                photo.licence, f"(c) {name}, some rights reserved ({code})"
            ),
            "original_dimensions": {"width": 1188, "height": 891},
            "flags": photo.flags,
            "moderator_actions": [{"action": "hide"}] if photo.hidden else [],
            "hidden": photo.hidden,
        }

    def _file(self, parts: list[str]) -> Answer:
        denied = Answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        found = re.fullmatch(r"(\w+)\.(\w+)", parts[-1])
        photo = self.photos.get(int(parts[2])) if len(parts) == 4 else None
        if not found or photo is None or photo.extension != found[2]:
            return denied
        where = "open-data" if photo.licence in OPEN else "static"
        if parts[0] != where or found[1] not in SIZES:
            return denied
        kind = {"png": "PNG", "gif": "GIF"}.get(photo.extension, "JPEG")
        body = picture(photo.id, SIZES[found[1]], kind)
        return Answer(200, body, {"Content-Type": f"image/{kind.lower()}"})


def serving(world: World, *, latency: float = 0) -> Server:
    """The world as a server; `with serving(world) as server: …`."""
    return Server(world.reply, latency=latency)


def gbif_match(world: World, name: str, *, kingdom: str = "") -> dict[str, Any]:
    """GBIF's answer to a name: EXACT, a synonym, HIGHERRANK, or NONE and why."""
    named = [t for t in world.taxa.values() if t.name.lower() == name.lower()]
    if kingdom:
        named = [t for t in named if _kingdom_of(t) == kingdom]
    active = [taxon for taxon in named if taxon.active]
    known = [t for t in world.taxa.values() if t.active and name in t.synonyms]
    if len(active) > 1:
        note = f"Multiple equal matches for {name}"
        others = [_gbif(world, taxon) for taxon in active]
        nothing = {"confidence": 99, "matchType": "NONE", "synonym": False}
        return {**nothing, "note": note, "alternatives": others}
    if active:
        return _gbif(world, active[0])
    if known:
        answer = _gbif(world, known[0])
        old = {"scientificName": f"{name} Author, 1802", "canonicalName": name}
        status = {"status": "SYNONYM", "synonym": True}
        keys = {
            "usageKey": answer["usageKey"] + 1,
            "acceptedUsageKey": answer["usageKey"],
        }
        return answer | old | status | keys
    genus = [t for t in world.taxa.values() if t.name == name.split(" ")[0]]
    if genus and " " in name:
        return _gbif(world, genus[0]) | {"matchType": "HIGHERRANK", "confidence": 92}
    return {"confidence": 100, "matchType": "NONE", "synonym": False}


def picture(seed: int, size: int, kind: str) -> bytes:
    """A small picture of its own: soft coloured blotches."""
    noise = hashlib.shake_128(str(seed).encode()).digest(8 * 6 * 3)
    small = Image.frombytes("RGB", (8, 6), noise)
    large = small.resize((size, size * 3 // 4), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    large.save(out, kind, **({"quality": 80} if kind == "JPEG" else {}))
    return out.getvalue()


def rank_of(name: str) -> str:
    """A rank that a name of one word may well have."""
    if name.endswith(("idae", "inae")):
        return "family" if name.endswith("idae") else "subfamily"
    return {"Scorpiones": "order", "Chilopoda": "class"}.get(name, "genus")


def _gbif(world: World, taxon: Taxon) -> dict[str, Any]:
    chain = [world.taxa[id_] for id_ in taxon.lineage]
    ranks = {one.rank: one.name for one in chain if one.rank != "stateofmatter"}
    return {
        "usageKey": GBIF + taxon.id * 10,
        "scientificName": f"{taxon.name} Author, 1758",
        "canonicalName": taxon.name,
        "rank": taxon.rank.upper(),
        "status": "ACCEPTED",
        "confidence": 99,
        "matchType": "EXACT",
        "synonym": False,
        "kingdom": _kingdom_of(taxon),
        **ranks,
    }


def _kingdom_of(taxon: Taxon) -> str:
    return "Plantae" if taxon.iconic == "Plantae" else "Animalia"


def _kingdom(query: dict[str, str]) -> dict[str, str]:
    return {"kingdom": query["kingdom"]} if "kingdom" in query else {}


def _envelope(total: int, page: int, size: int, rows: Iterable[Any]) -> Any:
    return {
        "total_results": total,
        "page": page,
        "per_page": size,
        "results": list(rows),
    }


def _ints(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part.isdigit()]


def _begins(name: str, words: list[str]) -> bool:
    """Whether each word begins a word of the name."""
    parts = name.lower().split()
    return all(any(part.startswith(word) for part in parts) for word in words)
