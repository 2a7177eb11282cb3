"""Simulated worlds whose truth is known: few and seeded; `benchmarks/` has the many.

Bounds are what chance leaves with probability below 1 in 10,000 when the true rate is
95 % (or the nominal one), so a failure means the method has changed.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import binom

pytestmark = pytest.mark.slow

PATH = Path(__file__).parents[2] / "benchmarks/discovery_worlds.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("discovery_worlds", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def judged(bench: ModuleType, kind: str, worlds: int) -> list:
    make = bench.kinds()[kind]
    return list(
        bench.simulate(make, worlds=worlds, seed=1, splits=20, permutations=299)
    )


def mean(rows: list, column: str) -> float:
    return float(np.mean([getattr(row, column) for row in rows]))


def check_coverage(rows: list) -> None:
    assert sum(row.covered for row in rows) >= binom.ppf(1e-4, len(rows), 0.95)
    # hundreds of class intervals: tight on both sides, clusters of classes in worlds
    assert 0.92 <= mean(rows, "classes_covered") <= 0.985


def check_bias(rows: list, limit: float) -> None:
    errors = [row.cross - row.target for row in rows]
    noise = 4 * float(np.std(errors)) / len(errors) ** 0.5
    assert noise < limit  # otherwise this would show nothing
    assert abs(float(np.mean(errors))) <= noise


def test_blind_model_at_the_papers_sizes(bench: ModuleType) -> None:
    rows = judged(bench, "null, 4 backgrounds", worlds=10)
    assert 8 < mean(rows, "naive") < 17
    assert {row.target for row in rows} == {0.0}
    check_bias(rows, limit=1.5)
    check_coverage(rows)
    false = sum(row.false_share > 0 for row in rows)
    assert false <= binom.ppf(1 - 1e-4, len(rows), 0.05)


def test_known_drops_at_the_papers_sizes(bench: ModuleType) -> None:
    rows = judged(bench, "all 30 points, 2 backgrounds", worlds=6)
    assert mean(rows, "target") == pytest.approx(30, abs=0.5)
    assert mean(rows, "cross") == pytest.approx(30, abs=1)
    assert mean(rows, "power") > 0.95
    check_bias(rows, limit=2.0)
    check_coverage(rows)


@pytest.mark.parametrize("kind", ["demo size, null", "demo size, half 40 points, home"])
def test_worlds_of_the_demos_size(bench: ModuleType, kind: str) -> None:
    rows = judged(bench, kind, worlds=60)
    assert mean(rows, "naive") - mean(rows, "target") > 10
    check_bias(rows, limit=3.0)
    check_coverage(rows)
    assert mean(rows, "false_share") < 0.05 + 4 * (0.05 / len(rows)) ** 0.5


def test_clusters_are_not_taken_for_photos(bench: ModuleType) -> None:
    rows = judged(bench, "null, 4 backgrounds, clusters of 3", worlds=8)
    check_bias(rows, limit=3.0)
    check_coverage(rows)
    false = sum(row.false_share > 0 for row in rows)
    assert false <= binom.ppf(1 - 1e-4, len(rows), 0.05)
