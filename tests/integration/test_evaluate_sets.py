"""Real models on real photos: an ID set, unknown classes, lines, tables, Python."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

import evaluation
from curation.demo.assets import FOLDER, assets
from evaluation import cli
from evaluation.errors import CounterSetError, RemoteError

LITES = ("demo:lite0", "demo:lite1", "demo:lite2")


def run(*options):
    app = typer.Typer()
    cli.register(app)
    done = CliRunner().invoke(app, list(map(str, options)), catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Bundled whole photos by ImageNet class, and backgrounds with no animal."""
    folder = tmp_path_factory.mktemp("sets")
    for asset in assets():
        if asset.kind == "original" and asset.index is not None:
            place = folder / "originals" / f"{asset.index} {asset.name}"
        elif asset.kind == "background":
            place = folder / "empty" / "background"
        else:
            continue
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(FOLDER / asset.file, place / Path(asset.file).name)
    return folder


@pytest.fixture(scope="module")
def found(sets):
    options = ["evaluate", "--id", sets / "originals", "--ood", sets / "empty",
               "-m", "demo:clip-balanced", "--draws", "200"]  # fmt: skip
    for name in LITES:
        options += ["-m", name]
    out = run(*options, "--out", sets / "out", "--json", "--quiet")
    return json.loads(out), json.loads((sets / "out/results.json").read_text())


def test_real_imagenet_weights_know_the_original_photos(found):
    rows = {row["model"]: row for row in found[0]["results"]}
    for name in LITES:
        assert rows[name]["micro"] >= 85
        assert rows[name]["n_photos"] >= 25
        assert rows[name]["prompts"] is None


def test_photos_without_an_animal_look_less_known(found):
    detected = [one for one in found[1]["detected"] if one["model"] in LITES]
    assert {(one["id_dataset"], one["ood_dataset"]) for one in detected} == {
        ("originals", "empty")}  # fmt: skip
    assert len(detected) == len(LITES) * 3  # no cosines, so no mcm
    for one in detected:
        if one["detection"]["score"] == "msp":
            assert one["detection"]["auroc_ci"][0] > 75
    spoken = [one for one in found[1]["detected"] if one["model"] not in LITES]
    assert {one["detection"]["score"] for one in spoken} == {
        "msp", "max_logit", "energy", "mcm"}  # fmt: skip
    rows = {row["dataset"] for row in found[0]["results"]}
    assert rows == {"originals"}  # no accuracy where nothing has a label


def test_temperatures_make_real_models_better_calibrated(found):
    for row in found[1]["results"]:
        if row["model"] in LITES:
            before, after = row["calibration"]
            assert after["fitted_on"] == "half of originals"
            assert after["nll"] <= before["nll"] + 0.05


def test_everything_is_written_as_tables_too(found, sets):
    tables = sets / "out/tables"
    rows = pl.read_parquet(tables / "results.parquet")
    micro = rows.filter(model="demo:lite0", dataset="originals", measure="micro")
    wanted = {row["model"]: row for row in found[0]["results"]}["demo:lite0"]["micro"]
    assert micro["value"].to_list() == pytest.approx([wanted])
    assert "demo:lite0" in (tables / "results.md").read_text()
    assert r"\toprule" in (tables / "results.tex").read_text()
    page = (sets / "out/report.html").read_text()
    assert "<svg" in page
    assert "AUROC" in page


def test_the_same_from_python(found, sets):
    plan = evaluation.Plan(
        models=("demo:lite0",), id_datasets=(str(sets / "originals"),), draws=200
    )
    (row,) = evaluation.evaluate(plan, sets / "python").rows
    wanted = {one["model"]: one for one in found[0]["results"]}["demo:lite0"]
    assert row.accuracy == wanted["accuracy"]
    known = evaluation.Models(evaluation.FeatureStore(sets / "python/features"))
    examples = evaluation.open_examples(str(sets / "originals"))
    asked = evaluation.Asked(label_space="dataset")
    answers = evaluation.answer(examples, ["demo:lite0"], asked, known=known)
    logits, labels = answers["demo:lite0"].all_logits()
    assert logits.shape == (row.n_photos, len(examples.classes))
    assert np.mean(logits.argmax(axis=1) == labels) >= row.micro / 100


def test_models_that_cannot_be_had_are_notes_when_allowed(sets):
    plan = evaluation.Plan(
        models=("lvlm:nobody/has-this", "demo:lite0"),
        datasets=(str(sets / "originals"),),
        skip_missing=True,
    )
    found = evaluation.evaluate(plan, sets / "some")
    assert [row.model for row in found.rows] == ["demo:lite0"]
    assert any("lvlm:nobody/has-this" in note for note in found.notes)
    with pytest.raises(CounterSetError, match="nobody/has-this"):
        evaluation.evaluate(replace(plan, skip_missing=False), sets / "none")
    with pytest.raises(RemoteError, match="no model could be loaded"):
        evaluation.evaluate(replace(plan, models=plan.models[:1]), sets / "none")


def test_groups_choose_from_a_suite(sets):
    out = run("evaluate", "--suite", "demo", "--group", "imagenet", "--limit", "4",
              "-d", sets / "originals", "--out", sets / "few", "--json",
              "--label-space", "imagenet", "--quiet")  # fmt: skip
    assert [row["model"] for row in json.loads(out)["results"]] == list(LITES)
    app = typer.Typer()
    cli.register(app)
    done = CliRunner().invoke(app, ["evaluate", "--group", "imagenet"])
    assert "name it with --suite" in str(done.exception)
