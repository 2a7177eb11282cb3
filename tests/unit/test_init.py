"""`counterset init` writes a file that loads, and leaves no key out."""

import re
import subprocess
import sys
import tomllib

import pytest

from curation import config, init
from curation.errors import InputError, WorkFolderError
from curation.sources import source


def uncommented(content):
    """The file with every setting taken out of its comment; tables stay in theirs."""
    blocks = [
        block if "# [[" in block else re.sub(r"(?m)^# (?=[a-z_]+ = )", "", block)
        for block in content.split("\n\n")
    ]
    return "\n\n".join(blocks)


def test_other_kinds_of_sources_are_valid_examples(tmp_path):
    for block in init.text().split("\n\n"):
        if "# [[sources]]" not in block:
            continue
        lines = re.sub(r"(?m)^# (?!#)", "", block).splitlines()
        table = tomllib.loads("\n".join(lines[lines.index("[[sources]]") :]))
        (content,) = table["sources"]
        assert source(content["kind"]).Spec.model_validate(content)


def sections():
    """Every section's name in the file, and its model."""
    for name, field in config.Dataset.model_fields.items():
        if name == "sources":
            yield name, source("folder").Spec
            continue
        for model in config.sections(field.annotation):
            yield name, model


def test_it_loads(tmp_path):
    path = init.write(tmp_path / "new" / "folder")
    assert path == tmp_path / "new/folder/dataset.toml"
    loaded = config.load(path)
    assert loaded.dataset.name == "my-dataset"
    assert loaded.sources[0].path == tmp_path / "new/folder/photos"
    assert len(loaded.classes) == 2
    assert len(loaded.backgrounds) == 3


def test_what_is_left_out_is_the_default(tmp_path):
    loaded = config.load(init.write(tmp_path))
    for name, field in config.Dataset.model_fields.items():
        if not field.is_required():
            assert getattr(loaded, name) == field.default, name


def test_every_key_is_there_and_explained():
    content = init.text()
    blocks = re.split(r"(?m)^(?:# )?\[+(\w+)\]+$", content)
    texts = {}
    for name, block in zip(blocks[1::2], blocks[2::2], strict=True):
        texts[name] = texts.get(name, "") + block
    count = 0
    for name, model in sections():
        for key, field in model.model_fields.items():
            assert re.search(rf"(?m)^(# )?{key} = ", texts[name]), f"{name}.{key}"
            words = " ".join(texts[name].replace("##", "").split())
            assert field.description in words, f"{name}.{key}"
            count += 1
    assert count > 50
    assert set(texts) == set(config.Dataset.model_fields)


def test_comments_hold_true_defaults(tmp_path):
    """Taking every setting out of its comment changes nothing that has a default."""
    path = tmp_path / "dataset.toml"
    path.write_text(uncommented(init.text()), encoding="utf-8")
    loaded = config.load(path)
    seen = 0
    for name, model in sections():
        values = getattr(loaded, name)
        values = values[0] if isinstance(values, list) else values
        for key, field in model.model_fields.items():
            if field.is_required() or field.default in (None, ""):
                continue
            assert getattr(values, key) == field.default, f"{name}.{key}"
            seen += 1
    assert seen > 30


def test_it_is_not_written_over(tmp_path):
    path = init.write(tmp_path)
    path.write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        init.write(tmp_path)
    assert path.read_text() == "mine"


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((InputError, WorkFolderError)):
        init.write(tmp_path / "file")
    with pytest.raises(WorkFolderError, match="cannot be written"):
        init.write(tmp_path / "file/below")


def test_lines_are_short_and_plain():
    lines = init.text().splitlines()
    assert max(len(line) for line in lines) <= 88
    assert not any(line != line.rstrip() for line in lines)


def test_the_command(tmp_path):
    command = [sys.executable, "-m", "curation.cli", "init", str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "a/dataset.toml")
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 3
    assert "is there already" in again.stderr
    assert again.stdout == ""
