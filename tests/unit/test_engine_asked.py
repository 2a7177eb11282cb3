"""An engine that cannot be used is told of before anything is done."""

import sys

import pytest
from typer.testing import CliRunner

from curation import engines, init
from curation.cli import app
from curation.errors import ConfigError


@pytest.fixture
def invoke(tmp_path):
    """Run a command on a new dataset; its work folder must not have been begun."""
    config = init.write(tmp_path / "mine")
    work = tmp_path / "work"

    def run(*words: str, toml: str = ""):
        text = config.read_text().replace("[run]", f"[run]\n{toml}")
        assert toml in text
        config.write_text(text)
        done = CliRunner().invoke(app, [*words, "-c", str(config), "--work", str(work)])
        assert not work.exists()
        return done

    return run


WRONG = [
    ("spark", "", "--engine spark: no such engine"),
    ("local", "s3://bucket/photos", "--storage is for --engine ray"),
    ("processes", "nonsense", "--storage is for --engine ray"),
    ("ray", "nonsense", "'nonsense' is no URL; examples are s3://bucket/folder"),
    ("ray", "s3://", "is no URL"),
    ("ray", "://bucket/photos", "is no URL"),
    ("ray", "file://mnt/photos", "three slashes, file:///mnt/photos"),
    ("ray", "s4://bucket/photos", "storage s4://bucket/photos: Protocol not known"),
    ("ray", "s3://ANNA:geheim@bucket/photos", "keys are not part of the URL"),
]


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
@pytest.mark.parametrize(("engine", "storage", "told"), WRONG)
def test_before_anything_runs(invoke, engine, storage, told, dry):
    more = ("--storage", storage) if storage else ()
    done = invoke("run", "--engine", engine, *more, *dry)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "geheim" not in done.stderr
    assert not done.stdout


@pytest.mark.parametrize("words", [("run",), ("run", "--dry-run"), ("release",)])
def test_one_that_is_configured(invoke, words):
    done = invoke(*words, toml='engine = "ray"\nstorage = "nonsense"\n')
    assert done.exit_code == 2
    assert "'nonsense' is no URL" in done.stderr


def test_where_no_photo_is_computed_it_need_not_be_there(invoke, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    asked = ("--dry-run", "--json")
    assert invoke("collect", *asked, toml='engine = "ray"\n').exit_code == 0
    assert invoke("run", "--until", "fetch", *asked).exit_code == 0
    assert invoke("run", "--engine", "local", *asked).exit_code == 0
    done = invoke("run", "--until", "hash", *asked)
    assert done.exit_code == 2
    assert "pip install 'counterset[ray]'" in done.stderr


def test_an_address_of_another_kind_of_client(invoke, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    done = invoke("run", "--engine", "ray", "--dry-run")
    assert done.exit_code == 2
    assert "RAY_ADDRESS=ray://head:10001" in done.stderr


def test_one_that_can_be_used(invoke):
    for storage in ("", "s3://bucket", "s3://bucket/folder", "file:///mnt/photos"):
        engines.check("ray", storage=storage)
    engines.check("processes")
    engines.check("local")
    done = invoke("run", "--engine", "ray", "--storage", "s3://bucket/a", "--dry-run")
    assert done.exit_code == 0, done.stderr


def test_a_package_that_is_missing_is_named():
    with pytest.raises(ConfigError, match="adlfs"):
        engines.check("ray", storage="abfs://container/photos")
