"""Alpha, kappa and kappa's error against worked examples that others published."""

import math

import numpy as np
import pytest

from curation import agreement

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", sections A to C: one
# row per observer, one column per unit, "." for a missing value; alpha to 3 places
ALPHAS = {
    "A: two observers, two values": (["0100000010", "1110010000"], 0.095),
    "B: two observers, five values": (["aabbdcccedda", "babbbccceddd"], 0.692),
    "C: four observers, twelve units, missing values": (
        ["123321412...", "1233224125.3", ".3332342251.", "12332441251."],
        0.743,
    ),
}

# rows: the first's answers, columns: the second's; kappa, standard error and the ends
# of the 95 % interval as printed, with the places that were printed
KAPPAS = {
    # SAS/STAT User's Guide, "The FREQ Procedure", Agreement Study: 88 patients seen by
    # two dermatologists; the procedure has its errors from Fleiss, Cohen and Everitt
    "skin conditions": (
        [[10, 4, 1, 0], [5, 10, 12, 2], [2, 4, 12, 5], [0, 2, 6, 13]],
        (0.3449, 0.0724, 0.2030, 0.4868),
        5e-5,
    ),
    # Statalist, December 2009, "kappa agreement standard errors": output of Stata's
    # kapci, analytic (Fleiss, Cohen and Everitt)
    "health care": (
        [[1395, 118], [261, 158]],
        (
            0.3411969207847029,
            0.0262913719660408,
            0.2896667786271169,
            0.3927270629422889,
        ),
        1e-8,
    ),
}

# Cohen 1960, table 1, and the example of Fleiss, Cohen and Everitt 1969, who print the
# variance too: shares of 200 in per cent
COHEN_1960 = [[44, 7, 9], [5, 20, 5], [1, 3, 6]]
FLEISS_1969 = [[53, 5, 2], [11, 14, 5], [1, 6, 3]]


def said(table: list[list[int]], times: int = 1) -> tuple[list[str], list[str]]:
    """Answers of both, from how often which went together."""
    cells = [
        (str(i), str(j))
        for i, row in enumerate(table)
        for j, count in enumerate(row)
        for _ in range(times * count)
    ]
    return [a for a, _ in cells], [b for _, b in cells]


@pytest.mark.parametrize(("observers", "expected"), ALPHAS.values(), ids=ALPHAS)
def test_krippendorff_s_own_examples(observers: list[str], expected: float) -> None:
    values = sorted(set("".join(observers)) - {"."})
    units = list(zip(*observers, strict=True))
    counts = np.array([[unit.count(value) for value in values] for unit in units])

    assert agreement.alpha(counts) == pytest.approx(expected, abs=5e-4)
    found = agreement.interval(counts)
    assert found.alpha == agreement.alpha(counts)
    assert found.low < found.alpha < found.high
    assert found.n_photos == sum(
        len(set(unit) - {"."}) and sum(v != "." for v in unit) > 1 for unit in units
    )


@pytest.mark.parametrize(("table", "printed", "places"), KAPPAS.values(), ids=KAPPAS)
def test_kappa_and_its_error(
    table: list[list[int]], printed: tuple[float, ...], places: float
) -> None:
    found = agreement.kappa(*said(table))

    numbers = (found.kappa, found.error, found.low, found.high)
    assert numbers == pytest.approx(printed, abs=places)
    assert found.n == sum(map(sum, table))
    # neither who comes first nor the order of the names matters
    turned = agreement.kappa(*reversed(said(table)))
    assert turned.error == pytest.approx(found.error, abs=1e-12)


def test_psychiatrists_of_cohen_and_of_fleiss() -> None:
    assert agreement.kappa(*said(COHEN_1960, 2)).kappa == pytest.approx(0.49, abs=5e-3)
    found = agreement.kappa(*said(FLEISS_1969, 2))
    assert found.kappa == pytest.approx(0.429, abs=5e-4)
    assert math.isclose(found.kappa, 3 / 7)
    assert found.error**2 == pytest.approx(0.002885, abs=5e-7)
