"""The stand-in of iNaturalist does what the real service is known to do."""

import io
from itertools import pairwise

import pytest
import requests
from PIL import Image

from tests.standins.inaturalist import World, serving

WINDOW = {
    "error": "Result window is too large, page x size must be less than or equal to "
    "[10000]. Please narrow your search, or use a sliding window approach with "
    "id_above or id_below params.",
    "status": 403,
}


@pytest.fixture(scope="module")
def world():
    return World(["Castor", "Ursus maritimus"], observations=250, seed=2)


@pytest.fixture(scope="module")
def server(world):
    with serving(world) as server:
        yield server


@pytest.fixture
def ask(server):
    def ask(path="observations", **params):
        return requests.get(f"{server.url}/v1/{path}", params=params, timeout=10)

    return ask


def test_the_window_ends_at_ten_thousand(ask):
    assert ask(per_page=200, page=50).status_code == 200
    answer = ask(per_page=200, page=51)
    assert (answer.status_code, answer.json()) == (403, WINDOW)


def test_pages_hold_200_at_most_and_30_unless_told(ask):
    clamped = ask(per_page=500).json()
    assert (clamped["per_page"], len(clamped["results"])) == (200, 200)
    assert len(ask().json()["results"]) == 30
    counted = ask(per_page=0).json()
    assert (counted["total_results"], counted["results"]) == (500, [])


def test_newest_first_unless_told(ask):
    ids = [seen["id"] for seen in ask(per_page=50).json()["results"]]
    assert all(a > b for a, b in pairwise(ids))
    up = ask(per_page=50, order_by="id", order="asc").json()["results"]
    assert all(a["id"] < b["id"] for a, b in pairwise(up))


def test_the_total_shrinks_behind_the_first_page(ask):
    first = ask(order_by="id", order="asc", per_page=200).json()
    last = first["results"][-1]["id"]
    second = ask(order_by="id", order="asc", per_page=200, id_above=last).json()
    assert (first["total_results"], second["total_results"]) == (500, 300)
    assert all(seen["id"] > last for seen in second["results"])


def test_a_taxon_brings_those_below_it(ask, world):
    genus = world.taxon("Castor").id
    found = ask(taxon_id=genus, per_page=200).json()["results"]
    assert {seen["taxon"]["rank"] for seen in found} == {"species"}
    assert all(genus in seen["taxon"]["ancestor_ids"] for seen in found)


def test_a_licence_of_one_photo_brings_the_others(ask):
    found = ask(photo_license="cc0", per_page=200).json()["results"]
    codes = [[p["license_code"] for p in seen["photos"]] for seen in found]
    assert all("cc0" in some for some in codes)
    assert any(None in some for some in codes)


def test_photos_are_pictures_of_what_they_are_called(ask):
    seen = []
    for one in ask(per_page=200).json()["results"]:
        for photo in one["photos"]:
            url = photo["url"].replace("/square.", "/medium.")
            answer = requests.get(url, timeout=10)
            with Image.open(io.BytesIO(answer.content)) as picture:
                name = url.partition("?")[0].rpartition(".")[2].lower()
                kind = {"png": "PNG", "gif": "GIF"}.get(name, "JPEG")
                assert (picture.format, picture.width) == (kind, 160)
            seen.append(answer.content)
        if len(seen) > 60:
            break
    assert len(set(seen)) == len(seen)


def test_a_photo_moves_with_its_licence_and_may_vanish():
    world = World(["Castor"], observations=20, seed=4)
    photo = next(p for p in world.photos.values() if p.licence == "cc-by")
    with serving(world) as server:
        path = f"photos/{photo.id}/medium.{photo.extension}"
        places = [f"{server.url}/{where}/{path}" for where in ("open-data", "static")]

        def states():
            return [requests.get(url, timeout=10).status_code for url in places]

        assert states() == [200, 403]
        world.relicense(photo.id, None)
        assert states() == [403, 200]
        world.remove_photo(photo.id)
        assert states() == [403, 403]


def test_the_sixty_first_in_a_minute_is_too_much():
    world = World(["Castor"], observations=2, rate=60)
    with serving(world) as server:
        url = f"{server.url}/v1/observations"
        answers = [requests.get(url, timeout=10) for _ in range(62)]
    assert [answer.status_code for answer in answers] == [200] * 60 + [429] * 2
    assert answers[-1].headers["Retry-After"] == "60"


def test_every_third_answer_is_cut_off():
    world = World(["Castor"], observations=5, truncate_every=3)
    with serving(world) as server:
        url = f"{server.url}/v1/observations"
        whole = []
        for _ in range(6):
            try:
                requests.get(url, timeout=10).json()
                whole.append(True)
            except ValueError:
                whole.append(False)
    assert whole == [True, True, False] * 2


def test_the_same_arguments_make_the_same_world(world):
    again = World(["Castor", "Ursus maritimus"], observations=250, seed=2)
    assert again.observations == world.observations
    assert World(["Castor"], observations=250, seed=3).observations != {}
    assert any(seen.obscured for seen in world.observations.values())
    assert {user["name"] for user in world.users} >= {None, ""}
