"""Image towers on the CPU or a GPU: the library's own way beside ours, fp32 and bf16.

    python -m benchmarks.tower [--model ViT-B-32] [--timm resnet50] [--json]

Weights are random, which costs the same as any. The library's way is one batch through
`encode_image` (or the classifier) in float32; ours takes bytes, so the normalisation is
counted with it. Figures are medians of rounds in which every contender ran once.
"""

import argparse
import copy
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch

from benchmarks._figures import Figure, show
from benchmarks._interleaved import interleaved, machine, middle, ratios, table
from evaluation.models import Runtime, _forward
from evaluation.models._forward import Tower

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def build(model: str, classifier: str) -> tuple[str, Any, int]:
    """A network with random weights, its name, and the side of its pictures."""
    torch.manual_seed(0)
    if classifier:
        import timm

        network = timm.create_model(classifier, pretrained=False).eval()
        return classifier, network, int(network.default_cfg["input_size"][1])
    import open_clip

    network = open_clip.create_model(model).eval().visual
    size = network.image_size
    return model, network, int(size if isinstance(size, int) else size[0])


def eager(network: Any, pixels: torch.Tensor, device: str) -> Callable[[], Any]:  # noqa: ANN401
    """As the library runs it: one batch of normalised float32."""
    mean, std = (torch.tensor(one).view(1, 3, 1, 1) for one in (MEAN, STD))
    values = ((pixels.float() / 255 - mean) / std).to(device)
    mine = copy.deepcopy(network).to(device)

    def run() -> torch.Tensor:
        with torch.inference_mode():
            return mine(values).float().cpu()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-32", help="an open_clip model")
    parser.add_argument("--timm", default="", help="a timm classifier instead")
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="figures, one a line")
    parser.add_argument("--chunk", type=int, nargs="*", default=[_forward.CPU_CHUNK])
    chosen = parser.parse_args()
    name, network, size = build(chosen.model, chosen.timm)
    shape = (chosen.photos, size, size, 3)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8).permute(0, 3, 1, 2)
    contenders = {"eager, fp32": eager(network, pixels, chosen.device)}
    for precision in ("fp32", "bf16"):
        runtime = Runtime(precision, chosen.device)
        tower = Tower(copy.deepcopy(network), mean=MEAN, std=STD, runtime=runtime)
        for chunk in chosen.chunk:

            def run(tower: Tower = tower, chunk: int = chunk) -> torch.Tensor:
                _forward.CPU_CHUNK = chunk
                return tower(pixels)

            contenders[f"ours, {precision}, {chunk} at once"] = run
    theirs = contenders["eager, fp32"]()
    library = "timm" if chosen.timm else "open_clip_torch"
    times = interleaved(contenders, chosen.repeats)
    first = times["eager, fp32"]
    rows = []
    found = []
    for label, spent in times.items():
        cosine = torch.cosine_similarity(theirs, contenders[label](), dim=1)
        rows.append(
            [
                label,
                f"{chosen.photos / middle(spent.wall):.1f}",
                f"{chosen.photos / middle(spent.cpu):.1f}",
                ratios(first.wall, spent.wall),
                ratios(first.cpu, spent.cpu),
                f"{cosine.min():.6f}",
            ]
        )
        if label != "eager, fp32":
            found.append(
                Figure(
                    name=f"tower.{label.split(', ')[1]}",
                    what=f"{name}, {label}, photos of {size} px",
                    unit="photos/CPU-s",
                    ours=tuple(chosen.photos / one for one in spent.cpu),
                    peer=f"{library} {version(library)}, eager, fp32",
                    theirs=tuple(chosen.photos / one for one in first.cpu),
                    note=f"cosine ≥ {cosine.min():.6f}",
                )
            )
    if chosen.json:
        show(found)
        return
    print(f"{name}, {chosen.photos} photos of {size} px, {chosen.repeats} rounds")
    print(f"{machine('torch', 'open_clip_torch', 'timm')}")
    print(f"bfloat16 instructions: {torch.ops.mkldnn._is_mkldnn_bf16_supported()}\n")
    head = ["", "photos/s", "photos/CPU-s", "× eager, wall", "× eager, CPU", "cosine ≥"]
    print(table(head, rows))


if __name__ == "__main__":
    main()
