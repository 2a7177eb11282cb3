"""`lvlm:` against transformers' own loss, and what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation import models
from evaluation.errors import ConfigError, RemoteError
from evaluation.models import AnsweringModel, Runtime, lvlm
from evaluation.models import _answers as answers_of
from evaluation.models._answers import Asked, shared
from evaluation.questions import QUESTIONS
from tests.standins import llava

NAMES = ("ostrich", "polar bear", "dung beetle", "American black bear", "gorilla")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers")
    return llava.build(tmp_path_factory.mktemp("lvlm") / "llava")


@pytest.fixture(scope="module")
def model(folder):
    return models.load(f"lvlm:{folder}")


@pytest.fixture
def pixels():
    import torch

    rng = np.random.default_rng(0)
    shape = (3, 3, llava.SIDE, llava.SIDE)
    return torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))


def one_by_one(folder, square, conversation, answer):
    """Transformers' loss for labels, with its own processor; mean and tokens."""
    import torch
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

    network = LlavaForConditionalGeneration.from_pretrained(folder).eval()
    processor = LlavaProcessor.from_pretrained(folder)
    image = Image.fromarray(square.permute(1, 2, 0).numpy())
    ask = {"images": image, "return_tensors": "pt"}
    before = processor(text=conversation, **ask)["input_ids"].shape[1]
    batch = processor(text=f"{conversation} {answer}", **ask)
    labels = batch["input_ids"].clone()
    labels[:, :before] = -100
    with torch.inference_mode():
        loss = network(**batch, labels=labels).loss
    return float(loss), labels.shape[1] - before


@pytest.mark.parametrize("asked", QUESTIONS)
def test_losses_are_those_of_transformers_one_by_one(folder, model, pixels, asked):
    pairs = [QUESTIONS[asked].pair(name) for name in NAMES]
    # other candidates for each photo, and none for one
    wanted = [pairs, pairs[3:], []]
    found = model.pair_losses(pixels, wanted)
    assert [len(some) for some in found] == [5, 2, 0]
    counts = dict(zip(pairs, model.lengths(pairs).tolist(), strict=True))
    for square, some, losses in zip(pixels, wanted, found, strict=True):
        for pair, loss in zip(some, losses, strict=True):
            conversation = f"USER: <image>\n{pair[0]} ASSISTANT:"
            mean, tokens = one_by_one(folder, square, conversation, pair[1])
            assert tokens == counts[pair]
            assert loss == pytest.approx(mean * tokens, rel=1e-5)


def test_one_question_for_all_is_the_protocol_s(model, pixels):
    assert isinstance(model, AnsweringModel)
    question = QUESTIONS["main-object"].question
    texts = [[f"A {name}" for name in NAMES]] * 3
    pairs = [[(question, text) for text in some] for some in texts]
    for ours, theirs in zip(
        model.losses(pixels, question, texts),
        model.pair_losses(pixels, pairs),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_photos_and_candidates_do_not_hang_on_their_neighbours(model, pixels):
    question = QUESTIONS["main-object"].question
    texts = [f"A {name}" for name in NAMES]
    together = model.losses(pixels, question, [texts] * 3)
    turned = model.losses(pixels.flip(0), question, [texts[::-1]] * 3)
    for ours, theirs in zip(together, turned[::-1], strict=True):
        np.testing.assert_allclose(ours, theirs[::-1], rtol=1e-5)
    alone = model.losses(pixels[1:2], question, [[texts[2]]])[0]
    np.testing.assert_allclose(alone, together[1][2:3], rtol=1e-5)
    # the photo matters at all
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_many_candidates_are_cut_into_parts(model, pixels, monkeypatch):
    question = QUESTIONS["main-object"].question
    texts = [f"A {name}" for name in NAMES]
    whole = model.losses(pixels, question, [texts, texts[:1], texts[:3]])
    monkeypatch.setattr(answers_of, "_TOKENS_AT_ONCE", 20)
    parts = model.losses(pixels, question, [texts, texts[:1], texts[:3]])
    for ours, theirs in zip(whole, parts, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_the_photo_runs_once_whatever_the_number_of_answers(model, pixels):
    seen = []
    tower = model._network.model.vision_tower
    hook = tower.register_forward_hook(lambda *_: seen.append(1))
    try:
        model.pair_losses(
            pixels, [[QUESTIONS["is-there"].pair(name) for name in NAMES]] * 3
        )
    finally:
        hook.remove()
    assert len(seen) == 1


def test_without_a_chat_template_the_plain_conversation_is_used(
    folder, tmp_path, pixels
):
    import torch

    plain = tmp_path / "plain"
    shutil.copytree(folder, plain)
    (plain / "chat_template.jinja").unlink()
    found = models.load(f"lvlm:{plain}")
    assert found.note == f"chat template: {lvlm.PLAIN!r}"
    assert found.conversation("What?") == "USER: <image>\nWhat? ASSISTANT:"
    loss = found.losses(pixels[:1], "What?", [["A ostrich"]])[0]
    mean, tokens = one_by_one(
        folder, pixels[0], "USER: <image>\nWhat? ASSISTANT:", "A ostrich"
    )
    assert loss == pytest.approx([mean * tokens], rel=1e-5)
    assert not torch.is_grad_enabled() or not pixels.requires_grad


def test_half_precision_is_near_and_said(folder, model, pixels):
    half = models.load(f"lvlm:{folder}", Runtime(precision="bf16"))
    assert (model.dtype, half.dtype) == ("float32", "bfloat16")
    assert model.weights == half.weights
    question, texts = "What?", [["A ostrich", "A polar bear"]]
    np.testing.assert_allclose(
        half.losses(pixels[:1], question, texts)[0],
        model.losses(pixels[:1], question, texts)[0],
        rtol=0.1,
    )


def test_what_all_begin_with_stops_short_of_every_answer():
    one, other = Asked((1, 2, 3, 4, 5), 3), Asked((1, 2, 3, 9), 3)
    assert shared([one]) == 2
    assert shared([one, other]) == 2
    assert shared([one, Asked((1, 7, 3, 9), 3)]) == 1
    assert shared([one, Asked((1, 2, 3, 4, 5, 6, 7), 5)]) == 2


def test_what_a_changed_file_says(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    before = models.identity(f"lvlm:{copy}")
    assert before.split("@")[1] == models.load(f"lvlm:{folder}").weights
    path = copy / "tokenizer.json"
    path.write_text(path.read_text() + "\n")
    assert models.identity(f"lvlm:{copy}") != before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"do_pad": True}, "padding"),
        ({"image_grid_pinpoints": [[60, 30]]}, "tiles"),
        ({"crop_size": {"height": 20, "width": 30}}, "not supported"),
        ({"resample": 0}, "not supported"),
        ({"rescale_factor": 0.5}, "differ from a square's"),
    ],
)
def test_other_preprocessing_is_refused(folder, tmp_path, change, reason):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = copy / "processor_config.json"
    settings = json.loads(path.read_text())
    settings["image_processor"] |= change
    path.write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match=reason):
        models.load(f"lvlm:{copy}")


def test_answers_that_do_not_come_out_alike_are_refused(folder, pixels, monkeypatch):
    found = models.load(f"lvlm:{folder}")
    right = answers_of._mask

    def leaking(owner, length, dtype):
        return right(owner * 0, length, dtype)

    monkeypatch.setattr(answers_of, "_mask", leaking)
    with pytest.raises(ConfigError, match="differ from those scored one by one"):
        found.losses(pixels[:1], "What?", [["A ostrich", "A polar bear"]])


def test_a_folder_of_something_else(tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ConfigError, match="cannot be loaded"):
        models.load(f"lvlm:{tmp_path}")


def test_features_are_not_to_be_had(model, pixels):
    with pytest.raises(ConfigError, match=r"evaluation\.losses"):
        model.images(pixels)


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(lvlm, "_installed", lambda: False)
    with pytest.raises(ConfigError, match=r'pip install "counterset\[lvlm\]"'):
        models.load(f"lvlm:{tmp_path}")
    assert not any(info.at_hand for info in lvlm.available())
    assert any("pip install" in info.note for info in lvlm.available())


def test_a_model_that_transformers_lacks_says_so():
    name = "lvlm:Vision-CAIR/MiniGPT-4"
    with pytest.raises(ConfigError, match="not part of transformers"):
        models.load(name)
    info = next(one for one in lvlm.available() if one.name == name)
    assert not info.at_hand
    assert "not part of transformers" in info.note


def test_weights_out_of_reach_say_what_would_help():
    pytest.importorskip("transformers")
    with pytest.raises(RemoteError, match="HF_ENDPOINT") as raised:
        models.load("lvlm:llava-hf/llava-1.5-7b-hf")
    assert "llava-1.5-7b-hf" in str(raised.value)
    assert "HF_HOME" in str(raised.value)


def test_a_hub_folder_in_the_cache_is_at_hand(folder, monkeypatch, tmp_path):
    """A cache as the Hub's client lays it out."""
    repo, commit = "org/tiny", "0" * 40
    place = tmp_path / "models--org--tiny"
    shutil.copytree(folder, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    from huggingface_hub import constants, file_download

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(file_download, "HF_HUB_CACHE", str(tmp_path), raising=False)
    assert models.identity(f"lvlm:{repo}") == f"lvlm:{repo}@revision {commit}"
    found = models.load(f"lvlm:{repo}")
    assert found.weights == models.load(f"lvlm:{folder}").weights
    (place / "snapshots" / commit / "model.safetensors").unlink()
    with pytest.raises(RemoteError):
        models.load(f"lvlm:{repo}")


def test_no_folder_and_no_id():
    with pytest.raises(ConfigError, match="neither a folder nor a Hub id"):
        models.identity("lvlm:llava")
