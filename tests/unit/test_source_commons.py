"""Wikimedia Commons: whole batches, plain text out of HTML, one licence of several."""

import copy
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from curation.config import Collect, Host, Http
from curation.errors import ConfigError, HostBlocked, InputError, SourceError
from curation.http.door import HttpDoor
from curation.sources import Target, commons
from tests.standins.commons import Commons, lagging
from tests.standins.server import Answer
from tests.standins.shapes import anything, damaged, keepable

BEAR = Target("Ice bear", "ice bear", "Ursus maritimus")
FILE = {
    "pageid": 83547663,
    "ns": 6,
    "title": "File:X.jpg",
    "imageinfo": [
        {
            "user": "Up",
            "size": 1353326,
            "width": 3746,
            "thumburl": "https://upload.wikimedia.org/wikipedia/commons/thumb/X.jpg",
            "url": "https://upload.wikimedia.org/wikipedia/commons/a/a2/X.jpg",
            "descriptionurl": "https://commons.wikimedia.org/wiki/File:X.jpg",
            "sha1": "ab12",
            "mime": "image/jpeg",
            "extmetadata": {
                "LicenseShortName": {"value": "CC BY-SA 4.0", "source": "x"},
                "License": {"value": "cc-by-sa-4.0"},
                "LicenseUrl": {
                    "value": "https://creativecommons.org/licenses/by-sa/4.0"
                },
                "Artist": {"value": '<a href="//x">Name</a>'},
                "DateTimeOriginal": {"value": "2009-02-01"},
                "Restrictions": {"value": ""},
                "GPSLatitude": {"value": "48.123456"},
                "GPSLongitude": {"value": 11.654321},
            },
        }
    ],
}


class Says:
    """A door that gives answers in turn, the last one for ever."""

    def __init__(self, *answers):
        self._answers = list(answers)
        self.asked = []

    def json(self, url, *, params=None, contact=False):
        assert contact
        self.asked.append(params)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def crawl(door, settings=None, cursor=None, target=BEAR, **fields):
    spec = commons.Spec(**{"kind": "commons", **fields})
    return list(
        commons.pages(
            spec, [target], settings=settings or Collect(), cursor=cursor, door=door
        )
    )


def listed(*files):
    return {"batchcomplete": True, "query": {"pages": list(files)}}


def one(*, size="960", **changes):
    """The candidate of a file; keywords change its imageinfo, `meta` its fields."""
    file = copy.deepcopy(FILE)
    meta = changes.pop("meta", {})
    info = file["imageinfo"][0]
    info |= changes
    info["extmetadata"] |= {name: {"value": value} for name, value in meta.items()}
    coarse = Collect(coordinates="coarse")
    (page,) = crawl(Says(listed(file)), coarse, size=size)
    return page.candidates[0]


@pytest.fixture
def door(tmp_path):
    http = Http(
        contact="https://example.org/me",
        attempts=4,
        hosts=[Host(name="127.0.0.1", private=True)],
    )
    with HttpDoor(http, state=tmp_path / "hosts", sleep=lambda _: None) as opened:
        yield opened


def test_a_file():
    found = one()
    assert found.key == "83547663"
    assert found.photo_key == "commons:83547663"
    assert found.revision == "ab12 960"
    assert found.url == FILE["imageinfo"][0]["thumburl"]
    assert found.source_url == "https://commons.wikimedia.org/wiki/File:X.jpg"
    assert found.title == "X.jpg"
    assert (found.author, found.observer) == ("Name", "commons:Name")
    assert (found.licence, found.licence_text) == ("CC-BY-SA-4.0", "CC BY-SA 4.0")
    assert found.attribution == "Name, CC BY-SA 4.0, via Wikimedia Commons"
    assert found.observed_on == "2009-02-01"
    assert (found.latitude, found.longitude) == (48.1, 11.7)
    assert found.note is None
    assert found.refused is None


def test_originals():
    found = one(size="original")
    assert found.url == FILE["imageinfo"][0]["url"]
    assert found.revision == "ab12 original"


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("<b>Bo</b> &amp; <i>Co</i>", "Bo & Co"),
        ("<script>alert('x')</script>Ann", "Ann"),
        ("Ann<style>p{}</style>", "Ann"),
        ("&lt;script&gt;alert()&lt;/script&gt;", "script alert() /script"),
        ("<div>Ann</div><div>Bo</div>", "Ann Bo"),
        ('<span style="display: none">QS</span>Ann', "Ann"),
        ('<span style="display:none">a<span>b</span>c</span>Ann', "Ann"),
        ("Ann ann@example.org", "Ann [e-mail address left out]"),
        ("Ann\n\t <br/>  Lee", "Ann Lee"),
        ("<a href='", None),
        ("<!-- hidden -->Ann<!-- more", "Ann"),
        ("", None),
        (None, None),
        ({}, None),
        ("\ud800Ann", "?Ann"),
    ],
)
def test_artists_are_plain_text(html, said):
    assert one(meta={"Artist": html}).author == said


@given(st.text())
def test_no_tag_is_left(html):
    from curation.sources._records import plain

    assert not {"<", ">"} & set(plain(html) or "")


def test_custom_credit():
    found = one(meta={"Attribution": "Photo: <b>Ann Lee</b> / Zoo"})
    assert found.attribution == "Photo: Ann Lee / Zoo"
    found = one(meta={"Artist": None})
    assert found.attribution == "unknown author, CC BY-SA 4.0, via Wikimedia Commons"


@pytest.mark.parametrize(
    ("fields", "name", "said"),
    [
        (("CC BY 2.0", "cc-by-2.0", None), "CC-BY-2.0", "CC BY 2.0"),
        (("CC BY-SA 3.0 or GFDL", None, None), "CC-BY-SA-3.0", "CC BY-SA 3.0 or GFDL"),
        (
            ("GFDL 1.2 or CC BY-SA 3.0 or CC BY 2.5", None, None),
            "CC-BY-2.5",
            "GFDL 1.2 or CC BY-SA 3.0 or CC BY 2.5",
        ),
        (
            ("CC BY-SA 3.0,2.5,2.0,1.0", None, None),
            "CC-BY-SA-3.0",
            "CC BY-SA 3.0,2.5,2.0,1.0",
        ),
        (("CC BY-SA 2.5-2.0-1.0", None, None), "CC-BY-SA-2.5", "CC BY-SA 2.5-2.0-1.0"),
        (("Public domain", "pd", None), "Public Domain", "Public domain"),
        (("CC0", "cc0", "http://x"), "CC0-1.0", "CC0"),
        # where the texts contradict each other, the stricter one holds
        (("CC BY 4.0", "cc-by-sa-4.0", None), "CC-BY-SA-4.0", "cc-by-sa-4.0"),
        (
            (None, None, "https://creativecommons.org/licenses/by/3.0/deed.en"),
            "CC-BY-3.0",
            "https://creativecommons.org/licenses/by/3.0/deed.en",
        ),
        (("Attribution", "attribution", None), None, "Attribution"),
        (("No restrictions", None, None), None, "No restrictions"),
        ((None, None, None), None, None),
    ],
)
def test_licences(fields, name, said):
    names = ("LicenseShortName", "License", "LicenseUrl")
    found = one(meta=dict(zip(names, fields, strict=True)))
    assert (found.licence, found.licence_text) == (name, said)
    if name is None:
        reason = f"licence not recognised: {said}" if said else "no licence is stated"
        assert found.refused == reason


def test_restrictions_and_deletion_requests_are_noted():
    found = one(meta={"Restrictions": "personality|trademarked"})
    assert found.note == "restrictions: personality|trademarked"
    assert found.refused is None
    found = one(meta={"DeletionReason": "<i>no permission</i>"})
    assert found.note == "nominated for deletion: no permission"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mime": "image/svg+xml"}, "not a still photo: image/svg+xml"),
        ({"mime": None}, "not a still photo: None"),
        ({"url": None, "thumburl": None}, "no address that can be used is stated"),
        (
            {"url": "javascript:x", "thumburl": 5},
            "no address that can be used is stated",
        ),
    ],
)
def test_refused(changes, reason):
    assert one(**changes).refused == reason


def test_missing_files():
    (page,) = crawl(Says(listed({"pageid": 7, "missing": True}, {"title": 1}, 5)))
    assert [found.refused for found in page.candidates] == [
        "the file is missing",
        "the record has no pageid",
        "the record has no pageid",
    ]


@pytest.mark.parametrize(
    ("fields", "order", "asked"),
    [
        (
            {},
            "random",
            {"generator": "categorymembers", "gcmtitle": "Category:Ursus maritimus",
             "gcmtype": "file", "gcmlimit": 50},
        ),
        (
            {"categories": {"Ice bear": "Category:Polar bears"}},
            "newest",
            {"generator": "categorymembers", "gcmtitle": "Category:Polar bears",
             "gcmtype": "file", "gcmlimit": 50, "gcmsort": "timestamp",
             "gcmdir": "desc"},
        ),
        (
            {"find": "subcategories"},
            "random",
            {"generator": "search", "gsrnamespace": 6, "gsrlimit": 50,
             "gsrsearch": 'deepcat:"Ursus maritimus" filetype:bitmap'},
        ),
        (
            {"find": "search"},
            "oldest",
            {"generator": "search", "gsrnamespace": 6, "gsrlimit": 50,
             "gsrsearch": "ice bear filetype:bitmap",
             "gsrsort": "create_timestamp_asc"},
        ),
    ],
)  # fmt: skip
def test_the_question(fields, order, asked):
    door = Says({"batchcomplete": True})
    (page,) = crawl(door, Collect(order=order), **fields)
    assert (page.candidates, page.cursor) == ([], None)
    same = {
        "action": "query", "format": "json", "formatversion": 2, "maxlag": 5,
        "prop": "imageinfo", "iiprop": "url|user|size|sha1|mime|extmetadata",
        "iiurlwidth": 960,
    }  # fmt: skip
    assert door.asked == [{**same, **asked}]


def test_a_class_without_category():
    with pytest.raises(ConfigError, match="'Cat' has no category"):
        crawl(Says({}), target=Target("Cat", "cat"))


def test_searches_and_categories_find_the_same(door):
    world = Commons({"Ursus maritimus": 120, "Panthera leo": 20})
    with world.serve() as server:
        api = f"{server.url}/w/api.php"
        files = [
            {c.key for page in crawl(door, api=api, find=find) for c in page.candidates
             if not c.url.endswith("svg")}
            for find in ("category", "subcategories")
        ]  # fmt: skip
        assert files[0] == files[1]
        assert crawl(door, api=api, find="search")[0].candidates == []


def test_a_batch_in_parts_is_put_together(door):
    with Commons({"Ursus maritimus": 120}, part=20).serve() as server:
        pages = crawl(door, api=f"{server.url}/w/api.php")
        assert [len(page.candidates) for page in pages] == [50, 50, 20]
        assert len(server.asked) == 3 + 3 + 1
    assert not [
        found
        for page in pages
        for found in page.candidates
        if found.refused == "the file is missing"
    ]


@pytest.mark.parametrize("part", [10, 30, 50])
def test_no_more_is_asked_than_estimated(door, part):
    world = Commons({"Ursus maritimus": 500}, part=part)
    with world.serve() as server:
        fields = {"kind": "commons", "api": f"{server.url}/w/api.php", "records": 100}
        spec = commons.Spec(**fields)
        pages = crawl(door, **fields)
        estimate = commons.cost(spec, [BEAR], settings=Collect())
        # a batch that was begun is brought to its end
        batch = -(-50 // part)
        assert len(server.asked) < sum(estimate.requests.values()) + batch
    assert sum(len(page.candidates) for page in pages) <= 100


def test_without_contact_nothing_is_asked(tmp_path):
    hosts = [Host(name="127.0.0.1", private=True)]
    with (
        Commons({"Ursus maritimus": 3}).serve() as server,
        HttpDoor(Http(hosts=hosts), state=tmp_path / "hosts") as door,
    ):
        with pytest.raises(ConfigError, match=r"http\.contact"):
            crawl(door, api=f"{server.url}/w/api.php")
        assert server.asked == []


def test_faults_of_the_service(door):
    world = Commons({"Ursus maritimus": 60})
    with world.serve() as server:
        api = f"{server.url}/w/api.php"
        good = crawl(door, api=api)
        world.instead = [lagging(), Answer(200, b'{"query": {"pa'), Answer(502)]
        assert crawl(door, api=api) == good
        assert world.instead == []
        world.instead = [Answer(200, b'{"error": {"code": "badvalue", "info": "no"}}')]
        with pytest.raises(SourceError, match="badvalue: no"):
            crawl(door, api=api)
        world.instead = [lagging()] * 9
        with pytest.raises(HostBlocked):
            crawl(door, api=api)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "no object"),
        ([], "no object"),
        ({"continue": 5}, "cannot go on"),
        ({"continue": {"gcmcontinue": {}}}, "cannot go on"),
        ({"continue": {"gcmcontinue": "a"}}, "in circles"),
        ({"error": None}, "unknown error"),
    ],
)
def test_answers_that_make_no_sense(answer, reason):
    with pytest.raises(SourceError, match=reason):
        crawl(Says(answer))


@pytest.mark.parametrize(
    "cursor",
    [
        "{",
        '{"class": "Cat", "at": null}',
        '{"class": "Ice bear", "at": 5}',
        '{"class": "Ice bear", "at": {"continue": {}, "answers": 5, "files": 5}}',
        '{"class": "Ice bear", "at": {"continue": {"a": "b"}}}',
    ],
)
def test_cursors_that_are_none(cursor):
    with pytest.raises(InputError, match="cannot be read"):
        crawl(Says(listed()), cursor=cursor)


def test_fifty_files_are_asked_for_at_once(door):
    with Commons({"Ursus maritimus": 120}).serve() as server:
        spec = commons.Spec(kind="commons", api=f"{server.url}/w/api.php")
        keys = [str(1000 + 7 * number) for number in range(120)]
        now = list(commons.again(spec, ["odd", *keys], door=door))
        asked = [a.query["pageids"].count("|") + 1 for a in server.asked]
    assert asked == [50, 50, 50, 50, 20]  # each batch comes in two parts
    assert [standing.key for standing in now] == ["odd", *keys]
    assert [standing.state for standing in now] == ["gone"] + ["there"] * 120


@budget(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        damaged(listed(FILE, FILE) | {"continue": {"gcmcontinue": "x"}})
        | damaged(listed(FILE))
        | anything,
        min_size=1,
        max_size=4,
    )
)
def test_any_answer_becomes_rows_or_a_clear_error(answers):
    settings = Collect(coordinates="coarse")
    with suppress(SourceError):
        for page in crawl(Says(*answers), settings, records=200):
            keepable(page)
    with suppress(SourceError):
        spec = commons.Spec(kind="commons")
        states = list(commons.again(spec, ["83547663", "1"], door=Says(*answers)))
        assert [standing.key for standing in states] == ["83547663", "1"]
