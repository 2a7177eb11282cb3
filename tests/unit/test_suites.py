"""Suites: every name is one that the installed libraries know, and says what it is."""

import csv
from pathlib import Path

import pytest

from evaluation import models
from evaluation.errors import ConfigError
from evaluation.models import lvlm, timm
from evaluation.suites import Entry, names, suite

DATA = Path(__file__).parents[1] / "data" / "counteranimal"


@pytest.fixture(scope="module")
def nameable() -> set[str]:
    """Every name that a backend offers; open_clip's only with the right QuickGELU."""
    return {
        info.name for backend in models.backends().values()
        for info in backend.available()
    }  # fmt: skip


def entries() -> list[tuple[str, Entry]]:
    return [(name, entry) for name in names() for entry in suite(name).entries]


def test_every_name_of_every_suite_is_known(nameable):
    from timm import list_models

    tagged = {f"timm:{name}" for name in list_models(pretrained=True)}
    unknown = {entry.name for _, entry in entries()} - nameable - tagged
    assert not unknown


def test_every_timm_entry_is_a_classifier_whose_pixels_can_be_made():
    from timm.models import get_pretrained_cfg

    for _, entry in entries():
        backend, _, rest = entry.name.partition(":")
        if backend != "timm":
            continue
        settings = get_pretrained_cfg(rest)
        assert settings.num_classes == 1000, rest
        assert settings.hf_hub_id, rest
        wanted = {
            "input_size": settings.input_size,
            "crop_mode": settings.crop_mode,
            "crop_pct": settings.crop_pct,
            "interpolation": settings.interpolation,
        }
        try:
            assert timm._spec(wanted, rest).size == settings.input_size[1]
        except ConfigError:
            assert "not supported" in entry.note


def _numbers(table: str) -> list[dict[str, str]]:
    with (DATA / table).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_counteranimal_has_the_models_of_its_tables():
    published = suite("counteranimal")
    assert len(published.entries) == 28 + 15 + 2
    assert all(entry.paper and entry.table for entry in published.entries)
    assert not any(entry.inferred for entry in published.entries)
    groups = {"3": "zero_shot", "4": "imagenet", "5": "lvlm"}
    assert all(entry.group == groups[entry.table] for entry in published.entries)
    called = {
        table: [entry.paper for entry in published.entries if entry.table == table]
        for table in groups
    }
    rows = _numbers("table3_clip_1v1000.csv")
    assert called["3"] == [
        f"{row['backbone']} {row['pretrain_dataset']}" for row in rows
    ]
    rows = _numbers("table4_imagenet_1v1000.csv")
    assert called["4"] == [row["backbone"] for row in rows]
    assert called["5"] == ["MiniGPT4-Viccuna7B", "LLaVA1.5-7B"]
    assert all(name.endswith("/IMAGENET1K_V1") for name in published.of("imagenet"))


def test_what_cannot_be_loaded_says_so_and_does_not_vanish():
    listed = suite("counteranimal").of("lvlm")
    absent = [name for name in listed if name.removeprefix("lvlm:") in lvlm.ABSENT]
    assert absent == ["lvlm:Vision-CAIR/MiniGPT-4"]
    with pytest.raises(ConfigError, match="not part of transformers"):
        models.load(absent[0])


def test_closer_look_passes_nothing_inferred_off_as_published():
    stands_in = suite("closer-look")
    assert all(entry.inferred for entry in stands_in.entries)
    published = {"zero_shot": 51, "fine_tuned": 32, "imagenet": 127}
    for group, count in published.items():
        there = len(stands_in.of(group))
        assert there > 30
        assert f"{there} " in stands_in.description
        assert f"{count})" in stands_in.description
    assert "inferred" in stands_in.description


def test_demo_needs_no_download():
    assert all(name.startswith("demo:") for name in suite("demo").models)
    assert len(suite("demo").of("zero_shot")) == 2
    assert len(suite("demo").of("imagenet")) == 3


def test_a_file_of_one_s_own(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[models]]\nname = "timm:resnet50"\n\n'
        '[[models]]\nname = "file:x.npz"\ngroup = "imagenet"\npaper = "X"\n'
        'table = "2"\ninferred = true\nnote = "n"\n'
    )
    found = suite(str(file))
    assert found.models == ("timm:resnet50", "file:x.npz")
    assert found.entries[0] == Entry("timm:resnet50")
    assert found.entries[1] == Entry("file:x.npz", "imagenet", "X", "2", True, "n")
    assert found.of("imagenet", "lvlm") == ("file:x.npz",)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('groups = "imagenet"', "did you mean group"),
        ('group = "clip"', "unknown group"),
        ("table = 3", "table is 3, not a str"),
        ('inferred = "yes"', "not a bool"),
        ('\n[[models]]\nname = "timm:resnet50"', "there twice"),
    ],
)
def test_wrong_entries(tmp_path, row, reason):
    file = tmp_path / "mine.toml"
    file.write_text(f'[[models]]\nname = "timm:resnet50"\n{row}\n')
    with pytest.raises(ConfigError, match=reason):
        suite(str(file))
