"""CounterAnimal's 45 classes: from scientific names to photos of the right animals."""

import json
from pathlib import Path

import pytest

from curation import config, taxa
from curation.config import Collect, Host, Http
from curation.http.door import HttpDoor
from curation.sources import inaturalist
from tests.standins.inaturalist import World, serving

CARD = Path(__file__).parents[2] / "data_cards/counteranimal/dataset.toml"
RENAMED = {
    "Rana catesbeiana": "Lithobates catesbeianus",
    "Alopex lagopus": "Vulpes lagopus",
}


@pytest.fixture(scope="module")
def card():
    return config.load(CARD)


@pytest.fixture(scope="module")
def world(card):
    names = [RENAMED.get(c.scientific_name, c.scientific_name) for c in card.classes]
    world = World(names, observations=40, seed=11)
    for old, new in RENAMED.items():
        world.taxon(new).synonyms = (old,)
    return world


@pytest.fixture
def door(tmp_path):
    http = Http(hosts=[Host(name="127.0.0.1", private=True)])
    with HttpDoor(http, state=tmp_path / "state") as door:
        yield door


def test_every_class_is_resolved_and_its_photos_are_of_it(card, world, door, tmp_path):
    lock = tmp_path / taxa.LOCK
    with serving(world) as server:
        bases = {name: f"{server.url}/v1" for name in taxa.BASES}
        asked = {"authorities": {"inaturalist", "gbif"}, "bases": bases, "lock": lock}
        targets = taxa.targets(card, door=door, **asked)
        # an exact name takes one request at each authority, and no second run takes any
        assert len(server.asked) == 2 * 45
        assert taxa.targets(card, door=door, **asked) == targets
        assert len(server.asked) == 2 * 45

        assert [target.name for target in targets] == [c.name for c in card.classes]
        assert len({target.taxa["inaturalist"] for target in targets}) == 45
        assert len({target.taxa["gbif"] for target in targets}) == 45
        pins = json.loads(lock.read_text(encoding="utf-8"))
        for old, new in RENAMED.items():
            (pin,) = (p for p in pins.values() if p["scientific_name"] == old)
            assert pin["inaturalist"]["name"] == pin["gbif"]["name"] == new

        spec = inaturalist.Spec(kind="inaturalist", api=bases["inaturalist"])
        for target in targets:
            pages = inaturalist.pages(
                spec, [target], settings=Collect(), cursor=None, door=door
            )
            found = [row for page in pages for row in page.candidates]
            assert found, target.name
            for row in found:
                seen = world.observations[int(row.key.split("/")[0])]
                lineage = world.taxa[seen.taxon].lineage
                assert target.taxa["inaturalist"] in lineage
                assert row.class_ == target.name
