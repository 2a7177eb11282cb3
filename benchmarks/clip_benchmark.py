"""`counterset evaluate` beside the peer `clip-benchmark`, same photos, same weights.

    python -m benchmarks.clip_benchmark FOLDER --work FOLDER --models 1 4

The peer runs through its own command line, in the environment that `benchmarks.peers`
makes of it (`--peer clip-benchmark=PYTHON` names another). Both are whole
processes: start, weights, texts, photos, numbers, files. Weights are random and saved
once. The photos lie in ten classes; `--classes 10` asks which of the ten, so that texts
are few, `--classes 1000` which of ImageNet's. Precision is matched: fp32 with
`--no_amp`, bf16 with the peer's own autocast. The second question (another prompt set,
another label space) is put to our stored features; the peer has none, and starts anew.

In fp32 the top-1 of every photo is compared; where they differ, the gap between the
peer's two best logits (times 100) is shown.
"""

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import _figures, peers
from benchmarks._interleaved import machine, middle, ratios, table
from evaluation import imagenet
from evaluation.tables import read

PEER = "clip-benchmark"
CLASSES = (1, 9, 94, 130, 207, 235, 281, 291, 296, 340)
PROMPT = "A photo of {c}."
# the peer's own loop; only its answers are looked at as they pass
RUNNER = """
import os, sys
import numpy as np
from clip_benchmark import cli
from clip_benchmark.metrics import zeroshot_classification as zero_shot
run = zero_shot.run_classification
def seen(*args, **more):
    logits, truth = run(*args, **more)
    best = logits.topk(2, dim=1)
    np.savez(os.environ["ANSWERS"], best=best.indices.numpy(), top=best.values.numpy())
    return logits, truth
zero_shot.run_classification = seen
cli.main()
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of a process and its children."""

    wall: float
    cpu: float


def timed(command: Sequence[object], **more: str) -> Spent:
    """Run a program to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        list(map(str, command)),
        env=os.environ | more,
        capture_output=True,
        text=True,
        check=False,
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr[-3000:]}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(wall, used)


def _version(python: Path) -> str:
    """Of the peer, as its environment has it."""
    code = f"from importlib.metadata import version; print(version({PEER!r}))"
    done = subprocess.run(
        [python, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def lay_out(photos: Path, work: Path, count: int, classes: int) -> list[str]:
    """Photos in class folders, as both read them; their sha256 in the peer's order."""
    import hashlib

    root = work / "photos" / "val"
    shutil.rmtree(root, ignore_errors=True)
    found = sorted(path for path in photos.rglob("*.jp*g"))
    found = found[:: max(1, len(found) // count)][:count]
    names = imagenet.names()
    for place, path in enumerate(found):
        index = CLASSES[place % len(CLASSES)]
        folder = root / f"{index} {names[index]}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / f"{place:06}.jpg")
    order = sorted(root.rglob("*.jpg"), key=lambda one: (one.parent.name, one.name))
    ordered = sorted(CLASSES, key=lambda one: f"{one} {names[one]}")
    others = [one for one in range(len(names)) if one not in CLASSES]
    asked = [*ordered, *others][:classes]  # the peer numbers classes as the folders lie
    about = {"imagenet1k-unverified": [names[one] for one in asked]}
    (work / "names.json").write_text(json.dumps(about))
    prompts = {"imagenet1k-unverified": [PROMPT]}
    (work / "prompts.json").write_text(json.dumps(prompts))
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in order]


def save_weights(model: str, count: int, work: Path) -> list[Path]:
    """Checkpoints with random weights."""
    import open_clip
    import torch

    found = []
    for seed in range(count):
        path = work / f"{model}-{seed}.pt"
        if not path.exists():
            torch.manual_seed(seed)
            torch.save(open_clip.create_model(model).state_dict(), path)
        found.append(path)
    return found


@dataclass(frozen=True, slots=True)
class Bench:
    """Both programs, ready to be run on the same question."""

    work: Path
    peer: Path
    model: str
    weights: list[Path]
    jobs: int
    classes: int = len(CLASSES)

    @property
    def space(self) -> tuple[str, str]:
        """Our words for the classes that are asked about."""
        own = self.classes == len(CLASSES)
        return "--label-space", "dataset" if own else "imagenet"

    def theirs(self, models: int, *, amp: bool) -> Spent:
        """The peer, on the first so many models."""
        out = self.work / "peer-out"
        out.mkdir(exist_ok=True)
        named = [f"{self.model},{path}" for path in self.weights[:models]]
        command: list[object] = [self.peer, "-c", RUNNER, "eval"]
        command += ["--dataset", "imagenet1k-unverified", "--split", "test"]
        command += ["--dataset_root", self.work / "photos", "--num_workers", self.jobs]
        command += ["--task", "zeroshot_classification", "--pretrained_model", *named]
        command += ["--custom_classname_file", self.work / "names.json"]
        command += ["--custom_template_file", self.work / "prompts.json", "--quiet"]
        command += ["--output", f"{out}/{{pretrained}}.json"]
        if not amp:
            command.append("--no_amp")
        return timed(command, ANSWERS=str(self.work / "answers.npz"))

    def ours(
        self, models: int, precision: str, *more: object, fresh: bool = True
    ) -> Spent:
        """Ours, from nothing or from stored features."""
        out = self.work / f"ours-{precision}"
        if fresh:
            shutil.rmtree(out, ignore_errors=True)
        command: list[object] = [Path(sys.executable).parent / "counterset", "evaluate"]
        for path in self.weights[:models]:
            command += ["-m", f"open_clip:{self.model}/{path}"]
        command += ["-d", self.work / "photos" / "val", "--out", out, "--quiet"]
        command += ["--precision", precision, "--jobs", self.jobs]
        return timed([*command, *(more or self.space)])


def disagreements(bench: Bench, ids: list[str]) -> tuple[list[str], int]:
    """Photos whose top-1 differs after a run of each on one model, in fp32; of all."""
    import numpy as np

    answers = np.load(bench.work / "answers.npz")
    names = json.loads((bench.work / "names.json").read_text())["imagenet1k-unverified"]
    theirs = {
        one: (names[best[0]], float(top[0] - top[1]))
        for one, best, top in zip(ids, answers["best"], answers["top"], strict=True)
    }
    found, compared = [], 0
    for path in sorted((bench.work / "ours-fp32" / "predictions").rglob("*.parquet")):
        rows = read(path)
        photos, mine = (
            rows.column(one).to_pylist() for one in ("photo_id", "predicted_name")
        )
        compared += len(photos)
        for photo, name in zip(photos, mine, strict=True):
            other, gap = theirs[photo]
            if other != name:
                found.append(f"{photo[:12]}: {other} / {name}, gap {gap:.2g}")
    return found, compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="JPEGs, in it and below it")
    parser.add_argument("--work", type=Path, required=True, help="kept between runs")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--models", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument(
        "--classes", type=int, choices=(len(CLASSES), 1000), default=len(CLASSES)
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="figures, one a line")
    chosen = parser.parse_args()
    work = chosen.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    bench = Bench(
        work=work,
        peer=_figures.peers(chosen.peer).get(PEER) or peers.make(PEER),
        model=chosen.model,
        weights=save_weights(chosen.model, max(chosen.models), work),
        jobs=os.cpu_count() or 1,
        classes=chosen.classes,
    )
    ids = lay_out(chosen.folder, work, chosen.photos, chosen.classes)
    release = _version(bench.peer)
    say = sys.stderr if chosen.json else sys.stdout
    print(
        f"{len(ids)} photos, {chosen.classes} classes, {chosen.model}, "
        f"{chosen.repeats} rounds, {PEER} {release}",
        file=say,
    )
    print(f"{machine('torch', 'open_clip_torch', 'pillow')}\n", file=say, flush=True)
    rows = []
    found: list[_figures.Figure] = []
    wrong, compared = list[str](), 0
    for models in chosen.models:
        for precision in chosen.precision:
            pairs = []
            for _ in range(chosen.repeats):
                mine = bench.ours(models, precision)
                pairs.append((bench.theirs(models, amp=precision == "bf16"), mine))
                told = f"{models} model(s), {precision}: {pairs[-1]}"
                print(told, file=say, flush=True)
                if precision == "fp32" and models == 1 and len(pairs) == 1:
                    wrong, compared = disagreements(bench, ids)
            peer, own = zip(*pairs, strict=True)
            found.append(
                _figures.Figure(
                    name=f"clip_benchmark.{models}.{precision}",
                    what=f"{models} model(s) {chosen.model}, {precision}, {len(ids)} "
                    f"photos, {chosen.classes} classes, whole runs",
                    unit="s",
                    ours=tuple(one.wall for one in own),
                    peer=f"{PEER} {release}",
                    theirs=tuple(one.wall for one in peer),
                    less=True,
                    note=f"{len(wrong)} of {compared} answers differ in fp32"
                    if compared
                    else "",
                )
            )
            rows.append(
                [
                    f"{models} model(s), {precision}",
                    f"{middle([one.wall for one in peer]):.1f}",
                    f"{middle([one.wall for one in own]):.1f}",
                    ratios([one.wall for one in peer], [one.wall for one in own]),
                    ratios([one.cpu for one in peer], [one.cpu for one in own]),
                ]
            )
    if compared:
        same = f"{compared - len(wrong)} of {compared} photos have the same top-1"
        print(f"{same} in fp32", *wrong, sep="\n", file=say)
    if chosen.json:
        _figures.show(found)
        return
    head = ["", "peer, wall s", "ours, wall s", "ratio, wall", "ratio, CPU"]
    print(table(head, rows), flush=True)
    print()
    _again(bench, chosen.precision[0])
    with (work / "clip_benchmark.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])


def _again(bench: Bench, precision: str) -> None:
    """Another question of the same photos, with and without the program's start."""
    own = ("--label-space", "dataset")
    other = (*own, "--prompts", "openclip7")
    start = bench.ours(1, precision, *own, "--limit", "2")
    first = bench.ours(1, precision, *own)
    rows = [["first run", f"{first.wall:.1f}", f"{first.cpu:.1f}", "100 %", "100 %"]]
    for name, more in (
        ("the same question", own),
        ("prompts openclip7", other),
        ("another label space", ("--label-space", "imagenet")),
        ("the same once more", ("--label-space", "imagenet")),
    ):
        spent = bench.ours(1, precision, *more, fresh=False)
        share = 100 * spent.cpu / first.cpu
        beyond = 100 * max(0.0, spent.cpu - start.cpu) / (first.cpu - start.cpu)
        rows.append(
            [name, f"{spent.wall:.1f}", f"{spent.cpu:.1f}", f"{share:.1f} %",
             f"{beyond:.1f} %"]
        )  # fmt: skip
    print(f"start alone, with two photos: {start.cpu:.1f} CPU s")
    print(table(["ours", "wall s", "CPU s", "of the first", "beyond the start"], rows))


if __name__ == "__main__":
    main()
