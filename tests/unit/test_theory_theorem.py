"""Theorem 6.2: the formulas, the loss's minimiser, and the simulation between them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.errors import ConfigError
from evaluation.theory import theorem
from evaluation.theory.theorem import Closed, Setting

LAWS = settings(max_examples=50, deadline=None)

means = st.floats(0.1, 3)
spreads = st.floats(0.1, 2)
chances = st.floats(0, 1)


@st.composite
def worlds(draw: st.DrawFn) -> Setting:
    return Setting(
        mu_inv=draw(means),
        mu_spu=draw(means),
        s_inv=draw(spreads),
        s_spu=draw(spreads),
        s_xi=draw(st.floats(0, 2)),
        p=draw(chances),
    )


def pair(found: Closed) -> tuple[float, float]:
    return found.error_disagree, found.accuracy_agree


@pytest.mark.parametrize(
    ("mu_spu", "paper", "invariant", "mean"),
    [
        (2.0, (0.628, 0.975), (0.767, 0.995), (0.974, 1.000)),
        (1.0, (0.296, 0.921), (0.296, 0.921), (0.396, 0.947)),
    ],
)
def test_values_at_the_papers_settings(
    mu_spu: float,
    paper: tuple[float, float],
    invariant: tuple[float, float],
    mean: tuple[float, float],
) -> None:
    setting = Setting(mu_spu=mu_spu, p=0.95)
    assert pair(theorem.printed(setting)) == pytest.approx(paper, abs=5e-4)
    assert pair(theorem.exact(setting)) == pytest.approx(invariant, abs=5e-4)
    assert pair(theorem.exact(setting, "mean")) == pytest.approx(mean, abs=5e-4)


@LAWS
@given(spreads, spreads, chances)
def test_printed_is_exact_where_the_means_are_one(
    s_inv: float, s_spu: float, p: float
) -> None:
    setting = Setting(mu_spu=1, s_inv=s_inv, s_spu=s_spu, p=p)
    assert pair(theorem.printed(setting)) == pytest.approx(
        pair(theorem.exact(setting)), abs=1e-12
    )


@LAWS
@given(worlds())
def test_without_correlation_the_attribute_plays_no_part(setting: Setting) -> None:
    setting = replace(setting, p=0.5)
    for prompt in theorem.PROMPTS:
        error, accuracy = pair(theorem.exact(setting, prompt))
        assert error == pytest.approx(1 - accuracy, abs=1e-12)
        assert pair(theorem.exact(replace(setting, s_spu=9), prompt)) == pytest.approx(
            (error, accuracy), abs=1e-12
        )


def test_printed_uses_the_attribute_even_without_correlation() -> None:
    """What is wrong with it: at p = 1/2 its spurious weight is mu - 1, not 0."""
    found = theorem.printed(Setting(mu_spu=2, p=0.5))
    assert found.error_disagree != pytest.approx(1 - found.accuracy_agree, abs=0.05)


@LAWS
@given(worlds(), chances, chances)
def test_error_grows_with_the_correlation(
    setting: Setting, one: float, other: float
) -> None:
    low, high = (
        theorem.exact(replace(setting, p=0.5 + p / 2)).error_disagree
        for p in sorted((one, other))
    )
    assert low <= high + 1e-12


@LAWS
@given(worlds())
def test_turned_correlation_swaps_the_sides(setting: Setting) -> None:
    turned = replace(setting, p=1 - setting.p)
    for prompt in theorem.PROMPTS:
        here, there = theorem.exact(setting, prompt), theorem.exact(turned, prompt)
        assert here.error_disagree == pytest.approx(1 - there.accuracy_agree, abs=1e-9)


def test_minimiser_is_the_sum_it_stands_for() -> None:
    rng = np.random.default_rng(1)
    photos, captions = rng.standard_normal((7, 3)), rng.standard_normal((7, 4))
    n = len(photos)
    paired = sum(np.outer(photos[i], captions[i]) for i in range(n)) / n
    crossed = sum(
        np.outer(photos[i], captions[j]) for i in range(n) for j in range(n) if i != j
    ) / (n * (n - 1))
    np.testing.assert_allclose(
        theorem.minimiser(photos, captions), paired - crossed, atol=1e-12
    )


def test_gradient_descent_on_the_loss_reaches_the_minimiser() -> None:
    import torch

    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    photos, captions, rho = drawn(30, 4), drawn(30, 3), 0.7
    captions = captions + photos[:, :3]
    w_image = (0.3 * drawn(4, 4)).requires_grad_()
    w_text = (0.3 * drawn(4, 3)).requires_grad_()
    optimiser = torch.optim.SGD([w_image, w_text], lr=0.05)
    n = len(photos)
    for _ in range(2000):
        scores = (photos @ w_image.T) @ (captions @ w_text.T).T
        paired = scores.diagonal().sum()
        loss = (scores.sum() - paired) / (n * (n - 1)) - paired / n
        loss = loss + rho / 2 * (w_image.T @ w_text).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    wanted = theorem.minimiser(photos.numpy(), captions.numpy()) / rho
    np.testing.assert_allclose((w_image.T @ w_text).detach(), wanted, atol=1e-6)


@pytest.mark.parametrize(
    "setting",
    [
        Setting(mu_spu=2),
        Setting(mu_spu=1),
        Setting(mu_spu=0.5, p=0.7, s_spu=1.5),
        Setting(mu_inv=1.5, mu_spu=1.2, s_inv=0.6, p=0.8, s_xi=3, d_image=8, d_text=5),
    ],
)
def test_simulation_agrees_with_exact(setting: Setting) -> None:
    setting = replace(setting, n=20_000, n_test=20_000)
    for prompt, found in theorem.simulate(setting, runs=12).items():
        wanted = theorem.exact(setting, prompt)
        for value, (low, high), truth in (
            (found.error_disagree, found.error_ci, wanted.error_disagree),
            (found.accuracy_agree, found.accuracy_ci, wanted.accuracy_agree),
        ):
            assert low <= value <= high
            assert high - low < 0.02
            # twice the interval: eight of them are asked at once
            assert abs(value - truth) <= high - low


def test_simulation_refutes_the_printed_formula() -> None:
    setting = Setting(mu_spu=2)
    low, high = theorem.simulate(setting, ["invariant"], runs=5)["invariant"].error_ci
    assert not low <= theorem.printed(setting).error_disagree <= high
    assert low <= theorem.exact(setting).error_disagree <= high


def test_more_pairs_come_closer() -> None:
    def away(n: int) -> float:
        setting = Setting(mu_spu=2, n=n, n_test=20_000)
        found = theorem.simulate(setting, ["invariant"], runs=20)["invariant"]
        return found.error_ci[1] - found.error_ci[0]

    assert away(10_000) < away(100) / 3


def test_equal_settings_give_equal_runs() -> None:
    setting = Setting(n=100, n_test=100, seed=3)
    again = theorem.simulate(setting, runs=2)
    assert theorem.simulate(setting, runs=2) == again
    assert theorem.simulate(replace(setting, seed=4), runs=2) != again


def test_one_run_has_a_wilson_interval() -> None:
    found = theorem.simulate(Setting(n=50, n_test=100), runs=1)["mean"]
    assert found.error_ci[0] < found.error_disagree < found.error_ci[1]


def test_table_and_curve() -> None:
    told = []
    worlds = theorem.curve(Setting(n=50, n_test=20), points=3)
    assert [world.p for world in worlds] == [0.5, 0.75, 1.0]
    rows = theorem.table(
        worlds, runs=1, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert [row.prompt for row in rows] == ["invariant", "mean"] * 3
    assert all(row.simulated and row.printed for row in rows)
    (bare, _) = theorem.table([Setting(mu_inv=2)], runs=0)
    assert bare.printed is None
    assert bare.simulated is None


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("p", 1.5, "p is a chance, between 0 and 1, not 1.5"),
        ("p", float("nan"), "p is a chance"),
        ("mu_inv", 0, "mu_inv is a number greater than 0"),
        ("mu_spu", float("inf"), "mu_spu is a number 0 or more"),
        ("s_spu", -1, "s_spu is a number 0 or more, not -1"),
        ("n", 1, "n is 2 or more, not 1"),
        ("d_text", 1, "d_text is 2 or more"),
    ],
)
def test_impossible_world(field: str, value: float, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(Setting(), **{field: value})


def test_impossible_questions() -> None:
    with pytest.raises(ConfigError, match="takes mu_inv = 1, not 2"):
        theorem.printed(Setting(mu_inv=2))
    with pytest.raises(ConfigError, match="invariant, mean, not 'both'"):
        theorem.exact(Setting(), "both")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="runs is 1 or more, not 0"):
        theorem.simulate(Setting(), runs=0)
