"""Measure models on a release: accuracy on both groups, and the drop between them.

python examples/evaluate.py RELEASE [MODEL …]

RELEASE is a folder, or hub:<org>/<name>@<revision> for a dataset on the Hub. Models are
called as in `counterset models`; without one, a small classifier that needs no download
is measured. Folder `results` gets a report, tables and every prediction.
"""

import sys
from pathlib import Path

import evaluation

release, *models = sys.argv[1:]
plan = evaluation.Plan(models=tuple(models) or ("demo:lite0",), datasets=(release,))
for row in evaluation.evaluate(plan, Path("results")).rows:
    print(f"{row.model}: common {row.common:.1f}, counter {row.counter:.1f}")
    print(f"  drop {row.drop:.1f} points, 95 % interval {row.drop_ci}")
