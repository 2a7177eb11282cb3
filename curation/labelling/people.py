"""Pseudonyms of annotators: the work folder holds no e-mail address.

A pseudonym is made from the address and a secret of the work folder, so it is the same
in every campaign and on every server, and whoever lacks the secret cannot try addresses
out. Someone who is in the log keeps their name, also when their account changes its
address or is closed: one person's answers must not become two persons'.
"""

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from curation.labelstudio import LabelStudio
from curation.pipeline import Route
from curation.shelf import Shelf
from curation.stages import resolve

SECRET = "annotators"
PREFIX = "ls-"
LENGTH = 8
"""Hexadecimal digits: two of 1,000 people share them once in 8,600 work folders."""

# a row's JSON has sorted keys and the quotes within its texts are escaped
_USERS = (
    ("annotator", re.compile(r'"completed_by": (\d+)')),
    ("editor", re.compile(r'"updated_by": (\d+)')),
)


class Pseudonyms:
    """Names of a server's users.

    Args:
        shelf: the work folder.
        studio: the server.
        rows: of the log `annotations`, where they were read already.
    """

    def __init__(
        self,
        shelf: Shelf,
        studio: LabelStudio,
        *,
        rows: Iterable[Mapping[str, Any]] | None = None,
    ) -> None:
        self._secret = shelf.secret(SECRET)
        self._addresses = studio.people()
        if rows is None:
            rows = shelf.read_log("annotations")
        self._names: dict[tuple[str, int], str] = {}
        for row in rows:
            for column, number in _USERS:
                found = number.search(row["raw"]) if row[column] else None
                if found:
                    user = row["campaign"], int(found[1])
                    self._names.setdefault(user, row[column])

    def name(self, user_id: int, campaign: str) -> str:
        """Pseudonym of a user as a campaign knows them."""
        key = campaign, user_id
        if key not in self._names:
            address = self._addresses.get(user_id)
            gone = f"user {user_id} of {campaign}"
            self._names[key] = self._hashed(address.lower() if address else gone)
        return self._names[key]

    def of_address(self, address: str) -> str:
        """Pseudonym of an e-mail address that is in no campaign."""
        return self._hashed(address.lower())

    def accounts(self) -> list[tuple[int, str]]:
        """Id and e-mail address of every user of the server."""
        return sorted(self._addresses.items())

    def _hashed(self, text: str) -> str:
        digest = hmac.new(self._secret, text.encode(), hashlib.sha256)
        return PREFIX + digest.hexdigest()[:LENGTH]


def who(route: Route, studio: LabelStudio) -> list[dict[str, Any]]:
    """Who is who: kept nowhere, for the one who asks.

    Returns: `annotator` (pseudonym), `email` (empty for someone without an account any
        more) and `answers` (that stand), most answers first. Someone who changed
        their address has one line, under the name of their answers.
    """
    known = Pseudonyms(route.shelf, studio)
    campaigns = {row["campaign"] for row in route.shelf.read_log("label_projects")}
    events = route.shelf.read_log("label_events")
    counts = Counter(event["annotator"] for event in resolve.latest(events))
    seen = {event["annotator"] for event in events}
    addresses: dict[str, str] = {}
    for user_id, address in known.accounts():
        names = {known.name(user_id, campaign) for campaign in campaigns} & seen
        for name in names or {known.of_address(address)}:
            addresses[name] = address
    for name in seen:
        if name.startswith(PREFIX):
            addresses.setdefault(name, "")
    rows = [
        {"annotator": name, "email": address, "answers": counts[name]}
        for name, address in addresses.items()
    ]
    return sorted(rows, key=lambda row: (-row["answers"], row["annotator"]))
