"""dataset.toml: what is wrong is named by path, found, allowed and nearest."""

import copy
from pathlib import Path

import pytest

from curation.config import load, parse
from curation.errors import ConfigError

GOOD = {
    "dataset": {"name": "bears"},
    "classes": [{"name": "ice bear", "imagenet_index": 296}, {"name": "brown bear"}],
    "backgrounds": [
        {"name": "snow", "prompts": ["a photo of a {} on snow"]},
        {"name": "grass", "prompts": ["a photo of a {} on grass"]},
    ],
    "sources": [{"kind": "folder", "path": "photos"}],
}


def faults(change):
    content = copy.deepcopy(GOOD)
    change(content)
    with pytest.raises(ConfigError) as caught:
        parse(content, base=Path("/data"), name="dataset.toml")
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_source_paths_are_taken_from_the_files_folder():
    config = parse(copy.deepcopy(GOOD), base=Path("/data"), name="dataset.toml")
    assert config.sources[0].path == Path("/data/photos")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c.update(dedupe={}), ["dedupe: unknown key", "dedup"]),
        (
            lambda c: c.update(dedup={"auto_raduis": 4}),
            ["dedup.auto_raduis: unknown key", "auto_radius"],
        ),
        (
            lambda c: c.update(dedup={"auto_radius": "four"}),
            ["dedup.auto_radius", "'four'", "integer"],
        ),
        (
            lambda c: c["classes"].append({"name": "ice bear"}),
            ["classes[2].name", "'ice bear' is already there"],
        ),
        (
            lambda c: c["classes"][0].update(imagenet_index=1000),
            ["classes[0].imagenet_index", "1000", "999"],
        ),
        (
            lambda c: c["backgrounds"][1].update(prompts=[]),
            ["backgrounds[1].prompts", "at least 1"],
        ),
        (
            lambda c: c["backgrounds"][1].pop("prompts"),
            ["backgrounds[1].prompts: missing"],
        ),
        (
            lambda c: c["backgrounds"][1].update(name="cannot_tell"),
            ["backgrounds[1].name", "reserved"],
        ),
        (
            lambda c: c["classes"][0].update(common="snwo"),
            ["classes[0].common", "'snwo'", "did you mean snow"],
        ),
        (lambda c: c.pop("sources"), ["sources: missing"]),
        (
            lambda c: c["sources"][0].update(kind="ftp"),
            ["sources[0].kind", "'ftp'", "folder"],
        ),
        (
            lambda c: c.update(dedup={"auto_radius": 9, "review_radius": 5}),
            ["dedup.review_radius", "below"],
        ),
    ],
)
def test_a_fault_is_told_with_its_path(change, told):
    message = faults(change)
    for part in told:
        assert part in message


def test_every_fault_is_told_at_once():
    message = faults(
        lambda c: c.update(fetch={"max_bytes": 0, "maxpixels": 1}, tasks={"answers": 0})
    )
    assert message.count("\n") == 3


def test_a_file_that_is_no_toml_or_not_there(tmp_path):
    path = tmp_path / "dataset.toml"
    with pytest.raises(ConfigError, match="counterset init"):
        load(path)
    path.write_text("[dataset\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(path)
