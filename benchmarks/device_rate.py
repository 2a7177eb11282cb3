"""How near the whole comes to what the device can do.

    python -m benchmarks.device_rate FOLDER [--model ViT-L-14] [--precision bf16]
        [--decoder torchvision]

Three rates in photos a second: the tower alone, on tensors that are on the device
already; the decoder alone, with as many threads; and `extract`, from files to features
on disk. The last cannot be above either of the first two. Weights are random.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import get_args

import torch

from benchmarks._interleaved import machine, table
from evaluation.extract import Models, extract
from evaluation.features import FeatureStore
from evaluation.models import Decoder, PixelSpec, Runtime
from evaluation.models._forward import GPU_CHUNK, Tower, devices
from evaluation.pixels import decoded, fastest

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def alone(network: torch.nn.Module, runtime: Runtime, size: int, count: int) -> float:
    """The tower on tensors that lie on its device; of one device, times how many."""
    places = devices(runtime.device)
    place = places[0]
    dtype = torch.bfloat16 if runtime.precision == "bf16" else torch.float32
    one = Runtime(runtime.precision, str(place))
    Tower(network, mean=MEAN, std=STD, runtime=one)  # converts it in place
    batch = min(count, GPU_CHUNK)
    values = torch.randn(batch, 3, size, size, device=place, dtype=dtype)
    rounds = max(1, count // batch)

    def wait() -> None:
        if place.type == "cuda":
            torch.cuda.synchronize(place)

    with torch.inference_mode():
        network(values)
        wait()
        start = time.perf_counter()
        for _ in range(rounds):
            network(values)
        wait()
    return rounds * batch * len(places) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="JPEGs, in it and below it")
    parser.add_argument("--model", default="ViT-L-14")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--decoder", choices=get_args(Decoder), default="pillow")
    parser.add_argument("--photos", type=int, default=20_000, help="named again if few")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    runtime = Runtime(chosen.precision, chosen.device, chosen.decoder)
    files = [one.read_bytes() for one in sorted(chosen.folder.rglob("*.jp*g"))]
    photos = {f"{n:08}": files[n % len(files)] for n in range(chosen.photos)}
    import open_clip

    with tempfile.TemporaryDirectory() as place:
        torch.manual_seed(0)
        network = open_clip.create_model(chosen.model).eval()
        weights = Path(place) / "weights.pt"
        torch.save(network.state_dict(), weights)
        size = network.visual.image_size
        side = int(size if isinstance(size, int) else size[0])
        rates = {"the tower alone": alone(network.visual, runtime, side, len(photos))}
        del network
        spec = PixelSpec(size=side, resize_to=side, decoder=chosen.decoder)
        ids = list(photos)
        blocks = [ids[start : start + 256] for start in range(0, len(ids), 256)]
        fastest()  # compiled before the clock starts
        start = time.perf_counter()
        for _ in decoded(
            blocks, lambda _: {spec}, photos.__getitem__,
            jobs=chosen.jobs, runtime=runtime,
        ):  # fmt: skip
            pass
        rates["the decoder alone"] = len(photos) / (time.perf_counter() - start)
        name = f"open_clip:{chosen.model}/{weights}"
        store = FeatureStore(Path(place) / "features")
        known = Models(store, runtime)
        known.load(name)  # not what is measured here
        start = time.perf_counter()
        extract(
            [name], list(photos), photos.__getitem__,
            store=store, jobs=chosen.jobs, loaded=known,
        )  # fmt: skip
        rates["files to features on disk"] = len(photos) / (time.perf_counter() - start)
    where = ", ".join(
        torch.cuda.get_device_name(one) if one.type == "cuda" else "CPU"
        for one in devices(chosen.device)
    )
    print(f"{chosen.model} {chosen.precision} on {where}, {len(photos)} photos")
    print(f"photos decoded by {chosen.decoder}, {chosen.jobs} threads")
    print(f"{machine('torch', 'open_clip_torch', 'pillow')}\n")
    limit = min(rates["the tower alone"], rates["the decoder alone"])
    rows = [
        [label, f"{rate:.1f}", f"{100 * rate / rates['the tower alone']:.0f} %",
         f"{100 * rate / limit:.0f} %"]
        for label, rate in rates.items()
    ]  # fmt: skip
    print(table(["", "photos/s", "of the tower", "of the lower limit"], rows))


if __name__ == "__main__":
    main()
