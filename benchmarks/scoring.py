"""Every measure of one model, from stored features: 50,000 photos of 1,000 classes.

    python -m benchmarks.scoring [--photos 50000] [--profile]

Features and class vectors are random unit vectors with a leaning to the right class;
the store is filled with them, so no model is loaded and no photo is read. Then the real
path runs, step by step: answers, predictions, scores with intervals, calibration with a
fitted temperature, a set of unknown classes told apart, and what is made of them all.
"""

import argparse
import cProfile
import pstats
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks._interleaved import machine, table
from evaluation import imagenet, models
from evaluation.answers import Answers, Asked
from evaluation.examples import ExampleSet, from_table
from evaluation.extract import Models
from evaluation.features import FeatureStore, ModelRecord
from evaluation.measure import Measured, measure
from evaluation.models import PixelSpec
from evaluation.predict import answer, predictions
from evaluation.prompts import prompt_set
from evaluation.study import Setting, results
from evaluation.tables import build

NAME = "open_clip:ViT-B-32/laion2b_s34b_b79k"  # never loaded
WIDTH = 512
T = TypeVar("T")


class Clock:
    """Seconds and memory of each step, in order."""

    def __init__(self) -> None:
        self.rows: list[list[object]] = []
        self.total = [0.0, 0.0]

    def __call__(self, name: str, work: Callable[..., T], *given: object) -> T:
        """Run one step."""
        wall, cpu = time.perf_counter(), time.process_time()
        found = work(*given)
        spent = time.perf_counter() - wall, time.process_time() - cpu
        self.total = [one + other for one, other in zip(self.total, spent, strict=True)]
        self.rows.append([name, *(f"{one:.2f}" for one in spent), f"{peak():.2f}"])
        return found


def peak() -> float:
    """Largest memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1."""
    scaled: NDArray[np.float32] = values / np.linalg.norm(values, axis=1, keepdims=True)
    return scaled


def unread(photo_id: str) -> bytes:
    message = f"photo {photo_id} was read although its features are known"
    raise AssertionError(message)


def fill(store: FeatureStore, photos: int, *, labelled: bool, seed: int) -> ExampleSet:
    """An example set whose features are all in the store."""
    rng = np.random.default_rng(seed)
    about = ModelRecord(
        name=NAME, kind="zero_shot", spec=PixelSpec(size=224), weights="f" * 64,
        dtype="float32", quick_gelu=False, note="", logit_scale=100.0, logit_bias=0.0,
        link="softmax", versions={}, normalisation=(),
    )  # fmt: skip
    store.remember(NAME, models.identity(NAME), about)
    names = imagenet.names()
    words = unit(np.random.default_rng(0).normal(size=(1000, WIDTH)).astype(np.float32))
    parts = store.texts(about, prompt_set("paper").sha256)
    if not parts.keys():
        parts.append(names, words)
    own = np.arange(photos) % 1000
    noise = unit(rng.normal(size=(photos, WIDTH)).astype(np.float32))
    ids = [f"{seed:04x}{row:060x}" for row in range(photos)]
    store.images(about).append(
        ids, unit(noise + (0.22 if labelled else 0) * words[own])
    )
    columns = {
        "photo_id": ids,
        "class_name": [f"{one} {names[one]}" for one in own],
        "group": [("common", "counter")[one // 1000 % 2] for one in range(photos)],
    }
    indices = {f"{one} {name}": one for one, name in enumerate(names)}
    schema = pa.schema([(key, pa.string()) for key in columns])
    found = from_table(f"set {seed}", build(columns, schema), unread, indices=indices)
    return replace(found, role="groups" if labelled else "ood")


def ask(examples: ExampleSet, known: Models) -> Answers:
    return answer(examples, [NAME], Asked(), known=known)[NAME]


def measured(answers: Answers, told: pa.Table) -> Measured:
    return measure(answers, told, notes=[])[0]


def run(folder: Path, photos: int) -> Clock:
    """All steps, timed."""
    clock = Clock()
    store = FeatureStore(folder)
    sets = [
        fill(store, photos, labelled=True, seed=1),
        fill(store, max(1, photos // 5), labelled=False, seed=2),
    ]
    clock.rows.append(["(features made up)", "", "", f"{peak():.2f}"])
    known = Models(store)
    found: list[Measured] = []
    for examples in sets:
        label = f"{examples.table.num_rows:,} photos"

        answers = clock(f"answers, {label}", ask, examples, known)
        told = clock(f"predictions, {label}", predictions, answers)
        one = clock(f"measures, {label}", measured, answers, told)
        found.append(one)
    made = clock("results of both", lambda: results(found, Setting()))
    row = made.rows[0]
    print(f"accuracy {row.accuracy:.2f}, drop {row.drop:.2f}")
    return clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=50_000)
    parser.add_argument("--profile", action="store_true", help="the slowest functions")
    chosen = parser.parse_args()
    watch = cProfile.Profile()
    with tempfile.TemporaryDirectory() as place:
        if chosen.profile:
            watch.enable()
        clock = run(Path(place), chosen.photos)
        watch.disable()
    print(f"{machine('numpy', 'polars', 'scipy')}\n")
    whole = ["all", *(f"{one:.2f}" for one in clock.total), f"{peak():.2f}"]
    head = ["step", "wall s", "CPU s", "peak GB so far"]
    print(table(head, [*clock.rows, whole]))
    if chosen.profile:
        pstats.Stats(watch).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
