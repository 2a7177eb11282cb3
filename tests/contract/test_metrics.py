"""What every file in `evaluation/metrics` must do; a new one is tested by existing."""

import dataclasses
import math

import numpy as np
import pytest

from evaluation.errors import MetricError
from evaluation.metrics import Outcomes, families, metrics


def world(photos: int, seed: int = 0) -> Outcomes:
    rng = np.random.default_rng(seed)
    number = np.arange(photos)
    return Outcomes(
        correct=rng.random(photos) < 0.7,
        classes=np.array(["a", "b", "c"])[number % 3],
        groups=np.array(["common", "counter"])[number // 3 % 2],
        backgrounds=np.array(["snow", "grass"])[number % 2],
        clusters=number.astype(np.str_),
        probability=0.5 + rng.random(photos) / 2,
        label_probability=rng.random(photos),
    )


@pytest.fixture(params=sorted(metrics()))
def metric(request):
    return metrics()[request.param]


@pytest.mark.parametrize("name", sorted(families()))
def test_every_family_says_where_it_is_from(name):
    assert len(families()[name].SOURCE) > 10


def test_it_says_what_it_measures(metric):
    assert metric.measure.__doc__
    assert "Raises" in metric.measure.__doc__


def test_numbers_are_finite_and_do_not_hang_on_order(metric):
    found = world(240)
    order = np.random.default_rng(1).permutation(240)
    shuffled = Outcomes(
        **{
            field.name: getattr(found, field.name)[order]
            for field in dataclasses.fields(Outcomes)
        }
    )
    first, second = metric.measure(found), metric.measure(shuffled)
    assert first
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert isinstance(value, float)
        assert math.isfinite(value)
        assert value == pytest.approx(second[name], abs=1e-12)


def test_inputs_are_left_alone(metric):
    found = world(60)
    before = [getattr(found, f.name).copy() for f in dataclasses.fields(Outcomes)]
    metric.measure(found)
    for old, field in zip(before, dataclasses.fields(Outcomes), strict=True):
        np.testing.assert_array_equal(old, getattr(found, field.name))


def test_no_photos_are_an_error(metric):
    with pytest.raises(MetricError):
        metric.measure(world(0))
