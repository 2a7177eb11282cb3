"""The one door to the network: limits, retries, and what is never connected to.

`Door` is what sources and fetching use; nothing else in `curation` opens a connection
to a service of photos.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol


class Door(Protocol):
    """Asks services politely; safe to use from many threads at once."""

    def json(
        self,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        contact: bool = False,
    ) -> Any:  # noqa: ANN401 - what a service answers
        """A JSON answer, parsed.

        Args:
            url: without query.
            params: the query.
            contact: the service demands that we say how to reach us.

        Raises:
            ConfigError: `contact`, and none is configured.
            SourceError: failed after retries, or not JSON; `status` tells 404 apart.
            HostBlocked: the host will not answer for some time.
        """

    def lines(self, url: str) -> Iterator[bytes]:
        """Lines of a large text, decompressed when it is gzip, without their ends.

        Raises:
            SourceError: failed after retries, or the body is shorter than stated.
            HostBlocked: the host will not answer for some time.
        """

    def photo(self, url: str, *, limit: int, robots: bool = False) -> bytes:
        """Bytes of one photo, of at most `limit` bytes.

        Args:
            url: http or https.
            limit: bytes; a longer body is cut off and refused.
            robots: honour robots.txt and X-Robots-Tag: noai, noimageai.

        Raises:
            FetchError: this photo cannot be had: gone, refused, too large, not a
                picture by its bytes, an address that must not be reached.
            HostBlocked: the host will not answer for some time; nothing is said of
                this photo.
        """
