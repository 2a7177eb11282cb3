"""Openverse: within what those without an account may ask."""

import copy
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from pydantic import ValidationError

from curation.config import Collect, Host, Http
from curation.errors import HostBlocked, InputError, SourceError
from curation.http.door import HttpDoor
from curation.sources import Target, openverse
from tests.standins.openverse import Openverse
from tests.standins.server import Answer
from tests.standins.shapes import anything, damaged, keepable

BEAR = Target("Ice bear", "polar bear", "Ursus maritimus")
ID = "0aff3595-8168-440b-83ff-7a80b65dea42"
WORK = {
    "id": ID,
    "title": "Polar bear",
    "foreign_landing_url": "https://www.flickr.com/photos/31575009@N05/7654",
    "url": "https://live.staticflickr.com/5/7654_ab.jpg",
    "creator": "Ann",
    "creator_url": "https://www.flickr.com/photos/31575009@N05",
    "license": "by",
    "license_version": "2.0",
    "license_url": "https://creativecommons.org/licenses/by/2.0/",
    "provider": "flickr",
    "source": "flickr",
    "category": None,
    "filetype": "jpg",
    "attribution": '"Polar bear" by Ann is licensed under CC BY 2.0.',
    "mature": False,
}


class Says:
    """A door that gives the same answer to every question."""

    def __init__(self, answer):
        self._answer = answer
        self.asked = []

    def json(self, url, *, params=None, contact=False):
        self.asked.append(params)
        return self._answer


def crawl(door, settings=None, cursor=None, target=BEAR, **fields):
    spec = openverse.Spec(kind="openverse", **fields)
    return list(
        openverse.pages(
            spec, [target], settings=settings or Collect(), cursor=cursor, door=door
        )
    )


def one(**changes):
    answer = {"page_count": 1, "results": [{**copy.deepcopy(WORK), **changes}]}
    (page,) = crawl(Says(answer))
    return page.candidates[0]


@pytest.fixture
def door(tmp_path):
    http = Http(attempts=4, hosts=[Host(name="127.0.0.1", private=True)])
    with HttpDoor(http, state=tmp_path / "hosts", sleep=lambda _: None) as opened:
        yield opened


def test_a_work():
    found = one()
    assert found.key == ID
    assert found.url == WORK["url"]
    assert found.photo_key == "flickr:7654"
    assert found.source_url == WORK["foreign_landing_url"]
    assert (found.title, found.author) == ("Polar bear", "Ann")
    assert (found.licence, found.licence_text) == ("CC-BY-2.0", "by 2.0")
    assert found.attribution == WORK["attribution"]
    assert found.observer == WORK["creator_url"]
    assert (found.note, found.refused) == (None, None)


@pytest.mark.parametrize(
    ("page", "url", "key"),
    [
        (
            "https://commons.wikimedia.org/w/index.php?curid=81754323",
            "https://upload.wikimedia.org/wikipedia/commons/a/X.jpg",
            "commons:81754323",
        ),
        (
            "https://www.inaturalist.org/photos/30065447",
            "https://inaturalist-open-data.s3.amazonaws.com/photos/30065447/medium.jpg",
            "inaturalist:30065447",
        ),
        (
            None,
            "https://inaturalist-open-data.s3.amazonaws.com/photos/30065447/medium.jpg",
            "inaturalist:30065447",
        ),
        (None, "https://live.staticflickr.com/65535/7654_ab_b.jpg", "flickr:7654"),
        (None, "https://farm8.staticflickr.com/65/7654_ab_b.jpg", "flickr:7654"),
        ("https://museum.example/7", "https://museum.example/7.jpg", f"openverse:{ID}"),
    ],
)
def test_photos_known_elsewhere(page, url, key):
    assert one(foreign_landing_url=page, url=url).photo_key == key


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mature": True}, "marked as mature"),
        ({"mature": "yes"}, "marked as mature"),
        ({"license": None}, "no licence is stated"),
        ({"license": "sampling+"}, "licence not recognised: sampling+ 2.0"),
        ({"license": "by", "license_version": "9"}, "licence not recognised: by 9"),
        ({"url": None}, "no address that can be used is stated"),
        ({"url": "file:///etc/passwd"}, "no address that can be used is stated"),
        ({"filetype": "SVG"}, "not a still photo: SVG"),
        ({"id": None}, "the record has no id"),
    ],
)
def test_refused(changes, reason):
    assert one(**changes).refused == reason


def test_drawings_are_noted():
    assert one(category="illustration").note == "category: illustration"
    assert one(category="photograph").note is None


def test_the_question():
    door = Says({"page_count": 0, "results": []})
    crawl(door, sources=["flickr", "wikimedia"])
    assert door.asked == [
        {
            "q": "polar bear",
            "license": "cc0,pdm,by,by-sa,by-nc",
            "page_size": 20,
            "source": "flickr,wikimedia",
            "page": 1,
        }
    ]
    crawl(door, Collect(licences=["CC-BY-2.0", "CC-BY-NC-SA"]), find="scientific_name")
    assert (door.asked[1]["q"], door.asked[1]["license"]) == (
        "Ursus maritimus",
        "by,by-nc-sa",
    )


def test_nothing_is_asked_where_nothing_can_be_found():
    door = Says({})
    assert crawl(door, Collect(licences=["GFDL-1.2"]))[0].candidates == []
    (page,) = crawl(door, find="scientific_name", target=Target("Cat", "cat"))
    assert (page.candidates, page.cursor, door.asked) == ([], None, [])


@pytest.mark.parametrize("size", [7, 20])
def test_no_deeper_than_240(door, size):
    with Openverse({"polar bear": 900}).serve() as server:
        pages = crawl(door, api=f"{server.url}/v1", page_size=size)
        assert len(pages) == 240 // size
        assert all(asked.query["page_size"] == str(size) for asked in server.asked)
        spec = openverse.Spec(kind="openverse", api=server.url, page_size=size)
        estimate = openverse.cost(spec, [BEAR], settings=Collect())
        assert estimate.requests == {"127.0.0.1": 240 // size}


def test_the_stand_in_is_as_strict_as_the_service(door):
    with Openverse({"polar bear": 900}).serve() as server:
        for params, status in (
            ({"q": "polar bear", "page_size": 21}, 401),
            ({"q": "polar bear", "page_size": 20, "page": 13}, 400),
            ({"q": "polar bear", "license": "cc-by"}, 400),
        ):
            with pytest.raises(SourceError) as failure:
                door.json(f"{server.url}/v1/images/", params=params)
            assert failure.value.status == status


def test_larger_pages_are_not_offered():
    with pytest.raises(ValidationError):
        openverse.Spec(kind="openverse", page_size=21)


def test_faults_of_the_service(door):
    world = Openverse({"polar bear": 60})
    with world.serve() as server:
        api = f"{server.url}/v1"
        good = crawl(door, api=api)
        world.instead = [Answer(502), Answer(200, b'{"results": ['), Answer(500)]
        assert crawl(door, api=api) == good
        assert world.instead == []
        world.instead = [Answer(500)] * 9
        with pytest.raises(SourceError) as failure:
            crawl(door, api=api)
        assert failure.value.status == 500


def test_too_many_questions_stop_the_host(door):
    world = Openverse({"polar bear": 200}, burst=3)
    with world.serve() as server:
        spec = openverse.Spec(kind="openverse", api=f"{server.url}/v1")
        pages = openverse.pages(
            spec, [BEAR], settings=Collect(), cursor=None, door=door
        )
        taken = [next(pages) for _ in range(3)]
        with pytest.raises(HostBlocked):
            next(pages)
    assert taken[-1].cursor is not None


@pytest.mark.parametrize(
    "answer", [None, [], {}, {"results": []}, {"results": {}, "page_count": 1}]
)
def test_answers_that_make_no_sense(answer):
    with pytest.raises(SourceError, match="no results or page_count"):
        crawl(Says(answer))


@pytest.mark.parametrize(
    "cursor",
    ["{", '{"class": "Cat", "at": 1}', '{"class": "Ice bear", "at": "x"}',
     '{"class": "Ice bear", "at": 0}'],
)  # fmt: skip
def test_cursors_that_are_none(cursor):
    with pytest.raises(InputError, match="cannot be read"):
        crawl(Says({"page_count": 1, "results": []}), cursor=cursor)


def test_unknown_works_are_gone_and_failures_are_not(door):
    world = Openverse({"polar bear": 3})
    with world.serve() as server:
        spec = openverse.Spec(kind="openverse", api=f"{server.url}/v1")
        now = list(openverse.again(spec, [ID, "../../users"], door=door))
        assert [(s.key, s.state) for s in now] == [
            (ID, "gone"),
            ("../../users", "gone"),
        ]
        assert [asked.path for asked in server.asked] == [f"/v1/images/{ID}/"]
        world.instead = [Answer(500)] * 9
        with pytest.raises(SourceError):
            list(openverse.again(spec, [ID], door=door))


@budget(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged({"page_count": 2, "results": [WORK, WORK]}) | anything)
def test_any_answer_becomes_rows_or_a_clear_error(answer):
    with suppress(SourceError):
        for page in crawl(Says(answer)):
            keepable(page)
    spec = openverse.Spec(kind="openverse")
    (standing,) = openverse.again(spec, [ID], door=Says(answer))
    assert standing.key == ID


@budget(max_examples=100, deadline=None)
@given(damaged(WORK))
def test_any_work_has_a_standing(work):
    spec = openverse.Spec(kind="openverse")
    (standing,) = openverse.again(spec, [ID], door=Says(work))
    assert standing.state in ("there", "gone")


@given(
    st.lists(
        st.sampled_from(
            ["CC0-1.0", "Public Domain", "CC-BY-4.0", "CC-BY-ND", "GFDL-1.2"]
        ),
        max_size=4,
    )
)
def test_any_licences_can_be_wanted(names):
    crawl(Says({"page_count": 1, "results": []}), Collect(licences=names))
