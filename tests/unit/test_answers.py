"""Features and a question to logits: merged classes, candidates, ensembles, names."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.answers import Asked, provenance, right_columns, word_vectors
from evaluation.errors import ConfigError
from evaluation.extract import Models
from evaluation.features import FeatureStore
from evaluation.imagenet import names
from evaluation.label_spaces import ClassInfo, confusing, label_space
from evaluation.predict import predictions
from evaluation.prompts import PromptSet, classifier, prompt_set
from tests.standins.answered import answers, examples, logits, record


def softmax(values):
    shares = np.exp(values - values.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def test_classes_of_several_imagenet_classes_are_one_column_of_the_largest():
    about = examples(["dog", "hen"], indices={"dog": [151, 152, 207], "hen": 8})
    values = np.zeros((2, 1000), np.float32)
    values[0, [152, 8]] = 3, 2
    values[1, [207, 8, 500]] = 1, 2, 4
    whole = answers(about, values)
    assert len(whole.space.columns) == 998
    rows = predictions(whole).to_pylist()
    assert [row["predicted_name"] for row in rows] == ["dog", names()[500]]
    assert [row["label"] for row in rows] == [151, 8]
    assert [row["correct"] for row in rows] == [True, False]
    assert rows[1]["label_rank"] == 2

    few = answers(about, values, space="dataset")
    assert few.space.names == ("dog", "hen")
    np.testing.assert_array_equal(few.logits(slice(None)), [[3, 2], [1, 2]])
    assert [row["correct"] for row in predictions(few).to_pylist()] == [True, True]


def test_a_class_finds_the_column_that_it_is_one_of_several_in(tmp_path):
    """ImageNet's own classes, chosen among the groups of another set."""
    file = tmp_path / "groups.csv"
    file.write_text("imagenet_index,class\n151,dog\n152,dog\n8,hen\n")
    classes = [ClassInfo("second dog", 152), ClassInfo("hen", 8)]
    space = label_space(str(file), classes)
    assert [column.name for column in space.columns] == [names()[8], "dog"]
    assert space.places(classes) == (1, 0)
    with pytest.raises(ConfigError, match="'cock' .ImageNet class 7. is not in"):
        space.places([ClassInfo("cock", 7)])


def test_texts_of_a_merged_class_are_its_members_names_among_all():
    space = label_space("imagenet", [ClassInfo("dog", 151, (152,))])
    (merged,) = [column for column in space.columns if len(column.indices) > 1]
    assert merged.words == ((names()[151], 151), (names()[152], 152))
    own = label_space("dataset", [ClassInfo("dog", 151, (152,)), ClassInfo("hen", 8)])
    assert own.columns[0].words == (("dog", None),)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_the_best_merged_column_holds_the_best_class(seed, size):
    """Merging by the largest logit never changes which class is on top."""
    rng = np.random.default_rng(seed)
    members = rng.permutation(1000)[: 5 * size].reshape(5, size).tolist()
    about = examples(list("abcde"), indices=dict(zip("abcde", members, strict=True)))
    values = rng.normal(size=(5, 1000))
    found = predictions(answers(about, values)).to_pylist()
    for row, one in zip(found, values, strict=True):
        best = int(one.argmax())
        whose = next((group for group in members if best in group), [best])
        assert row["predicted"] == min(whose)


def candidates(tmp_path, rows):
    file = tmp_path / "confusing.csv"
    lines = [f"{a},{b},some:model" for a, several in rows.items() for b in several]
    file.write_text("imagenet_index,candidate_index,model\n" + "\n".join(lines) + "\n")
    return str(file)


def test_each_class_is_chosen_among_its_own_candidates(tmp_path):
    file = candidates(tmp_path, {1: [1, 8, 500], 9: [9, 8]})
    about = examples(["goldfish", "ostrich"], indices={"goldfish": 1, "ostrich": 9})
    values = np.zeros((2, 1000), np.float32)
    values[:, [9, 500, 1, 8]] = 4, 3, 2, 1
    found = answers(about, values, space=file)
    rows = predictions(found).to_pylist()
    assert [row["predicted"] for row in rows] == [500, 9]
    assert [row["top5"] for row in rows] == [[500, 1, 8], [9, 8]]
    shares = softmax(np.array([2.0, 1.0, 3.0]))
    assert rows[0]["label_probability"] == pytest.approx(shares[0], rel=1e-6)
    told = provenance(found)["label_space"]
    assert told["candidates_from"] == "some:model"
    assert len(told["candidates_sha256"]) == 64


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 30))
def test_fewer_candidates_never_hurt_a_photo(tmp_path_factory, seed, count):
    """With the right class among them: accuracy 1 vs K is at least 1 vs 1000."""
    rng = np.random.default_rng(seed)
    others = [int(one) for one in rng.permutation(1000) if one not in (1, 8)]
    table = {own: [own, *others[: count - 1]] for own in (1, 8)}
    file = candidates(tmp_path_factory.mktemp("space"), table)
    about = examples(["goldfish", "hen"] * 10, indices={"goldfish": 1, "hen": 8})
    values = logits(about, accuracy=0.5, seed=seed, margin=3)
    narrow = predictions(answers(about, values, space=file)).to_pylist()
    for one, wide in zip(narrow, predictions(answers(about, values)).to_pylist(),
                         strict=True):  # fmt: skip
        assert one["correct"] >= wide["correct"]
        assert one["label_rank"] <= min(wide["label_rank"], count)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [({1: [8, 9]}, "itself among them"), ({1: [1, 8, 8]}, "must be different"),
     ({8: [8, 1]}, "no candidates for class 'goldfish'")],
)  # fmt: skip
def test_tables_of_candidates_that_cannot_be_right(tmp_path, rows, reason):
    about = examples(["goldfish"], indices={"goldfish": 1})
    file = candidates(tmp_path, rows)
    with pytest.raises(ConfigError, match=reason):
        right_columns(about, label_space(file, about.classes))


def test_unknown_photos_have_scores_and_no_label(tmp_path):
    about = examples(["sofa", "tree"], role="ood", indices={"sofa": None, "tree": None})
    found = predictions(answers(about, logits(about, accuracy=0))).to_pylist()
    for row in found:
        assert row["label"] is None
        assert row["correct"] is None
        assert row["label_rank"] is None
        assert row["max_logit"] <= row["energy"]
        assert row["mcm"] is None
    file = candidates(tmp_path, {1: [1, 8]})
    with pytest.raises(ConfigError, match="has no labels"):
        answers(about, logits(about, accuracy=0), space=file)


def words(space, prompts, dim=12, seed=0):
    """Random unit vectors of a label space's words; (T, W, D) with templates."""
    count = len({word for column in space.columns for word in column.words})
    shape = (prompts, count, dim) if prompts else (count, dim)
    found = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def test_mcm_is_the_softmax_of_cosines_and_energy_of_logits():
    about = examples(["goldfish", "hen"])
    space = label_space("dataset", about.classes)
    clip = record("open_clip:made/up", kind="zero_shot", logit_scale=100.0)
    vectors = words(space, 0)
    photos = words(space, 0, seed=1)[:2]
    found = answers(about, photos, model=clip, space=space, words=vectors)
    cosines = photos @ vectors.T
    for row, one in zip(predictions(found).to_pylist(), cosines, strict=True):
        assert row["mcm"] == pytest.approx(softmax(one).max(), rel=1e-5)
        assert row["probability"] == pytest.approx(softmax(100 * one).max(), rel=1e-5)
        energy = np.log(np.exp(100 * one.astype(np.float64)).sum())
        assert row["energy"] == pytest.approx(energy, rel=1e-5)


def test_an_ensemble_of_probabilities_averages_probabilities():
    about = examples(["goldfish", "hen", "ostrich"])
    space = label_space("dataset", about.classes)
    clip = record("open_clip:made/up", kind="zero_shot", logit_scale=10.0)
    vectors = words(space, 5)
    photos = words(space, 0, seed=1)[:3]
    found = answers(about, photos, model=clip, space=space, words=vectors,
                    ensemble="probabilities")  # fmt: skip
    wanted = np.mean([softmax(10 * photos @ one.T) for one in vectors], axis=0)
    np.testing.assert_allclose(softmax(found.logits(slice(None))), wanted, rtol=1e-5)


def test_photos_that_failed_are_rows_and_count_nowhere():
    about = examples(["goldfish", "hen", "ostrich"])
    values = logits(about, accuracy=1)
    found = answers(about, values, errors=[None, "truncated", None])
    rows = predictions(found).to_pylist()
    assert [row["status"] for row in rows] == ["ok", "failed", "ok"]
    assert rows[1]["max_logit"] is None
    assert rows[1]["label"] == 8
    kept, own = found.all_logits()
    assert kept.shape == (2, 1000)
    assert own.tolist() == [1, 9]


class Speaker:
    """Embeds each text as a direction of its own; counts what it is asked."""

    def __init__(self):
        self.asked = []

    def texts(self, prompts):
        import torch

        self.asked += prompts
        rows = [
            np.random.default_rng(list(one.encode())).normal(size=8) for one in prompts
        ]
        found = np.stack(rows).astype(np.float32)
        return torch.from_numpy(found / np.linalg.norm(found, axis=1, keepdims=True))


def test_prompts_by_class_are_looked_up_by_index_then_name(tmp_path):
    file = tmp_path / "cupl.json"
    own = {"657": ["a rocket"], "744": ["a projectile", "a torpedo"], "hen": ["a hen"]}
    file.write_text(json.dumps(own))
    prompts = prompt_set(str(file))
    assert prompts.fill("missile", 744) == ["a projectile", "a torpedo"]
    assert prompts.fill("hen", 8) == ["a hen"]
    assert prompts.word_key(("missile", 657)) != prompts.word_key(("missile", 744))
    with pytest.raises(ConfigError, match="no prompts for class 'cock'"):
        prompts.fill("cock", 7)
    speaker = Speaker()
    found = classifier(speaker, [("missile", 657), ("missile", 744)], prompts)
    assert speaker.asked == ["a rocket", "a projectile", "a torpedo"]
    mean = speaker.texts(["a projectile", "a torpedo"]).numpy().mean(axis=0)
    np.testing.assert_allclose(found[1], mean / np.linalg.norm(mean), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("[1]", "JSON object"), ("{", "JSON object"), ("{}", "no class"),
     ('{"hen": "a hen"}', "list of prompts"), ('{"hen": []}', "list of prompts"),
     ('{"hen": [3]}', "no text"), ('{"hen": 3}', "JSON object")],
)  # fmt: skip
def test_files_of_prompts_by_class_say_what_is_wrong(tmp_path, text, reason):
    file = tmp_path / "cupl.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        prompt_set(str(file))


def test_an_ensemble_of_probabilities_needs_templates(tmp_path):
    store = FeatureStore(tmp_path)
    name = "timm:resnet50"  # loaded by nobody: the store knows it
    from evaluation import models

    about = record(name, kind="zero_shot")
    store.remember(name, models.identity(name), about)
    own = PromptSet("mine.json", (), {"8": ("a hen",)})
    space = label_space("dataset", [ClassInfo("hen", 8)])
    with pytest.raises(ConfigError, match="needs templates"):
        word_vectors(name, space, own, known=Models(store), ensemble="probabilities")


def test_lists_of_class_names_are_keyed_by_index(tmp_path):
    assert names("wordnet")[134] == names("wordnet")[517] == "crane"
    assert names("synset")[296].startswith("ice bear, polar bear")
    file = tmp_path / "names.csv"
    rows = "".join(f"{index},class {index}\n" for index in reversed(range(1000)))
    file.write_text("imagenet_index,name\n" + rows)
    assert names(str(file))[7] == "class 7"
    file.write_text("imagenet_index,name\n" + rows.replace("\n7,class 7\n", "\n", 1))
    with pytest.raises(ConfigError, match=r"1 are missing, such as \[7\]"):
        names(str(file))
    with pytest.raises(ConfigError, match="did you mean wordnet"):
        names("wordnett")
    space = label_space("imagenet", [], class_names="synset")
    assert space.sha256 != label_space("imagenet", []).sha256
    assert space.class_names == "synset"


@pytest.mark.parametrize("name", ["confusing", "confusing20x", "imagenet"])
def test_other_names_ask_for_no_candidates(name):
    assert confusing(name) is None


def test_names_that_ask_for_candidates():
    assert confusing("confusing5") == (5, None)
    with pytest.raises(ConfigError, match="at least 2"):
        confusing("confusing1")
    assert Asked().ensemble == "embeddings"
