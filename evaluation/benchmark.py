"""The benchmark: models × datasets → predictions, results and a report in one folder.

<out>/predictions/<model>.parquet     one row per photo, provenance in the metadata
<out>/results.json                    every number
<out>/report.html                     to look at
<out>/features/                       what models said; safe to delete
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.errors import ConfigError, TooManyFailedRows
from evaluation.examples import open_examples
from evaluation.predict import FeatureStore, predict
from evaluation.results import Results
from evaluation.score import score
from evaluation.tables import write, write_bytes

if TYPE_CHECKING:
    import pyarrow as pa

    from evaluation.extract import Progress

PREDICTIONS, REPORT, RESULTS = "predictions", "report.html", "results.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is measured, and how.

    Attributes:
        models: full names.
        datasets: as `evaluation.examples.open_examples` takes them.
        prompts: prompt set's name or file.
        label_space: label space's name or file.
        limit: at most this many photos of each dataset, evenly spaced; 0: all.
        batch_size: photos a model sees at once.
        jobs: threads that decode.
        max_failed: largest share of photos that may fail, 0 to 1.
    """

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    prompts: str = "paper"
    label_space: str = "imagenet"
    limit: int = 0
    batch_size: int = 64
    jobs: int = 2
    max_failed: float = 0.05


def benchmark(
    question: Question, out: Path, *, progress: "Progress | None" = None
) -> Results:
    """Measure models on datasets, and write predictions, results and the report.

    Args:
        question: what is measured.
        out: folder to write to; made when missing.
        progress: told how far each pass over photos is.

    Returns: a result per dataset and model.

    Raises:
        ConfigError: no model or dataset named, or a wrong name.
        InputError: a dataset cannot be read, or `out` cannot be written to.
        RemoteError: weights or a dataset are not at hand and cannot be fetched.
        TooManyFailedRows: everything is written, but too many photos failed.
    """
    if not question.models or not question.datasets:
        message = "name at least one model (-m, or --suite) and one dataset (-d)"
        raise ConfigError(message)
    store = FeatureStore(out / "features")
    results = Results(())
    failed: list[str] = []
    for spec in question.datasets:
        examples = open_examples(spec)
        if question.limit:
            examples = examples.head(question.limit)
        predictions = predict(
            examples,
            question.models,
            store=store,
            prompts=question.prompts,
            label_space=question.label_space,
            batch_size=question.batch_size,
            jobs=question.jobs,
            progress=progress,
        )
        several = len(question.datasets) > 1
        for name, table in predictions.items():
            folder = out / PREDICTIONS / (file_name(spec) if several else "")
            write(folder / f"{file_name(name)}.parquet", table)
        failed += _too_many(examples.name, predictions, question.max_failed)
        results = Results(results.rows + score(examples, predictions).rows)
    publish(results, out)
    if failed:
        message = f"results are in {out}, but {'; '.join(failed)}"
        raise TooManyFailedRows(message)
    return results


def publish(results: Results, out: Path) -> None:
    """Write results.json and the report."""
    from evaluation.reports import page

    write_bytes(out / RESULTS, results.to_json().encode())
    write_bytes(out / REPORT, page(results).encode())


def file_name(name: str) -> str:
    """A model's or dataset's name as a file name, still telling names apart.

    Example:
        >>> file_name("timm:resnet50")
        'timm_resnet50'
        >>> file_name("open_clip:ViT-B-32/a b")
        'open_clip_ViT-B-32_a_b-4dc3901c'
    """
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", name)[-80:].lstrip("._")
    if plain == name.replace(":", "_", 1).replace("/", "_", 1):
        return plain
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _too_many(
    dataset: str, predictions: "dict[str, pa.Table]", allowed: float
) -> Sequence[str]:
    """A sentence per model for which more photos failed than allowed."""
    found = []
    for name, table in predictions.items():
        errors = [error for error in table.column("error").to_pylist() if error]
        if len(errors) > allowed * len(table):
            kinds = {error.split(":")[0] for error in errors}
            found.append(
                f"{name}: {len(errors)} of {len(table)} photos of {dataset} failed "
                f"({', '.join(sorted(kinds)[:4])}), allowed is a share of {allowed:g}"
            )
    return found
