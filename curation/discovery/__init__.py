"""Group discovery: which background helps a model, which hurts, and is it real.

`discover` takes arrays and gives `Findings`: accuracy per class and background, the
pair the rule picks, the naive drop (picked and measured on the same photos, so too
large), the cross-fitted one, and a permutation test.

cells        accuracy per background, and the rule
halves       random halves that keep clusters whole
crossfit     the cross-fitted drop: what it estimates, and its interval
permutation  the test, and Benjamini-Hochberg
findings     all of it together
kinship      which models' results are selected on
verified     which photos count, and which are not independent
"""

from curation.discovery.cells import Rule
from curation.discovery.crossfit import Estimate
from curation.discovery.findings import (
    ClassFinding,
    Findings,
    Photos,
    Plan,
    discover,
    judge,
    votes,
)
from curation.discovery.kinship import selected_on

__all__ = [
    "ClassFinding",
    "Estimate",
    "Findings",
    "Photos",
    "Plan",
    "Rule",
    "discover",
    "judge",
    "selected_on",
    "votes",
]
