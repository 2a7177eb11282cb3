"""One image tower over one batch, the way its device likes it.

A GPU takes the batch whole. On a CPU it is cut into chunks of 8 photos, each computed
by one core, with cores side by side: a chunk's activations stay in the cache, and no
core waits for another at every layer (two threads on one layer are slower than one as
soon as the machine has other work).
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_CHUNK = 8


def forward(
    tower: "Callable[[torch.Tensor], torch.Tensor]",
    pixels: "torch.Tensor",
    *,
    mean: "torch.Tensor",
    std: "torch.Tensor",
) -> "torch.Tensor":
    """Normalise and run a batch.

    Args:
        tower: (N, 3, H, W) float32 on the device of `mean` to (N, D).
        pixels: (N, 3, H, W) uint8.
        mean: (1, 3, 1, 1) float32, for values in 0-1.
        std: (1, 3, 1, 1) float32.

    Returns: (N, D) float32 on the CPU.
    """
    import torch

    def one(part: "torch.Tensor") -> "torch.Tensor":
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            values = part.to(mean.device).float().div_(255).sub_(mean).div_(std)
            if mean.device.type == "cpu":
                # convolutions are faster with the channels of a pixel side by side
                values = values.contiguous(memory_format=torch.channels_last)
            return torch.Tensor(tower(values).float().cpu())

    if mean.device.type != "cpu":
        return one(pixels)
    return torch.cat(list(_cores().map(one, torch.split(pixels, _CHUNK))))


@cache
def _cores() -> ThreadPoolExecutor:
    """One thread per core, each computing alone."""
    import torch

    count = min(os.cpu_count() or 1, torch.get_num_threads())
    return ThreadPoolExecutor(
        count, "tower", initializer=torch.set_num_threads, initargs=(1,)
    )
