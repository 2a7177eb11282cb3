"""The route from photos to report: which steps there are, which must run, and how.

A step is a stage (a pure function of tables) or an action (it touches sources, models
or folders). What a step made is found again by its *recipe*, a hash of the step's name,
version and the settings that change its outcome, and is good as long as the
fingerprints of its inputs are the ones it was made from. So a turned knob recomputes
just what depends on it, turning it back costs nothing, and new photos are the only ones
computed.
"""

import hashlib
import importlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import ModuleType
from typing import Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curation import engines
from curation.config import Dataset
from curation.errors import InputError, RemoteError
from curation.rows import equal, having
from curation.schemas import SCHEMAS, from_rows
from curation.shelf import LOGS, Done, Shelf, explained

ORDER = (
    "collect", "fetch", "hash", "embed", "dedup", "leaks", "screen", "propose",
    "tasks", "resolve", "predict", "discover", "group", "release", "evaluate", "report",
)  # fmt: skip
"""Every step, in the order they run."""

ACTIONS = ("collect", "fetch", "leaks", "predict", "release", "evaluate", "report")

ASKING = ("collect", "fetch")
"""Actions that keep what they have when a service fails; the route goes on with it."""

_LARGE = 1 << 26
"""Bytes of a table that is not held for the next step: it is read again."""

State = Literal["done", "partial", "missing", "stale"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step did in this run.

    Attributes:
        stage: its name.
        rows: rows its table has now.
        failed: rows that failed.
        computed: rows worked on in this run; 0 when nothing had changed.
        seconds: time it took.
    """

    stage: str
    rows: int
    failed: int
    computed: int
    seconds: float


class Skip(Exception):
    """An action cannot run yet, and that is no fault; the text says why."""


@dataclass(slots=True)
class Route:
    """One configuration at work in one work folder.

    Attributes:
        shelf: the work folder.
        config: the configuration.
        jobs: processes and decoding threads; 0 means one per core.
        limit: at most so many candidates per class; 0 means all.
        engine: where map stages run.
        say: called with a line of progress.
        notices: what a person should know of a run.
        troubles: services that failed while the others went on; see `settle`.
    """

    shelf: Shelf
    config: Dataset
    jobs: int = 0
    limit: int = 0
    engine: engines.Engine = field(default_factory=engines.Local)
    say: Callable[[str], None] = lambda line: None
    notices: list[str] = field(default_factory=list)
    troubles: list[RemoteError] = field(default_factory=list)
    _tables: dict[str, pa.Table] = field(default_factory=dict)
    _recipes: dict[str, str] = field(default_factory=dict)

    # what there is ------------------------------------------------------------------

    def recipe(self, step: str) -> str:
        """Name of what a step would make now."""
        if step not in self._recipes:
            module = _module(step)
            settings: Any = module.settings(self.config)
            content = settings if isinstance(settings, dict) else asdict(settings)
            limit = self.limit if step == "collect" else 0
            parts = [step, module.VERSION, content, limit]
            text = json.dumps(parts, sort_keys=True, default=str)
            self._recipes[step] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._recipes[step]

    def done(self, step: str) -> Done | None:
        """What a step made under the current recipe, if it finished."""
        return self.shelf.done(step, self.recipe(step))

    def fingerprint(self, name: str) -> str | None:
        """What a table or log holds now; None when it is not finished."""
        if name in LOGS:
            return self.shelf.log_fingerprint(name)
        done = self.done(MAKER[name])
        return done.fingerprint if done else None

    def inputs(self, step: str) -> dict[str, str | None]:
        """Fingerprints of what a step reads."""
        return {name: self.fingerprint(name) for name in _module(step).INPUTS}

    def table(self, name: str) -> pa.Table:
        """A table as its maker left it, or a log as a table."""
        if name not in self._tables:
            if name in LOGS:
                rows = self.shelf.read_log(name)
                table = from_rows(rows, name)
            else:
                step = MAKER[name]
                table = self.shelf.read_table(step, self.recipe(step), name=name)
            self._tables[name] = table
        return self._tables[name]

    def batches(
        self, name: str, columns: Sequence[str] | None = None
    ) -> Iterator[pl.DataFrame]:
        """A table as its maker left it, bit by bit: for tables larger than memory.

        Args:
            name: a table, not a log.
            columns: only these; all when None.

        Yields: rows in the table's order, at most 65,536 at once; nothing when the
            table is not there.

        Raises:
            InputError: a part cannot be read, or does not fit its schema.
        """
        step = MAKER[name]
        yield from self.shelf.batches(
            step, self.recipe(step), name=name, columns=columns
        )

    def append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows to a log."""
        self.shelf.append(name, rows)
        self._tables.pop(name, None)

    def _readable(self, photos: pa.Table) -> pa.Table:
        """Rows of photos whose pixels could be read."""
        # two columns: a table of hashes is a hundred times as large
        hashes = self._columns("hashes", ("photo_id", "status"))
        return _only(photos, having(hashes, "status", "ok").column("photo_id"))

    def _columns(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of a table, from the disk."""
        step = MAKER[name]
        return self.shelf.read_table(
            step, self.recipe(step), name=name, columns=columns
        )

    def whole(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A table cut down to photos that decoded and were not taken down.

        Args:
            name: the table.
            columns: only these, for a table without photo_id; all when None.
        """
        if columns:
            return self._columns(name, columns)
        table = self.table(name)
        if "photo_id" not in table.column_names:
            return table
        sound = self._readable(self._columns("photos", ("photo_id",)))["photo_id"]
        keep = pc.is_in(table.column("photo_id"), value_set=sound)
        if "status" in SCHEMAS[name] and "error" in SCHEMAS[name]:
            ok = equal(table.column("status"), "ok")
            keep = pc.and_(keep, ok)
        # most often all of them: a large table is not held twice
        return table if pc.all(keep).as_py() is not False else table.filter(keep)

    @property
    def classes(self) -> list[str]:
        """Class names in dataset.toml's order."""
        return [spec.name for spec in self.config.classes]

    @property
    def cores(self) -> int:
        """Processes or threads to use."""
        return self.jobs or self.config.run.jobs or os.cpu_count() or 1

    # running ------------------------------------------------------------------------

    def run(self, until: str = ORDER[-1]) -> list[Outcome]:
        """Run every step up to `until` that has something to do.

        A service that fails is noted in `troubles`, and the run goes on with what there
        is: call `settle` when its outcome is told.

        Raises:
            CounterSetError: a step cannot go on; what was finished stays.
        """
        outcomes = []
        for step in ORDER[: ORDER.index(until) + 1]:
            start = time.perf_counter()
            try:
                with explained(self.shelf.folder):
                    computed = self._step(step)
            except Skip as skip:
                self.notices.append(str(skip))
                self.say(f"{step}: {skip}")
                outcomes.append(Outcome(step, 0, 0, 0, 0.0))
                continue
            except RemoteError as error:
                self.troubles.append(error)
                if step not in ASKING or self.done(step) is None:
                    self.settle()
                self._tables.clear()
                computed = 0
            done = self.done(step)
            assert done, f"step {step} left no done.json"
            seconds = round(time.perf_counter() - start, 3)
            outcomes.append(Outcome(step, done.rows, done.failed, computed, seconds))
            what = f"{computed} computed" if computed else "nothing changed"
            failed = f", {done.failed} failed" if done.failed else ""
            self.say(f"{step}: {done.rows} rows, {what}{failed} ({seconds:.1f} s)")
            if self.troubles and step == ASKING[-1] and not done.rows:
                break  # there is nothing to go on with
        return outcomes

    def _step(self, step: str) -> int:
        """Run one step if it must; returns the rows it worked on."""
        module, recipe = _module(step), self.recipe(step)
        done = self.shelf.done(step, recipe)
        inputs = self.inputs(step)
        missing = [name for name, found in inputs.items() if found is None]
        if missing:
            message = (
                f"{step} needs the table {missing[0]}; "
                f"run `counterset run --until {MAKER[missing[0]]}` first"
            )
            raise InputError(message)
        if step in ACTIONS:
            same = done is not None and dict(done.inputs) == inputs
            if same and module.intact(self):
                return 0
            computed: int = module.run(self)
        elif done and dict(done.inputs) == inputs:
            return 0
        elif module.ROWS == "map":
            computed = self._map(step, module)
        else:
            computed = self._reduce(step, module)
        self._tables.pop(module.OUTPUT or "", None)
        return computed

    def finish(self, step: str, table: pa.Table, failed: int = 0) -> None:
        """Keep the whole table of an action or reduce stage, and mark it done."""
        recipe = self.recipe(step)
        fingerprint = self.shelf.write_table(step, recipe, table)
        self.mark(step, table.num_rows, fingerprint, failed=failed)

    def mark(self, step: str, rows: int, fingerprint: str, *, failed: int = 0) -> None:
        """Mark a step done with the inputs as they are now."""
        inputs = {name: found or "" for name, found in self.inputs(step).items()}
        done = Done(inputs, rows, failed, fingerprint)
        self.shelf.finish(step, self.recipe(step), done)

    def _reduce(self, step: str, module: ModuleType) -> int:
        columns = getattr(module, "COLUMNS", {})
        inputs = {name: self.whole(name, columns.get(name)) for name in module.INPUTS}
        table = module.run(inputs, module.settings(self.config))
        self.finish(step, table)
        self._tables = {
            name: kept for name, kept in self._tables.items() if kept.nbytes < _LARGE
        }
        del inputs
        pa.default_memory_pool().release_unused()
        return int(table.num_rows)

    def _map(self, step: str, module: ModuleType) -> int:
        recipe, settings = self.recipe(step), module.settings(self.config)
        photos = self.table("photos")
        if step != "hash":
            photos = self._readable(photos)
        have = self.shelf.read_table(
            step, recipe, name=module.OUTPUT, columns=["photo_id", "status"]
        )
        todo = _without(photos, have.column("photo_id"))
        works = (
            engines.Work(
                step,
                settings,
                part,
                [self.shelf.blob(key) for key in part.column("photo_id").to_pylist()],
            )
            for part in engines.parts(todo)
        )
        self.engine.compute(
            works,
            jobs=self.cores,
            processes=getattr(module, "PROCESSES", False),
            keep=lambda table: self.shelf.write_part(step, recipe, table),
        )
        rows = self.shelf.read_table(
            step, recipe, name=module.OUTPUT, columns=["photo_id", "status"]
        )
        rows = _only(rows, photos.column("photo_id"))
        failed = having(rows, "status", "failed").num_rows
        keys = "".join(sorted(rows.column("photo_id").to_pylist()))
        fingerprint = hashlib.sha256((recipe + keys).encode()).hexdigest()[:32]
        self.mark(step, rows.num_rows, fingerprint, failed=failed)
        return int(todo.num_rows)

    def settle(self) -> None:
        """Say which services failed, after all that could be done was done.

        Raises:
            RemoteError: some did; what was collected and fetched is kept.
        """
        told = list(dict.fromkeys(str(error) for error in self.troubles))
        if told:
            message = f"{'; '.join(told)}. Everything else is kept; run again to go on"
            raise RemoteError(message)

    def over_limit(self, outcomes: list[Outcome]) -> str:
        """What to tell when more rows failed than allowed; empty when not."""
        share = self.config.run.max_failed
        lines = []
        for outcome in outcomes:
            # a file that failed to arrive is no row of `photos`
            arriving = outcome.failed if outcome.stage == "fetch" else 0
            total = outcome.rows + arriving
            if outcome.failed > share * total:
                lines.append(f"{outcome.stage}: {outcome.failed} of {total} failed")
        if not lines:
            return ""
        return (
            f"more than run.max_failed = {share:g} of the rows failed: "
            f"{'; '.join(lines)}. What succeeded is kept; the report lists every "
            "failure with its reason, `counterset show PATH` tells of one"
        )

    # looking ------------------------------------------------------------------------

    def rows(self, step: str) -> int:
        """Rows of what a step made."""
        done = self.done(step)
        return done.rows if done else 0

    def plan(self, until: str = ORDER[-1]) -> list[dict[str, Any]]:
        """Steps up to `until` with their state, and whether a run would work on them.

        Sources are not asked, so new photos are not foreseen.
        """
        lines = self.status()[: ORDER.index(until) + 1]
        return [line | {"run": line["state"] != "done"} for line in lines]

    def status(self) -> list[dict[str, Any]]:
        """State and rows of every step, from done.json files alone."""
        lines: list[dict[str, Any]] = []
        states: dict[str, State] = {}
        for step in ORDER:
            done = self.done(step)
            makers = [MAKER[name] for name in _module(step).INPUTS if name in MAKER]
            sound = all(states[maker] == "done" for maker in makers)
            state: State
            if done and self.shelf.remarked(step, self.recipe(step)).get("short"):
                state = "partial"
            elif done and sound and dict(done.inputs) == self.inputs(step):
                state = "done"
            elif done:
                state = "stale"
            elif self.shelf.started(step, self.recipe(step)):
                state = "partial"
            elif any(self.shelf.folder.glob(f"tables/{step}/*/done.json")):
                state = "stale"
            else:
                state = "missing"
            states[step] = state
            rows = done.rows if done else 0
            lines.append({"stage": step, "state": state, "rows": rows})
        return lines


def summary(route: Route, outcomes: list[Outcome]) -> dict[str, Any]:
    """What `run` and `demo` print; paths are relative to the work folder."""
    ran = {outcome.stage: outcome for outcome in outcomes}

    def made(name: str, path: str) -> str | None:
        there = name in ran and (route.shelf.folder / path).exists()
        return path if there else None

    return {
        "stages": [asdict(outcome) for outcome in outcomes],
        "release": made("release", "release"),
        "report": made("report", "report/index.html"),
        "notices": list(route.notices),
    }


def _module(step: str) -> ModuleType:
    folder = "actions" if step in ACTIONS else "stages"
    return importlib.import_module(f"curation.{folder}.{step}")


def _only(table: pa.Table, keys: pa.ChunkedArray) -> pa.Table:
    """Rows whose photo_id is among `keys`."""
    return table.filter(pc.is_in(table.column("photo_id"), value_set=keys))


def _without(table: pa.Table, keys: pa.ChunkedArray) -> pa.Table:
    """Rows whose photo_id is not among `keys`."""
    return table.filter(pc.invert(pc.is_in(table.column("photo_id"), value_set=keys)))


MAKER: Mapping[str, str] = {
    "candidates": "collect", "photos": "fetch", "hashes": "hash",
    "embeddings": "embed", "duplicates": "dedup", "leaks": "leaks", "flags": "screen",
    "proposals": "propose", "tasks": "tasks", "labels": "resolve",
    "predictions": "predict", "evidence": "discover", "groups": "group",
    "release": "release", "results": "evaluate",
}  # fmt: skip
"""Which step makes a table."""
