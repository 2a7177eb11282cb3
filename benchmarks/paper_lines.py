"""How the headline of effective robustness hangs on its conventions.

    python -m benchmarks.paper_lines

CounterAnimal's tables: the line is fitted to the 15 ImageNet models, x is the accuracy
of the common group, y that of the counter group, and the 28 CLIPs are set against it,
in each label space and weighting the paper has, on each scale. A Markdown table.
"""

from evaluation.metrics.effective_robustness import (
    SCALES,
    Axis,
    Robustness,
    Scale,
    against_line,
)
from evaluation.reference import paper_table

CONVENTIONS = {
    "1 of 1,000, class means": (3, 4),
    "1 of 1,000, all photos alike": (11, 12),
    "1 of 20, class means": (13, 14),
}


def measured(tables: tuple[int, int], scale: Scale) -> Robustness:
    """The CLIPs of one table against the ImageNet models of another."""
    rows = [row for number in tables for row in paper_table(number)]
    return against_line(
        [row.model for row in rows],
        [row.common / 100 for row in rows],
        [row.counter / 100 for row in rows],
        [row.kind == "imagenet" for row in rows],
        scale,
        axes=(Axis("common", None), Axis("counter", None)),
        baseline_name="ImageNet models",
    )


def told(name: str, tables: tuple[int, int], scale: Scale) -> str:
    """One row of the table."""
    found = measured(tables, scale)
    line = found.line
    clips = [point for point in found.points if not point.baseline]
    rho = [100 * point.effective_robustness for point in clips]
    intervals = [point.effective_robustness_ci or (0.0, 0.0) for point in clips]
    above = sum(low > 0 for low, _ in intervals)
    below = sum(high < 0 for _, high in intervals)
    low, high = line.slope_ci or (float("nan"), float("nan"))
    cells = (
        name,
        scale,
        f"{line.slope:.2f} [{low:.2f}, {high:.2f}]",
        f"{line.r2:.3f}",
        f"{sum(rho) / len(rho):+.2f}",
        f"{min(rho):+.2f} to {max(rho):+.2f}",
        f"{sum(one > 0 for one in rho)} of {len(rho)}",
        f"{above} above, {below} below",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    print(
        "| accuracy | scale | slope | R2 | mean of the CLIPs, points | range | "
        "above the line | clear of its interval |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, tables in CONVENTIONS.items():
        for scale in SCALES:
            print(told(name, tables, scale))


if __name__ == "__main__":
    main()
