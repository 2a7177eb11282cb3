"""What every engine must do: the same bytes, a row for what crashes, parts kept."""

import hashlib

import pyarrow as pa
import pytest

from curation import engines
from curation.engines import Engine, features
from curation.shelf import Shelf
from curation.stages import embed
from evaluation.extract import extract
from evaluation.features import FeatureStore
from evaluation.models import identity
from tests import parts
from tests.parts import picture, works
from tests.world import PHOTOS

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.usefixtures("ray_cluster"),
    # Ray warns of its own use of its own settings
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(params=engines.ENGINES)
def engine(request):
    with engines.opened(request.param) as opened:
        yield opened


def kept(engine: Engine, folder, listed, *, processes: bool) -> dict[str, str]:
    """Names and sha256 of the parts that a run would leave in a work folder."""
    shelf = Shelf(folder)
    engine.compute(
        iter(listed),
        jobs=2,
        processes=processes,
        keep=lambda table: shelf.write_part("stage", "recipe", table),
    )
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in shelf.table_folder("stage", "recipe").glob("*.parquet")
    }


def photos(folder) -> list[bytes]:
    found = [path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))[:20]]
    return [*found, found[0][:5000], b"no picture at all", b""]


def test_hashes_have_the_same_bytes(engine, tmp_path):
    listed = works("hash", tmp_path, photos(tmp_path), part=4)
    alike = kept(engines.Local(), tmp_path / "local", listed, processes=True)
    found = kept(engine, tmp_path / "other", listed, processes=True)
    assert len(found) == 6
    assert found == alike


def test_embeddings_have_the_same_bytes(engine, tmp_path, tiny_clip):
    settings = embed.Settings(tiny_clip, identity(tiny_clip), 10**8)
    listed = [
        engines.Work("embed", settings, work.photos, work.blobs)
        for work in works("hash", tmp_path, photos(tmp_path), part=8)
    ]
    alike = kept(engines.Local(), tmp_path / "local", listed, processes=False)
    found = kept(engine, tmp_path / "other", listed, processes=False)
    assert len(found) == 3
    assert found == alike


def test_features_are_those_of_one_pass(engine, tmp_path, tiny_clip):
    table = parts.table(tmp_path, photos(tmp_path))
    keys = table.column("photo_id").to_pylist()
    names = [tiny_clip, "demo:lite0"]
    one, other = (FeatureStore(tmp_path / name) for name in ("one", "other"))

    def read(key: str) -> bytes:
        return (tmp_path / key).read_bytes()

    for store in (one, other):  # three of them are known already
        extract(names, keys[:3], read, store=store)
    wanted = extract(names, keys, read, store=one)
    assert wanted[tiny_clip].computed == len(keys) - 3
    count = features.fill(engine, other, names, keys, blob=tmp_path.joinpath, jobs=2)
    assert count == len(keys) - 3
    found = extract(names, keys, _no_reading, store=other)
    for name in names:
        assert found[name].computed == 0
        assert found[name].errors == wanted[name].errors
        assert (found[name].values == wanted[name].values).all()
    assert [bool(error) for error in found["demo:lite0"].errors[-3:]] == [True] * 3


def _no_reading(key):
    raise AssertionError(key)


def test_what_crashes_a_decoder_is_a_failed_row(engine, tmp_path):
    good = [picture(shade) for shade in range(9)]
    bad = {
        b"segfault": "decoder crashed (signal SIGSEGV)",
        b"memory": "decoder crashed (signal SIGKILL)",
        b"exit": "decoder crashed (exit status 3)",
    }
    listed = works("outside.crashing", tmp_path, [*good, *bad], part=4)
    tables: list[pa.Table] = []
    engine.compute(listed, jobs=2, processes=True, keep=tables.append)
    rows = pa.concat_tables(tables).to_pylist()
    failed = {row["photo_id"]: row["error"] for row in rows if row["error"]}
    assert len(rows) == 12
    assert failed == {
        hashlib.sha256(data).hexdigest(): how for data, how in bad.items()
    }


def test_a_bug_of_a_stage_is_raised_here(engine, tmp_path):
    listed = works("outside.crashing", tmp_path, [picture(1), b"bug"], part=1)
    with pytest.raises(ZeroDivisionError, match="a bug of the stage"):
        engine.compute(listed, jobs=1, processes=True, keep=lambda table: None)


def test_no_part_is_no_work(engine):
    engine.compute([], jobs=1, processes=True, keep=pytest.fail)
    engine.compute(iter([]), jobs=1, processes=False, keep=pytest.fail)
