"""Label spaces, ImageNet's names, prompt sets and suites."""

import json
import subprocess
import sys

import pytest

from evaluation import imagenet
from evaluation.errors import ConfigError
from evaluation.label_spaces import ClassInfo, label_space, subsets
from evaluation.prompts import PromptSet, prompt_set
from evaluation.suites import names as suite_names
from evaluation.suites import suite


def test_imagenet_has_a_thousand_classes_and_two_duplicate_names():
    names = imagenet.names()
    assert len(names) == len(imagenet.wordnet_ids()) == 1000
    assert len(set(imagenet.wordnet_ids())) == 1000
    twice = {one for one in names if names.count(one) > 1}
    assert twice == {"missile", "sunglasses"}


def test_every_name_and_id_is_found_unless_it_is_two_classes():
    for index, name in enumerate(imagenet.names()):
        wanted = None if imagenet.names().count(name) > 1 else index
        assert imagenet.find(name.upper().replace(" ", "_")) == wanted
        assert imagenet.find(f"{index} {name}") == index
    for index, wordnet in enumerate(imagenet.wordnet_ids()):
        assert imagenet.find(wordnet) == index


@pytest.mark.parametrize(
    ("folder", "index"),
    [
        ("9 ostrich", 9),
        ("ostrich, Struthio camelus", 9),
        ("ice bear", 296),
        ("0", 0),
        ("1000 things", None),
        ("crane", None),
        ("a dog I know", None),
        ("", None),
    ],
)
def test_folders_find_their_class(folder, index):
    assert imagenet.find(folder) == index


def test_dataset_space_is_keyed_by_index_where_it_can_be():
    classes = [ClassInfo("polar bear", 296), ClassInfo("ostrich", 9)]
    space = label_space("dataset", classes)
    assert (space.keyed_by, space.keys) == ("imagenet", (9, 296))
    assert space.names == ("ostrich", "polar bear")
    assert space.places(classes) == (1, 0)


def test_dataset_space_is_keyed_by_position_otherwise():
    classes = [ClassInfo("alpaca", None), ClassInfo("ostrich", 9)]
    space = label_space("dataset", classes)
    assert (space.keyed_by, space.keys) == ("dataset", (0, 1))
    assert space.places(classes) == (0, 1)


def test_same_names_stay_two_classes():
    classes = [ClassInfo("a", 657), ClassInfo("b", 744)]
    space = label_space("dataset", classes)
    assert space.names == ("missile", "missile")
    assert space.places(classes) == (0, 1)
    assert len(label_space("imagenet", classes).keys) == 1000


@pytest.mark.parametrize("name", ["imagenet", "demo28"])
def test_a_class_outside_is_named(name):
    with pytest.raises(ConfigError, match="'alpaca' .* is not in the label space"):
        label_space(name, []).places([ClassInfo("alpaca", None)])


def test_two_classes_of_one_index_are_refused():
    with pytest.raises(ConfigError, match="same ImageNet index 9"):
        label_space("dataset", [ClassInfo("a", 9), ClassInfo("b", 9)])


def test_subsets_ship_and_hashes_tell_spaces_apart():
    assert "demo28" in subsets()
    spaces = [label_space(one, []) for one in ("imagenet", "demo28")]
    assert len(spaces[1].keys) == 28
    assert spaces[0].sha256 != spaces[1].sha256


def test_own_subset_from_a_csv(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("imagenet_index,why\n296,white\n9,tall\n")
    assert label_space(str(file), []).keys == (9, 296)
    for wrong in ("index\n3\n", "imagenet_index\n1000\n", "imagenet_index\nx\n",
                  "imagenet_index\n", "imagenet_index\n3\n3\n"):  # fmt: skip
        file.write_text(wrong)
        with pytest.raises(ConfigError, match=r"mine\.csv"):
            label_space(str(file), [])


def test_unknown_names_get_the_nearest():
    for call, hint in (
        (lambda: label_space("imagenets", []), "did you mean imagenet"),
        (lambda: prompt_set("openai8"), "did you mean openai80"),
        (lambda: suite("demos"), "did you mean demo"),
    ):
        with pytest.raises(ConfigError, match=hint):
            call()


def test_prompt_sets():
    sizes = {one: len(prompt_set(one).templates) for one in ("openai80", "openclip7")}
    assert sizes == {"openai80": 80, "openclip7": 7}
    assert prompt_set("paper").fill("ice bear") == ["A photo of ice bear."]
    assert PromptSet("x", ("a {}.",)).fill("{0} {name}") == ["a {0} {name}."]
    hashes = {prompt_set(one).sha256 for one in ("paper", "openai80", "openclip7")}
    assert len(hashes) == 3


def test_prompts_from_a_file(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("# mine\nein Foto von {}.\n\n{} im Schnee\n", encoding="utf-8")
    assert prompt_set(str(file)).templates == ("ein Foto von {}.", "{} im Schnee")
    for wrong in ("", "no place\n", "{} and {}\n"):
        file.write_text(wrong)
        with pytest.raises(ConfigError, match="one {}"):
            prompt_set(str(file))
    file.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ConfigError, match="cannot be read"):
        prompt_set(str(file))


def test_suites_are_whole():
    assert {"counteranimal", "demo"} <= set(suite_names())
    published = suite("counteranimal")
    assert len(published.models) == len(set(published.models)) == 45
    assert published.prompts == "paper"
    assert suite("demo").label_space == "demo28"


def test_suite_files_say_what_is_wrong(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[[models]]\nname = "timm:resnet50"\n')
    assert suite(str(file)).models == ("timm:resnet50",)
    for text, reason in (
        ("model = 3", "unknown key 'model'"),
        ("models = [3]", "each with a name"),
        ("models =", "not TOML"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=reason):
            suite(str(file))


def test_nothing_here_imports_a_model_library():
    code = """
import json, sys
import evaluation.cli, evaluation.examples, evaluation.score, evaluation.predict
from evaluation.label_spaces import label_space
from evaluation.models import backends
from evaluation.prompts import prompt_set
label_space("imagenet", []); prompt_set("openai80"); backends()
heavy = ("torch", "open_clip", "timm", "torchvision", "pandas", "matplotlib", "scipy")
print(json.dumps([name for name in heavy if name in sys.modules]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []
