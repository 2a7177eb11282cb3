"""Names to taxa: exact, synonyms followed, ambiguous ones refused, pinned once."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import taxa
from curation.config import Host, Http, parse
from curation.errors import ConfigError, SourceError, WorkFolderError
from curation.http.door import HttpDoor
from tests.standins.inaturalist import Taxon, World, serving

BOTH = {"gbif", "inaturalist"}


def dataset(*classes, sources=({"kind": "folder", "path": "photos"},)):
    return parse(
        {
            "dataset": {"name": "some"},
            "classes": [
                {"name": name, "scientific_name": scientific}
                for name, scientific in classes
            ],
            "backgrounds": [
                {"name": "a", "prompts": ["a {}"]},
                {"name": "b", "prompts": ["b {}"]},
            ],
            "sources": list(sources),
        },
        base=taxa.Path("/data"),
        name="dataset.toml",
    )


class Service:
    """A world that is asked through the real door, and a lock file."""

    def __init__(self, folder, world, server):
        self.lock, self.world, self.server = folder / taxa.LOCK, world, server
        self.bases = {name: f"{server.url}/v1" for name in BOTH}
        http = Http(hosts=[Host(name="127.0.0.1", private=True)], attempts=1)
        self.door = HttpDoor(http, state=folder / "state", sleep=lambda seconds: None)

    def targets(self, *classes, authorities=BOTH):
        return taxa.targets(
            dataset(*classes),
            lock=self.lock,
            door=self.door,
            authorities=authorities,
            bases=self.bases,
        )

    def pinned(self):
        return json.loads(self.lock.read_text(encoding="utf-8"))

    def fault(self, *classes, authorities=BOTH):
        with pytest.raises(ConfigError) as caught:
            self.targets(*classes, authorities=authorities)
        return str(caught.value)


def world():
    """A small tree with every trap."""
    world = World(["Ursus maritimus", "Castor"], observations=2, seed=1)
    add = world.add_taxon
    aves = add("Aves", "class", iconic="Aves").id
    plants = add("Plantae", "kingdom", 48460, iconic="Plantae").id
    # a synonym that the accepted taxon is found by
    add(
        "Lithobates catesbeianus",
        "species",
        common="American Bullfrog",
        synonyms=("Rana catesbeiana",),
    )
    # a name of which only an inactive taxon tells what became of it
    fox = add("Vulpes lagopus", "species", common="Arctic Fox")
    add("Alopex lagopus", "species", active=False, synonymous=(fox.id,))
    # a name that was divided
    parts = [add(f"Novus {name}", "species").id for name in ("unus", "duo")]
    add("Vetus communis", "species", active=False, synonymous=tuple(parts))
    # a bird and a plant; two animals; a genus and its subgenus
    add("Oenanthe", "genus", aves, common="Wheatears", iconic="Aves")
    add("Oenanthe", "genus", plants, common="Water Dropworts", iconic="Plantae")
    add("Prunella", "genus", aves, common="Accentors", iconic="Aves")
    add("Prunella", "genus", common="a worm")
    scarabs = add("Scarabaeus", "genus")
    add("Scarabaeus", "subgenus", scarabs.id)
    flock = add("Papilio communis", "complex")
    add("Papilio communis", "species", flock.id)
    # a common name that is a scientific name of nothing
    add("Agamidae", "family", common="Agama")
    add("Quercus", "genus", plants, common="Oaks", iconic="Plantae")
    return world


@pytest.fixture
def service(tmp_path):
    tree = world()
    with serving(tree) as server:
        service = Service(tmp_path, tree, server)
        with service.door:
            yield service


def key(service, name):
    return {
        "inaturalist": service.world.taxon(name).id,
        "gbif": 2_000_000 + 10 * service.world.taxon(name).id,
    }


@pytest.mark.parametrize(
    ("name", "accepted", "rank"),
    [
        ("Ursus maritimus", "Ursus maritimus", "species"),
        ("ursus MARITIMUS", "Ursus maritimus", "species"),
        ("Castor", "Castor", "genus"),
        ("Agamidae", "Agamidae", "family"),
        ("Rana catesbeiana", "Lithobates catesbeianus", "species"),
        ("Quercus", "Quercus", "genus"),
    ],
)
def test_a_name_becomes_one_taxon(service, name, accepted, rank):
    (target,) = service.targets(("x", name))
    assert target.taxa == key(service, accepted)
    assert (target.name, target.query, target.scientific_name) == ("x", "x", name)
    pin = service.pinned()["x"]
    assert pin["scientific_name"] == name
    for authority in BOTH:
        assert (pin[authority]["name"], pin[authority]["rank"]) == (accepted, rank)


def test_an_inactive_name_leads_to_what_became_of_it(service):
    (target,) = service.targets(("x", "Alopex lagopus"), authorities={"inaturalist"})
    assert target.taxa == {"inaturalist": service.world.taxon("Vulpes lagopus").id}
    assert service.pinned()["x"]["inaturalist"]["common"] == "Arctic Fox"


def test_of_an_animal_and_a_plant_the_animal_is_meant(service):
    (target,) = service.targets(("x", "Oenanthe"))
    birds = next(t for t in service.world.taxa.values() if t.common == "Wheatears")
    assert target.taxa == {"inaturalist": birds.id, "gbif": 2_000_000 + 10 * birds.id}


def test_a_genus_is_meant_rather_than_its_subgenus(service):
    (target,) = service.targets(("x", "Scarabaeus"), authorities={"inaturalist"})
    genus = next(t for t in service.world.taxa.values() if t.name == "Scarabaeus")
    assert genus.rank == "genus"
    assert target.taxa == {"inaturalist": genus.id}


def test_a_species_is_meant_rather_than_the_complex(service):
    (target,) = service.targets(("x", "Papilio communis"), authorities={"inaturalist"})
    meant = service.world.taxa[target.taxa["inaturalist"]]
    assert (meant.name, meant.rank) == ("Papilio communis", "species")


def test_several_animals_are_listed_and_one_chosen_by_hand(service):
    said = service.fault(("worm", "Prunella"), authorities={"inaturalist"})
    worm = next(t for t in service.world.taxa.values() if t.common == "a worm")
    bird = next(t for t in service.world.taxa.values() if t.common == "Accentors")
    assert "classes[0].scientific_name: 'Prunella': stands for 2 taxa" in said
    assert f"{worm.id}: genus Prunella (a worm), Animalia" in said
    assert f"{bird.id}: genus Prunella (Accentors), Aves" in said
    example = said[said.index('{"worm"') :]
    assert str(service.lock) in said
    content = json.loads(example)
    content["worm"]["inaturalist"]["id"] = worm.id
    service.lock.write_text(json.dumps(content))
    (target,) = service.targets(("worm", "Prunella"), authorities={"inaturalist"})
    assert target.taxa == {"inaturalist": worm.id}


def test_gbif_lists_them_too(service):
    said = service.fault(("worm", "Prunella"), authorities={"gbif"})
    assert "no exact match for this name: NONE, Multiple equal matches" in said
    assert said.count("genus Prunella") == 2


@pytest.mark.parametrize(
    ("name", "authority", "words"),
    [
        ("Vetus communis", "inaturalist", ["was divided into 2", "Novus unus"]),
        (
            "Agama",
            "inaturalist",
            ["no active taxon of this name; it found", "Agamidae"],
        ),
        ("Castor ignotus", "inaturalist", ["no active taxon of this name"]),
        ("Castor ignotus", "gbif", ["HIGHERRANK", "genus Castor"]),
        ("Nemo nemo", "gbif", ["no exact match for this name: NONE"]),
    ],
)
def test_a_name_that_leads_nowhere(service, name, authority, words):
    said = service.fault(("x", name), authorities={authority})
    assert f"classes[0].scientific_name: {name!r}: " in said
    assert all(word in said for word in words), said
    assert not service.lock.exists()


def test_every_class_that_is_wrong_is_named_and_the_others_are_kept(service):
    classes = (("a", "Castor"), ("b", ""), ("c", "Nemo nemo"), ("d", "Castor ignotus"))
    said = service.fault(*classes, authorities={"gbif"})
    assert "classes[0]" not in said
    assert "classes[1].scientific_name: missing; the sources find 'b'" in said
    assert "classes[2].scientific_name: 'Nemo nemo'" in said
    assert "classes[3].scientific_name: 'Castor ignotus'" in said
    assert list(service.pinned()) == ["a"]


def test_nothing_is_asked_twice(service):
    classes = (("bear", "Ursus maritimus"), ("beaver", "Castor"))
    first = service.targets(*classes)
    before, content = len(service.server.asked), service.lock.read_bytes()
    assert service.targets(*classes) == first
    # the order of classes is no reason to write or ask either
    assert service.targets(*reversed(classes)) == first[::-1]
    assert len(service.server.asked) == before
    assert service.lock.read_bytes() == content


def test_another_scientific_name_is_looked_up(service):
    service.targets(("bear", "Ursus maritimus"), ("beaver", "Castor"))
    before = len(service.server.asked)
    service.targets(("bear", "Vulpes lagopus"), ("beaver", "Castor"))
    names = {
        one.query.get("q") or one.query.get("name")
        for one in service.server.asked[before:]
    }
    assert names == {"Vulpes lagopus"}
    pins = service.pinned()
    assert pins["bear"]["scientific_name"] == "Vulpes lagopus"
    assert pins["bear"]["inaturalist"]["name"] == "Vulpes lagopus"


def test_another_authority_is_added_beside(service):
    (first,) = service.targets(("beaver", "Castor"), authorities={"gbif"})
    before = service.pinned()["beaver"]["gbif"]
    (both,) = service.targets(("beaver", "Castor"))
    assert both.taxa == first.taxa | {"inaturalist": service.world.taxon("Castor").id}
    assert service.pinned()["beaver"]["gbif"] == before
    # a target has the taxa that are needed, not all that are known
    (again,) = service.targets(("beaver", "Castor"), authorities={"gbif"})
    assert again == first


def test_pins_outlive_what_the_service_changes(service):
    (first,) = service.targets(("beaver", "Castor"))
    service.world.taxon("Castor").active = False
    (later,) = service.targets(("beaver", "Castor"))
    assert later == first


def test_without_authorities_nothing_is_asked_or_written(service):
    (target,) = service.targets(("x", ""), authorities=set())
    assert (target.taxa, service.server.asked) == ({}, [])
    assert not service.lock.exists()


def test_a_service_that_fails_keeps_what_was_found(service):
    asked = service.world._api

    def broken(parts, query, base):
        if query.get("name") == "Castor":
            return 500, {"error": "no"}
        return asked(parts, query, base)

    service.world._api = broken
    classes = (("bear", "Ursus maritimus"), ("beaver", "Castor"))
    with pytest.raises(SourceError):
        service.targets(*classes, authorities={"gbif"})
    assert list(service.pinned()) == ["bear"]
    del service.world._api
    assert len(service.targets(*classes, authorities={"gbif"})) == 2


def test_the_file_is_made_to_be_read(service):
    service.targets(("polar bear", "Ursus maritimus"), ("beaver", "Castor"))
    lines = service.lock.read_text(encoding="utf-8").splitlines()
    assert lines[:4] == [
        "{",
        '  "beaver": {',
        '    "scientific_name": "Castor",',
        '    "gbif": {',
    ]
    assert [name for name in service.pinned()] == ["beaver", "polar bear"]
    assert not list(service.lock.parent.glob(".*.part"))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"x": 5}',
        '{"x": {"gbif": {"id": 5}}}',
        '{"x": {"scientific_name": "Castor", "gbif": {"id": "five"}}}',
        '{"x": {"scientific_name": "Castor", "gbif": {"id": 5, "colour": 1}}}',
        '{"x": {"scientific_name": "Castor", "gbif": 5}}',
    ],
)
def test_a_file_that_cannot_be_read(service, content):
    service.lock.write_text(content)
    said = service.fault(("x", "Castor"))
    assert f"{service.lock} cannot be read" in said
    assert service.lock.read_text() == content


def test_a_file_that_cannot_be_written(service):
    service.lock = service.lock.parent / "nowhere" / taxa.LOCK
    with pytest.raises(WorkFolderError, match="cannot be written"):
        service.targets(("x", "Castor"))


def test_a_lock_that_is_a_folder(service):
    service.lock.mkdir()
    said = service.fault(("x", "Castor"))
    assert "cannot be read" in said


def test_what_the_sources_need():
    folder = {"kind": "folder", "path": "photos"}
    mirror = {"kind": "inaturalist", "api": "http://mirror/v1/"}
    assert taxa.needed(dataset(("x", ""), sources=[folder])) == {}
    assert taxa.needed(dataset(("x", ""), sources=[folder, mirror])) == {
        "inaturalist": "http://mirror/v1"
    }
    assert taxa.needed(dataset(("x", ""), sources=[{"kind": "inaturalist"}])) == {
        "inaturalist": "https://api.inaturalist.org/v1"
    }


# any answer -------------------------------------------------------------------------

WORDS = ["id", "name", "rank", "results", "matchType", "usageKey", "alternatives"]
WORDS += ["matched_term", "current_synonymous_taxon_ids", "is_active", "ancestor_ids"]
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["Castor", "Castor fiber", "EXACT", "NONE"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6)
    ),
    max_leaves=30,
)


class Says:
    def __init__(self, answer):
        self.answer = answer

    def json(self, url, *, params=None, contact=False):
        return self.answer


@given(ANY, st.sampled_from(["Castor", "Castor fiber"]))
def test_any_answer_is_a_taxon_or_a_clear_error(answer, name):
    for content in (answer, {"results": [answer]}, {"results": answer}):
        for resolve in taxa.RESOLVERS.values():
            with suppress(SourceError, taxa.Unresolved):
                found = resolve(name, "http://h/v1", Says(content))
                assert found.id > 0
                assert json.loads(json.dumps(found.name)) == found.name


def test_a_tree_that_was_given_whole_is_understood():
    own = Taxon(7, "Nova", "genus", 1)
    assert World([own], observations=3).taxon("Nova").lineage == (48460, 1, 7)
