"""clip-benchmark itself runs on our tars, and finds what `counterset evaluate` finds.

Its command reads the folder as it lies, with its own defaults; only mixed precision is
off. Over ImageNet's 1,000 classes every photo's answer is compared, since accuracies of
random weights say little there.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curation.cli import app
from curation.release.webdataset import export_webdataset
from tests.conftest import TINY
from tests.publishing import released

GROUPS = ("common", "counter")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small checkpoint whose answers differ between photos, though random."""
    import open_clip
    import torch

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("checkpoint")
    network = open_clip.CLIP(**TINY)
    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim == 2:
                weights.mul_(4)
    about = {"model_cfg": TINY, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(about))
    torch.save(network.state_dict(), folder / "open_clip_pytorch_model.bin")
    return f"local-dir:{folder}"


@pytest.fixture
def release(shared_tmp, tiny_clip):
    """A release of a small world: only to be read."""
    return released(shared_tmp, tiny_clip).work / "release"


def measured(release, checkpoint, labels, out):
    """What `counterset evaluate` says: the result, and predictions by photo_id."""
    words = ["evaluate", "-m", f"open_clip:{checkpoint}", "-d", str(release)]
    words += ["--label-space", labels, "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (done.stderr, done.exception)
    result = json.loads((out / "results.json").read_text())["results"][0]
    (path,) = (out / "predictions").glob("**/*.parquet")
    rows = pl.from_arrow(pq.read_table(path)).to_dicts()
    return result, {row["photo_id"]: row for row in rows}


def peer(root: Path, group, checkpoint, out):
    """What the command `clip_benchmark eval` says."""
    command = [str(Path(sys.executable).parent / "clip_benchmark"), "eval"]
    command += ["--dataset", "wds/small-world", "--dataset_root", str(root)]
    command += ["--split", group, "--model", checkpoint, "--pretrained", "none"]
    command += ["--no_amp", "--output", str(out)]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())["metrics"]


@pytest.mark.slow
def test_its_command_finds_the_accuracy_of_each_group(release, checkpoint, tmp_path):
    tars = export_webdataset(release, tmp_path / "tars")
    assert tars.photos == 31
    ours, rows = measured(release, checkpoint, "dataset", tmp_path / "ours")
    assert len({row["predicted"] for row in rows.values()}) == 2
    for group in GROUPS:
        found = peer(tmp_path / "tars", group, checkpoint, tmp_path / f"{group}.json")
        assert 100 * found["acc1"] == pytest.approx(ours[f"micro_{group}"])
        assert 100 * found["mean_per_class_recall"] == pytest.approx(ours[group])
    assert ours["micro_common"] != ours["micro_counter"]


PEER = """
import json, sys
import open_clip, torch
from clip_benchmark.datasets.builder import build_dataset
from clip_benchmark.metrics import zeroshot_classification as metrics

checkpoint, root, weights, found = *sys.argv[1:], None, {}
network, _, transform = open_clip.create_model_and_transforms(checkpoint)
tokenizer = open_clip.get_tokenizer(checkpoint)
for group in ("common", "counter"):
    data = build_dataset("wds/x", root=root, split=group, transform=transform)
    if weights is None:
        weights = metrics.zero_shot_classifier(
            network.eval(), tokenizer, data.classes, data.templates, "cpu", amp=False
        )
    loader = torch.utils.data.DataLoader(data.batched(8), batch_size=None)
    logits, truth = metrics.run_classification(
        network, weights, loader, "cpu", amp=False
    )
    found[group] = [len(data.classes), logits.argmax(1).tolist(), truth.tolist()]
print(json.dumps(found))
"""
"""Answers of clip-benchmark's own functions, in the order of the tars."""


@pytest.mark.slow
def test_one_of_a_thousand_every_answer_is_the_same(release, checkpoint, tmp_path):
    export_webdataset(release, tmp_path / "tars", labels="imagenet")
    _, rows = measured(release, checkpoint, "imagenet", tmp_path / "ours")
    done = subprocess.run(
        [sys.executable, "-c", PEER, checkpoint, str(tmp_path / "tars")],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = {}
    for group, (classes, best, truth) in json.loads(done.stdout).items():
        assert classes == 1000
        shards = sorted((release / "data").glob(f"{group}-*.parquet"))
        ids = pq.read_table(shards, columns=["photo_id"])["photo_id"].to_pylist()
        answers |= dict(zip(ids, zip(best, truth, strict=True), strict=True))
    assert answers == {
        photo: (row["predicted"], row["label"]) for photo, row in rows.items()
    }
    assert {truth for _, truth in answers.values()} == {235, 296}
    assert len({best for best, _ in answers.values()}) > 3
