"""MultiColoredMNIST: its laws, its digits, and the networks beside plain ones."""

import csv
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.errors import ConfigError, InputError, RemoteError
from evaluation.theory import _perceptrons, colored_mnist
from evaluation.theory.colored_mnist import World
from evaluation.theory.digits import TRAIN, Digits, digits

TABLE8 = Path(__file__).parents[1] / "data/counteranimal/table8_multicoloredmnist.csv"
N = 60_000


def world(k: int = 5, p_inv: float = 0.75, p_spu: float = 0.9) -> World:
    return World(k=k, p_inv=p_inv, p_spu=p_spu, n_train=200, n_test=200)


def close(share: float, chance: float, n: int) -> bool:
    """Within five standard deviations."""
    return abs(share - chance) <= 5 * np.sqrt(max(chance * (1 - chance), 1e-9) / n)


@pytest.fixture(scope="module")
def greys() -> Digits:
    return digits("sklearn")


@pytest.mark.parametrize("k", colored_mnist.CLASSES)
@pytest.mark.parametrize("p_inv", [0.75, 0.9])
def test_share_of_label_noise(k: int, p_inv: float) -> None:
    rng = np.random.default_rng(0)
    shapes = rng.integers(0, k, N)
    label = colored_mnist.labelled(shapes, world(k, p_inv), rng)
    assert close(float((label == shapes).mean()), p_inv, N)
    assert set(label) == set(range(k))
    for shape in range(k):
        wrong = label[(shapes == shape) & (label != shape)]
        for other in set(range(k)) - {shape}:
            share = float((wrong == other).mean())
            assert close(share, 1 / (k - 1), len(wrong)), (shape, other)


@pytest.mark.parametrize("k", colored_mnist.CLASSES)
@pytest.mark.parametrize("colouring", ["train", "rand", "rev"])
def test_colours_of_each_class(k: int, colouring: colored_mnist.Colouring) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, k, N)
    colour = colored_mnist.coloured(labels, world(k), colouring, rng)
    for label in range(k):
        of_class = colour[labels == label]
        share = np.bincount(of_class, minlength=k) / len(of_class)
        wanted = np.full(k, 1 / k)
        if label < 2 and colouring == "train":
            wanted[:] = 0.1 / (k - 1)
            wanted[label] = 0.9
        if label < 2 and colouring == "rev":
            wanted[:] = 0
            wanted[[label, 1 - label]] = 0.1, 0.9
        for got, chance in zip(share, wanted, strict=True):
            assert close(float(got), float(chance), len(of_class)), (label, share)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(colored_mnist.CLASSES), st.integers(1, 300), st.integers(0, 2**32)
)
def test_draw_takes_every_digit_before_any_twice(k: int, n: int, seed: int) -> None:
    shapes = np.arange(60) % 10
    rng = np.random.default_rng(seed)
    found = colored_mnist.draw(shapes, n, world=world(k), colouring="train", rng=rng)
    assert len(found.photo) == len(found.label) == len(found.colour) == n
    assert (shapes[found.photo] < k).all()
    times = np.bincount(found.photo, minlength=60)[shapes < k]
    assert times.max() - times.min() <= 1
    for values in (found.label, found.colour):
        assert values.min() >= 0
        assert values.max() < k


def test_scikit_learns_digits_are_divided_and_named(greys: Digits) -> None:
    from sklearn.datasets import load_digits

    assert "not MNIST" in greys.name
    assert not greys.mnist
    assert greys.train.shape[1] == greys.test.shape[1] == 14 * 14
    for values in (greys.train, greys.test):
        assert values.dtype == np.float32
        assert values.min() == 0
        assert 0.9 < values.max() <= 1
    # all there are, each on one side
    assert len(greys.train) + len(greys.test) == 1797
    both = np.concatenate([greys.train_shape, greys.test_shape])
    np.testing.assert_array_equal(both, load_digits().target)
    train = {row.tobytes() for row in greys.train}
    assert not train & {row.tobytes() for row in greys.test}


def raw_mnist(folder: Path, train: int = 30, test: int = 20) -> Path:
    """Files as MNIST's, of small made-up pictures: a class's pixels have one value."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, n in (("train", train), ("t10k", test)):
        labels = (np.arange(n) % 10).astype(np.uint8)
        images = np.repeat(labels * 25, 28 * 28).astype(np.uint8)
        head = struct.pack(">IIII", 2051, n, 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = struct.pack(">II", 2049, n)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    return folder


def test_mnist_of_a_folder(tmp_path: Path) -> None:
    found = digits(str(raw_mnist(tmp_path)))
    # read as MNIST is, but not called so: MNIST has 60,000 and 10,000
    assert not found.mnist
    assert found.name == "digits in MNIST's format (30 and 20, not all of it)"
    assert found.train.shape == (30, 196)
    assert found.test.shape == (20, 196)
    np.testing.assert_allclose(found.test[7], 7 * 25 / 255, rtol=1e-6)
    np.testing.assert_array_equal(found.test_shape, np.arange(20) % 10)
    assert max(colored_mnist.TRAINED.values()) == TRAIN


def test_mnist_is_the_first_50_000(tmp_path: Path) -> None:
    found = digits(str(raw_mnist(tmp_path, train=60_000, test=10_000)))
    assert found.mnist
    assert found.name == "MNIST"
    assert (len(found.train), len(found.test)) == (50_000, 10_000)


def test_mnist_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no MNIST in .*MNIST/raw/ .*`sklearn`"):
        digits(str(tmp_path))


def test_mnist_that_cannot_be_read(tmp_path: Path) -> None:
    raw = raw_mnist(tmp_path) / "MNIST" / "raw"
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0")
    with pytest.raises(InputError, match="cannot be read"):
        digits(str(tmp_path))


def test_mnist_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])  # nobody listens
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(RemoteError, match="MNIST/raw/ with .*`sklearn`, which works"):
        digits("mnist")
    assert capsys.readouterr().out == ""


def test_scikit_learn_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ConfigError, match=r"pip install 'counterset\[theory\]'"):
        digits("sklearn")


def test_worlds_are_table_8s() -> None:
    with TABLE8.open(encoding="utf-8", newline="") as file:
        printed = list(csv.DictReader(file))
    asked = colored_mnist.worlds()
    assert [(w.k, w.n_train, w.p_inv, w.p_spu) for w in asked for _ in "cs"] == [
        (
            int(row["n_classes"]),
            int(row["n_samples"]),
            float(row["p_inv"]),
            float(row["p_spu"]),
        )
        for row in printed
    ]
    assert list(colored_mnist.paper()) == printed
    assert max(w.n_train for w in colored_mnist.worlds(at_most=2000)) == 2000


def test_no_accuracy_in_table_8_is_above_the_share_of_right_labels() -> None:
    """Why the tests' labels are noisy too."""
    for row in colored_mnist.paper():
        for name in ("rand01_mean", "rest_mean"):
            if row[name]:
                assert float(row[name]) < 100 * float(row["p_inv"])


def test_stacked_networks_are_the_plain_ones() -> None:
    import torch

    training = colored_mnist.Training(hidden=6)
    weights = _perceptrons._begin(3, 4, training, torch.Generator().manual_seed(0))
    with torch.no_grad():  # both methods begin alike: tell them apart
        weights["hidden.weight"][:, :, 6:] *= 1.5
    greys, colour = torch.rand(3, 5, 196), torch.randint(0, 4, (3, 5))
    of_object, of_colour = _perceptrons._logits(weights, greys, colour)
    assert of_object.shape == of_colour.shape == (2, 3, 5, 4)
    palette = torch.from_numpy(colored_mnist.PALETTE)
    for method in range(2):
        part = slice(6 * method, 6 * method + 6)
        for seed in range(3):
            image = palette[colour[seed]].view(5, 3, 1) * greys[seed].view(5, 1, 196)
            hidden = image.view(5, -1) @ weights["hidden.weight"][seed, :, part]
            hidden = (hidden + weights["hidden.bias"][seed, :, part]).relu()
            plain = hidden @ weights["object.weight"][method, seed]
            plain = plain + weights["object.bias"][method, seed]
            torch.testing.assert_close(of_object[method, seed], plain)


def test_entropy_is_torchs() -> None:
    import torch

    logits, wanted = torch.randn(2, 3, 5, 4), torch.randint(0, 4, (3, 5))
    found = _perceptrons._entropy(logits, wanted)
    for method in range(2):
        for seed in range(3):
            plain = torch.nn.functional.cross_entropy(
                logits[method, seed], wanted[seed]
            )
            torch.testing.assert_close(found[method, seed], plain)


def test_networks_learn_digits_where_nothing_misleads(greys: Digits) -> None:
    asked = World(k=3, p_inv=1.0, p_spu=1 / 3, n_train=1500, n_test=500)
    for cell in colored_mnist.table([asked], greys, seeds=2):
        assert cell.rest is not None
        assert min(cell.rand01[0], cell.rev01[0], cell.rest[0]) > 0.9, cell
        assert cell.distinct == int((greys.train_shape < 3).sum())


def test_colour_is_leaned_on_where_it_is_the_better_sign(greys: Digits) -> None:
    asked = World(k=2, p_inv=0.75, p_spu=0.95, n_train=1000, n_test=500)
    for cell in colored_mnist.table([asked], greys, seeds=2):
        assert cell.rand01[0] == pytest.approx(0.5, abs=0.1)
        assert cell.rev01[0] < 0.3
        assert cell.rest is None


def test_equal_seeds_give_equal_tables(greys: Digits) -> None:
    def run(seed: int) -> list[colored_mnist.Cell]:
        training = colored_mnist.Training(epochs=1, hidden=8)
        return colored_mnist.table(
            [world(3)], greys, seeds=2, seed=seed, training=training
        )

    first = run(0)
    assert [cell.method for cell in first] == ["contrastive", "supervised"]
    assert run(0) == first
    assert run(1) != first


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": 4}, "one of 2, 3, 5, 6, 8, 10, not 4"),
        ({"p_inv": 1.2}, "p_inv is between 0 and 1, not 1.2"),
        ({"p_spu": float("nan")}, "p_spu is between 0 and 1"),
        ({"n_test": 0}, "not 200 and 0"),
    ],
)
def test_impossible_world(change: dict[str, float], words: str) -> None:
    good = {"k": 2, "p_inv": 0.9, "p_spu": 0.9, "n_train": 200, "n_test": 200}
    with pytest.raises(ConfigError, match=words):
        World(**(good | change))  # type: ignore[arg-type]


def test_impossible_questions(greys: Digits) -> None:
    with pytest.raises(ConfigError, match="not 7"):
        colored_mnist.worlds([7])
    with pytest.raises(ConfigError, match="need 2 or more, not 1"):
        colored_mnist.table([world()], greys, seeds=1)
