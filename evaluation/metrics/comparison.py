"""Two models on the same photos: paired tests and intervals. Fractions."""

from dataclasses import dataclass

SOURCE = (
    "McNemar 1947; Fagerland et al. 2013 (mid-p); Efron and Tibshirani 1993 (bootstrap)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """McNemar's test of two models on one group of photos.

    Attributes:
        group: "common", "counter", or "" for all photos.
        n: photos both answered.
        only_first: photos that only the first model gets right.
        only_second: photos that only the second gets right.
        difference: accuracy of the first minus that of the second (micro).
        p_exact: two-sided exact p-value.
        p_mid: two-sided mid-p value.
    """

    group: str
    n: int
    only_first: int
    only_second: int
    difference: float
    p_exact: float
    p_mid: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models on one example set.

    Attributes:
        first: a model's name.
        second: another's.
        dataset: the example set.
        tests: of all photos, and of each group there is.
        drop_difference: drop of the first minus drop of the second; None without
            groups.
        drop_difference_ci: paired bootstrap interval, clusters of photos drawn within
            class and group, the same draws for both models.
        drop_difference_p: two-sided bootstrap p-value.
    """

    first: str
    second: str
    dataset: str
    tests: tuple[PairedTest, ...]
    drop_difference: float | None = None
    drop_difference_ci: tuple[float, float] | None = None
    drop_difference_p: float | None = None
