"""A source that an outside package would bring: records as a JSON file lists them.

    folder = listing.installed(tmp_path / "outside")      # put it on sys.path
    listing.write(path, [{"class": "bear", "url": server.url + "/1.jpg"}, …])
    # dataset.toml: [[sources]] kind = "listing", path = "records.json"

Keys of a record: class, url, and what else `Candidate` has; `key` is its place in the
list unless given. `again` reads records.now where that is there, for a changed
records.json is another list to collect: `"gone": true` says so, another `licence_text`
that the licence changed, `"silent": true` gets no answer, and at `"blocked": HOST` it
meets a host that blocks us.
"""

import json
import time
from pathlib import Path
from typing import Literal

from pydantic import Field

from curation.config import SourceSpec
from curation.errors import HostBlocked
from curation.licences import normalise
from curation.sources import Candidate, Cost, Page, Standing

REMOTE = True
PER_CLASS = False
VERSION = 1
LICENCE = "cc-by-4.0"


class Spec(SourceSpec):
    """Records in a JSON file."""

    kind: Literal["listing"] = Field(description="records in a JSON file")
    path: Path = Field(description="the file, relative to dataset.toml")


def _records(spec, *, now=False):
    later = spec.path.with_suffix(".now")
    path = later if now and later.exists() else spec.path
    listed = json.loads(path.read_text())
    return {
        str(record.get("key", place)): record for place, record in enumerate(listed)
    }


def pages(spec, targets, *, settings, cursor, door):
    found = []
    for key, record in _records(spec).items():
        text = record.get("licence_text", LICENCE)
        found.append(
            Candidate(
                source="listing",
                key=key,
                revision=record.get("revision", ""),
                class_=record["class"],
                url=record["url"],
                photo_key=record.get("photo_key", f"url:{record['url']}"),
                author=record.get("author"),
                licence=normalise(text),
                licence_text=text,
                refused=record.get("refused"),
            )
        )
    yield Page(found, None)


def cost(spec, targets, *, settings):
    return Cost({}, len(_records(spec)), "127.0.0.1", 0)


def again(spec, keys, *, door):
    records = _records(spec, now=True)
    for key in keys:
        record = records[key]
        if record.get("blocked"):
            raise HostBlocked(
                f"{record['blocked']} is left alone",
                url="",
                host=record["blocked"],
                until=time.time() + 3600,
            )
        if record.get("silent"):
            continue
        if record.get("gone"):
            yield Standing(key, "gone")
        else:
            yield Standing(key, "there", record.get("licence_text", LICENCE))


def write(path: Path, records) -> None:
    path.write_text(json.dumps(list(records)))


def installed(folder: Path) -> Path:
    """A folder that, on sys.path, is an installed package with this source."""
    folder.mkdir(parents=True)
    info = folder / "counterset_listing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counterset-listing\n")
    (info / "entry_points.txt").write_text(
        "[counterset.sources]\nlisting = counterset_listing\n"
    )
    (folder / "counterset_listing.py").write_text(Path(__file__).read_text())
    return folder
