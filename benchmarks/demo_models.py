"""What the bundled models do on the demo's own photos: is the planted story there?

    python -m benchmarks.demo_models [--seed N]

Builds the demo's source folder, leaves out what was planted as faulty, and prints
accuracy (percent, 1 of 28 names or 1 of 1,000 classes) by planted half and background,
and how often background proposals are right. Labels are the true ones, not those of
the simulated annotators.
"""

import argparse
import csv
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from curation.demo import design
from curation.demo.build import Truth, build
from curation.demo.measure import demo_labels
from curation.demo.pictures import classes
from evaluation import models
from evaluation.images import decode, fit

CLIPS = ("demo:clip", "demo:clip-balanced")
LITES = ("demo:lite0", "demo:lite1", "demo:lite2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="of the photos")
    seed = parser.parse_args().seed
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        truth = build(Path(folder), seed=seed)
        files = len(truth.backgrounds) + len(truth.corrupt)
        print(f"build: {time.perf_counter() - start:.1f} s, {files} files")
        rows = photos(Path(folder), truth)
        show(Path(folder), rows, truth)


def photos(folder: Path, truth: Truth) -> list[dict[str, str]]:
    """Sound photos, with their true background."""
    lists = (
        truth.duplicates, truth.wrong, truth.blurred, truth.ambiguous,
        truth.occluded, truth.corrupt,
    )  # fmt: skip
    out = {row["file"] for rows in lists for row in rows}
    with (folder / "photos/photos.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["file"] not in out]
    return [row | {"background": truth.backgrounds[row["file"]]} for row in rows]


def show(folder: Path, rows: list[dict[str, str]], truth: Truth) -> None:
    composed = np.array([row["composed"] == "true" for row in rows])
    print(f"{composed.sum()} sound composed photos, {(~composed).sum()} real ones\n")
    names = [design.name(index) for index in classes()]
    wanted = torch.tensor([names.index(row["class"]) for row in rows])
    index = torch.tensor(list(classes()))[wanted]
    for name in (*CLIPS, *LITES):
        start = time.perf_counter()
        model = models.load(name)
        found = torch.cat(list(embedded(model, folder, rows)))
        if isinstance(model, models.ZeroShotModel):
            texts = model.texts([f"A photo of {name}." for name in names])
            right = ((found @ texts.T).argmax(1) == wanted).numpy()
            extra = proposals(model, found, rows, composed)
        else:
            first = found.topk(5).indices == index[:, None]
            top1, top5 = first[:, 0], first.any(1)
            extra = (
                f"  1 of 1,000: composed top-1 {percent(top1, composed)} "
                f"top-5 {percent(top5, composed)}; "
                f"real top-1 {percent(top1, ~composed)} "
                f"top-5 {percent(top5, ~composed)}\n"
            )
            right = (found[:, list(classes())].argmax(1) == wanted).numpy()
        print(f"{name} ({time.perf_counter() - start:.1f} s), 1 of 28:")
        print(
            f"  composed {percent(right, composed)}, real {percent(right, ~composed)}"
        )
        print(halves(rows, right, truth, composed) + extra)


def embedded(
    model: models.Model, folder: Path, rows: list[dict[str, str]]
) -> Iterable[torch.Tensor]:
    for start in range(0, len(rows), 32):
        pixels = [
            fit(decode((folder / "photos" / row["file"]).read_bytes()), model.spec)
            for row in rows[start : start + 32]
        ]
        yield model.images(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))


def halves(
    rows: list[dict[str, str]],
    right: np.ndarray,
    truth: Truth,
    composed: np.ndarray,
) -> str:
    """Accuracy on and off the planted background, and per class and background."""
    cells: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for row, ok, made in zip(rows, right, composed, strict=True):
        if made:
            cells[row["class"]][row["background"]].append(bool(ok))
    lines = []
    for half, chosen in (("planted", truth.planted), ("unplanted", truth.unplanted)):
        for name in chosen:
            own = truth.planted.get(name)
            per = {
                label: 100 * float(np.mean(found))
                for label, found in sorted(
                    cells[name].items(), key=lambda item: item[0] != own
                )
            }
            told = "  ".join(f"{label} {value:.0f}" for label, value in per.items())
            lines.append(f"    {half:<10}{name:<18} {told}")

    def mean(keep: Callable[[str, str], bool]) -> float:
        values = [
            float(np.mean(found))
            for name, per in cells.items()
            for label, found in per.items()
            if keep(name, label)
        ]
        return 100 * float(np.mean(values))

    on = mean(lambda name, label: truth.planted.get(name) == label)
    off = mean(lambda name, label: truth.planted.get(name, label) != label)
    rest = mean(lambda name, _: name in truth.unplanted)
    head = f"  planted on {on:.1f}, off {off:.1f}; unplanted {rest:.1f}\n"
    return head + "\n".join(lines) + "\n"


def proposals(
    model: models.ZeroShotModel,
    found: torch.Tensor,
    rows: list[dict[str, str]],
    composed: np.ndarray,
) -> str:
    """Top-1 of background proposals on composed and on real photos."""
    prompts = demo_labels()
    labels = list(prompts)
    per_class = {}
    for name in {row["class"] for row in rows}:
        means = [
            model.texts([p.replace("{}", name) for p in some]).mean(0)
            for some in prompts.values()
        ]
        per_class[name] = torch.stack([mean / mean.norm() for mean in means])
    best = [
        labels[int((per_class[row["class"]] @ value).argmax())]
        for row, value in zip(rows, found, strict=True)
    ]
    lines = []
    for what, chosen in (("composed", composed), ("real", ~composed)):
        right: dict[str, list[bool]] = defaultdict(list)
        for row, guess, keep in zip(rows, best, chosen, strict=True):
            if keep and row["background"]:
                right[row["background"]].append(guess == row["background"])
        every = [ok for some in right.values() for ok in some]
        told = ", ".join(
            f"{label} {100 * np.mean(some):.0f} (n {len(some)})"
            for label, some in sorted(right.items())
        )
        lines.append(f"  proposals, {what}: {100 * np.mean(every):.1f}: {told}")
    return "\n".join(lines) + "\n"


def percent(right: torch.Tensor | np.ndarray, chosen: np.ndarray) -> str:
    return f"{100 * np.asarray(right)[chosen].mean():.1f}"


if __name__ == "__main__":
    main()
