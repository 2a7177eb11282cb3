"""Photos to squares of pixels, by threads, ahead of the models that wait for them.

A photo is decoded once, and one square is cut for every `PixelSpec` asked for.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.errors import DecodeError, InputError
from evaluation.images import decode, fit
from evaluation.models import PixelSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Reader = Callable[[str], bytes]
"""Bytes of a photo by its id; called from several threads."""

_AHEAD = 2  # blocks that are decoded before they are needed


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
) -> Iterator[tuple[list[str], list[Picture]]]:
    """Blocks with their pictures, the next ones being decoded meanwhile.

    Args:
        blocks: photo ids.
        specs: squares wanted of a photo.
        read: bytes of a photo.
        jobs: threads that decode.
    """
    with ThreadPoolExecutor(max(1, jobs), "decode") as pool:

        def start(block: list[str]) -> list[Future[Picture]]:
            return [pool.submit(picture, one, specs(one), read) for one in block]

        waiting = deque(start(block) for block in blocks[:_AHEAD])
        try:
            for number, block in enumerate(blocks):
                waiting.extend(start(one) for one in blocks[number + _AHEAD :][:1])
                yield block, [future.result() for future in waiting.popleft()]
        finally:
            for futures in waiting:
                for future in futures:
                    future.cancel()


def picture(photo_id: str, specs: set[PixelSpec], read: Reader) -> Picture:
    """Read and decode one photo; whatever is wrong with it is in the answer."""
    try:
        data = read(photo_id)
    except (OSError, InputError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Picture({}, f"cannot be read: {reason}", lasting=False)
    try:
        image = decode(data)
    except DecodeError as error:
        return Picture({}, str(error))
    return Picture({spec: fit(image, spec) for spec in specs})
