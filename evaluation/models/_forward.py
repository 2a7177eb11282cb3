"""An image tower on its devices: bytes in, float32 features out.

Every GPU of a machine holds a copy of the tower and gets its share of each batch; a
share is cut into chunks, so that the copy of one runs beside the work on another. On a
CPU a chunk is computed by one core, with cores side by side: its activations stay in
the cache, and no core waits for another at every layer (two threads on one layer are
slower than one as soon as the machine has other work).
"""

import copy
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

from evaluation.errors import ConfigError
from evaluation.models import Precision, Runtime

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

CPU_CHUNK = 16
"""Photos that one core computes at once."""

GPU_CHUNK = 128
"""Photos that go to a GPU at once."""

DTYPES: dict[Precision, str] = {"fp32": "float32", "bf16": "bfloat16"}
"""What `Model.dtype` says, by precision."""


class Tower:
    """An image tower with its weights in place, on one or several devices.

    Args:
        network: a module in evaluation mode, (N, 3, H, W) to (N, D); with "bf16" its
            weights are converted where they are.
        mean: three values, for pixels in 0-1.
        std: three values.
        runtime: precision and device.

    Raises:
        ConfigError: the device is not there.
    """

    def __init__(
        self,
        network: Any,  # noqa: ANN401
        *,
        mean: Sequence[float],
        std: Sequence[float],
        runtime: Runtime,
    ) -> None:
        places = devices(runtime.device)
        self.normalisation = (tuple(mean), tuple(std))
        self.dtype = DTYPES[runtime.precision]
        if runtime.precision == "bf16":
            _to_bfloat16(network)
            if places[0].type == "cpu":
                _tell_if_slow()
        else:
            _full_float32(places)
        first = network.to(places[0])
        copies = [first, *(copy.deepcopy(first).to(place) for place in places[1:])]
        for one, place in zip(copies, places, strict=True):
            if place.type == "cpu" and not runtime.trainable:
                pack(one)
        self._replicas = [
            _Replica(one, place, self.dtype, mean=mean, std=std)
            for one, place in zip(copies, places, strict=True)
        ]

    @property
    def device(self) -> "torch.device":
        """The first of its devices."""
        return self._replicas[0].device

    def __call__(
        self,
        pixels: "torch.Tensor",
        finish: "Callable[[torch.Tensor], torch.Tensor] | None" = None,
    ) -> "torch.Tensor":
        """Normalise and run a batch.

        Args:
            pixels: (N, 3, H, W) uint8, of any memory format.
            finish: what is done to a chunk's float32 output, on its device.

        Returns: (N, D) float32 on the CPU.
        """
        return _run(self._replicas, pixels, finish)


def forward(
    tower: "Callable[[torch.Tensor], torch.Tensor]",
    pixels: "torch.Tensor",
    *,
    mean: "torch.Tensor",
    std: "torch.Tensor",
) -> "torch.Tensor":
    """Normalise and run a batch once, in float32 on the device of `mean`.

    Args:
        tower: (N, 3, H, W) float32 to (N, D).
        pixels: (N, 3, H, W) uint8.
        mean: (1, 3, 1, 1) float32, for values in 0-1.
        std: (1, 3, 1, 1) float32.

    Returns: (N, D) float32 on the CPU.
    """
    values = [one.flatten().tolist() for one in (mean, std)]
    one = _Replica(tower, mean.device, "float32", mean=values[0], std=values[1])
    return _run([one], pixels, None)


def pack(network: Any) -> int:  # noqa: ANN401
    """Lay the weights of a transformer's MLPs out once, the way oneDNN wants them.

    They are two thirds of a vision transformer's work, and on a CPU their products are
    faster so than from weights that are laid out anew for each batch. The sums are the
    same up to their order. Nothing changes where this torch or CPU cannot.

    Args:
        network: on the CPU; changed in place. It can be run, no longer saved.

    Returns: layers that were packed.
    """
    import torch

    found = [
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if type(child) is torch.nn.Linear and name in _MLP
    ]
    packed = 0
    for parent, name, child in found:
        if _packs(child.weight.dtype):
            setattr(parent, name, _packed(child))
            packed += 1
    return packed


_MLP = frozenset({"c_fc", "c_proj", "fc1", "fc2"})
"""What open_clip, timm and torchvision call the layers of an MLP; none of them reads
their weights but by calling them."""


def _packed(linear: Any) -> Any:  # noqa: ANN401
    """A linear layer that holds packed weights and no others."""
    import torch

    product = torch.ops.mkldnn._linear_pointwise
    weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
    bias = None if linear.bias is None else linear.bias.detach()
    width = linear.out_features

    class Packed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # whoever asks for its dtype or shape gets them; there are no values
            self.weight = torch.empty_like(linear.weight, device="meta")

        def forward(self, values: "torch.Tensor") -> "torch.Tensor":
            rows = values.reshape(-1, values.shape[-1])
            found = product(rows, weight, bias, "none", [], "")
            return torch.Tensor(found.reshape(*values.shape[:-1], width))

    return Packed()


@cache
def _packs(dtype: "torch.dtype") -> bool:
    """Whether packed weights give the same products here, tried once."""
    import torch

    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            values = torch.randn(3, 5, 96).to(dtype)
            linear = torch.nn.Linear(96, 64).to(dtype)
            wanted, found = linear(values), _packed(linear)(values)
            return bool(torch.allclose(wanted, found, rtol=1e-2, atol=1e-5))
    except (AttributeError, NotImplementedError, RuntimeError):
        return False


def devices(wanted: str) -> "list[torch.device]":
    """The devices a `Runtime.device` means; "auto" is every GPU, else the CPU.

    Several may be named, separated by commas.

    Raises:
        ConfigError: no such device, or no GPU that can be used.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        names = [f"cuda:{number}" for number in range(count)] or ["cpu"]
    else:
        names = ["cuda:0" if one == "cuda" else one for one in wanted.split(",")]
    found = []
    for name in names:
        kind, _, number = name.partition(":")
        if kind == "cuda" and not number.isdigit():
            kind = ""
        if name != "cpu" and kind != "cuda":
            message = (
                f"unknown device {wanted!r}; allowed are auto, cpu, cuda and cuda:<n>"
            )
            raise ConfigError(message)
        if kind == "cuda" and int(number) >= count:
            there = f"this machine has {count}" if count else "no GPU can be used here"
            message = f"device {wanted!r} is not there: {there}; use auto or cpu"
            raise ConfigError(message)
        found.append(torch.device(name))
    return found


class _Replica:
    """A tower on one device, and what normalises its pixels."""

    def __init__(
        self,
        network: Any,  # noqa: ANN401
        device: "torch.device",
        dtype: str,
        *,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        import torch

        self.network = network
        self.device = device
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.mean = torch.tensor(mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(std, device=device).view(1, 3, 1, 1)

    def run(
        self,
        chunks: "Sequence[torch.Tensor]",
        finish: "Callable[[torch.Tensor], torch.Tensor] | None",
    ) -> "torch.Tensor":
        """Chunks of uint8 to float32 on the CPU; a GPU is waited for once, at the end.

        While a GPU works on a chunk, the next is put into pinned memory and copied.
        """
        import torch

        gpu = self.device.type == "cuda"
        found = []
        with torch.inference_mode():
            for chunk in chunks:
                part = chunk.pin_memory() if gpu else chunk
                part = part.to(self.device, non_blocking=gpu)
                values = self.network(self._normalised(part))
                if isinstance(values, tuple):  # pooled first, then its tokens
                    values = values[0]
                values = values.float()
                found.append(finish(values) if finish else values)
            return torch.cat(found).cpu()

    def _normalised(self, part: "torch.Tensor") -> "torch.Tensor":
        import torch

        values = part.float().div_(255).sub_(self.mean).div_(self.std)
        # convolutions are faster with the channels of a pixel side by side
        return values.to(self.dtype).contiguous(memory_format=torch.channels_last)


def _run(
    replicas: Sequence[_Replica],
    pixels: "torch.Tensor",
    finish: "Callable[[torch.Tensor], torch.Tensor] | None",
) -> "torch.Tensor":
    """Deal a batch out, in its order."""
    import torch

    first = replicas[0]
    if first.device.type == "cpu" and len(replicas) == 1:
        chunks = torch.split(pixels, CPU_CHUNK)
        return torch.cat(
            list(_cores().map(lambda one: first.run([one], finish), chunks))
        )
    shares = _deal(pixels, len(replicas))
    if len(shares) == 1:
        return first.run(torch.split(pixels, GPU_CHUNK), finish)
    with ThreadPoolExecutor(len(shares)) as pool:
        coming = [
            pool.submit(one.run, torch.split(share, GPU_CHUNK), finish)
            for one, share in zip(replicas, shares, strict=False)
        ]
        return torch.cat([future.result() for future in coming])


def _deal(pixels: "torch.Tensor", hands: int) -> "list[torch.Tensor]":
    """A batch in as many equal shares as there are devices, or fewer if it is small."""
    import torch

    size = max(1, -(-len(pixels) // hands))
    return list(torch.split(pixels, size))


def _to_bfloat16(network: Any) -> None:  # noqa: ANN401
    """Convert in place; norms that count on float32 statistics stay as they are."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    for module in network.modules():
        if isinstance(module, _BatchNorm) or type(module).__name__.endswith("Fp32"):
            continue
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        for one in own:
            if one.is_floating_point():
                one.data = one.data.to(torch.bfloat16)


def _full_float32(places: "Sequence[torch.device]") -> None:
    """No TF32: it would keep 10 bits of a float32's 23."""
    import torch

    if places[0].type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


@cache
def _tell_if_slow() -> None:
    """Said once: the numbers are right anyway."""
    import torch

    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        log.warning("this CPU has no bfloat16 instructions: fp32 may be faster")


@cache
def _cores() -> ThreadPoolExecutor:
    """One thread per core, each computing alone."""
    import torch

    count = min(os.cpu_count() or 1, torch.get_num_threads())
    return ThreadPoolExecutor(
        count, "tower", initializer=torch.set_num_threads, initargs=(1,)
    )
