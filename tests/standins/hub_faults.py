"""Faults a test asks the stand-in Hub for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Cut = Literal["early", "before", "after"]


@dataclass(slots=True)
class Fault:
    """What happens to some requests.

    Attributes:
        path: regular expression searched in the path.
        method: empty: every method.
        skip: how many matching requests pass first.
        times: how many are hit after those; None: all.
        status: answered instead of the request being processed.
        headers: sent with `status`.
        message: sent with `status`, as the Hub sends messages.
        cut: the connection is closed: `early`, with half of the body read; `before`,
            with the body read and nothing done; `after` all was done, without a reply.
        delay: seconds before anything else.
        hits: how often it happened.
    """

    path: str = ""
    method: str = ""
    skip: int = 0
    times: int | None = 1
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "a fault of the test"
    cut: Cut | None = None
    delay: float = 0.0
    hits: int = 0
    seen: int = 0

    def hit(self, method: str, path: str) -> bool:
        """Whether this request is hit; counts it."""
        if self.method not in ("", method) or not re.search(self.path, path):
            return False
        self.seen += 1
        if self.seen <= self.skip:
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True
