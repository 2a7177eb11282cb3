r"""Theorem 6.2 of CounterAnimal: simulated, as printed, and exact for its definition.

The setting (Definition 6.1). A photo and its caption share a latent vector z = (z_inv,
z_spu). A class y is +1 or -1, evenly; an attribute a agrees with it with chance p:

    z_inv ~ N(mu_inv y, s_inv^2),  z_spu ~ N(mu_spu a, s_spu^2),  P(a = y) = p,
    x_M = D_M z + xi_M,  xi_M ~ N(0, s_xi^2/d_M I),  M = image or text,

where D_M has orthonormal columns. The linearised contrastive loss of n pairs, with
G = W_I^T W_T,

    1/(n(n-1)) sum_i sum_{j!=i} x_I^i^T G x_T^j - 1/n sum_i x_I^i^T G x_T^i
        + rho/2 |G|_F^2  =  -<G, S> + rho/2 |G|_F^2,

has the minimiser G = S/rho, where S is the covariance of x_I and x_T with n-1 below.
A photo is classified by its sign: x_I^T S D_T q, where the prompts are q = (y, 0), or
q = E[z | y].

Exact, as n grows. S tends to D_I M D_T^T with the latent second moment

    M = [[mu_inv^2 + s_inv^2,    mu_inv mu_spu (2p-1)],
         [mu_inv mu_spu (2p-1),  mu_spu^2 + s_spu^2  ]],

so the score is w^T (z + D_I^T xi_I) with w = M q. Given y = 1 and a it is normal, of
mean w_inv mu_inv + a w_spu mu_spu and variance w_inv^2 s_inv^2 + w_spu^2 s_spu^2 +
|w|^2 s_xi^2/d_I; therefore, with D its standard deviation,

    error where a != y     Phi(-(w_inv mu_inv - w_spu mu_spu)/D),
    accuracy where a = y   Phi( (w_inv mu_inv + w_spu mu_spu)/D).

For q = (1, 0) w is M's first column. For q = E[z | y=1] = (mu_inv, (2p-1) mu_spu) the
prompt itself names the spurious part, and w_spu is larger.

Printed. The theorem has 1 - Phi(k1) and 1 - Phi(k2) with s = s_inv, mu = mu_spu and

    k1 = (s^2 + 2 - 2 mu p)/D,  k2 = (-2 mu p - s^2)/D,
    D^2 = (1+s^2)^2 s^2 + (2 mu p - 1)^2 s_spu^2.

That is a moment [[1+s^2, 2 mu p - 1], [2 mu p - 1, 1+s_spu^2]]: the definition's only
where mu_inv = mu_spu = 1, with prompts (y, 0) and no noise. What it says holds for the
definition too: with prompts (y, 0) and p > 1/2 the error where a != y grows with mu_spu
and with p. With prompts E[z | y] it may fall again as p nears 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from evaluation.errors import ConfigError
from evaluation.theory._shares import mean_share

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOURCE = "Wang et al. 2024 (arXiv 2403.11497v1), Definition 6.1 and Theorem 6.2"

Prompt = Literal["invariant", "mean"]
PROMPTS: tuple[Prompt, ...] = get_args(Prompt)
"""What a class's prompt says: (y, 0), or E[z | y]."""

PAPER: tuple[tuple[float, float], ...] = ((1.0, 0.95), (2.0, 0.95))
"""(mu_spu, p) where printed and exact agree, and where they do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One world of Definition 6.1.

    Attributes:
        mu_inv: mean of the invariant latent in class +1; > 0.
        mu_spu: mean of the spurious latent where the attribute is +1; ≥ 0.
        s_inv: standard deviation of the invariant latent; > 0.
        s_spu: standard deviation of the spurious latent; ≥ 0.
        s_xi: noise of photos and captions: each has norm s_xi, about; ≥ 0.
        p: chance that the attribute agrees with the class, in [0, 1].
        n: training pairs of one run; ≥ 2.
        n_test: test photos of one run, half with a = y, half with a != y; ≥ 2.
        d_image: dimensions of a photo; ≥ 2.
        d_text: dimensions of a caption; ≥ 2.
        seed: of all random numbers.
    """

    mu_inv: float = 1.0
    mu_spu: float = 1.0
    s_inv: float = 1.0
    s_spu: float = 0.5
    s_xi: float = 0.0
    p: float = 0.95
    n: int = 10_000
    n_test: int = 10_000
    d_image: int = 20
    d_text: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what the definition does not allow.

        Raises:
            ConfigError: a value out of its range.
        """
        if not 0 <= self.p <= 1:
            message = f"p is a chance, between 0 and 1, not {self.p}"
            raise ConfigError(message)
        for name, strictly in (
            ("mu_inv", True),
            ("mu_spu", False),
            ("s_inv", True),
            ("s_spu", False),
            ("s_xi", False),
        ):
            value = getattr(self, name)
            if not isfinite(value) or value < 0 or (strictly and value == 0):
                bound = "greater than 0" if strictly else "0 or more"
                message = f"{name} is a number {bound}, not {value}"
                raise ConfigError(message)
        for name in ("n", "n_test", "d_image", "d_text"):
            if getattr(self, name) < 2:
                message = f"{name} is 2 or more, not {getattr(self, name)}"
                raise ConfigError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """What a formula says; fractions.

    Attributes:
        error_disagree: error where a != y.
        accuracy_agree: accuracy where a = y.
    """

    error_disagree: float
    accuracy_agree: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """What runs of the loss's minimiser gave; fractions.

    Attributes:
        error_disagree: error where a != y, mean over runs.
        error_ci: 95 % interval of that mean: over runs, or Wilson's for one run.
        accuracy_agree: accuracy where a = y, mean over runs.
        accuracy_ci: 95 % interval of that mean.
        runs: training sets drawn.
    """

    error_disagree: float
    error_ci: tuple[float, float]
    accuracy_agree: float
    accuracy_ci: tuple[float, float]
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One world with one kind of prompt.

    Attributes:
        setting: the world.
        prompt: what prompts say.
        printed: the theorem's formula, whatever the prompt; None where `mu_inv` is not
            1, which the formula has no place for.
        exact: the definition's value for this prompt as n grows.
        simulated: None where nothing was simulated.
    """

    setting: Setting
    prompt: Prompt
    printed: Closed | None
    exact: Closed
    simulated: Simulated | None


_PHI = NormalDist().cdf


def printed(setting: Setting) -> Closed:
    """Theorem 6.2 as it stands in the paper, which takes mu_inv = 1 and no noise.

    Raises:
        ConfigError: `mu_inv` is not 1.

    Example:
        >>> found = printed(Setting(mu_spu=2, p=0.95))
        >>> round(found.error_disagree, 3), round(found.accuracy_agree, 3)
        (0.628, 0.975)
    """
    if setting.mu_inv != 1:
        message = f"the printed formula takes mu_inv = 1, not {setting.mu_inv}"
        raise ConfigError(message)
    s2, mixed = setting.s_inv**2, 2 * setting.mu_spu * setting.p
    spread = sqrt((1 + s2) ** 2 * s2 + (mixed - 1) ** 2 * setting.s_spu**2)
    return Closed(
        error_disagree=1 - _PHI((s2 + 2 - mixed) / spread),
        accuracy_agree=1 - _PHI((-mixed - s2) / spread),
    )


def exact(setting: Setting, prompt: Prompt = "invariant") -> Closed:
    """Definition 6.1's own values as n grows; see the module for the derivation.

    Example:
        >>> found = exact(Setting(mu_spu=2, p=0.95))
        >>> round(found.error_disagree, 3), round(found.accuracy_agree, 3)
        (0.767, 0.995)
    """
    weight = moment(setting) @ class_prompt(setting, prompt)
    invariant, spurious = (float(value) for value in weight)
    spread = sqrt(
        (invariant * setting.s_inv) ** 2
        + (spurious * setting.s_spu) ** 2
        + (invariant**2 + spurious**2) * setting.s_xi**2 / setting.d_image
    )
    own, other = invariant * setting.mu_inv, spurious * setting.mu_spu
    return Closed(
        error_disagree=_PHI(-(own - other) / spread),
        accuracy_agree=_PHI((own + other) / spread),
    )


def moment(setting: Setting) -> "NDArray[np.float64]":
    """(2, 2) second moment of the latents, E[z z^T]."""
    mixed = setting.mu_inv * setting.mu_spu * (2 * setting.p - 1)
    return np.array(
        [
            [setting.mu_inv**2 + setting.s_inv**2, mixed],
            [mixed, setting.mu_spu**2 + setting.s_spu**2],
        ]
    )


def class_prompt(setting: Setting, prompt: Prompt) -> "NDArray[np.float64]":
    """(2,) latent of the prompt of class +1; class -1 has its negative.

    Raises:
        ConfigError: no such prompt.
    """
    if prompt == "invariant":
        return np.array([1.0, 0.0])
    if prompt not in PROMPTS:
        message = f"a prompt is one of {', '.join(PROMPTS)}, not {prompt!r}"
        raise ConfigError(message)
    return np.array([setting.mu_inv, (2 * setting.p - 1) * setting.mu_spu])


def minimiser(
    photos: "NDArray[np.float64]", captions: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    """The linearised loss's rho W_I^T W_T at its minimum; needs h ≥ rank.

    Args:
        photos: (n, d_I), row i is paired with row i of `captions`; n ≥ 2.
        captions: (n, d_T).

    Returns: (d_I, d_T), S = 1/n sum x_I x_T^T - 1/(n(n-1)) sum_{i!=j} x_I^i x_T^j^T,
        which is the covariance with n-1 below.
    """
    centred = captions - captions.mean(axis=0)
    found: NDArray[np.float64] = photos.T @ centred / (len(photos) - 1)
    return found


def simulate(
    setting: Setting, prompts: Sequence[Prompt] = PROMPTS, *, runs: int = 20
) -> dict[Prompt, Simulated]:
    """Draw training pairs, take the loss's minimiser, classify photos drawn anew.

    Every run draws D_I and D_T, `n` pairs and `n_test` photos; prompts are read from
    the same runs.

    Args:
        setting: the world; equal settings give equal results.
        prompts: kinds of prompt.
        runs: training sets; ≥ 1.

    Raises:
        ConfigError: runs below 1, or an unknown prompt.
    """
    if runs < 1:
        message = f"runs is 1 or more, not {runs}"
        raise ConfigError(message)
    chosen = [class_prompt(setting, prompt) for prompt in prompts]
    rng = np.random.default_rng(setting.seed)
    wrong = np.array([_run(setting, chosen, rng) for _ in range(runs)])
    half = setting.n_test // 2
    found: dict[Prompt, Simulated] = {}
    for place, prompt in enumerate(prompts):
        error, error_ci = mean_share(wrong[:, place, 0], half)
        missed, missed_ci = mean_share(wrong[:, place, 1], half)
        found[prompt] = Simulated(
            error_disagree=error,
            error_ci=error_ci,
            accuracy_agree=1 - missed,
            accuracy_ci=(1 - missed_ci[1], 1 - missed_ci[0]),
            runs=runs,
        )
    return found


def table(
    settings: Sequence[Setting],
    *,
    runs: int = 20,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Printed, exact and simulated side by side, a row for each world and prompt.

    Args:
        settings: the worlds.
        runs: training sets for each; 0 leaves the simulation out.
        progress: told (worlds done, worlds in all).
    """
    rows = []
    for done, setting in enumerate(settings, 1):
        simulated = simulate(setting, runs=runs) if runs else {}
        rows += [
            Row(
                setting=setting,
                prompt=prompt,
                printed=printed(setting) if setting.mu_inv == 1 else None,
                exact=exact(setting, prompt),
                simulated=simulated.get(prompt),
            )
            for prompt in PROMPTS
        ]
        progress(done, len(settings))
    return rows


def curve(setting: Setting, *, points: int = 11) -> list[Setting]:
    """The same world at `points` chances p, evenly from 0.5 to 1."""
    return [
        replace(setting, p=round(float(p), 6)) for p in np.linspace(0.5, 1.0, points)
    ]


def _run(
    setting: Setting, prompts: Sequence["NDArray[np.float64]"], rng: np.random.Generator
) -> "NDArray[np.int64]":
    """(prompts, 2) wrong photos where a != y and where a = y."""
    to_photo = _orthonormal(setting.d_image, rng)
    to_text = _orthonormal(setting.d_text, rng)
    classes = rng.choice([-1, 1], setting.n)
    agree = rng.random(setting.n) < setting.p
    latent = _latent(setting, classes, np.where(agree, classes, -classes), rng)
    weights = minimiser(
        _seen(latent, to_photo, setting.s_xi, rng),
        _seen(latent, to_text, setting.s_xi, rng),
    )
    half = setting.n_test // 2
    found = np.empty((len(prompts), 2), np.int64)
    for side, sign in enumerate((-1, 1)):
        classes = rng.choice([-1, 1], half)
        latent = _latent(setting, classes, sign * classes, rng)
        photos = _seen(latent, to_photo, setting.s_xi, rng)
        for place, prompt in enumerate(prompts):
            score = photos @ (weights @ (to_text @ prompt))
            found[place, side] = np.count_nonzero(np.sign(score) != classes)
    return found


def _latent(
    setting: Setting,
    classes: "NDArray[np.int64]",
    attributes: "NDArray[np.int64]",
    rng: np.random.Generator,
) -> "NDArray[np.float64]":
    """(N, 2) latents of photos with these classes and attributes (-1 or 1)."""
    mean = np.stack([setting.mu_inv * classes, setting.mu_spu * attributes], axis=1)
    spread = np.array([setting.s_inv, setting.s_spu])
    drawn: NDArray[np.float64] = mean + spread * rng.standard_normal(mean.shape)
    return drawn


def _seen(
    latent: "NDArray[np.float64]",
    columns: "NDArray[np.float64]",
    noise: float,
    rng: np.random.Generator,
) -> "NDArray[np.float64]":
    """(N, d) photos or captions."""
    clean: NDArray[np.float64] = latent @ columns.T
    if noise == 0:
        return clean
    d = columns.shape[0]
    return clean + noise / sqrt(d) * rng.standard_normal(clean.shape)


def _orthonormal(d: int, rng: np.random.Generator) -> "NDArray[np.float64]":
    """(d, 2) with orthonormal columns."""
    columns: NDArray[np.float64] = np.linalg.qr(rng.standard_normal((d, 2)))[0]
    return columns
