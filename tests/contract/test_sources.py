"""What every source on the network must hold, against a stand-in of its service.

A source joins by one entry in `CASES`.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest import mock

import pytest

from curation.config import Collect, Host, Http, SourceSpec
from curation.http.door import HttpDoor
from curation.licences import normalise
from curation.schemas import from_rows
from curation.sources import Candidate, Target, source
from tests.standins import open_data
from tests.standins.commons import Commons
from tests.standins.gbif import Gbif
from tests.standins.inaturalist import World, serving
from tests.standins.openverse import Openverse
from tests.standins.pictures import jpeg
from tests.standins.server import Answer, Asked, Server

MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}", re.I)
EXACT = re.compile(r"\d+\.\d{3,}")
OPEN = ["CC0-1.0", "Public Domain", "CC-BY", "CC-BY-SA", "CC-BY-NC", "CC-BY-ND"]


@dataclass
class Case:
    """One source and a world for it.

    Attributes:
        server: stand-in of the service, or of the hosts of photos.
        spec: where its photos come from, more than one page of them.
        targets: two classes.
        vanish: takes the photo with a key away.
        flip: gives the photo with a key a licence in the service's spelling.
        licence: one that `flip` understands and no photo has.
        first: requests that the first page may take.
        placed: whether it says where photos were taken.
    """

    server: Server
    spec: SourceSpec
    targets: list[Target]
    vanish: Callable[[str], None]
    flip: Callable[[str, str | None], None]
    licence: str
    first: int = 1
    placed: bool = True
    settings: Collect = field(
        default_factory=lambda: Collect(licences=OPEN, coordinates="coarse")
    )


@contextmanager
def inaturalist(tmp_path) -> Iterator[Case]:
    world = World(observations=250)
    names = ("Ursus maritimus", "Vulpes lagopus")
    with serving(world) as server:
        yield Case(
            server,
            _spec("inaturalist", api=f"{server.url}/v1"),
            [Target(n, n, n, {"inaturalist": world.taxon(n).id}) for n in names],
            lambda key: world.remove_photo(int(key.partition("/")[2])),
            lambda key, code: world.relicense(int(key.partition("/")[2]), code),
            "cc-by-nc-nd",
            first=3,
        )


@contextmanager
def inaturalist_open_data(tmp_path) -> Iterator[Case]:
    tables = open_data.rows()
    bucket = open_data.Bucket(tables)

    def change(key: str, licence: str | None, *, keep: bool = True) -> None:
        chosen = [row for row in tables["photos"] if str(row["photo_id"]) == key]
        for row in chosen:
            row["license"] = licence or ""
            if not keep:
                tables["photos"].remove(row)
        bucket.tables = open_data.Bucket(tables).tables

    with (
        Server(bucket) as server,
        mock.patch("curation.sources.inaturalist_open_data.PAGE", 40),
    ):
        yield Case(
            server,
            _spec(
                "inaturalist_open_data",
                url=server.url,
                photo_url=f"{server.url}/photos",
                quality_grade="any",
            ),
            [
                Target("Bear", "bear", "", {"inaturalist": open_data.BEARS}),
                Target("Goose", "goose", "", {"inaturalist": open_data.GOOSE}),
            ],
            lambda key: change(key, None, keep=False),
            change,
            "CC-BY-NC-ND",
            first=4,
            placed=False,
        )


@contextmanager
def urls(tmp_path) -> Iterator[Case]:
    path, gone = tmp_path / "list.csv", set()
    targets = [Target("Ice bear", "ice bear"), Target("Cheetah", "cheetah")]

    def reply(asked: Asked) -> Answer:
        name = asked.path.partition("/photo/")[2]
        return Answer(200, jpeg(name)) if name and name not in gone else Answer(404)

    def write() -> None:
        lines = ["url,class,licence,author"]
        lines += [",".join(row) for row in rows.values()]
        path.write_text("\n".join(lines))

    def flip(key: str, licence: str | None) -> None:
        rows[key][2] = licence or ""
        write()

    with Server(reply) as server, mock.patch("curation.sources.urls.PAGE", 20):
        rows = {
            f"{server.url}/photo/{number}.jpg": [
                f"{server.url}/photo/{number}.jpg",
                targets[number % 2].name,
                "CC BY 4.0" if number % 5 else "",
                "Ann ann@example.org",
            ]
            for number in range(90)
        }
        write()
        yield Case(
            server,
            _spec("urls", path=path),
            targets,
            lambda key: gone.add(key.rpartition("/")[2]),
            flip,
            "CC BY-ND 4.0",
            first=0,
            placed=False,
        )


@contextmanager
def gbif(tmp_path) -> Iterator[Case]:
    world = Gbif({5: 90, 6: 30})
    targets = [
        Target("Ice bear", "ice bear", "Species 5", {"gbif": 5}),
        Target("Cheetah", "cheetah", "Species 6", {"gbif": 6}),
    ]
    with world.serve() as server:
        yield Case(
            server,
            _spec("gbif", api=f"{server.url}/v1", page_size=10, window=40, records=500),
            targets,
            world.vanish,
            world.flip,
            "http://creativecommons.org/licenses/by-nd/4.0/",
            first=26,
        )


@contextmanager
def commons(tmp_path) -> Iterator[Case]:
    world = Commons({"Ursus maritimus": 130, "Acinonyx jubatus": 20})
    targets = [
        Target("Ice bear", "ice bear", "Ursus maritimus"),
        Target("Cheetah", "cheetah", "Acinonyx jubatus"),
    ]
    with world.serve() as server:
        yield Case(
            server,
            _spec("commons", api=f"{server.url}/w/api.php", records=500),
            targets,
            world.vanish,
            world.flip,
            "CC BY-ND 4.0",
            first=2,
        )


@contextmanager
def openverse(tmp_path) -> Iterator[Case]:
    world = Openverse({"ice bear": 300, "cheetah": 30})
    targets = [Target("Ice bear", "ice bear"), Target("Cheetah", "cheetah")]
    with world.serve() as server:
        yield Case(
            server,
            _spec("openverse", api=f"{server.url}/v1"),
            targets,
            world.vanish,
            world.flip,
            "by-nc-nd 4.0",
            placed=False,
        )


def _spec(kind: str, **fields: object) -> SourceSpec:
    return source(kind).Spec(kind=kind, **fields)


CASES = {
    "inaturalist": inaturalist,
    "inaturalist_open_data": inaturalist_open_data,
    "gbif": gbif,
    "commons": commons,
    "openverse": openverse,
    "urls": urls,
}


@pytest.fixture(params=sorted(CASES))
def case(request, tmp_path):
    with CASES[request.param](tmp_path) as made:
        yield made


@pytest.fixture
def door(tmp_path):
    http = Http(
        contact="tests@example.org",
        attempts=3,
        hosts=[Host(name="127.0.0.1", private=True)],
    )
    with HttpDoor(http, state=tmp_path / "hosts", sleep=lambda _: None) as opened:
        yield opened


def crawl(case, door, cursor=None, settings=None):
    return source(case.spec.kind).pages(
        case.spec,
        case.targets,
        settings=settings or case.settings,
        cursor=cursor,
        door=door,
    )


def everything(case, door) -> list[Candidate]:
    return [one for page in crawl(case, door) for one in page.candidates]


def test_module(case):
    module = source(case.spec.kind)
    assert module.REMOTE is True
    assert isinstance(module.PER_CLASS, bool)
    assert issubclass(module.Spec, SourceSpec)
    for name, known in module.Spec.model_fields.items():
        assert known.description, name


def test_pages_come_in_a_stable_order(case, door):
    first, second = list(crawl(case, door)), list(crawl(case, door))
    assert first == second
    assert len(first) > 2
    assert [page.cursor is None for page in first] == [False] * (len(first) - 1) + [
        True
    ]


@pytest.mark.parametrize("order", ["newest", "oldest", "random"])
def test_going_on_after_any_page_gives_the_rest(case, door, order):
    settings = case.settings.model_copy(update={"order": order})
    whole = list(crawl(case, door, settings=settings))
    for place, page in enumerate(whole[:-1]):
        rest = list(crawl(case, door, page.cursor, settings))
        assert rest == whole[place + 1 :]


def test_no_record_comes_twice(case, door):
    found = everything(case, door)
    ids = [one.candidate_id for one in found]
    assert len(ids) == len(set(ids))
    assert {one.class_ for one in found} == {target.name for target in case.targets}


def test_a_page_is_asked_for_when_it_is_wanted(case, door):
    pages = crawl(case, door)
    assert case.server.asked == []
    next(pages)
    taken = len(case.server.asked)
    assert taken <= case.first
    next(pages)
    assert len(case.server.asked) <= taken + max(case.first, 1)


def test_candidates(case, door):
    for one in everything(case, door):
        assert one.source == case.spec.kind
        assert one.key
        if one.refused is None:
            assert one.url.startswith(("http://", "https://"))
            assert one.photo_key
            assert one.licence == normalise(one.licence)
            assert one.licence_text
        else:
            assert one.url == "" or one.url.startswith(("http://", "https://"))
        assert one.source_url is None or one.source_url.startswith("http")
        assert one.observed_on is None or re.fullmatch(
            r"\d{4}-\d\d-\d\d", one.observed_on
        )


def test_nothing_private_is_kept(case, door):
    places = 0
    for one in everything(case, door):
        shown = [
            getattr(one, name)
            for name in ("title", "author", "observer", "attribution", "note", "key",
                         "licence_text", "refused", "source_url", "photo_key")
        ]  # fmt: skip
        assert not [said for said in shown if said and MAIL.search(said)]
        for degrees in (one.latitude, one.longitude):
            assert degrees is None or round(degrees, 1) == degrees
            places += degrees is not None
    assert bool(places) is case.placed
    dropped = case.settings.model_copy(update={"coordinates": "drop"})
    for page in crawl(case, door, settings=dropped):
        for one in page.candidates:
            assert one.latitude is None
            assert one.longitude is None


def test_candidates_fit_the_table(case, door):
    rows = [
        {
            "candidate_id": one.candidate_id,
            "class": one.class_,
            "place": 0,
            "order": 0,
            **{
                name: getattr(one, name)
                for name in Candidate.__slots__
                if name != "class_"
            },
        }
        for one in everything(case, door)
    ]
    assert from_rows(rows, "candidates").num_rows == len(rows)


def test_cost_is_not_less_than_what_was_asked(case, door):
    everything(case, door)
    estimate = source(case.spec.kind).cost(
        case.spec, case.targets, settings=case.settings
    )
    assert sum(estimate.requests.values()) >= len(case.server.asked)
    assert set(estimate.requests) <= {"127.0.0.1"}
    assert estimate.photos > 0
    assert estimate.bytes > 0


def test_photos_are_where_candidates_say(case, door):
    usable = [one for one in everything(case, door) if not one.refused]
    bodies = {door.photo(one.url, limit=100_000) for one in usable[:5]}
    assert len(bodies) == 5


def test_licences_that_changed_and_photos_that_are_gone(case, door):
    usable = [one for one in everything(case, door) if not one.refused]
    same, flipped, unlicensed, gone = usable[:4]
    case.flip(flipped.key, case.licence)
    case.flip(unlicensed.key, None)
    case.vanish(gone.key)
    keys = [one.key for one in usable[:30]]
    now = {
        standing.key: standing
        for standing in source(case.spec.kind).again(case.spec, keys, door=door)
    }
    assert set(now) == set(keys)
    assert now[same.key].state == "there"
    assert now[same.key].licence_text == same.licence_text
    assert normalise(now[flipped.key].licence_text) == normalise(case.licence)
    assert now[unlicensed.key].licence_text is None
    assert (now[gone.key].state, now[gone.key].licence_text) == ("gone", None)
    changed = {one.photo_key for one in usable[:4]}
    for one in usable[4:30]:
        if one.photo_key not in changed:
            assert now[one.key].licence_text == one.licence_text
