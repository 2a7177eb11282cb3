"""How much each host is asked: what services say of themselves, or what we chose.

`http.hosts` in dataset.toml replaces the limits of a host by the user's own. A host
that neither names has no limits, and costs no bookkeeping.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from curation.config import Host

GB = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a host, or of several hosts that share a budget; None: no limit.

    Attributes:
        budget: what is counted together.
        per_minute: requests.
        per_day: requests.
        bytes_per_hour: bytes received.
        bytes_per_day: bytes received.
        at_once: requests in one process that may be under way at the same time.
        media: the limits on bytes are for photos; tables of records do not count.
    """

    budget: str
    per_minute: float | None = None
    per_day: int | None = None
    bytes_per_hour: int | None = None
    bytes_per_day: int | None = None
    at_once: int | None = None
    media: bool = False

    @property
    def counted(self) -> bool:
        """Whether anything must be remembered."""
        return any(
            limit is not None
            for limit in (
                self.per_minute,
                self.per_day,
                self.bytes_per_hour,
                self.bytes_per_day,
            )
        )


_INATURALIST_MEDIA = Limits(
    # "5 GB of media per hour, 24 GB per day", whichever host serves it
    budget="inaturalist media",
    bytes_per_hour=5 * GB,
    bytes_per_day=24 * GB,
    media=True,
)
BUILT_IN: dict[str, Limits] = {
    # asks for 60 a minute and fewer than 10,000 a day; at exactly 60 it answers 429
    "api.inaturalist.org": Limits(
        budget="api.inaturalist.org", per_minute=55, per_day=9_999
    ),
    "inaturalist-open-data.s3.amazonaws.com": _INATURALIST_MEDIA,
    "static.inaturalist.org": _INATURALIST_MEDIA,
    # states no number for searches, one connection for its image cache; ours
    "api.gbif.org": Limits(budget="api.gbif.org", per_minute=60, at_once=1),
    # asks for one request after the other; the rate is ours
    "commons.wikimedia.org": Limits(
        budget="commons.wikimedia.org", per_minute=60, at_once=1
    ),
    "upload.wikimedia.org": Limits(
        budget="upload.wikimedia.org", per_minute=120, at_once=2
    ),
    # what its answers' headers allow to anonymous users
    "api.openverse.org": Limits(budget="api.openverse.org", per_minute=20, per_day=200),
}


def table(hosts: Iterable[Host]) -> dict[str, Limits]:
    """Limits by host name: the user's in place of the built-in ones."""
    found = dict(BUILT_IN)
    for host in hosts:
        name = host.name.lower().strip("[]").rstrip(".")
        own = BUILT_IN.get(name)
        found[name] = Limits(
            budget=name,
            per_minute=host.per_minute,
            per_day=host.per_day,
            bytes_per_hour=host.bytes_per_hour,
            bytes_per_day=host.bytes_per_day,
            at_once=own.at_once if own else None,
        )
    return found
