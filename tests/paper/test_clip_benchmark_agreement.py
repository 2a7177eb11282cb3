"""Zero-shot weights, logits and every top-1 are those of clip-benchmark's own code.

Its functions run as they are (`zero_shot_classifier`, `run_classification`) over
open_clip's transform and torch's DataLoader; ours go from the same files to
predictions. Both in fp32, with the same random weights, on photographs.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation import imagenet
from evaluation.examples import open_examples
from evaluation.extract import Models
from evaluation.features import FeatureStore
from evaluation.models import Runtime
from evaluation.predict import Asked, answer, predictions
from evaluation.prompts import prompt_set

PHOTOS = Path(__file__).parents[2] / "curation" / "demo" / "assets" / "originals"
LAYERS = 2
CLASSES = (1, 9, 94, 130, 207, 235, 281, 291, 296, 340)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's photographs in class folders; which class is of no matter here."""
    root = tmp_path_factory.mktemp("photos")
    names = imagenet.names()
    for place, path in enumerate(sorted(PHOTOS.glob("*.jpg"))):
        index = CLASSES[place % len(CLASSES)]
        folder = root / f"{index} {names[index]}"
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder)
    return root


@pytest.fixture(scope="module")
def base_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of a ViT-B-32 of fewer layers, with random weights."""
    import open_clip
    import torch

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("base_clip")
    settings = open_clip.get_model_config("ViT-B-32")
    settings["vision_cfg"]["layers"] = settings["text_cfg"]["layers"] = LAYERS
    network = open_clip.CLIP(**settings)
    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim == 2:
                weights.mul_(4)  # as they come, every photo has nearly one answer
    about = {"model_cfg": settings, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(about))
    torch.save(network.state_dict(), folder / "open_clip_pytorch_model.bin")
    return f"open_clip:local-dir:{folder}"


def of_the_peer(name: str, root: Path, templates: list[str]) -> dict[str, Any]:
    """What clip-benchmark finds: weights (D, C), logits (N, C), and the photos' ids."""
    import open_clip
    from clip_benchmark.metrics import zeroshot_classification as peer
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    library = name.removeprefix("open_clip:")
    network, _, transform = open_clip.create_model_and_transforms(library)
    dataset = ImageFolder(root, transform)
    names = [one.partition(" ")[2] for one in dataset.classes]
    weights = peer.zero_shot_classifier(
        network.eval(),
        open_clip.get_tokenizer(library),
        names,
        [one.replace("{}", "{c}") for one in templates],
        "cpu",
        amp=False,
    )
    loader = DataLoader(dataset, batch_size=16, num_workers=0)
    logits, truth = peer.run_classification(network, weights, loader, "cpu", amp=False)
    files = [Path(path) for path, _ in dataset.samples]
    return {
        "names": names,
        "weights": weights.numpy(),
        "cosines": logits.numpy().astype(np.float64) / 100,
        "truth": [names[one] for one in truth.tolist()],
        "ids": [hashlib.sha256(one.read_bytes()).hexdigest() for one in files],
    }


@pytest.mark.parametrize("model", ["tiny_clip", "base_clip"])
def test_every_photo_is_answered_as_by_clip_benchmark(model, photos, request, tmp_path):
    name = request.getfixturevalue(model)
    prompts = "openclip7"
    theirs = of_the_peer(name, photos, list(prompt_set(prompts).templates))
    known = Models(FeatureStore(tmp_path), Runtime(device="cpu"))
    asked = Asked(prompts=prompts, label_space="dataset")
    ours = answer(open_examples(str(photos)), [name], asked, known=known)[name]
    rows = {row["photo_id"]: row for row in predictions(ours).to_pylist()}
    assert len(rows) == len(theirs["ids"]) >= 60

    # the same classes, whatever their order
    column = [ours.space.names.index(one) for one in theirs["names"]]
    place = {one: row for row, one in enumerate(ours.features.photo_ids)}
    row = [place[one] for one in theirs["ids"]]
    assert ours.words is not None
    wanted = theirs["weights"].T
    gap = np.linalg.norm(ours.words[column] - wanted, axis=1)
    weights_gap = (gap / np.linalg.norm(wanted, axis=1)).max()
    logits = ours.logits(slice(None)).astype(np.float64)[np.ix_(row, column)]
    cosines_gap = np.abs(logits / ours.record.logit_scale - theirs["cosines"]).max()
    best = theirs["cosines"].argmax(axis=1)
    if model == "base_clip":
        assert len(set(best.tolist())) >= 5
    two = np.sort(theirs["cosines"], axis=1)[:, -2:]
    other = [
        f"{one[:12]}: {rows[one]['predicted_name']}, not {theirs['names'][first]}, "
        f"which leads by {high - low:.2g}"
        for one, first, (low, high) in zip(theirs["ids"], best, two, strict=True)
        if rows[one]["predicted_name"] != theirs["names"][first]
    ]
    truth = [rows[one]["class_name"].partition(" ")[2] for one in theirs["ids"]]
    assert truth == theirs["truth"]
    assert not other
    assert weights_gap <= 1e-6
    assert cosines_gap <= 1e-6
