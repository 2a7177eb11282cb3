"""Calibration and detection numbers are those of public code and worked examples."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from evaluation.metrics.calibration import (
    brier,
    calibration,
    ece,
    fit_temperature,
    nll,
    reliability,
    row_stats,
)
from evaluation.metrics.ood import auroc, detection, scores

LOGITS = np.array(
    [
        [2.0, 1.0, 0.1, -1.0],
        [0.5, 2.5, 0.3, 0.0],
        [1.2, 0.7, 3.1, 0.2],
        [0.1, 0.2, 0.3, 0.4],
        [4.0, 0.0, -2.0, 1.0],
        [0.3, 1.9, 1.8, -0.5],
        [-1.0, 0.6, 0.2, 2.2],
        [0.9, 0.8, 0.7, 0.6],
    ]
)
LABELS = np.array([0, 1, 1, 3, 0, 2, 3, 2])


def random(n=3000, c=40, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, c)).astype(np.float32)
    labels = rng.integers(0, c, n)
    lucky = rng.random(n) < 0.6
    labels[lucky] = logits[lucky].argmax(axis=1)
    return logits, labels


def softmax(logits, temperature=1.0):
    from scipy.special import softmax as of

    return of(logits.astype(np.float64) / temperature, axis=1)


# calibration


@pytest.mark.parametrize(
    ("bins", "theirs"),
    [(5, 0.13187968730926514), (10, 0.19452820718288422), (15, 0.2631050646305084)],
)
def test_ece_is_torchmetrics(bins, theirs):
    """MulticlassCalibrationError(4, n_bins=bins, norm="l1") of torchmetrics 1.9.0.

    It was given softmax(LOGITS), and works in float32; no confidence is on an edge,
    where the two would differ (its bins are closed on the left).
    """
    rows = row_stats(LOGITS, LABELS)
    assert ece(rows.confidence, rows.correct, bins=bins) == pytest.approx(
        theirs, abs=1e-7
    )
    assert calibration(LOGITS, LABELS, bins=bins, draws=10).ece == pytest.approx(
        theirs, abs=1e-7
    )


def test_nll_is_torchs_cross_entropy():
    """torch.nn.functional.cross_entropy(LOGITS, LABELS) of torch 2.15, float64."""
    assert nll(LOGITS, LABELS) == pytest.approx(0.9191381800093138, abs=1e-14)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_log_loss_and_brier_are_scikit_learns(temperature):
    from sklearn.metrics import brier_score_loss, log_loss

    logits, labels = random()
    shares = softmax(logits, temperature)
    names = np.arange(shares.shape[1])
    theirs = log_loss(labels, shares, labels=names)
    assert nll(logits, labels, temperature) == pytest.approx(theirs, rel=1e-6)
    exact = logits.astype(np.float64)
    assert nll(exact, labels, temperature) == pytest.approx(theirs, rel=1e-12)
    theirs = sum(brier_score_loss(labels == name, shares[:, name]) for name in names)
    assert brier(logits, labels, temperature) == pytest.approx(theirs, rel=1e-6)
    assert brier(exact, labels, temperature) == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("bins", [5, 10, 15])
def test_reliability_is_scikit_learns_curve(bins):
    from sklearn.calibration import calibration_curve

    rows = row_stats(*random())
    accuracy, confidence = calibration_curve(
        rows.correct, rows.confidence, n_bins=bins, strategy="uniform"
    )
    bars = [
        bar for bar in reliability(rows.confidence, rows.correct, bins=bins) if bar.n
    ]
    np.testing.assert_allclose([bar.accuracy for bar in bars], accuracy, rtol=1e-12)
    np.testing.assert_allclose([bar.confidence for bar in bars], confidence, rtol=1e-12)


def test_fitted_temperature_is_what_scipy_finds():
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    logits, labels = random()
    exact = logits.astype(np.float64)
    mine = exact[np.arange(len(labels)), labels]

    def loss(log_t):
        t = math.exp(log_t)
        return float((logsumexp(exact / t, axis=1) - mine / t).mean())

    theirs = minimize_scalar(
        loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9}
    )
    # a minimum is flat: its place is known to half the digits of its value
    assert math.log(fit_temperature(exact, labels)) == pytest.approx(theirs.x, abs=1e-6)
    assert math.log(fit_temperature(logits, labels)) == pytest.approx(
        theirs.x, abs=1e-5
    )


# detection


@pytest.mark.parametrize("digits", [0, 1, 8])
def test_areas_and_rates_are_scikit_learns(digits):
    """With many ties, some, and none."""
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    rng = np.random.default_rng(digits)
    known, unknown = rng.normal(1, 1, 700).round(digits), rng.normal(0, 1, 450)
    unknown = unknown.round(digits)
    found = detection("max_logit", known, unknown)
    values = np.concatenate([known, unknown])
    is_known = np.repeat([1, 0], [700, 450])
    close = {"rel": 1e-12}
    assert found.auroc == pytest.approx(roc_auc_score(is_known, values), **close)
    assert found.aupr_in == pytest.approx(
        average_precision_score(is_known, values), **close
    )
    assert found.aupr_out == pytest.approx(
        average_precision_score(1 - is_known, -values), **close
    )
    false, true, _ = roc_curve(is_known, values, drop_intermediate=False)
    assert found.fpr95_id_pos == pytest.approx(false[np.argmax(true >= 0.95)])
    vertices = {(round(x, 9), round(y, 9)) for x, y in zip(false, true, strict=True)}
    assert {(round(x, 9), round(y, 9)) for x, y in found.curve} <= vertices
    # OpenOOD 1.5 takes the first point of this curve at which 95 % are caught
    false, true, _ = roc_curve(1 - is_known, -values, drop_intermediate=False)
    assert found.fpr95_ood_pos == pytest.approx(false[np.argmax(true >= 0.95)])


def delong(known, unknown, level=0.95):
    """DeLong et al. 1988 by their definitions: every pair, one by one."""
    wins = np.array([[(a > b) + 0.5 * (a == b) for b in unknown] for a in known])
    area = wins.mean()
    of_known = ((wins.mean(axis=1) - area) ** 2).sum() / (len(known) - 1)
    of_unknown = ((wins.mean(axis=0) - area) ** 2).sum() / (len(unknown) - 1)
    error = math.sqrt(of_known / len(known) + of_unknown / len(unknown))
    half = norm.ppf(0.5 + level / 2) * error
    return area, (max(area - half, 0), min(area + half, 1))


@pytest.mark.parametrize("digits", [0, 1, 8])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_delong_is_that_of_its_definitions(digits, level):
    rng = np.random.default_rng(10 + digits)
    known, unknown = rng.normal(0.8, 1, 61).round(digits), rng.normal(0, 1, 43)
    found = auroc(known, unknown.round(digits), level=level)
    wanted = delong(known, unknown.round(digits), level)
    assert found[0] == pytest.approx(wanted[0], abs=1e-12)
    assert found[1] == pytest.approx(wanted[1], abs=1e-12)


def test_delong_by_hand():
    """Shares of the other set beaten: 1, 1/2 and 1, 1/2: each variance is 1/8.

    So the variance of the area is 1/16 + 1/16 and its error the root of 1/8.
    """
    area, (low, high) = auroc([3.0, 1.0], [2.0, 0.0])
    assert area == 0.75
    assert low == pytest.approx(0.75 - 1.959963984540054 * math.sqrt(1 / 8))
    assert high == 1


def test_scores_are_torchs():
    import torch

    logits, _ = random()
    z = torch.from_numpy(logits).double()
    found = scores(logits, temperature=2.0)
    close = {"rtol": 1e-6}
    np.testing.assert_allclose(
        found["msp"], (z / 2).softmax(1).max(1).values.numpy(), **close
    )
    np.testing.assert_allclose(
        found["energy"], (2 * torch.logsumexp(z / 2, 1)).numpy(), **close
    )
