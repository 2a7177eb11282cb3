"""The benchmark: models × datasets → predictions, results and a report in one folder.

<out>/predictions/<model>.parquet     one row per photo, provenance in the metadata
<out>/results.json                    every number
<out>/tables/                         the same as Parquet, Markdown and LaTeX
<out>/report.html                     to look at
<out>/label_spaces/                   tables of confusing classes, where asked for
<out>/features/                       what models said; safe to delete
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from evaluation import models
from evaluation.answers import Asked
from evaluation.errors import ConfigError, RemoteError, TooManyFailedRows
from evaluation.examples import ExampleSet, Role, open_examples
from evaluation.extract import Models
from evaluation.features import FeatureStore
from evaluation.imagenet import DEFAULT_NAMES
from evaluation.label_spaces import confusing, subset_indices
from evaluation.models import Decoder, Precision, Runtime
from evaluation.predict import answer, predictions
from evaluation.prompts import Ensemble
from evaluation.questions import DEFAULT_QUESTION
from evaluation.results import Results
from evaluation.tables import write, write_bytes

if TYPE_CHECKING:
    import pyarrow as pa

    from evaluation.extract import Progress
    from evaluation.measure import Measured, Temperature
    from evaluation.metrics.factors import Annotations

PREDICTIONS, REPORT, RESULTS, TABLES = (
    "predictions", "report.html", "results.json", "tables",
)  # fmt: skip
_SPACES = "label_spaces"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, and how.

    Attributes:
        models: full names.
        datasets: as `evaluation.examples.open_examples` takes them.
        id_datasets: photos of the kind models were trained for, to fit temperatures on,
            to tell unknown classes from, and to set shifts against.
        ood_datasets: photos of unknown classes.
        prompts: prompt set's name or file.
        label_space: label space's name or file; "" for what each set's authors use.
        class_names: list of ImageNet names that prompts are made of.
        ensemble: what is averaged over templates.
        question: what vision-language models are asked: see `evaluation.questions`.
        reduction: "mean" or "sum" of the loss over an answer's tokens.
        probabilities: "softmax", or "native": as the model was trained.
        factors: file with ImageNet-X annotations; "" looks for the package imagenet-x.
        baseline: models that lines are fitted to: kinds or names.
        compare_to: model that the others are compared with; "" compares all pairs.
        limit: at most this many photos of each dataset, evenly spaced; 0: all.
        precision: of image towers.
        device: as `evaluation.models.Runtime`.
        decoder: likewise.
        together: models held in memory at once; each such batch decodes the photos
            once.
        batch_size: photos a model sees at once; None lets the device choose.
        jobs: threads that decode.
        max_failed: largest share of photos that may fail, 0 to 1.
        skip_missing: leave out models that cannot be loaded, as notes, instead of
            ending; for suites some of whose weights are not to be had.
        draws: bootstrap replicates of lines and pairs.
        seed: of every bootstrap.
    """

    models: tuple[str, ...]
    datasets: tuple[str, ...] = ()
    id_datasets: tuple[str, ...] = ()
    ood_datasets: tuple[str, ...] = ()
    prompts: str = "paper"
    label_space: str = ""
    class_names: str = DEFAULT_NAMES
    ensemble: Ensemble = "embeddings"
    question: str = DEFAULT_QUESTION
    reduction: Literal["mean", "sum"] = "mean"
    probabilities: Literal["softmax", "native"] = "softmax"
    factors: str = ""
    baseline: tuple[str, ...] = ("classifier",)
    compare_to: str = ""
    limit: int = 0
    precision: Precision = "fp32"
    device: str = "auto"
    decoder: Decoder = "pillow"
    together: int = 4
    batch_size: int | None = None
    jobs: int = 2
    max_failed: float = 0.05
    skip_missing: bool = False
    draws: int = 1000
    seed: int = 0


def benchmark(plan: Plan, out: Path, *, progress: "Progress | None" = None) -> Results:
    """Measure models on datasets, and write predictions, results and the report.

    Args:
        plan: what is measured.
        out: folder to write to; made when missing.
        progress: told how far each pass over photos is.

    Returns: a result per dataset and model, and what several of them together say.

    Raises:
        ConfigError: no model or dataset named, or a wrong name.
        InputError: a dataset cannot be read, or `out` cannot be written to.
        RemoteError: weights or a dataset are not at hand and cannot be fetched.
        TooManyFailedRows: everything is written, but too many photos failed.
    """
    from evaluation.study import Setting, check, results

    names = list(dict.fromkeys(plan.models))
    setting = Setting(
        baseline=plan.baseline,
        compare_to=plan.compare_to,
        draws=plan.draws,
        seed=plan.seed,
    )
    check(names, setting)
    sets = _open(plan)
    run = _Run(plan, out, sets, progress)
    for start in range(0, len(names), plan.together):
        run.measure(run.loaded(names[start : start + plan.together]))
    if not run.found:
        message = f"no model could be loaded: {'; '.join(run.notes)}"
        raise RemoteError(message)
    measured = dict.fromkeys(one.model for one in run.found)
    setting = replace(setting, selected_on=_selected_on([*measured], sets))
    order = {one.examples.name: place for place, one in enumerate(sets)}
    found = sorted(run.found, key=lambda one: order[one.dataset])
    made = results(found, setting)
    made = replace(made, notes=tuple(dict.fromkeys([*run.notes, *made.notes])))
    publish(made, out)
    if run.failed:
        message = f"results are in {out}, but {'; '.join(run.failed)}"
        raise TooManyFailedRows(message)
    return made


def publish(results: Results, out: Path) -> None:
    """Write results.json, the tables and the report."""
    from evaluation.reports import page
    from evaluation.reports.text import write_tables

    write_bytes(out / RESULTS, results.to_json().encode())
    write_tables(results, out / TABLES)
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


# --- datasets ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Set:
    """An example set, what it was asked for as, and its label space."""

    spec: str
    examples: ExampleSet
    label_space: str


def _open(plan: Plan) -> list[_Set]:
    """Every set, those that others are set against first."""
    asked: list[tuple[str, Role]] = [
        *((spec, "id") for spec in plan.id_datasets),
        *((spec, "") for spec in plan.datasets),
        *((spec, "ood") for spec in plan.ood_datasets),
    ]
    if not plan.models or not asked:
        message = "name at least one model (-m, or --suite) and one dataset (-d)"
        raise ConfigError(message)
    opened: list[_Set] = []
    for spec, role in dict(reversed(asked)).items():
        examples = open_examples(spec)
        if role:
            examples = replace(examples, role=role)
        if plan.limit:
            examples = examples.head(plan.limit)
        space = plan.label_space or examples.label_space
        if examples.role == "ood" and confusing(space):
            space = examples.label_space  # no label says which classes to offer
        opened.append(_Set(spec, examples, space))
    opened.reverse()
    opened = _told_apart(opened)
    first = [one for one in opened if one.examples.role == "id"]
    rest = [one for one in opened if one.examples.role != "id"]
    return [*first, *_matched(first, rest), *rest]


def _told_apart(opened: Sequence[_Set]) -> list[_Set]:
    """Sets of one name get their folder's path, or a number."""
    names = [one.examples.name for one in opened]
    found = []
    for place, one in enumerate(opened):
        name = one.examples.name
        if names.count(name) > 1:
            name = f"{name} ({one.spec})"
            if [other.spec for other in opened].count(one.spec) > 1:
                name = f"{name} {place + 1}"
        found.append(replace(one, examples=replace(one.examples, name=name)))
    return found


def _matched(first: Sequence[_Set], rest: Sequence[_Set]) -> Iterator[_Set]:
    """The ID sets on the classes of each set that has only some, chosen among alike."""
    seen = {(one.examples.subset, one.label_space) for one in first}
    for one in rest:
        key = (one.examples.subset, one.label_space)
        if one.examples.role not in ("shift", "ood") or key in seen:
            continue
        seen.add(key)
        for base in first:
            some = base.examples
            if one.examples.subset:
                classes = subset_indices(one.examples.subset)
                some = some.of_classes(classes, of=one.examples.subset)
            else:
                some = replace(some, name=f"{some.name} among {one.label_space}")
            yield _Set(base.spec, some, one.label_space)


def _selected_on(names: Sequence[str], sets: Sequence[_Set]) -> frozenset[str]:
    """Models that a release says its groups were chosen with, by name or weights."""
    chosen: set[str] = set()
    for one in sets:
        try:
            content = json.loads(_provenance(one.spec))
            discovery = content["models"]["discovery"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no release of ours, or one that does not say
        known = {str(one).partition("@")[0] for one in discovery}
        weights = {str(one).partition("@")[2] for one in discovery}
        for name in names:
            own = models.identity(name).partition("@")[2]
            if name in known or ("sha256:" in own and own in weights):
                chosen.add(name)
    return frozenset(chosen)


def _provenance(spec: str) -> bytes:
    """What a release states of its making, in a folder or on the Hub; empty if none."""
    if spec.startswith("hub:"):
        from evaluation.embedded import hub_file

        return hub_file(spec, "provenance.json") or b""
    return (Path(spec).expanduser() / "provenance.json").read_bytes()


# --- one batch of models -------------------------------------------------------------


class _Run:
    """Batches of models over all sets; keeps what was measured of each."""

    def __init__(
        self,
        plan: Plan,
        out: Path,
        sets: Sequence[_Set],
        progress: "Progress | None",
    ) -> None:
        self.plan = plan
        self.out = out
        self.sets = sets
        self.progress = progress
        self.found: list[Measured] = []
        self.notes: list[str] = []
        self.failed: list[str] = []
        runtime = Runtime(plan.precision, plan.device, plan.decoder)
        self.known = Models(FeatureStore(out / "features"), runtime)
        self._annotations = _annotations(plan.factors, sets, self.notes)
        self._spaces: dict[tuple[str, str], str] = {}

    def loaded(self, names: Sequence[str]) -> list[str]:
        """Those of some models that can be had; the others are notes, if allowed."""
        if not self.plan.skip_missing:
            return list(names)
        found = []
        for name in names:
            try:
                self.known.record(name)
                found.append(name)
            except (ConfigError, RemoteError) as error:
                self.notes.append(f"not measured: {error}")
        return found

    def measure(self, names: Sequence[str]) -> None:
        """Measure some models on every set, and free them."""
        from evaluation.measure import measure

        if not names:
            return
        temperatures: dict[str, Temperature | None] = {}
        for one in self.sets:
            answers = answer(
                one.examples,
                names,
                self._asked(one),
                known=self.known,
                batch_size=self.plan.batch_size,
                jobs=self.plan.jobs,
                progress=self.progress,
            )
            tables = {name: predictions(found) for name, found in answers.items()}
            self._write(one, tables)
            for name, found in answers.items():
                measured, fitted = measure(
                    found,
                    tables[name],
                    temperature=temperatures.get(name),
                    annotations=self._annotations,
                    probabilities=self.plan.probabilities,
                    notes=self.notes,
                )
                if one.examples.role == "id":
                    temperatures[name] = fitted
                self.found.append(measured)
        self.known.forget()

    def _asked(self, one: _Set) -> Asked:
        return Asked(
            prompts=self.plan.prompts,
            label_space=self._space(one),
            label_space_name=one.label_space,
            class_names=self.plan.class_names,
            ensemble=self.plan.ensemble,
            question=self.plan.question,
            reduction=self.plan.reduction,
        )

    def _space(self, one: _Set) -> str:
        """A label space's name; of confusing classes, the file with their table."""
        if confusing(one.label_space) is None:
            return one.label_space
        key = (one.examples.name, one.label_space)
        if key not in self._spaces:
            from evaluation.confusing import make

            made = make(
                one.examples,
                one.label_space,
                known=self.known,
                folder=self.out / _SPACES,
                class_names=self.plan.class_names,
                jobs=self.plan.jobs,
                progress=self.progress,
            )
            self._spaces[key] = str(made)
        return self._spaces[key]

    def _write(self, one: _Set, tables: "Mapping[str, pa.Table]") -> None:
        for name, table in tables.items():
            folder = self.out / PREDICTIONS
            if len(self.sets) > 1:
                folder /= file_name(one.examples.name)
            write(folder / f"{file_name(name)}.parquet", table)
        self.failed += _too_many(one.examples.name, tables, self.plan.max_failed)


def _annotations(
    file: str, sets: Sequence[_Set], notes: list[str]
) -> "Annotations | None":
    """ImageNet-X, where a set could have it; a file that is named must be there."""
    from evaluation.errors import InputError
    from evaluation.metrics.factors import annotations

    if file:
        return annotations(Path(file))
    if not any(_may_be_annotated(one.examples) for one in sets):
        return None
    try:
        return annotations(None)
    except InputError as error:
        notes.append(f"no visual factors: {error}")
        return None


def _may_be_annotated(examples: ExampleSet) -> bool:
    """Whether these are ImageNet's validation photos, by their file names."""
    files: list[str | None] = examples.table.column("file").to_pylist()
    first = str(files[0]) if files else ""
    return examples.role == "id" and first.startswith("ILSVRC2012_val_")


def _too_many(
    dataset: str, tables: "Mapping[str, pa.Table]", allowed: float
) -> Sequence[str]:
    """A sentence per model for which more photos failed than allowed."""
    found = []
    for name, table in tables.items():
        errors = [error for error in table.column("error").to_pylist() if error]
        if len(errors) > allowed * len(table):
            kinds = {error.split(":")[0] for error in errors}
            found.append(
                f"{name}: {len(errors)} of {len(table)} photos of {dataset} failed "
                f"({', '.join(sorted(kinds)[:4])}), allowed is a share of {allowed:g}"
            )
    return found
