"""iNaturalist's open data: four tab-separated tables, and the photos they name.

As the real ones are: gzip, a header, no quoting (names hold quotation marks), licences
in capitals without a version, ancestry without the taxon itself, photos and observers
that the other tables do not know, a photo that is in two observations, and rows in no
order.
"""

import gzip
import io
import random
import uuid
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

from PIL import Image

from tests.standins.server import Answer, Asked

COLUMNS = {
    "taxa": ["taxon_id", "ancestry", "rank_level", "rank", "name", "active"],
    "observations": [
        "observation_uuid",
        "observer_id",
        "latitude",
        "longitude",
        "positional_accuracy",
        "taxon_id",
        "quality_grade",
        "observed_on",
        "anomaly_score",
    ],
    "photos": [
        "photo_uuid",
        "photo_id",
        "observation_uuid",
        "observer_id",
        "extension",
        "license",
        "width",
        "height",
        "position",
    ],
    "observers": ["observer_id", "login", "name"],
}
LICENCES = [
    "CC0",
    "CC-BY",
    "CC-BY-NC",
    "CC-BY-SA",
    "CC-BY-ND",
    "CC-BY-NC-SA",
    "CC-BY-NC-ND",
    "PD",
]
EXTENSIONS = ["jpg", "jpeg", "JPG", "png", "gif"]
BEARS, POLAR_BEAR, BROWN_BEAR, KODIAK, GOOSE = 41636, 41638, 41641, 41642, 7018
TAXA = [
    {"taxon_id": 48460, "ancestry": "", "rank": "stateofmatter", "name": "Life"},
    {"taxon_id": 1, "ancestry": "48460", "rank": "kingdom", "name": "Animalia"},
    {"taxon_id": BEARS, "ancestry": "48460/1", "rank": "family", "name": "Ursidae"},
    {
        "taxon_id": POLAR_BEAR,
        "ancestry": f"48460/1/{BEARS}",
        "rank": "species",
        "name": "Ursus maritimus",
    },
    {
        "taxon_id": BROWN_BEAR,
        "ancestry": f"48460\\1\\{BEARS}",
        "rank": "species",
        "name": "Ursus arctos",
    },
    {
        "taxon_id": KODIAK,
        "ancestry": f"48460/1/{BEARS}/{BROWN_BEAR}",
        "rank": "subspecies",
        "name": "Ursus arctos middendorffi",
    },
    {"taxon_id": GOOSE, "ancestry": "48460/1", "rank": "species", "name": 'Anser "x"'},
]

Rows = Sequence[Mapping[str, object]]


def rows(count: int = 400, *, seed: int = 0) -> dict[str, list[dict[str, object]]]:
    """Tables of `count` observations, most with one photo, some with several."""
    chance = random.Random(seed)
    observers = [
        {
            "observer_id": one,
            "login": f"user{one}",
            "name": chance.choice(["", f'A "{one}"']),
        }
        for one in range(1, 31)
    ]
    observations, photos = [], []
    for _ in range(count):
        key = str(uuid.UUID(int=chance.getrandbits(128)))
        observer = chance.randint(1, 33)  # three that are in no table
        day = date(2020, 1, 1) + timedelta(days=chance.randrange(700))
        observations.append(
            {
                "observation_uuid": key,
                "observer_id": observer,
                "latitude": f"{chance.uniform(-90, 90):.5f}",
                "longitude": f"{chance.uniform(-180, 180):.5f}",
                "positional_accuracy": chance.choice(["", "12", "28000"]),
                "taxon_id": chance.choice([one["taxon_id"] for one in TAXA] + [999999]),
                "quality_grade": chance.choice(
                    ["research"] * 3 + ["needs_id", "casual"]
                ),
                "observed_on": chance.choice([day.isoformat()] * 9 + [""]),
                "anomaly_score": "",
            }
        )
        for position in range(chance.choice([0, 1, 1, 1, 2, 5])):
            photos.append(_photo(chance, len(photos) + 1000, key, observer, position))
    for _ in range(count // 20):
        known = chance.choice(photos)
        of = chance.choice(observations)["observation_uuid"]
        photos.append({**known, "observation_uuid": of})
        stray = str(uuid.UUID(int=chance.getrandbits(128)))
        photos.append(_photo(chance, len(photos) + 1000, stray, 1, 0))
    for table in (observations, photos, observers):
        chance.shuffle(table)
    tables = {"observations": observations, "photos": photos, "observers": observers}
    return {"taxa": [dict(one) for one in TAXA], **tables}


def _photo(
    chance: random.Random, number: int, key: str, observer: int, position: int
) -> dict[str, object]:
    return {
        "photo_uuid": str(uuid.UUID(int=chance.getrandbits(128))),
        "photo_id": number,
        "observation_uuid": key,
        "observer_id": observer,
        "extension": chance.choice(EXTENSIONS),
        "license": chance.choice(LICENCES),
        "width": 1024,
        "height": 768,
        "position": position,
    }


def text(name: str, table: Rows, *, end: str = "\n") -> bytes:
    """A table as the service writes it."""
    columns = COLUMNS[name]
    lines = ["\t".join(columns)]
    lines += ["\t".join(str(row.get(one, "")) for one in columns) for row in table]
    return "".join(line + end for line in lines).encode()


def write(folder: Path, tables: Mapping[str, Rows], *, packed: bool = True) -> Path:
    """The tables as files, gzip unless not `packed`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        content = text(name, table)
        if packed:
            (folder / f"{name}.csv.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            (folder / f"{name}.csv").write_bytes(content)
    return folder


class Bucket:
    """Answers of the bucket: tables and photos.

    Attributes:
        tables: rows of each table.
        broken: how often each table, by its path, still breaks off in the middle.
        gone: ids of photos whose files are not there any more.
    """

    def __init__(self, tables: Mapping[str, Rows]) -> None:
        self.tables = {name: [dict(row) for row in tables[name]] for name in tables}
        self.broken: dict[str, int] = {}
        self.gone: set[str] = set()

    def vanish(self, photo: str) -> None:
        """Take a photo away: its file, and its rows in next month's table."""
        self.gone.add(photo)
        rows = self.tables["photos"]
        self.tables["photos"] = [row for row in rows if str(row["photo_id"]) != photo]

    def flip(self, photo: str, licence: str | None) -> None:
        """Give a photo another licence in next month's table."""
        for row in self.tables["photos"]:
            if str(row["photo_id"]) == photo:
                row["license"] = licence or ""

    def _table(self, path: str) -> bytes | None:
        name = path.removeprefix("/").removesuffix(".csv.gz")
        if name not in self.tables or not path.endswith(".csv.gz"):
            return None
        return gzip.compress(text(name, self.tables[name]), mtime=0)

    def __call__(self, asked: Asked) -> Answer:
        body = self._table(asked.path)
        if body is not None:
            if self.broken.get(asked.path, 0):
                self.broken[asked.path] -= 1
                return Answer(body=body[: len(body) // 2], length=len(body))
            return Answer(body=body, headers={"Content-Type": "binary/octet-stream"})
        parts = asked.path.split("/")
        if parts[1] != "photos" or len(parts) != 4:
            body = b"<Error><Code>NoSuchKey</Code></Error>"
            return Answer(404, body, {"Content-Type": "application/xml"})
        if parts[2] in self.gone:
            body = b"<Error><Code>AccessDenied</Code></Error>"
            return Answer(403, body, {"Content-Type": "application/xml"})
        return Answer(
            body=picture(int(parts[2])), headers={"Content-Type": "image/jpeg"}
        )


def picture(number: int) -> bytes:
    """A JPEG that differs from number to number."""
    chance = random.Random(number)
    image = Image.frombytes("RGB", (8, 8), chance.randbytes(8 * 8 * 3)).resize((96, 64))
    data = io.BytesIO()
    image.save(data, "JPEG")
    return data.getvalue()
