"""Wikimedia Commons: the MediaWiki Action API for files, and the files.

As the service: categories and search as generators; `continue`, also in the middle of
a batch; errors with status 200, `maxlag` among them with Retry-After; 403 without a
User-Agent that says how to reach its user; thumbnails in the widths that are kept.
"""

import hashlib
import json
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.standins.pictures import jpeg
from tests.standins.server import Answer, Asked, Server

STEPS = (20, 40, 60, 120, 250, 330, 500, 960, 1280, 1920, 3840)
LICENCES = (
    ("cc-by-sa-4.0", "CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0"),
    ("cc-by-2.0", "CC BY 2.0", "https://creativecommons.org/licenses/by/2.0"),
    ("cc0", "CC0", "http://creativecommons.org/publicdomain/zero/1.0/deed.en"),
    ("pd", "Public domain", None),
    ("cc-by-sa-3.0", "CC BY-SA 3.0 or GFDL", None),
    ("attribution", "Attribution", None),
    (None, None, None),
)
ARTISTS = (
    '<a href="//commons.wikimedia.org/wiki/User:Ann" title="User:Ann">Ann</a>',
    "<span style='display:none'>creator QS:P170</span><b>Bo &amp; Co</b>",
    "<script>alert(1)</script>Cy, cy@example.org",
    None,
)


class Commons:
    """A world of files.

    Args:
        categories: files by name of the category.
        seed: of the world.
        part: files whose imageinfo one answer holds.

    Attributes:
        instead: answers to give, in turn, to the next questions.
        gone: page ids of deleted files.
        licences: a file's licence by its page id, where it is not the first one.
    """

    def __init__(
        self, categories: dict[str, int], *, seed: int = 0, part: int = 30
    ) -> None:
        self._part, self._draw = part, random.Random(seed)
        self.instead: list[Answer] = []
        self.gone: set[str] = set()
        self.licences: dict[str, str | None] = {}
        self._files: dict[str, dict] = {}
        self._members: dict[str, list[str]] = {}
        for category, count in categories.items():
            for _ in range(count):
                page = str(1000 + 7 * len(self._files))
                self._files[page] = self._file(category, page)
                self._members.setdefault(category, []).append(page)

    @contextmanager
    def serve(self) -> Iterator[Server]:
        with Server(self) as server:
            yield server

    def __call__(self, asked: Asked) -> Answer:
        agent = asked.headers.get("user-agent", "")
        if not re.search(r"@|https?://", agent) or agent.startswith("python-requests"):
            return Answer(403, b"Please set a user-agent and respect our robot policy")
        if asked.path.startswith("/wikipedia/"):
            return self._photo(asked)
        if asked.path != "/w/api.php":
            return Answer(404)
        if self.instead:
            return self.instead.pop(0)
        return _json(self._query(asked))

    def vanish(self, key: str) -> None:
        self.gone.add(key)

    def flip(self, key: str, licence: str | None) -> None:
        self.licences[key] = licence

    def _photo(self, asked: Asked) -> Answer:
        page = re.findall(r"(\d+)\.\w+", asked.path)[-1]
        if page in self.gone:
            return Answer(404)
        found = re.search(r"/(\d+)px-", asked.path)
        size = (64, 48) if not found else (60, 45)
        return Answer(200, jpeg(f"commons {page}", *size))

    def _query(self, asked: Asked) -> dict:
        query = asked.query
        if query.get("action") != "query" or query.get("formatversion") != "2":
            return _error("badvalue", "Unrecognized value for parameter.")
        if "pageids" in query:
            named, follow = query["pageids"].split("|"), None
            if len(named) > 50:
                return _error("toomanyvalues", "Too many values supplied: 50 allowed.")
            start = 0
        else:
            members = self._generated(query)
            name = "gcmcontinue" if "gcmtitle" in query else "gsroffset"
            limit = int(query.get("gcmlimit", query.get("gsrlimit", 10)))
            at = query.get(name, "0").rpartition("|")[2]
            start = int(at) if at.isdigit() else 0
            named = members[start : start + limit]
            more = start + limit < len(members)
            after = f"file|{'4A' * 4}|{start + limit}"
            follow = {name: after if name == "gcmcontinue" else start + limit}
            follow = {**follow, "continue": f"{name}||"} if more else None
        if not named:
            return {"batchcomplete": True}
        told = int(query.get("iicontinue", 0))
        part = range(told, told + self._part)
        pages = [
            self._page(page, asked, index=start + place + 1, told=place in part)
            for place, page in enumerate(named)
        ]
        answer = {"query": {"pages": sorted(pages, key=lambda page: page["pageid"])}}
        if told + self._part < len(named):
            kept = {k: query[k] for k in ("gcmcontinue", "gsroffset") if k in query}
            go_on = {"iicontinue": str(told + self._part), "continue": "||"}
            return {"continue": {**kept, **go_on}, **answer}
        answer["batchcomplete"] = True
        return {"continue": follow, **answer} if follow else answer

    def _generated(self, query: dict[str, str]) -> list[str]:
        """Files that the generator finds, deleted ones left out."""
        if title := query.get("gcmtitle"):
            found = self._members.get(title.removeprefix("Category:"), [])
        else:
            words = query["gsrsearch"].removesuffix(" filetype:bitmap")
            words = re.sub(r'deepcat:"(.*)"', r"\1", words)
            found = [
                page
                for name, pages in self._members.items()
                if words.lower() in name.lower()
                for page in pages
                if self._files[page]["mime"] != "image/svg+xml"
            ]
        if query.get("gcmdir") == "desc":
            found = found[::-1]
        return [page for page in found if page not in self.gone]

    def _page(self, page: str, asked: Asked, *, index: int, told: bool) -> dict:
        if page not in self._files or page in self.gone:
            return {"pageid": int(page), "missing": True}
        file = self._files[page]
        shown = {"pageid": int(page), "ns": 6, "title": f"File:{file['name']}"}
        if "generator" in asked.query and asked.query["generator"] == "search":
            shown["index"] = index
        if not told:
            return shown
        host = f"http://{asked.headers['host']}/wikipedia/commons"
        meta = dict(file["meta"])
        if page in self.licences:
            meta = {k: v for k, v in meta.items() if not k.startswith("License")}
            if self.licences[page]:
                meta["LicenseShortName"] = {"value": self.licences[page]}
        info = {
            "user": "Uploader",
            "size": 1_353_326,
            "width": file["width"],
            "height": 2400,
            "url": f"{host}/a/a2/{file['name']}",
            "descriptionurl": f"https://commons.wikimedia.org/wiki/File:{file['name']}",
            "sha1": hashlib.sha1(page.encode(), usedforsecurity=False).hexdigest(),
            "mime": file["mime"],
            "extmetadata": meta,
        }
        if wanted := int(asked.query.get("iiurlwidth", 0)):
            step = next(step for step in STEPS if step >= wanted)
            small = f"{host}/thumb/a/a2/{file['name']}/{step}px-{file['name']}"
            info["thumburl"] = small if file["width"] > step else info["url"]
        return {**shown, "imagerepository": "local", "imageinfo": [info]}

    def _file(self, category: str, page: str) -> dict:
        draw = self._draw
        code, short, url = draw.choice(LICENCES)
        form = "svg" if draw.random() < 0.08 else "jpg"
        meta = {
            "License": code,
            "LicenseShortName": short,
            "LicenseUrl": url,
            "Artist": draw.choice(ARTISTS),
            "DateTimeOriginal": draw.choice(
                ("2009-02-01", "2014-05-12 10:22:33", "circa 1900", None)
            ),
            "AttributionRequired": "true",
            "Restrictions": draw.choice(("", "", "", "personality")),
            "GPSLatitude": draw.choice((None, 48.123456)),
            "GPSLongitude": 11.654321,
        }
        return {
            "name": f"{category.replace(' ', '_')}_{page}.{form}",
            "mime": "image/svg+xml" if form == "svg" else "image/jpeg",
            "width": draw.choice((640, 3746)),
            "meta": {
                name: {"value": value, "source": "commons-desc-page"}
                for name, value in meta.items()
                if value is not None
            },
        }


def lagging(seconds: float = 6.2) -> Answer:
    """What is answered while the databases lag behind."""
    info = f"Waiting for 10.64.48.35: {seconds} seconds lagged."
    body = _error("maxlag", info) | {"servedby": "mw1"}
    body["error"] |= {"host": "10.64.48.35", "lag": seconds, "type": "db"}
    return Answer(
        200,
        json.dumps(body).encode(),
        headers={"Retry-After": "5", "MediaWiki-API-Error": "maxlag"},
    )


def _error(code: str, info: str) -> dict:
    return {"error": {"code": code, "info": info, "docref": "See api.php"}}


def _json(content: object) -> Answer:
    return Answer(
        200, json.dumps(content).encode(), headers={"Content-Type": "application/json"}
    )
