"""The route with models in processes of their own: the same bytes, predictions too."""

import hashlib
import shutil

from curation import engines
from tests.world import World


def everything(world: World) -> dict[str, str]:
    """Sha256 of every file of tables and release."""
    return {
        str(path.relative_to(world.work)): hashlib.sha256(path.read_bytes()).hexdigest()
        for place in ("tables", "release")
        for path in sorted((world.work / place).rglob("*"))
        if path.is_file()
    }


def test_the_route_leaves_the_same_bytes(world, tmp_path, monkeypatch):
    world.run("--until", "tasks")
    world.label()
    other = World(world.root, tmp_path / "other")
    shutil.copytree(world.work, other.work)
    shutil.rmtree(other.work / "tables")
    local = world.run("--until", "group")

    stages = []
    compute = engines.Processes.compute

    def noted(self, works, **options):
        works = list(works)
        stages.extend(work.stage for work in works)
        compute(self, works, **options)

    monkeypatch.setattr(engines.Processes, "compute", noted)
    found = other.run("--until", "group", "--engine", "processes")
    assert stages == ["hash", "embed", "curation.engines.features"]
    assert found["predict"]["computed"] == local["predict"]["computed"] > 0
    assert everything(other) == everything(world)


def test_the_configuration_names_the_engine(world):
    world.change("[run]", '[run]\nengine = "ray"\nstorage = "nonsense"')
    world.run("--until", "fetch")  # nothing to compute: no cluster is looked for
    result = world.invoke("run", "--engine", "spark")
    assert result.exit_code == 2
    assert "no such engine" in result.stderr
    result = world.invoke("run", "--engine", "local", "--storage", "s3://a/b")
    assert result.exit_code == 2
    assert "--storage is for --engine ray" in result.stderr
    world.run("--until", "hash", "--engine", "local")
