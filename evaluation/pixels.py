"""Photos to squares of pixels, by threads, ahead of the models that wait for them.

A photo is decoded once, and one square is cut for every `PixelSpec` asked for. Where
many photos are waiting, squares are cut by a compiled form of Pillow's arithmetic
(`evaluation._resample`): the same pixels, sooner. With the decoder "torchvision", plain
JPEGs are decoded and resized where the models run (`evaluation._jpeg`).
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from evaluation.errors import DecodeError, InputError
from evaluation.images import decode, fit, plain_jpeg, plan
from evaluation.models import FP32, PixelSpec, Runtime

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

Fit = Callable[[Image.Image, PixelSpec], "NDArray[np.uint8]"]
Reader = Callable[[str], bytes]
"""Bytes of a photo by its id; called from several threads."""

_AHEAD = 2  # blocks that are decoded before they are needed
_ONE_PIECE = 1 << 29  # bytes: more than four for each pixel that is allowed
_MANY = 2000  # photos that are worth a second of compiling
_TOGETHER = 32  # photos that torchvision decodes at once


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded photo: a square per `PixelSpec`, or why there is none.

    Attributes:
        squares: (size, size, 3) uint8 each.
        error: why there are none.
        lasting: the error is the bytes' fault, and will come again.
    """

    squares: "dict[PixelSpec, NDArray[np.uint8]]"
    error: str | None = None
    lasting: bool = True


def decoded(
    blocks: Sequence[list[str]],
    specs: Callable[[str], set[PixelSpec]],
    read: Reader,
    *,
    jobs: int,
    runtime: Runtime = FP32,
) -> Iterator[tuple[list[str], list[Picture]]]:
    """Blocks with their pictures, the next ones being decoded meanwhile.

    Args:
        blocks: photo ids.
        specs: squares wanted of a photo.
        read: bytes of a photo.
        jobs: threads that decode.
        runtime: its decoder, and where that runs; several devices take turns.

    Raises:
        ConfigError: no such device.
    """
    cut = fit if sum(map(len, blocks)) < _MANY else fastest()
    with ThreadPoolExecutor(max(1, jobs), "decode") as pool:
        if runtime.decoder == "torchvision":
            from evaluation.models._forward import devices

            places = cycle(devices(runtime.device))

        def start(block: list[str]) -> list[Future[list[Picture]]]:
            if runtime.decoder == "torchvision":
                return [
                    pool.submit(_on_device, some, specs, read, cut, next(places))
                    for some in _stretches(block, _TOGETHER)
                ]
            return [
                pool.submit(lambda one: [picture(one, specs(one), read, cut)], one)
                for one in block
            ]

        waiting = deque(start(block) for block in blocks[:_AHEAD])
        try:
            for number, block in enumerate(blocks):
                waiting.extend(start(one) for one in blocks[number + _AHEAD :][:1])
                done = [future.result() for future in waiting.popleft()]
                yield block, [one for some in done for one in some]
        finally:
            for futures in waiting:
                for future in futures:
                    future.cancel()


def picture(
    photo_id: str, specs: set[PixelSpec], read: Reader, cut: Fit = fit
) -> Picture:
    """Read and decode one photo; whatever is wrong with it is in the answer."""
    data = _bytes(photo_id, read)
    return data if isinstance(data, Picture) else _from_bytes(data, specs, cut)


def _on_device(
    photo_ids: Sequence[str],
    specs: Callable[[str], set[PixelSpec]],
    read: Reader,
    cut: Fit,
    device: "torch.device",
) -> list[Picture]:
    """As `picture` of each; plain JPEGs by torchvision, at once.

    What it refuses is given to Pillow, which may not, and which tells the reason.
    """
    from evaluation import _jpeg

    found = [_bytes(one, read) for one in photo_ids]
    plain = {
        place: (data, extent)
        for place, data in enumerate(found)
        if not isinstance(data, Picture) and (extent := plain_jpeg(data))
    }
    wanted = [specs(one) for one in photo_ids]
    made = _jpeg.squares(
        [data for data, _ in plain.values()],
        [extent for _, extent in plain.values()],
        [wanted[place] for place in plain],
        device,
    )
    squares = dict(zip(plain, made, strict=True))
    pictures = []
    for place, data in enumerate(found):
        ready = squares.get(place)
        if isinstance(data, Picture):
            pictures.append(data)
        elif ready is not None:
            pictures.append(Picture(ready))
        else:
            pictures.append(_from_bytes(data, wanted[place], cut))
    return pictures


def _stretches(block: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(block), size):
        yield block[start : start + size]


def _bytes(photo_id: str, read: Reader) -> bytes | Picture:
    """Of a photo; a picture that says so where they cannot be read."""
    try:
        return read(photo_id)
    except (OSError, InputError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Picture({}, f"cannot be read: {reason}", lasting=False)


def _from_bytes(data: bytes, specs: set[PixelSpec], cut: Fit) -> Picture:
    try:
        image = decode(data)
    except DecodeError as error:
        return Picture({}, str(error))
    return Picture({spec: cut(image, spec) for spec in specs})


@cache
def fastest() -> Fit:
    """What cuts squares soonest here; its pixels are those of `images.fit`.

    The compiled form is compared with Pillow before it is trusted, once in a process.
    """
    from evaluation import _resample

    if not _resample.COMPILED:
        return fit
    # a picture in one piece can be read where it lies
    cast("Any", Image).core.set_block_size(_ONE_PIECE)
    try:
        order = _order()
    except Exception as error:  # a compiler may fail in many ways
        log.warning("numba cannot be used, pictures are resized by Pillow: %s", error)
        return fit
    if order is None:
        log.warning("compiled resizing differs from this Pillow's, which is used")
        return fit
    return fit_compiled


def fit_compiled(image: Image.Image, spec: PixelSpec) -> "NDArray[np.uint8]":
    """As `images.fit`, by `evaluation._resample`."""
    order = _order()
    if order is None:
        return fit(image, spec)
    return _fit_in_order(image, spec, order)


Order = Callable[[tuple[int, int], tuple[int, int]], bool]
"""From a picture's width and height and those wanted: whether columns come first."""


def rows_first(_have: tuple[int, int], _want: tuple[int, int]) -> bool:
    """Pillow before 13, but for the tallest pictures of 12.3: rows, then columns."""
    return False


def lower_first(have: tuple[int, int], want: tuple[int, int]) -> bool:
    """Pillow 13: columns first where the height shrinks much more than the width.

    Example:
        >>> lower_first((100, 200), (50, 100)), lower_first((100, 201), (50, 100))
        (False, True)
    """
    shorter = have[1] - want[1]
    return shorter > 0 and shorter > 2 * (have[0] - want[0])


@cache
def _order() -> Order | None:
    """The order of this Pillow's passes; None where it has neither."""
    for order in (lower_first, rows_first):
        if all(_agree(*case, order) for case in _CASES):
            return order
    return None


def _fit_in_order(
    image: Image.Image, spec: PixelSpec, order: Order
) -> "NDArray[np.uint8]":
    from evaluation import _resample

    width, height, left, top = plan(image.size, spec)
    # very long ones: some versions of Pillow have rules of their own for them
    long = max(image.size) > 50 * min(image.size)
    if image.size == (width, height) or left < 0 or top < 0 or long:
        return fit(image, spec)
    return _resample.square(
        _four_bytes(image),
        width,
        height,
        left,
        top,
        spec.size,
        spec.interpolation == "bicubic",
        order(image.size, (width, height)),
    )


def _four_bytes(image: Image.Image) -> "NDArray[np.uint32]":
    """(H, W) pixels of a picture in mode "RGB"; a view of its memory if it can be."""
    import pyarrow as pa

    width, height = image.size
    try:
        flat = pa.array(image).flatten().to_numpy(zero_copy_only=True)
    except (ValueError, TypeError, pa.ArrowException):  # large ones lie in pieces
        flat = np.frombuffer(image.tobytes("raw", "RGBX"), np.uint8)
    pixels: NDArray[np.uint32] = flat.view(np.uint32).reshape(height, width)
    return pixels


_CASES = (
    (67, 45, PixelSpec(size=24, resize_to=24)),
    (45, 67, PixelSpec(size=24, resize_to=27, interpolation="bilinear")),
    (19, 23, PixelSpec(size=31, resize="squash", resize_to=31)),
    (200, 33, PixelSpec(size=32, resize_to=33)),
    # on both sides of where the order of the passes changes
    (30, 60, PixelSpec(size=20, resize_to=20)),
    (30, 61, PixelSpec(size=20, resize_to=20)),
    (30, 40, PixelSpec(size=20, resize="squash", resize_to=20)),
    (30, 41, PixelSpec(size=20, resize="squash", resize_to=20)),
)
"""Pictures that are compared: smaller, larger, askew, one side as it is, tall."""


def _agree(width: int, height: int, spec: PixelSpec, order: Order) -> bool:
    noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    noise[::3] = np.where(noise[::3] > 127, 255, 0)  # overshoots
    image = Image.fromarray(noise)
    return bool(np.array_equal(fit(image, spec), _fit_in_order(image, spec, order)))
