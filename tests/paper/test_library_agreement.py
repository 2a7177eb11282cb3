"""Our pixels, features, classifiers and logits are those of the libraries' own code."""

import io

import numpy as np
import pytest
from PIL import Image

from evaluation import models
from evaluation.examples import from_table
from evaluation.images import decode, fit
from evaluation.models import PixelSpec
from evaluation.predict import FeatureStore, predict
from evaluation.prompts import classifier, prompt_set

RNG = np.random.default_rng(7)

SPECS = [
    PixelSpec(size=224),
    PixelSpec(size=224, resize_to=256, interpolation="bilinear"),
    PixelSpec(size=64, resize="squash", resize_to=64),
    PixelSpec(size=97, resize_to=101),
    PixelSpec(size=50, resize_to=33, interpolation="bilinear"),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize(
    "shape", [(40, 60), (517, 333), (37, 1000), (224, 224), (226, 225), (31, 31)]
)
def test_squares_equal_torchvisions(spec, shape):
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode

    kernel = InterpolationMode(spec.interpolation)
    if spec.resize == "squash":
        wanted = transforms.Resize((spec.size, spec.size), kernel)
    else:
        wanted = transforms.Compose(
            [
                transforms.Resize(spec.resize_to, kernel),
                transforms.CenterCrop((spec.size, spec.size)),
            ]
        )
    picture = Image.fromarray(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8))
    found = fit(picture, spec)
    assert found.shape == (spec.size, spec.size, 3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.asarray(wanted(picture)))


NAMES = ["ostrich", "polar bear", "missile", "missile", "red panda"]


def photos(count):
    """Encoded pictures of several shapes."""
    found = {}
    for number in range(count):
        shape = RNG.integers(40, 90, 2)
        picture = Image.fromarray(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8))
        file = io.BytesIO()
        picture.save(file, "PNG")
        found[f"{number:064x}"] = file.getvalue()
    return found


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("prompts", ["paper", "openclip7", "openai80"])
def test_zero_shot_weights_are_open_clips(written, prompts):
    import open_clip

    chosen = prompt_set(prompts)
    theirs = open_clip.build_zero_shot_classifier(
        written.network, written.tokenizer, NAMES, chosen.templates
    )
    ours = classifier(models.load(written.name), NAMES, chosen)
    close(ours, theirs.T.numpy())


def test_templates_and_names_are_open_clips():
    import open_clip

    for ours, theirs in (
        ("openai80", open_clip.OPENAI_IMAGENET_TEMPLATES),
        ("openclip7", open_clip.SIMPLE_IMAGENET_TEMPLATES),
    ):
        filled = [template("ice {bear}") for template in theirs]
        assert prompt_set(ours).fill("ice {bear}") == filled
    from evaluation.imagenet import names

    assert list(names()) == list(open_clip.IMAGENET_CLASSNAMES)


def test_image_features_are_open_clips(written):
    import torch

    model = models.load(written.name)
    files = photos(6)
    with torch.no_grad():
        theirs = written.network.encode_image(
            torch.stack(
                [
                    written.preprocess(Image.open(io.BytesIO(data)))
                    for data in files.values()
                ]
            ),
            normalize=True,
        )
    squares = np.stack([fit(decode(data), model.spec) for data in files.values()])
    pixels = torch.from_numpy(squares.transpose(0, 3, 1, 2).copy())
    close(model.images(pixels).numpy(), theirs.numpy())


def test_probabilities_are_open_clips(written, tmp_path):
    """End to end: files in, softmax over 1,000 names out."""
    import open_clip
    import pyarrow as pa
    import torch

    files = photos(5)
    table = pa.table({"photo_id": list(files), "class_name": ["ostrich"] * 5})
    examples = from_table("five", table, files.__getitem__, indices={"ostrich": 9})
    found = predict(examples, [written.name], store=FeatureStore(tmp_path))
    rows = found[written.name].to_pylist()

    network = written.network
    weights = open_clip.build_zero_shot_classifier(
        network,
        written.tokenizer,
        open_clip.IMAGENET_CLASSNAMES,
        ["A photo of {}."],
    )
    with torch.no_grad():
        features = network.encode_image(
            torch.stack(
                [
                    written.preprocess(Image.open(io.BytesIO(data)))
                    for data in files.values()
                ]
            ),
            normalize=True,
        )
        logits = network.logit_scale.exp() * features @ weights
        if network.logit_bias is not None:
            logits = logits + network.logit_bias
        shares = logits.softmax(dim=1)
    close([row["label_probability"] for row in rows], shares[:, 9].numpy())
    close([row["probability"] for row in rows], shares.max(dim=1).values.numpy())
    assert [row["predicted"] for row in rows] == logits.argmax(dim=1).tolist()


def test_timm_logits_are_timms(tmp_path):
    import timm
    import torch

    torch.manual_seed(1)
    network = timm.create_model("test_resnet.r160_in1k", num_classes=1000).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    model = models.load(f"timm:test_resnet.r160_in1k/{tmp_path / 'weights.pt'}")
    settings = timm.data.resolve_data_config({}, model=network)
    transform = timm.data.create_transform(**settings)
    pictures = [Image.open(io.BytesIO(data)) for data in photos(4).values()]
    with torch.no_grad():
        theirs = network(torch.stack([transform(one) for one in pictures]))
    squares = np.stack([fit(one.convert("RGB"), model.spec) for one in pictures])
    ours = model.images(torch.from_numpy(squares.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-5)
    assert model.kind == "classifier"
