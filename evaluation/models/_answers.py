"""How likely answers are to a decoder that sees a photo: one pass for what is shared.

All candidates begin alike: the photo and the words before the first that differs. That
beginning runs once per photo; what follows it runs for all candidates at once, laid end
to end in one sequence whose attention mask lets each see the beginning and itself only.
A candidate's tokens keep the positions they would have alone, so its loss is the one
that a pass over it alone gives.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_TOKENS_AT_ONCE = 512
"""Tokens of candidates in one sequence; bounds the mask and the logits."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and one answer to it, as tokens.

    Attributes:
        ids: the whole conversation, image tokens included.
        start: where the answer's own tokens begin in `ids`.
    """

    ids: tuple[int, ...]
    start: int


def shared(asked: Sequence[Asked]) -> int:
    """Tokens that all begin with, at least one short of every answer.

    The last token before an answer is left out, because what comes after it is the
    answer's first prediction.
    """
    first = min(one.ids for one in asked)
    last = max(one.ids for one in asked)  # these two differ soonest
    same = next(
        (
            place
            for place, (a, b) in enumerate(zip(first, last, strict=False))
            if a != b
        ),
        min(len(first), len(last)),
    )
    return min(same, min(one.start for one in asked) - 1)


def losses(
    network: Any,  # noqa: ANN401
    values: "torch.Tensor",
    asked: Sequence[Sequence[Asked]],
) -> "list[NDArray[np.float32]]":
    """Negative log-likelihood of every answer, summed over its tokens, in nats.

    Args:
        network: a decoder of transformers that takes `pixel_values`.
        values: (N, 3, H, W), what it takes.
        asked: N lists; all must share their image tokens.

    Returns: N float32 arrays in the order of `asked`.
    """
    import torch

    everything = [one for some in asked for one in some]
    if not everything:
        return [np.zeros(0, np.float32) for _ in asked]
    length = shared(everything)
    longest = max(len(one.ids) for one in everything) - length
    step = max(1, _TOKENS_AT_ONCE // longest)
    found: list[list[float]] = [[] for _ in asked]
    with torch.inference_mode():
        begun = _begin(network, values, everything[0].ids[:length])
        for start in range(0, max(len(some) for some in asked), step):
            part = [some[start : start + step] for some in asked]
            for row, numbers in zip(
                found, _go_on(network, begun, part, length), strict=True
            ):
                row.extend(numbers)
    return [np.array(row, np.float32) for row in found]


def alone(
    network: Any,  # noqa: ANN401
    values: "torch.Tensor",
    one: Asked,
) -> float:
    """The same of one photo and one answer, by a pass over all of it.

    Args:
        network: as for `losses`.
        values: (1, 3, H, W).
        one: the answer.
    """
    import torch

    ids = torch.tensor([one.ids], device=values.device)
    with torch.inference_mode():
        logits = network(input_ids=ids, pixel_values=values).logits[0]
        return float(_nll(logits[one.start - 1 : -1], ids[0, one.start :]).sum())


def _begin(
    network: Any,  # noqa: ANN401
    values: "torch.Tensor",
    ids: Sequence[int],
) -> "list[tuple[torch.Tensor, torch.Tensor]]":
    """Keys and values of what all share, by layer."""
    import torch

    cache = _cache()
    network(
        input_ids=torch.tensor([ids] * len(values), device=values.device),
        pixel_values=values,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return [(layer.keys, layer.values) for layer in cache.layers]


def _cache() -> Any:  # noqa: ANN401
    """An empty cache of keys and values."""
    return importlib.import_module("transformers").DynamicCache()


def _go_on(
    network: Any,  # noqa: ANN401
    begun: "Sequence[tuple[torch.Tensor, torch.Tensor]]",
    asked: Sequence[Sequence[Asked]],
    length: int,
) -> list[list[float]]:
    """Losses of some candidates of each photo, after what all share."""
    import torch

    cache = _cache()
    for layer, (keys, values) in enumerate(begun):
        cache.update(keys, values, layer)
    device = begun[0][0].device
    rows = [_laid_out(some, length) for some in asked]
    width = max(len(ids) for ids, _, _ in rows)

    def padded(which: int, fill: int) -> "torch.Tensor":
        lists = [[*row[which], *[fill] * (width - len(row[which]))] for row in rows]
        return torch.tensor(lists, device=device)

    owner = padded(2, -1)
    logits = network(
        input_ids=padded(0, 0),
        position_ids=padded(1, 0),
        attention_mask=_mask(owner, length, begun[0][0].dtype),
        past_key_values=cache,
        use_cache=True,
    ).logits
    return [
        _sums(logits[place], some, length) if some else []
        for place, some in enumerate(asked)
    ]


def _laid_out(
    asked: Sequence[Asked], length: int
) -> tuple[list[int], list[int], list[int]]:
    """Tokens end to end, the position of each, and whose it is."""
    ids: list[int] = []
    positions: list[int] = []
    owner: list[int] = []
    for number, one in enumerate(asked):
        own = one.ids[length:]
        ids.extend(own)
        positions.extend(range(length, len(one.ids)))
        owner.extend([number] * len(own))
    return ids, positions, owner


def _mask(owner: "torch.Tensor", length: int, dtype: "torch.dtype") -> "torch.Tensor":
    """(N, 1, T, length + T), added to attention: 0 where a token may look."""
    import torch

    count, width = owner.shape
    same = owner[:, :, None] == owner[:, None, :]
    seen = same & torch.ones_like(same).tril()
    begun = torch.ones((count, width, length), dtype=torch.bool, device=owner.device)
    closed = ~torch.cat([begun, seen], dim=2)
    mask = torch.zeros(closed.shape, dtype=dtype, device=owner.device)
    return mask.masked_fill_(closed, torch.finfo(dtype).min)[:, None]


def _sums(logits: "torch.Tensor", asked: Sequence[Asked], length: int) -> list[float]:
    """Loss of each of the candidates laid end to end in (T, V) logits."""
    import torch

    places: list[int] = []
    targets: list[int] = []
    counts: list[int] = []
    offset = 0
    for one in asked:
        before = offset + one.start - 1 - length
        own = one.ids[one.start :]
        places.extend(range(before, before + len(own)))
        targets.extend(own)
        counts.append(len(own))
        offset += len(one.ids) - length
    nll = _nll(logits[places], torch.tensor(targets, device=logits.device))
    return [float(part.sum()) for part in torch.split(nll, counts)]


def _nll(logits: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
    """(T,) negative log-likelihood, float32 on the CPU, of (T, V) logits."""
    import torch

    return torch.nn.functional.cross_entropy(
        logits.float(), targets, reduction="none"
    ).cpu()
