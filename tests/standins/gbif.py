"""GBIF's API v1: occurrence search, single occurrences, species match, and photos.

As the service: at most 300 records an answer, more is cut down silently; beyond the
100,000th it refuses with status 400 and a line of text; facets; spans of years.
"""

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.standins.pictures import jpeg
from tests.standins.server import Answer, Asked, Server

INATURALIST = "50c9509d-22c7-4a22-a47d-8c48425ef4a7"
MUSEUM = "7d56bb5e-30ad-4cbb-8f4c-7a1e1e5a1c11"
LICENCES = (
    "http://creativecommons.org/licenses/by-nc/4.0/",
    "http://creativecommons.org/licenses/by/4.0/",
    "CC_BY_4_0",
    "CC0 1.0",
    "Creative Commons Attribution 4.0 International (CC BY 4.0)",
    "© All rights reserved",
    None,
)


class Gbif:
    """A world of occurrences.

    Args:
        taxa: records by taxon key.
        seed: of the world.
        cap: offset + limit may not be more.
        names: taxon keys by scientific name, for those who match names.

    Attributes:
        instead: answers to give, in turn, to the next questions for records.
        gone: keys of photos, `occurrence:md5`, that are not offered any more.
        licences: a photo's licence by its key, where it is not the first one.
    """

    def __init__(
        self,
        taxa: dict[int, int],
        *,
        seed: int = 0,
        cap: int = 100_000,
        names: Mapping[str, int] | None = None,
    ) -> None:
        self._names = names or {}
        self._cap, self._draw = cap, random.Random(seed)
        self.instead: list[Answer] = []
        self.gone: set[str] = set()
        self.licences: dict[str, str | None] = {}
        self._records = {
            taxon * 1_000_000 + number: (taxon, number)
            for taxon, count in taxa.items()
            for number in range(count)
        }
        self._made = {
            key: self._record(key, taxon, n)
            for key, (taxon, n) in self._records.items()
        }

    @contextmanager
    def serve(self) -> Iterator[Server]:
        with Server(self) as server:
            yield server

    def __call__(self, asked: Asked) -> Answer:
        if asked.path.startswith(("/photos/", "/media/")):
            return self._photo(asked)
        if self.instead:
            return self.instead.pop(0)
        if asked.path == "/v1/occurrence/search":
            return self._search(asked)
        if found := re.fullmatch(r"/v1/occurrence/(\d+)", asked.path):
            record = self._made.get(int(found[1]))
            return _json(self._shown(record, asked)) if record else Answer(404)
        if asked.path == "/v1/species/match":
            return _json(self._match(asked.query.get("name", "")))
        return Answer(404)

    def vanish(self, key: str) -> None:
        self.gone.add(key)

    def flip(self, key: str, licence: str | None) -> None:
        self.licences[key] = licence

    def _match(self, name: str) -> dict:
        if name not in self._names:
            return {"confidence": 100, "matchType": "NONE", "synonym": False}
        return {
            "usageKey": self._names[name],
            "scientificName": f"{name} (Linnaeus, 1758)",
            "canonicalName": name,
            "rank": "SPECIES",
            "status": "ACCEPTED",
            "confidence": 99,
            "matchType": "EXACT",
            "synonym": False,
            "kingdom": "Animalia",
        }

    def _photo(self, asked: Asked) -> Answer:
        if any(key.endswith(f":{_md5(_original(asked))}") for key in self.gone):
            return Answer(404)
        number = re.sub(r"\D", "", asked.path.partition("/")[2])
        return Answer(
            200, jpeg(f"gbif {number}"), headers={"Content-Type": "image/jpeg"}
        )

    def _search(self, asked: Asked) -> Answer:
        limit = min(int(asked.query.get("limit", 20)), 300)
        offset = int(asked.query.get("offset", 0))
        if offset + limit > self._cap:
            text = f"Max offset of {self._cap} exceeded: {offset} + {limit}"
            return Answer(400, text.encode(), headers={"Content-Type": "text/plain"})
        found = [record for record in self._made.values() if _fits(record, asked.query)]
        answer = {
            "offset": offset,
            "limit": limit,
            "endOfRecords": offset + limit >= len(found),
            "count": len(found),
            "results": [self._shown(r, asked) for r in found[offset : offset + limit]],
            "facets": [],
        }
        if facet := asked.query.get("facet"):
            counts = Counter(str(r[facet]) for r in found if r.get(facet))
            rows = counts.most_common(int(asked.query.get("facetLimit", 10)))
            listed = [{"name": name, "count": count} for name, count in rows]
            answer["facets"] = [{"field": facet.upper(), "counts": listed}]
        return _json(answer)

    def _shown(self, record: dict, asked: Asked) -> dict:
        """A record as it is now, its photos on this server."""
        shown = {**record, "media": []}
        for medium in record["media"]:
            here = {**medium}
            if path := here.get("identifier"):
                here["identifier"] = f"http://{asked.headers['host']}{path}"
            key = f"{record['key']}:{_md5(here.get('identifier', ''))}"
            if key in self.licences:
                here["license"] = self.licences[key]
            if key not in self.gone:
                shown["media"].append(here)
        return shown

    def _record(self, key: int, taxon: int, number: int) -> dict:
        draw = self._draw
        citizen = draw.random() < 0.7
        year, month = draw.choice((None, *range(2012, 2024))), draw.randint(1, 12)
        record = {
            "key": key,
            "datasetKey": INATURALIST if citizen else MUSEUM,
            "basisOfRecord": "HUMAN_OBSERVATION" if citizen or number % 3 else
            "PRESERVED_SPECIMEN",
            "taxonKey": taxon,
            "scientificName": f"Species {taxon} (Linnaeus, 1758)",
            "license": "http://creativecommons.org/licenses/by-nc/4.0/legalcode",
            "recordedBy": draw.choice(("Ann", "Bo", "Cy <cy@example.org>")),
            "decimalLatitude": round(draw.uniform(-80, 80), 5),
            "decimalLongitude": round(draw.uniform(-179, 179), 5),
            "coordinateUncertaintyInMeters": draw.choice((19.0, 300.0, 28_000.0)),
            "issues": [],
            "media": [
                self._medium(key, n, citizen) for n in range(draw.choice((1, 1, 2, 3)))
            ],
        }  # fmt: skip
        if year:
            record |= {"year": year, "month": month}
            record["eventDate"] = f"{year}-{month:02}-{draw.randint(1, 28):02}T10:00:00"
        if citizen:
            address = f"https://www.inaturalist.org/observations/{key}"
            record["occurrenceID"] = address
        if number % 5 == 0:
            record["informationWithheld"] = "Coordinates hidden at the user's request"
        if number % 11 == 0:
            record["media"].append({"type": "Sound", "format": "audio/mpeg"})
        return record

    def _medium(self, key: int, number: int, citizen: bool) -> dict:
        photo = key * 10 + number
        medium = {
            "type": "StillImage",
            "format": "image/jpeg",
            "identifier": f"/media/{photo}.jpg",
            "creator": self._draw.choice(("Ann Lee", "Bo <bo@example.org>", None)),
            "publisher": "iNaturalist" if citizen else "Museum",
            "license": self._draw.choice(LICENCES),
            "rightsHolder": "Ann Lee",
        }
        if citizen:
            medium["identifier"] = f"/photos/{photo}/original.jpg"
            medium["references"] = f"https://www.inaturalist.org/photos/{photo}"
        return {name: value for name, value in medium.items() if value is not None}


def _fits(record: dict, query: dict[str, str]) -> bool:
    for name in ("taxonKey", "datasetKey", "basisOfRecord"):
        if name in query and str(record[name]) != query[name]:
            return False
    for name in ("year", "month"):
        first, _, last = query.get(name, "").partition(",")
        if first and not int(first) <= record.get(name, -1) <= int(last or first):
            return False
    return True


def _original(asked: Asked) -> str:
    path = re.sub(r"(/photos/\d+)/\w+\.", r"\1/original.", asked.path)
    return f"http://{asked.headers['host']}{path}"


def _md5(address: str) -> str:
    return hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()


def _json(content: object) -> Answer:
    return Answer(
        200,
        json.dumps(content).encode(),
        headers={"Content-Type": "application/json"},
    )
