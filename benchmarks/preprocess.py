"""Bytes of a photo to a model's pixels: open_clip's own transform beside ours.

    python -m benchmarks.preprocess FOLDER [--photos 300] [--megapixels 12] [--json]

open_clip's `image_transform(is_train=False)` ends in normalised float32; ours ends in
bytes, which models normalise on their device, so the normalisation is timed beside and
counted with ours. Every square is compared with the transform's before its
normalisation, byte by byte. One thread; medians of rounds, in CPU time.
"""

import argparse
import io
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from open_clip.transform import image_transform
from PIL import Image

from benchmarks._figures import Figure, show
from benchmarks._interleaved import (
    Times,
    interleaved,
    machine,
    middle,
    ratios,
    table,
)
from evaluation.images import decode, fit
from evaluation.models import PixelSpec
from evaluation.pixels import fastest

SUFFIXES = (".jpg", ".jpeg")
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def enlarged(data: bytes, megapixels: float) -> bytes:
    """The photo as a JPEG of about so many megapixels, as a camera might write it."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    factor = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
    size = round(image.width * factor), round(image.height * factor)
    file = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=92)
    return file.getvalue()


def figures(
    what: str, count: int, times: Mapping[str, Times], same: int
) -> Iterator[Figure]:
    """Pixels a model can take, beside the library's; and how many are its own."""

    def rates(name: str) -> tuple[float, ...]:
        return tuple(count / one for one in times[name].cpu)

    for name, label in (
        (next(one for one in times if one.endswith(", normalised")), "normalised"),
        ("ours (fit: Pillow alone), to bytes", "pillow"),
    ):
        yield Figure(
            name=f"preprocess.{label}",
            what=f"{name}: {what}",
            unit="photos/CPU-s",
            ours=rates(name),
            peer=f"open_clip {version('open_clip_torch')}",
            theirs=rates("open_clip's transform"),
            note=f"same pixels: {same} of {count}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="JPEGs, in it and below it")
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--megapixels", type=float, default=0, help="enlarge photos")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="figures, one a line")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    found = [
        path
        for path in sorted(chosen.folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
    ]
    found = found[:: max(1, len(found) // chosen.photos)][: chosen.photos]
    files = [path.read_bytes() for path in found]
    if chosen.megapixels:
        files = [enlarged(data, chosen.megapixels) for data in files]
    whole = image_transform(chosen.size, is_train=False, mean=MEAN, std=STD)
    spec = PixelSpec(size=chosen.size, resize_to=chosen.size)
    cut = fastest()
    mean, std = (torch.tensor(one).view(1, 3, 1, 1) for one in (MEAN, STD))

    def theirs() -> list[torch.Tensor]:
        return [whole(Image.open(io.BytesIO(data))) for data in files]

    def ours() -> list[torch.Tensor]:
        squares = [cut(decode(data), spec) for data in files]
        made = []
        for start in range(0, len(squares), 16):
            batch = torch.from_numpy(np.stack(squares[start : start + 16]))
            values = batch.permute(0, 3, 1, 2).float()
            made.append(values.div_(255).sub_(mean).div_(std))
        return made

    contenders = {
        "open_clip's transform": theirs,
        f"ours ({cut.__name__}), normalised": ours,
        f"ours ({cut.__name__}), to bytes": lambda: [
            cut(decode(data), spec) for data in files
        ],
        "ours (fit: Pillow alone), to bytes": lambda: [
            fit(decode(data), spec) for data in files
        ],
        "decoding alone (Pillow)": lambda: [decode(data) for data in files],
    }
    times = interleaved(contenders, chosen.repeats)
    first = times["open_clip's transform"]
    rows: list[list[object]] = [
        [
            name,
            f"{middle(spent.cpu) / len(files) * 1000:.2f}",
            f"{len(files) / middle(spent.cpu):.0f}",
            ratios(first.cpu, spent.cpu),
        ]
        for name, spent in times.items()
    ]
    same = 0
    for data in files:
        values = whole(Image.open(io.BytesIO(data)))
        pixels = (values * std[0] + mean[0]).mul(255).round().to(torch.uint8)
        mine = cut(decode(data), spec)
        same += bool((pixels.permute(1, 2, 0).numpy() == mine).all())
    mega = np.median([np.prod(decode(data).size) for data in files]) / 1e6
    if chosen.json:
        what = f"{len(files)} photos, median {mega:.2f} megapixels, to {chosen.size} px"
        show(figures(what, len(files), times, same))
        return
    print(
        f"{len(files)} photos, median {mega:.2f} megapixels, to {chosen.size} px; "
        f"{same} of {len(files)} have the same pixels"
    )
    print(f"{machine('pillow', 'torch', 'torchvision', 'open_clip_torch')}\n")
    print(table(["", "CPU-ms a photo", "photos/CPU-s", "× open_clip"], rows))


if __name__ == "__main__":
    main()
