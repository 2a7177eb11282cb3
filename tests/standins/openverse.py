"""Openverse's API v1: image search, single works, and their photos.

As the service for those without an account: 401 above 20 records a page, nothing beyond
the 240th, limits a minute and a day with their headers.
"""

import json
import random
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from tests.standins.pictures import jpeg
from tests.standins.server import Answer, Asked, Server

CODES = (
    "by", "by-nc", "by-nc-nd", "by-nc-sa", "by-nd", "by-sa", "cc0",
    "nc-sampling+", "pdm", "sampling+",
)  # fmt: skip


class Openverse:
    """A world of works.

    Args:
        works: how many are found by each question.
        seed: of the world.
        burst: questions that are answered at all; the next get 429.

    Attributes:
        instead: answers to give, in turn, to the next questions.
        gone: ids of works that are not known any more.
        licences: a work's code and version by its id, where it is not the first one.
    """

    def __init__(
        self, works: dict[str, int], *, seed: int = 0, burst: int | None = None
    ) -> None:
        self._draw, self._burst = random.Random(seed), burst
        self.instead: list[Answer] = []
        self.gone: set[str] = set()
        self.licences: dict[str, str | None] = {}
        self._works = {
            words: [self._work(words, number) for number in range(count)]
            for words, count in works.items()
        }

    @contextmanager
    def serve(self) -> Iterator[Server]:
        with Server(self) as server:
            yield server

    def __call__(self, asked: Asked) -> Answer:
        if asked.path.startswith("/photo/"):
            return self._photo(asked)
        if self.instead:
            return self.instead.pop(0)
        if self._burst is not None:
            if self._burst == 0:
                return _json({"detail": "Request was throttled."}, 429)
            self._burst -= 1
        if asked.path == "/v1/images/":
            return self._search(asked)
        if found := re.fullmatch(r"/v1/images/([0-9a-f-]{36})/", asked.path):
            for work in (work for works in self._works.values() for work in works):
                if work["id"] == found[1] and work["id"] not in self.gone:
                    return _json(self._shown(work, asked))
        return _json({"detail": "No Image matches the given query."}, 404)

    def vanish(self, key: str) -> None:
        self.gone.add(key)

    def flip(self, key: str, licence: str | None) -> None:
        self.licences[key] = licence

    def _photo(self, asked: Asked) -> Answer:
        work = asked.path.split("/")[2].partition(".")[0]
        return Answer(404) if work in self.gone else Answer(200, jpeg(work))

    def _search(self, asked: Asked) -> Answer:
        query = asked.query
        size, page = int(query.get("page_size", 20)), int(query.get("page", 1))
        if size > 20:
            detail = "page_size may not exceed 20 for anonymous requests"
            return _json({"detail": detail}, 401)
        if size < 1 or page < 1 or size * page > 240:
            return _json({"detail": "Pages beyond the 240th result are not shown"}, 400)
        codes = [code for code in query.get("license", "").split(",") if code]
        for code in codes:
            if code not in CODES:
                detail = {"license": [f"License '{code}' does not exist."]}
                return _json({"detail": detail}, 400)
        found = [
            work
            for work in self._works.get(query.get("q", ""), [])
            if work["id"] not in self.gone
            and (not codes or work["license"] in codes)
            and query.get("source", work["source"]) == work["source"]
        ][:240]
        return _json(
            {
                "result_count": len(found),
                "page_count": -(-len(found) // size),
                "page_size": size,
                "page": page,
                "results": [
                    self._shown(work, asked)
                    for work in found[size * (page - 1) : size * page]
                ],
            }
        )

    def _shown(self, work: dict, asked: Asked) -> dict:
        shown = {**work, "url": f"http://{asked.headers['host']}{work['url']}"}
        if work["id"] in self.licences:
            code, _, version = (self.licences[work["id"]] or "").partition(" ")
            shown |= {"license": code, "license_version": version}
        return shown

    def _work(self, words: str, number: int) -> dict:
        draw = self._draw
        key = str(uuid.UUID(int=draw.getrandbits(128), version=4))
        source = draw.choice(("flickr", "flickr", "wikimedia", "inaturalist"))
        page = {
            "flickr": f"https://www.flickr.com/photos/31575009@N05/{5000 + number}",
            "wikimedia": f"https://commons.wikimedia.org/w/index.php?curid={number}",
            "inaturalist": f"https://www.inaturalist.org/photos/{9000 + number}",
        }[source]
        code, version = draw.choice(
            (("by", "2.0"), ("by-nc", "4.0"), ("cc0", "1.0"), ("pdm", "1.0"),
             ("by-nd", "2.0"), ("sampling+", "1.0"))
        )  # fmt: skip
        creator = draw.choice(("Ann", "Bo bo@example.org", None))
        return {
            "id": key,
            "indexed_on": "2024-01-01T00:00:00Z",
            "title": f"{words} {number}",
            "foreign_landing_url": page,
            "url": f"/photo/{key}.jpg",
            "creator": creator,
            "creator_url": f"https://www.flickr.com/photos/{draw.randint(1, 9)}@N05",
            "license": code,
            "license_version": version,
            "license_url": f"https://creativecommons.org/licenses/{code}/{version}/",
            "provider": source,
            "source": source,
            "category": draw.choice((None, "photograph", "illustration")),
            "filesize": None,
            "filetype": draw.choice(("jpg", "jpg", "svg")),
            "tags": [{"name": words, "accuracy": None}],
            "attribution": f'"{words} {number}" by {creator} is licensed under '
            f"CC {code.upper()} {version}.",
            "fields_matched": ["title"],
            "mature": number % 13 == 5,
            "height": 768,
            "width": 1024,
        }


def _json(content: object, status: int = 200) -> Answer:
    headers = {
        "Content-Type": "application/json",
        "x-ratelimit-limit-anon_burst": "20/min",
        "x-ratelimit-limit-anon_sustained": "200/day",
    }
    if status == 429:
        headers["Retry-After"] = "30"
    return Answer(status, json.dumps(content).encode(), headers=headers)
