"""iNaturalist's API: what is asked, in which order, and what any answer becomes."""

import json
from collections import Counter
from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curation.config import Collect, Host, Http
from curation.crawls import frame
from curation.errors import ConfigError, InputError, SourceError
from curation.http.door import HttpDoor
from curation.sources import Target, inaturalist
from curation.sources._observations import candidates
from tests.standins.inaturalist import World, serving

CASTOR = "Castor"


class Shelf:
    """A door that answers from a list, whatever is asked."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def json(self, url, *, params=None, contact=False):
        self.asked.append(dict(params or {}))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture(scope="module")
def world():
    return World([CASTOR, "Vulpes lagopus"], observations=700, seed=3)


@pytest.fixture(scope="module")
def server(world):
    with serving(world) as server:
        yield server


@pytest.fixture
def door(tmp_path):
    http = Http(hosts=[Host(name="127.0.0.1", private=True)], attempts=2)
    with HttpDoor(http, state=tmp_path / "state", sleep=lambda seconds: None) as door:
        yield door


@pytest.fixture
def spec(server):
    return spec_of(api=f"{server.url}/v1")


def spec_of(**fields):
    return inaturalist.Spec.model_validate({"kind": "inaturalist", **fields})


def target(world, name=CASTOR):
    taxon = world.taxon(name).id
    return Target(name, name, name, {"inaturalist": taxon})


def crawl(spec, door, *targets, cursor=None, **settings):
    pages = inaturalist.pages(
        spec, targets, settings=Collect(**settings), cursor=cursor, door=door
    )
    return list(pages)


def rows(pages):
    return [row for page in pages for row in page.candidates]


def observation(row):
    return int(row.key.split("/")[0])


def expected(world, name=CASTOR, licences=("cc0", "cc-by", "cc-by-sa", "cc-by-nc")):
    """Keys that the default question should find, straight from the world."""
    taxon = world.taxon(name).id
    return {
        f"{seen.id}/{photo.id}"
        for seen in world.observations.values()
        if taxon in world.taxa[seen.taxon].lineage
        and seen.quality == "research"
        and not seen.captive
        and any(photo.licence in licences for photo in seen.photos)
        for photo in seen.photos
    }


# pages ------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["newest", "oldest", "random"])
def test_every_photo_comes_once(world, spec, door, order):
    found = rows(crawl(spec, door, target(world), order=order))
    assert Counter(row.key for row in found) == Counter(expected(world))
    ids = list(dict.fromkeys(map(observation, found)))
    if order != "random":
        assert ids == sorted(ids, reverse=order == "newest")


@pytest.mark.parametrize("order", ["newest", "oldest", "random"])
def test_it_goes_on_from_any_page(world, spec, door, order):
    whole = crawl(
        spec, door, target(world), target(world, "Vulpes lagopus"), order=order
    )
    assert whole[-1].cursor is None
    assert {row.class_ for row in rows(whole)} == {CASTOR, "Vulpes lagopus"}
    for place in range(0, len(whole) - 1, 3):
        rest = crawl(
            spec,
            door,
            target(world),
            target(world, "Vulpes lagopus"),
            cursor=whole[place].cursor,
            order=order,
        )
        assert rest == whole[place + 1 :]


def test_a_page_is_asked_for_when_it_is_wanted(world, spec, door, server):
    before = len(server.asked)
    pages = inaturalist.pages(
        spec, [target(world)], settings=Collect(order="newest"), cursor=None, door=door
    )
    assert len(server.asked) == before
    next(pages)
    assert len(server.asked) == before + 1


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_pages_are_full_and_stay_out_of_the_window(world, spec, door, server, order):
    before = len(server.asked)
    crawl(spec, door, target(world), order=order)
    asked = [one.query for one in server.asked[before:]]
    found = len({key.split("/")[0] for key in expected(world)})
    assert len(asked) == -(-found // 200)
    assert all(query["per_page"] == "200" and "page" not in query for query in asked)


def test_the_seed_decides_the_random_order(world, spec, door):
    def order(seed):
        return [row.key for row in rows(crawl(spec, door, target(world), seed=seed))]

    first, again, other = order(0), order(0), order(1)
    assert first == again
    assert sorted(first) == sorted(other)
    assert first != other
    assert first != sorted(first)


def test_the_random_order_favours_no_time(world, spec, door):
    """Early in the order, as in all, half of the photos are of the older half."""
    early = []
    for seed in range(40):
        walk = inaturalist.pages(
            spec, [target(world)], settings=Collect(seed=seed), cursor=None, door=door
        )
        early += [observation(row) for row in next(walk).candidates]
    ids = sorted({int(key.split("/")[0]) for key in expected(world)})
    older = sum(id_ < ids[len(ids) // 2] for id_ in early) / len(early)
    # 40 clusters of about a page each: a standard error of 0.08
    assert 0.25 < older < 0.75


def test_new_observations_leave_the_random_order_of_the_old(tmp_path, door):
    small = World([CASTOR], observations=300, seed=8)
    with serving(small) as server:
        spec = spec_of(api=f"{server.url}/v1")
        ids = sorted(small.observations)
        gone = [small.observations.pop(id_) for id_ in ids[-10:]]
        before = [row.key for row in rows(crawl(spec, door, target(small)))]
        small.observations |= {seen.id: seen for seen in gone}
        after = [row.key for row in rows(crawl(spec, door, target(small)))]
    assert len(after) > len(before)
    old = set(before)
    assert [key for key in after if key in old] == before


def test_a_full_cell_takes_several_pages(world, door, server, monkeypatch, spec):
    monkeypatch.setattr(inaturalist, "CELL", 4000)
    found = rows(crawl(spec, door, target(world)))
    assert Counter(row.key for row in found) == Counter(expected(world))


def test_a_taxon_with_nothing_has_one_empty_page(world, spec, door):
    nobody = Target("nobody", "nobody", "Nemo", {"inaturalist": 999})
    for order in ("newest", "oldest", "random"):
        pages = crawl(spec, door, nobody, order=order)
        assert [(list(page.candidates), page.cursor) for page in pages] == [([], None)]


def test_a_class_without_taxon_is_named(spec, door):
    with pytest.raises(ConfigError, match="'beaver' has no iNaturalist taxon"):
        crawl(spec, door, Target("beaver", "beaver"))


@pytest.mark.parametrize(
    "cursor",
    ["", "{", "[]", '{"class": "x", "at": {"after": 5}}', '{"class": "Castor"}']
    + [json.dumps({"class": CASTOR, "at": at}) for at in ({}, {"after": "x"}, [1], 7)],
)
def test_a_cursor_that_is_none(world, spec, door, cursor):
    with pytest.raises(InputError, match="where collecting stopped"):
        crawl(spec, door, target(world), cursor=cursor, order="newest")


# the question -----------------------------------------------------------------------


def question(spec, **settings):
    door = Shelf({"results": []})
    aim = Target("lion", "lion", "Panthera leo", {"inaturalist": 5})
    crawl(spec, door, aim, **{"order": "oldest"} | settings)
    return door.asked[0]


def test_the_default_question():
    assert question(spec_of()) == {
        "taxon_id": 5,
        "photos": "true",
        "quality_grade": "research",
        "captive": "false",
        "photo_license": "cc0,cc-by,cc-by-sa,cc-by-nc",
        "order_by": "id",
        "order": "asc",
        "per_page": 200,
    }


def test_every_filter():
    asked = question(
        spec_of(
            quality_grade=["needs_id", "casual"],
            captive=True,
            open_places_only=True,
            place_id=7,
            observed_from=date(2020, 1, 1),
            observed_until="2021-01-01",
        ),
        licences=["CC-BY-ND-4.0", "CC-BY-SA-3.0-DE"],
    )
    assert (
        asked.items()
        >= {
            "quality_grade": "needs_id,casual",
            "photo_license": "cc-by-sa,cc-by-nd",
            "geoprivacy": "open",
            "taxon_geoprivacy": "open",
            "place_id": 7,
            "d1": "2020-01-01",
            "d2": "2021-01-01",
        }.items()
    )
    assert "captive" not in asked


def test_licences_that_cannot_be_asked_for_are_not():
    assert "photo_license" not in question(spec_of(), licences=["GFDL-1.2"])


def test_filters_that_the_service_follows(world, server, door):
    api = f"{server.url}/v1"
    everything = spec_of(
        api=api, captive=True, quality_grade=["research", "needs_id", "casual"]
    )
    all_ids = set(map(observation, rows(crawl(everything, door, target(world)))))
    known = world.observations
    for fields, wanted in (
        ({"open_places_only": True}, lambda seen: not seen.obscured),
        ({"observed_until": "2018-01-01"}, lambda seen: seen.day <= date(2018, 1, 1)),
        ({"place_id": 3}, lambda seen: seen.id % 5 == 3),
        ({"captive": False}, lambda seen: not seen.captive),
    ):
        narrow = spec_of(**everything.model_dump() | fields)
        ids = set(map(observation, rows(crawl(narrow, door, target(world)))))
        assert ids == {id_ for id_ in all_ids if wanted(known[id_])}, fields
        assert 0 < len(ids) < len(all_ids), fields


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"size": "square"}, "medium"),
        ({"quality_grade": []}, "at least 1"),
        ({"quality_grade": ["good"]}, "research"),
        ({"place_id": -1}, "greater"),
        ({"observed_from": "2021-02-30"}, "a day is YYYY"),
        ({"observed_from": "yesterday"}, "a day is YYYY"),
        ({"observed_from": 2021}, "string"),
        ({"observed_from": "2021-01-02", "observed_until": "2021-01-01"}, "after"),
        ({"taxon": 5}, "Extra"),
    ],
)
def test_keys_that_make_no_sense(fields, word):
    with pytest.raises(ValidationError, match=word):
        spec_of(**fields)


def test_what_it_costs():
    three = [Target(name, name) for name in "abc"]
    spec = spec_of()
    price = inaturalist.cost(
        spec, three, settings=Collect(order="newest", per_class=1000)
    )
    assert price.requests == {"api.inaturalist.org": 3 * 6}
    assert (price.photos, price.bytes) == (3000, 3000 * 60_000)
    price = inaturalist.cost(
        spec_of(size="large"), three, settings=Collect(order="random", per_class=1000)
    )
    assert price.requests == {"api.inaturalist.org": 3 * 34}
    assert price.bytes == 3000 * 250_000


def test_a_random_crawl_costs_no_more_than_foretold(world, spec, door, server):
    before = len(server.asked)
    found = rows(crawl(spec, door, target(world)))
    ids = len(set(map(observation, found)))
    price = inaturalist.cost(spec, [target(world)], settings=Collect(per_class=ids))
    assert len(server.asked) - before <= price.requests["127.0.0.1"]


# rows -------------------------------------------------------------------------------

# the shape of a real answer; names and numbers are made up
GOOD = {
    "id": 57754375,
    "quality_grade": "research",
    "captive": False,
    "observed_on": "2020-08-27",
    "species_guess": "Arctic Fox",
    "taxon": {"id": 42062, "name": "Vulpes lagopus", "rank": "species"},
    "user": {"id": 123, "login": "samroom", "name": None},
    "obscured": False,
    "geoprivacy": None,
    "taxon_geoprivacy": "open",
    "location": "50.0949055,-104.71929167",
    "flags": [],
    "photos": [
        {
            "id": 92152429,
            "license_code": "cc-by-nc",
            "url": "https://static.inaturalist.org/photos/92152429/square.JPG?1598551",
            "attribution": "(c) samroom, some rights reserved (CC BY-NC)",
            "flags": [],
            "moderator_actions": [],
            "hidden": False,
        }
    ],
}


def read(content=GOOD, **settings):
    return list(candidates(content, class_="fox", **settings))


def changed(photo=None, **fields):
    return {**GOOD, "photos": [{**GOOD["photos"][0], **(photo or {})}], **fields}


def test_a_photo_becomes_a_row():
    (row,) = read()
    assert row.key == "57754375/92152429"
    assert row.revision == "medium"
    assert row.photo_key == "inaturalist:92152429"
    assert (
        row.url == "https://static.inaturalist.org/photos/92152429/medium.JPG?1598551"
    )
    assert row.source_url == "https://www.inaturalist.org/photos/92152429"
    assert (row.title, row.author) == ("Arctic Fox", "samroom")
    assert (row.licence, row.licence_text) == ("CC-BY-NC", "cc-by-nc")
    assert row.attribution == "(c) samroom, some rights reserved (CC BY-NC)"
    assert row.observation_id == "inaturalist:57754375"
    assert (row.observer, row.observed_on) == ("inaturalist:123", "2020-08-27")
    assert (row.latitude, row.longitude) == (None, None)
    assert (row.class_, row.source, row.refused) == ("fox", "inaturalist", None)


def test_a_licence_or_host_that_changes_leaves_the_record_what_it_is():
    (before,) = read()
    (after,) = read(
        changed(
            {
                "license_code": "cc0",
                "url": "https://inaturalist-open-data.s3.amazonaws.com/photos/92152429"
                "/square.JPG",
            }
        )
    )
    assert before.candidate_id == after.candidate_id
    assert before.url != after.url
    (larger,) = read(size="large")
    assert larger.candidate_id != before.candidate_id


@pytest.mark.parametrize("size", ["medium", "large", "original"])
@pytest.mark.parametrize(
    "name",
    ["square.jpg", "square.jpeg", "medium.JPG", "thumb.png", "square.gif", "original"],
)
def test_size_words_are_replaced_and_extensions_kept(size, name):
    (row,) = read(changed({"url": f"https://h/photos/square/1/{name}"}), size=size)
    extension = name.partition(".")[2]
    ending = f"{size}.{extension}" if extension else size
    assert row.url == f"https://h/photos/square/1/{ending}"
    assert row.refused is None


@pytest.mark.parametrize(
    "url",
    [
        None,
        7,
        "",
        "square.jpg",
        "file:///photos/1/square.jpg",
        "https://www.inaturalist.org/assets/copyright-infringement-square.png",
        "https://h/photos/1/square.jpg\nx",
        "https://user:word@h/photos/1/square.jpg",
        "https://h/photos/1/square.jpg#x",
    ],
)
def test_a_photo_without_a_usable_address_is_refused(url):
    (row,) = read(changed({"url": url}))
    assert (row.url, row.refused) == ("", "no address that names a size")


@pytest.mark.parametrize(
    ("photo", "reason"),
    [
        ({"hidden": True}, "hidden by a moderator"),
        ({"moderator_actions": [{"action": "hide"}]}, "hidden by a moderator"),
        ({"flags": [{"flag": "spam"}]}, "photo is flagged: spam"),
        ({"flags": [{"flag": "spam", "resolved": False}]}, "photo is flagged: spam"),
        ({"flags": ["?"]}, "photo is flagged: no reason"),
        ({"license_code": None}, "no licence is stated"),
        ({"license_code": ""}, "no licence is stated"),
        ({"license_code": "all-rights"}, "licence not recognised: all-rights"),
        ({"id": None}, "photo without an id"),
        ({"id": True}, "photo without an id"),
        ({"moderator_actions": [{"action": "hide"}, {"action": "unhide"}]}, None),
        ({"flags": [{"flag": "spam", "resolved": True}]}, None),
    ],
)
def test_what_can_never_become_a_photo(photo, reason):
    (row,) = read(changed(photo))
    assert row.refused == reason


def test_a_flagged_observation():
    (row,) = read(changed(flags=[{"flag": "inappropriate", "resolved": False}]))
    assert row.refused == "observation is flagged: inappropriate"


def test_each_photo_has_its_own_licence():
    photos = [
        {**GOOD["photos"][0], "id": 1, "license_code": "cc0"},
        {**GOOD["photos"][0], "id": 2, "license_code": None},
    ]
    first, second = read({**GOOD, "photos": photos})
    assert (first.licence, first.refused) == ("CC0-1.0", None)
    assert (second.licence, second.refused) == (None, "no licence is stated")
    assert first.observation_id == second.observation_id


@pytest.mark.parametrize(
    ("user", "author", "observer"),
    [
        ({"id": 1, "login": "sam", "name": "Sam Room"}, "Sam Room", "inaturalist:1"),
        ({"id": 1, "login": "sam", "name": "  "}, "sam", "inaturalist:1"),
        ({"id": 1, "login": "sam", "name": "sam@example.org"}, "sam", "inaturalist:1"),
        ({"login": "sam"}, "sam", None),
        ({}, None, None),
        (None, None, None),
    ],
)
def test_who_made_it(user, author, observer):
    (row,) = read(changed(user=user))
    assert (row.author, row.observer) == (author, observer)


def test_no_address_of_a_person_gets_out():
    credit = "(c) sam@example.org, some rights reserved (CC BY)"
    content = changed({"attribution": credit}, species_guess="ask sam@example.org")
    (row,) = read(content)
    assert "sam@example.org" not in repr(row)
    assert "some rights reserved" in row.attribution


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, (50.1, -104.7)),
        ({"location": "-0.01,0.04"}, (0, 0)),
        ({"location": "91,0"}, (None, None)),
        ({"location": "nan,0"}, (None, None)),
        ({"location": None}, (None, None)),
        ({"location": [1, 2]}, (None, None)),
        ({"obscured": True}, (None, None)),
        ({"obscured": None}, (None, None)),
        ({"geoprivacy": "obscured"}, (None, None)),
        ({"geoprivacy": ["open"]}, (None, None)),
        ({"taxon_geoprivacy": "private"}, (None, None)),
    ],
)
def test_places_are_coarse_and_only_where_they_are_open(fields, place):
    (row,) = read(changed(**fields), places=True)
    assert (row.latitude, row.longitude) == place
    (row,) = read(changed(**fields))
    assert (row.latitude, row.longitude) == (None, None)


def test_no_obscured_place_of_the_world_is_kept(world, spec, door):
    found = rows(crawl(spec, door, target(world), coordinates="coarse"))
    for row in found:
        seen = world.observations[observation(row)]
        assert (row.latitude is None) == seen.obscured
        if row.latitude is not None:
            assert abs(row.latitude - seen.place[0]) <= 0.05 + 1e-9
            assert row.latitude == round(row.latitude, 1)


# any answer -------------------------------------------------------------------------

ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["open", "cc0", "2020-01-01", "https://h/1/square.jpg"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*GOOD, *GOOD["photos"][0]]), inner, max_size=6
        )
    ),
    max_leaves=30,
)


@st.composite
def mutated(draw):
    """The good observation with a few of its values replaced by anything."""
    content = json.loads(json.dumps(GOOD))
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(["top", "photo", "user", "taxon"]))
        table = content if where == "top" else content.get(where)
        if where == "photo":
            photos = content.get("photos")
            table = photos[0] if isinstance(photos, list) and photos else None
        if isinstance(table, dict) and table:
            table[draw(st.sampled_from(sorted(table)))] = draw(ANY)
    return content


@given(ANY | mutated())
def test_any_observation_becomes_rows(content):
    found = read(content, places=True)
    assert found
    assert frame(found, coordinates="coarse").height == len(found)
    for row in found:
        assert row.key
        assert row.refused or (row.licence and row.url.startswith("http"))


@given(ANY)
def test_any_answer_is_pages_or_a_clear_error(answer):
    aim = Target("fox", "fox", "Vulpes", {"inaturalist": 5})
    for order in ("newest", "oldest", "random"):
        for content in (answer, {"results": [answer]}, {"results": answer}):
            walk = inaturalist.pages(
                spec_of(),
                [aim],
                settings=Collect(order=order),
                cursor=None,
                door=Shelf(content),
            )
            with suppress(StopIteration, SourceError):
                for _ in range(3):
                    next(walk)
    with suppress(SourceError):
        assert len(list(inaturalist.again(spec_of(), ["1/2"], door=Shelf(answer)))) == 1


@pytest.mark.parametrize("order", ["newest", "oldest", "random"])
def test_an_answer_that_never_ends_is_an_error(order):
    page = {"total_results": 500, "results": [GOOD] * 200}
    aim = Target("fox", "fox", "Vulpes", {"inaturalist": 5})
    with pytest.raises(SourceError, match="do not go on"):
        crawl(spec_of(), Shelf(page), aim, order=order)


def test_what_has_no_id_is_a_row_too():
    found = [read({"photos": [{}], "id": "x"}), read({"id": 5}), read(["?"])]
    reasons = [[row.refused for row in some] for some in found]
    assert reasons == [
        ["observation without an id"],
        ["observation without photos"],
        ["observation without an id"],
    ]
    assert read(["?"])[0].key == read(["?"])[0].key != read(["!"])[0].key


# again ------------------------------------------------------------------------------


def test_how_records_stand_later(door):
    world = World([CASTOR], observations=150, seed=5)
    with serving(world) as server:
        spec = spec_of(api=f"{server.url}/v1")
        before = {
            row.key: row
            for row in rows(crawl(spec, door, target(world)))
            if not row.refused
        }
        world.later(flipped=0.2, vanished=0.2, seed=1)
        removed = next(iter(before))
        world.remove_observation(int(removed.split("/")[0]))
        hidden = next(k for k in before if int(k.split("/")[1]) in world.photos)
        world.photos[int(hidden.split("/")[1])].hidden = True
        asked = len(server.asked)
        found = {s.key: s for s in inaturalist.again(spec, [*before, "x/1"], door=door)}
        requests = len(server.asked) - asked
    assert found.keys() == {*before, "x/1"}
    for key, standing in found.items():
        photo = world.photos.get(int(key.split("/")[1]))
        there = photo is not None and not photo.hidden and key != "x/1"
        assert standing.state == ("there" if there else "gone"), key
        assert standing.licence_text == (photo.licence if there else None)
    assert {s.state for s in found.values()} == {"there", "gone"}
    assert found[hidden].state == found[removed].state == "gone"
    flipped = [k for k, s in found.items() if s.state == "there" and not s.licence_text]
    assert flipped
    observations = len({key.split("/")[0] for key in before})
    assert requests == -(-observations // 30)


# faults of the service --------------------------------------------------------------


def test_answers_cut_off_are_asked_for_again(door):
    world = World([CASTOR], observations=150, seed=5, truncate_every=2)
    with serving(world) as server:
        found = rows(crawl(spec_of(api=f"{server.url}/v1"), door, target(world)))
    assert {row.key for row in found} == expected(world)


def test_the_service_asks_for_patience(tmp_path):
    waited = []
    now = [1_800_000_000.0]

    def sleep(seconds):
        waited.append(seconds)
        now[0] += seconds
        world.rate = None

    world = World([CASTOR], observations=150, seed=5, rate=2)
    http = Http(hosts=[Host(name="127.0.0.1", private=True)])
    with (
        serving(world) as server,
        HttpDoor(
            http, state=tmp_path / "state", sleep=sleep, clock=lambda: now[0]
        ) as door,
    ):
        found = rows(crawl(spec_of(api=f"{server.url}/v1"), door, target(world)))
    assert {row.key for row in found} == expected(world)
    assert sum(waited) >= world.retry_after


def test_photos_are_where_their_licence_says(world, server, door):
    spec = spec_of(api=f"{server.url}/v1")
    good = [r for r in rows(crawl(spec, door, target(world))) if not r.refused][:12]
    data = [door.photo(row.url, limit=1_000_000) for row in good]
    assert len(set(data)) == len(good)
    missing = good[0].url.replace("/open-data/", "/static/")
    with pytest.raises(InputError):
        door.photo(missing, limit=1_000_000)
