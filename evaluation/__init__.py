"""Measure image models on common/counter datasets and the robustness sets around them.

    from pathlib import Path
    import evaluation

    plan = evaluation.Plan(
        models=("demo:clip", "demo:lite0"), datasets=("work/demo/release",)
    )
    results = evaluation.evaluate(plan, Path("results"))
    for row in results.rows:
        print(row.model, row.common, row.counter, row.drop, row.drop_ci)

Step by step: `open_examples` gives photos with labels, `answer` a model's logits over
any label space, `predictions` a table of them, and the functions in
`evaluation.metrics` take arrays. What is named here is imported when first used, so
importing the package costs nothing. Works without the package `curation`.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evaluation.answers import Answers, Asked
    from evaluation.benchmark import Plan
    from evaluation.benchmark import benchmark as evaluate
    from evaluation.examples import ExampleSet, from_table, open_examples
    from evaluation.extract import Models
    from evaluation.features import FeatureStore
    from evaluation.models import Runtime
    from evaluation.models import load as load_model
    from evaluation.predict import answer, predictions
    from evaluation.results import Results
    from evaluation.robustness import evaluate_points

__all__ = [
    "Answers",
    "Asked",
    "ExampleSet",
    "FeatureStore",
    "Models",
    "Plan",
    "Results",
    "Runtime",
    "answer",
    "evaluate",
    "evaluate_points",
    "from_table",
    "load_model",
    "open_examples",
    "predictions",
]

# no name here is a module's: importing that module would put it in the name's place
_HOME = {
    "Answers": "answers.Answers",
    "Asked": "answers.Asked",
    "ExampleSet": "examples.ExampleSet",
    "FeatureStore": "features.FeatureStore",
    "Models": "extract.Models",
    "Plan": "benchmark.Plan",
    "Results": "results.Results",
    "Runtime": "models.Runtime",
    "answer": "predict.answer",
    "evaluate": "benchmark.benchmark",
    "evaluate_points": "robustness.evaluate_points",
    "from_table": "examples.from_table",
    "load_model": "models.load",
    "open_examples": "examples.open_examples",
    "predictions": "predict.predictions",
}


def __getattr__(name: str) -> object:
    """What is named above, from its module."""
    if name not in _HOME:
        message = f"module 'evaluation' has no attribute {name!r}"
        raise AttributeError(message)
    module, _, attribute = _HOME[name].rpartition(".")
    return getattr(importlib.import_module(f"evaluation.{module}"), attribute)
