"""GBIF: cut into searches that are small enough, read without trust."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from curation.config import Collect, Host, Http
from curation.errors import ConfigError, HostBlocked, InputError, SourceError
from curation.http.door import HttpDoor
from curation.sources import Target, gbif
from tests.standins.gbif import Gbif
from tests.standins.server import Answer
from tests.standins.shapes import anything, damaged, keepable

BEAR = Target("Ice bear", "ice bear", "Species 5", {"gbif": 5})
COARSE = Collect(coordinates="coarse")
MEDIUM = {
    "type": "StillImage",
    "format": "image/jpeg",
    "identifier": "https://inaturalist-open-data.s3.amazonaws.com/photos/30065447/"
    "original.jpg",
    "references": "https://www.inaturalist.org/photos/30065447",
    "created": "2019-01-09T16:06:54Z",
    "creator": "John Waller",
    "publisher": "iNaturalist",
    "license": "http://creativecommons.org/licenses/by-nc/4.0/",
    "rightsHolder": "John Waller",
}
RECORD = {
    "key": 4510402016,
    "scientificName": "Myocastor coypus (Molina, 1782)",
    "occurrenceID": "https://www.inaturalist.org/observations/19535428",
    "recordedBy": "John Waller",
    "eventDate": "2019-01-09T16:06:54",
    "decimalLatitude": 48.754321,
    "decimalLongitude": 25.106789,
    "coordinateUncertaintyInMeters": 19.0,
    "media": [MEDIUM],
}


class Says:
    """A door that gives the same answers to every question."""

    def __init__(self, counts, results):
        self._counts, self._results = counts, results
        self.asked = []

    def json(self, url, *, params=None, contact=False):
        self.asked.append(params or {})
        return self._counts if "facet" in (params or {}) else self._results


def one(record=None, **changes):
    """The first candidate of a record; the last argument names media fields."""
    media = {**MEDIUM, **changes.pop("medium", {})}
    told = {**RECORD, "media": [media], **changes} if record is None else record
    door = Says({"count": 1}, {"results": [told]})
    (page,) = crawl(door, COARSE)
    return page.candidates[0]


def crawl(door, settings=None, cursor=None, target=BEAR, **fields):
    spec = gbif.Spec(kind="gbif", **fields)
    return list(
        gbif.pages(
            spec, [target], settings=settings or Collect(), cursor=cursor, door=door
        )
    )


@pytest.fixture
def door(tmp_path):
    hosts = [Host(name="127.0.0.1", private=True)]
    with HttpDoor(
        Http(attempts=4, hosts=hosts), state=tmp_path / "hosts", sleep=lambda _: None
    ) as opened:
        yield opened


def test_an_inaturalist_photo():
    found = one()
    assert found.key == "4510402016:" + found.key.partition(":")[2]
    assert len(found.key.partition(":")[2]) == 32
    assert found.photo_key == "inaturalist:30065447"
    assert found.observation_id == "inaturalist:19535428"
    assert found.url.endswith("/photos/30065447/medium.jpg")
    assert found.observer == "gbif:John Waller"
    assert found.source_url == "https://www.inaturalist.org/photos/30065447"
    assert found.licence == "CC-BY-NC-4.0"
    assert found.licence_text == MEDIUM["license"]
    assert found.attribution == "John Waller, iNaturalist, CC-BY-NC-4.0, via GBIF"
    assert found.observed_on == "2019-01-09"
    assert (found.latitude, found.longitude) == (48.8, 25.1)
    assert found.refused is None


def test_another_photo():
    found = one(
        occurrenceID="urn:catalog:9",
        medium={"identifier": "https://a.example/p/original.png", "references": None},
    )
    assert found.url == "https://a.example/p/original.png"
    assert found.photo_key == "url:https://a.example/p/original.png"
    assert found.observation_id == "gbif:4510402016"
    assert found.source_url == "https://www.gbif.org/occurrence/4510402016"


@pytest.mark.parametrize(
    ("size", "end"),
    [
        ("medium", "medium.jpg"),
        ("large", "large.jpg"),
        ("original", "original.jpg"),
    ],
)
def test_sizes(size, end):
    (page,) = crawl(Says({"count": 1}, {"results": [RECORD]}), size=size)
    assert page.candidates[0].url.endswith(f"/30065447/{end}")
    assert page.candidates[0].revision == size


@pytest.mark.parametrize(
    ("medium", "reason"),
    [
        ({"license": None}, "no licence is stated"),
        ({"license": {}}, "no licence is stated"),
        ({"license": "© me"}, "licence not recognised: © me"),
        ({"type": "Sound"}, "not a still image: Sound"),
        ({"type": None, "format": "video/mp4"}, "not a still image: video/mp4"),
        ({"identifier": None}, "no address that can be used is stated"),
        ({"identifier": "ftp://a.b/c.jpg"}, "no address that can be used is stated"),
        ({"identifier": "http://u:p@a.b/c"}, "no address that can be used is stated"),
        ({"identifier": "http://[oops/c"}, "no address that can be used is stated"),
    ],
)
def test_refused(medium, reason):
    assert one(medium=medium).refused == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"informationWithheld": "Coordinates hidden"},
        {"dataGeneralizations": "rounded"},
        {"coordinateUncertaintyInMeters": 28_000},
        {"decimalLatitude": 91},
        {"decimalLatitude": None},
        {"decimalLongitude": float("nan")},
    ],
)
def test_places_that_may_be_hidden_are_left_out(changes):
    found = one(**changes)
    assert (found.latitude, found.longitude) == (None, None)


def test_photos_of_one_occurrence_share_it():
    other = {**MEDIUM, "identifier": "https://a.example/2.jpg"}
    record = {**RECORD, "media": [MEDIUM, other, MEDIUM, "odd"]}
    (page,) = crawl(Says({"count": 1}, {"results": [record]}))
    assert len(page.candidates) == 2
    assert len({found.key for found in page.candidates}) == 2
    assert {found.observation_id for found in page.candidates} == {
        "inaturalist:19535428"
    }


@pytest.mark.parametrize("record", [None, 7, "text", [], {}, {"key": 1.5}])
def test_records_that_cannot_be_read_stay_candidates(record):
    (page,) = crawl(Says({"count": 1}, {"results": [record]}))
    assert page.candidates[0].refused == "the record has no key"
    assert page.candidates[0].key.startswith("unreadable:")


def test_the_search():
    door = Says({"count": 0}, {"results": []})
    crawl(door, dataset="50c9", basis="")
    assert door.asked == [
        {
            "taxonKey": 5,
            "mediaType": "StillImage",
            "datasetKey": "50c9",
            "facet": "year",
            "limit": 0,
            "facetLimit": 1000,
            "facetMincount": 1,
        }
    ]


def test_a_class_without_taxon():
    with pytest.raises(ConfigError, match="'Cat' has no GBIF taxon"):
        crawl(Says({}, {}), target=Target("Cat", "cat"))


@pytest.mark.parametrize("order", ["newest", "oldest", "random"])
def test_a_large_class_is_cut_until_each_search_fits(door, order, caplog):
    world = Gbif({5: 900}, cap=30)
    with world.serve() as server:
        (*_, last) = pages = crawl(
            door,
            Collect(order=order),
            api=f"{server.url}/v1",
            window=30,
            page_size=10,
            basis="",
        )
        keys = [c.key.partition(":")[0] for page in pages for c in page.candidates]
        searches = [a.query for a in server.asked if a.query["limit"] != "0"]
    assert last.cursor is None
    dated = {str(r["key"]) for r in world._made.values() if "year" in r}
    assert set(keys) == dated
    assert "have no year and are left out" in caplog.text
    assert all(int(q["offset"]) + int(q["limit"]) <= 30 for q in searches)
    years = [q["year"] for q in searches]
    if order == "random":
        assert years != sorted(years)
    else:
        assert years == sorted(years, reverse=order == "newest")


def test_random_depends_on_the_seed_alone(door):
    with Gbif({5: 200}).serve() as server:
        first, again, other = (
            [
                [found.key for found in page.candidates]
                for page in crawl(
                    door, Collect(seed=seed), api=f"{server.url}/v1", page_size=20
                )
            ]
            for seed in (1, 1, 2)
        )
    assert first == again
    assert first != other
    assert sorted(sum(first, [])) == sorted(sum(other, []))


def test_a_month_that_is_too_large_is_said(caplog):
    facet = [{"field": "YEAR", "counts": [{"name": "2019", "count": 900}]}]
    door = Says({"count": 900, "facets": facet}, {"results": []})
    crawl(door, window=40, page_size=20)
    assert "only 40 of 900 records can be looked at (year 2019" in caplog.text


def test_no_more_is_asked_than_estimated():
    years = [{"name": str(1900 + n), "count": 900} for n in range(60)]
    months = [{"field": "MONTH", "counts": [{"name": "5", "count": 900}]}]
    facets = [{"field": "YEAR", "counts": years}]
    door = Says({"count": 54_000, "facets": facets}, {"results": []})
    door.json = _by_facet(door.json, {"count": 900, "facets": months})
    crawl(door, window=40, page_size=20, records=200)
    spec = gbif.Spec(kind="gbif", window=40, page_size=20, records=200)
    estimate = gbif.cost(spec, [BEAR, BEAR], settings=Collect(per_class=100))
    assert estimate.requests == {"api.gbif.org": 2 * len(door.asked)}
    assert (estimate.photos, estimate.bytes) == (200, 200 * 60_000)


def _by_facet(json, months):
    def answer(url, *, params=None, contact=False):
        said = json(url, params=params, contact=contact)
        return months if (params or {}).get("facet") == "month" else said

    return answer


def test_no_more_records_are_looked_at_than_wanted(door):
    with Gbif({5: 300}).serve() as server:
        crawl(door, api=f"{server.url}/v1", page_size=20, records=50)
        assert len(server.asked) == 1 + 3


def test_a_mirror_that_gives_less_is_told():
    door = Says({"count": 9}, {"results": [], "limit": 5})
    with pytest.raises(SourceError, match="set page_size"):
        crawl(door, page_size=9)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "{",
        "[]",
        '{"class": "Cat", "at": null}',
        '{"class": "Ice bear", "at": 5}',
        '{"class": "Ice bear", "at": {"plan": [[1]]}}',
        '{"class": "Ice bear", "at": {"plan": [["", "", 9]], "size": 0, "window": 9, '
        '"shuffle": null, "pages": 1, "next": 0}}',
    ],
)
def test_cursors_that_are_none(cursor):
    with pytest.raises(InputError, match="cannot be read"):
        crawl(Says({"count": 1}, {"results": []}), cursor=cursor)


def test_faults_of_the_service(door):
    world = Gbif({5: 40})
    with world.serve() as server:
        api = f"{server.url}/v1"
        good = crawl(door, api=api)
        world.instead = [
            Answer(503),
            Answer(200, b'{"count": 40, "resu'),
            Answer(420, headers={"Retry-After": "1"}),
        ]
        assert crawl(door, api=api) == good
        assert world.instead == []
        world.instead = [Answer(500)] * 9
        with pytest.raises(SourceError) as failure:
            crawl(door, api=api)
        assert failure.value.status == 500
        world.instead = [Answer(403, b"<html>Your address is blocked</html>")]
        with pytest.raises(HostBlocked):
            crawl(door, api=api)


def test_beyond_the_cap_the_service_refuses(door):
    with Gbif({5: 60}, cap=50).serve() as server, pytest.raises(SourceError) as failure:
        crawl(door, api=f"{server.url}/v1", page_size=20, basis="")
    assert failure.value.status == 400
    assert "Max offset of 50 exceeded" in str(failure.value)


def test_unknown_occurrences_are_gone_and_failures_are_not(door):
    world = Gbif({5: 3})
    with world.serve() as server:
        spec = gbif.Spec(kind="gbif", api=f"{server.url}/v1")
        keys = ["1:abc", "nonsense", "5000000:abc"]
        now = list(gbif.again(spec, keys, door=door))
        assert [(s.key, s.state) for s in now] == [(key, "gone") for key in keys]
        world.instead = [Answer(500)] * 9
        with pytest.raises(SourceError):
            list(gbif.again(spec, keys, door=door))


COUNTS = {
    "count": 3,
    "facets": [{"field": "YEAR", "counts": [{"name": "2019", "count": 3}]}],
}
RESULTS = {"offset": 0, "limit": 300, "count": 3, "results": [RECORD, RECORD]}


@budget(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    counts=st.just(COUNTS) | damaged(COUNTS) | anything,
    results=damaged(RESULTS) | anything,
    order=st.sampled_from(["newest", "random"]),
)
def test_any_answer_becomes_rows_or_a_clear_error(counts, results, order):
    door = Says(counts, results)
    settings = Collect(order=order, coordinates="coarse")
    with suppress(SourceError):
        for page in crawl(door, settings, records=600):
            keepable(page)
    list(gbif.again(gbif.Spec(kind="gbif"), ["1:a"], door=door))
