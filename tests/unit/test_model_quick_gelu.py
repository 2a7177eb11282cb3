"""What is known of a checkpoint's activation: of tags, of folders, of single files."""

import json
import shutil
from pathlib import Path

import pytest

from evaluation import models
from evaluation.errors import ConfigError
from evaluation.models import open_clip


@pytest.fixture
def tiny_config(monkeypatch):
    """`tiny` and `tiny-quickgelu` as models of the library, built as `tiny_clip` is."""
    import open_clip as library
    from open_clip import factory

    from tests.conftest import TINY

    both = {"tiny": TINY, "tiny-quickgelu": TINY | {"quick_gelu": True}}
    for name, settings in both.items():
        monkeypatch.setitem(factory._MODEL_CONFIGS, name, settings)
    return library


def test_a_folder_brings_its_own_setting(tiny_clip, tmp_path):
    folder = Path(tiny_clip.removeprefix("open_clip:local-dir:"))
    assert models.load(tiny_clip).quick_gelu is False
    assert models.load(tiny_clip).note == ""
    copy = tmp_path / "quick"
    shutil.copytree(folder, copy)
    path = copy / "open_clip_config.json"
    settings = json.loads(path.read_text())
    settings["model_cfg"]["quick_gelu"] = True
    path.write_text(json.dumps(settings))
    other = models.load(f"open_clip:local-dir:{copy}")
    assert other.quick_gelu is True
    # the weights are equal, so what tells the two apart is the activation alone
    assert other.weights == models.load(tiny_clip).weights
    assert models.identity(other.name) != models.identity(tiny_clip)


def test_a_file_says_how_it_was_run(tiny_clip, tiny_config):
    folder = Path(tiny_clip.removeprefix("open_clip:local-dir:"))
    path = folder / "open_clip_pytorch_model.bin"
    plain = models.load(f"open_clip:tiny/{path}")
    quick = models.load(f"open_clip:tiny-quickgelu/{path}")
    assert (plain.quick_gelu, quick.quick_gelu) == (False, True)
    assert "run without QuickGELU as tiny is" in plain.note
    assert "run with QuickGELU as tiny-quickgelu is" in quick.note
    assert "does not say" in quick.note


def test_the_error_never_names_the_model_it_refuses():
    import open_clip as library

    for architecture, tag in library.list_pretrained():
        settings = library.get_pretrained_cfg(architecture, tag)
        if open_clip._agree(architecture, settings):
            continue
        name = f"open_clip:{architecture}/{tag}"
        with pytest.raises(ConfigError, match="silently wrong") as raised:
            open_clip._check_quick_gelu(architecture, tag, settings, name)
        right = str(raised.value).rpartition("use ")[2]
        other, _, _ = right.removeprefix("open_clip:").partition("/")
        assert other != architecture
        assert open_clip._agree(other, settings), right


def test_a_model_without_a_twin_is_taken_as_it_is():
    names = {info.name for info in open_clip.available()}
    assert "open_clip:roberta-ViT-B-32/laion2b_s12b_b32k" in names
    assert "open_clip:ViT-B-32/openai" not in names
