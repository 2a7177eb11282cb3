"""Squares of plain JPEGs by torchvision, on the device that the models run on.

Decoding is libjpeg's on the CPU and nvJPEG's on a GPU, resizing is torch's, antialiased
in float32. The result is near Pillow's and not the same, so a feature's key tells the
two apart (`PixelSpec.decoder`).

A photo that is refused here is given to Pillow. libjpeg refuses what Pillow refuses;
nvJPEG may show a damaged photo that still ends in its end marker.
"""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from evaluation.errors import ConfigError
from evaluation.images import plan
from evaluation.models import PixelSpec

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_AT_ONCE = 50_000_000  # pixels of photos that a thread has decoded on a device
_QUIET = ("ignore", None, DeprecationWarning, re.compile(r"torchvision\.io"), 0)


@cache
def check() -> None:
    """See that this torchvision can decode a JPEG.

    Raises:
        ConfigError: it cannot.
    """
    import torch

    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    try:
        _decode([file.getvalue()], torch.device("cpu"))
    except (ImportError, AttributeError, RuntimeError) as error:
        message = (
            f"decoder 'torchvision' cannot be used: {error}; install a torchvision "
            "that has torchvision.io.decode_jpeg, or use the decoder 'pillow'"
        )
        raise ConfigError(message) from error


def squares(
    files: Sequence[bytes],
    extents: Sequence[tuple[int, int]],
    specs: Sequence[set[PixelSpec]],
    device: "torch.device",
) -> "list[dict[PixelSpec, NDArray[np.uint8]] | None]":
    """Decode photos, and cut every square that is wanted of each.

    Args:
        files: JPEGs that `images.plain_jpeg` knows.
        extents: their widths and heights.
        specs: squares wanted of each.
        device: where it is done.

    Returns: (size, size, 3) uint8 on the CPU by spec; None for a photo that torchvision
        refuses.
    """
    import torch

    # a stream of its own, so that no photo waits for what the models have queued
    gpu = device.type == "cuda"
    stream = (
        torch.cuda.stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]
        if gpu
        else nullcontext()
    )
    found: list[dict[PixelSpec, NDArray[np.uint8]] | None] = []
    with torch.inference_mode(), stream:
        for part in _parts(extents):
            found.extend(_part(files[part], extents[part], specs[part], device))
    return found


def _part(
    files: Sequence[bytes],
    extents: Sequence[tuple[int, int]],
    specs: Sequence[set[PixelSpec]],
    device: "torch.device",
) -> "list[dict[PixelSpec, NDArray[np.uint8]] | None]":
    """As `squares`; a device is waited for once for each spec."""
    import torch

    images = _decode_all(files, device)
    found: list[dict[PixelSpec, NDArray[np.uint8]] | None] = [
        {} if image is not None and image.shape == (3, height, width) else None
        for image, (width, height) in zip(images, extents, strict=True)
    ]
    for spec in set().union(*specs):
        here = [
            (image, one)
            for image, one, wanted in zip(images, found, specs, strict=True)
            if image is not None and one is not None and spec in wanted
        ]
        if here:
            made = torch.stack([_fit(image, spec) for image, _ in here]).cpu().numpy()
            for square, (_, one) in zip(made, here, strict=True):
                one[spec] = square
    return found


def _parts(extents: Sequence[tuple[int, int]]) -> Iterator[slice]:
    """Stretches of few enough pixels; one photo at least."""
    start, pixels = 0, 0
    for place, (width, height) in enumerate(extents):
        if place > start and pixels + width * height > _AT_ONCE:
            yield slice(start, place)
            start, pixels = place, 0
        pixels += width * height
    if start < len(extents):
        yield slice(start, len(extents))


def _decode_all(
    files: Sequence[bytes], device: "torch.device"
) -> "list[torch.Tensor | None]":
    """Photos at once; one by one where that fails, since it tells not which it was."""
    try:
        return [*_decode(files, device)]
    except RuntimeError:
        if len(files) == 1:
            return [None]
        return [one for data in files for one in _decode_all([data], device)]


def _decode(files: Sequence[bytes], device: "torch.device") -> "list[torch.Tensor]":
    """(3, H, W) uint8 each, on the device."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    # copies: torch warns of memory that it may not write to
    data = [torch.from_numpy(np.frombuffer(one, np.uint8).copy()) for one in files]
    for _ in range(3):
        # it warns that it is to go, and filters of warnings are not thread safe: see
        # `images._guarded`
        if _QUIET not in warnings.filters:
            warnings.filterwarnings("ignore", "", _QUIET[2], _QUIET[3].pattern)
        try:
            made: list[torch.Tensor] = decode_jpeg(
                data, mode=ImageReadMode.RGB, device=device
            )
        except DeprecationWarning:
            continue
        return made
    message = "warnings are errors in this process"
    raise RuntimeError(message)


def _fit(image: "torch.Tensor", spec: PixelSpec) -> "torch.Tensor":
    """As `images.fit`: (3, H, W) uint8 to (size, size, 3)."""
    from torch.nn.functional import interpolate, pad

    height, width = image.shape[1:]
    across, down, left, top = plan((width, height), spec)
    if (width, height) != (across, down):
        values = interpolate(
            image[None].float(), (down, across), mode=spec.interpolation, antialias=True
        )
        image = values[0].round_().clamp_(0, 255).byte()
    right, bottom = left + spec.size - across, top + spec.size - down
    # cuts off what is negative, and what is outside is black
    return pad(image, (-left, right, -top, bottom)).permute(1, 2, 0)
