"""A handful of requests to the real services: `pytest -m network`, off by default.

COUNTERSET_CONTACT says how the services can reach whoever runs this.
"""

import os
from itertools import islice

import pytest

from curation import taxa
from curation.config import Collect, Http
from curation.http.door import HttpDoor
from curation.licences import normalise
from curation.sources import Target, source
from evaluation.images import decode

CONTACT = os.environ.get("COUNTERSET_CONTACT", "")
NAME = "Ursus maritimus"
AUTHORITIES = {"inaturalist": taxa.inaturalist, "gbif": taxa.gbif}
pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(not CONTACT, reason="COUNTERSET_CONTACT is not set"),
]


@pytest.fixture
def door(tmp_path):
    state = tmp_path / "hosts.sqlite"
    with HttpDoor(Http(contact=CONTACT), state=state) as opened:
        yield opened


@pytest.mark.parametrize("kind", ["inaturalist", "gbif", "commons", "openverse"])
def test_a_page_and_a_photo(kind, door):
    module = source(kind)
    ids = {}
    if kind in AUTHORITIES:
        ids = {kind: AUTHORITIES[kind](NAME, taxa.BASES[kind], door).id}
    target = Target("polar bear", "polar bear", NAME, ids)
    spec, settings = module.Spec(kind=kind), Collect(per_class=5)
    pages = module.pages(spec, [target], settings=settings, cursor=None, door=door)
    found = [one for page in islice(pages, 1) for one in page.candidates]
    usable = [one for one in found if one.refused is None]
    assert usable
    assert all(one.licence and one.source_url for one in usable)
    data = door.photo(usable[0].url, limit=20_000_000)
    assert decode(data).width > 100
    (standing,) = module.again(spec, [usable[0].key], door=door)
    assert standing.state == "there"
    assert normalise(standing.licence_text) == usable[0].licence
