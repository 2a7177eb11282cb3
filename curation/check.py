"""Verify a work folder: photos, tables, logs, release."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import InputError
from curation.pipeline import MAKER, Route
from curation.schemas import conform
from curation.shelf import LOGS


def check(route: Route) -> list[dict[str, str]]:
    """Every fault found: what is wrong, where, and what to do.

    What can be made again is discarded, so that the next run makes it: parts that
    cannot be read, a changed release, and photos whose bytes are gone or changed, which
    are noted as lost in the log of fetches. Logs of people's answers are never touched.
    """
    return [
        *_logs(route),
        *_photos(route),
        *_parts(route),
        *_crawls(route),
        *_stale(route),
        *_release(route),
    ]


def _fault(what: str, where: str, do: str) -> dict[str, str]:
    return {"what": what, "where": where, "do": do}


def _logs(route: Route) -> list[dict[str, str]]:
    faults = []
    for name in LOGS:
        try:
            route.shelf.read_log(name)
        except InputError as error:
            faults.append(_fault("corrupt log", str(error), "mend that line by hand"))
    return faults


def _photos(route: Route) -> list[dict[str, str]]:
    route.shelf.tidy()
    if route.fingerprint("photos") is None:
        return []
    faults, lost = [], set()
    for photo_id in route.table("photos").column("photo_id").to_pylist():
        path = route.shelf.blob(photo_id)
        where = str(path.relative_to(route.shelf.folder))
        do = "run again: it will be fetched anew"
        if not path.exists():
            faults.append(_fault("photo missing", where, do))
            lost.add(photo_id)
        elif hashlib.sha256(path.read_bytes()).hexdigest() != photo_id:
            faults.append(_fault("photo changed", where, do))
            path.unlink()
            lost.add(photo_id)
    rows = [row for row in route.shelf.read_log("fetches") if row["status"] == "ok"]
    again = {row["candidate_id"]: row for row in rows if row["photo_id"] in lost}
    if again:
        route.shelf.append(
            "fetches", [row | {"status": "lost"} for row in again.values()]
        )
    return faults


def _parts(route: Route) -> list[dict[str, str]]:
    faults = []
    names = {step: name for name, step in MAKER.items()}
    for path in route.shelf.parts():
        where = str(path.relative_to(route.shelf.folder))
        try:
            conform(pq.read_table(path), names[path.parent.parent.name])
        except (OSError, pa.ArrowInvalid, InputError) as error:
            recipe, step = path.parent.name, path.parent.parent.name
            route.shelf.discard(step, recipe, part=path)
            do = f"discarded; run again to make it anew ({error})"
            faults.append(_fault("table part unreadable", where, do))
    return faults


def _crawls(route: Route) -> list[dict[str, str]]:
    faults = []
    for part in route.shelf.crawl_parts():
        where = str(part.path.relative_to(route.shelf.folder))
        try:
            pq.ParquetFile(part.path).read()
        except (OSError, pa.ArrowInvalid) as error:
            part.path.unlink()
            do = f"discarded; run again to ask the source from there on ({error})"
            faults.append(_fault("crawl part unreadable", where, do))
    return faults


def _stale(route: Route) -> list[dict[str, str]]:
    return [
        _fault(f"table {line['state']}", line["stage"], "run again")
        for line in route.status()
        if line["state"] in ("stale", "partial")
    ]


def _release(route: Route) -> list[dict[str, str]]:
    from curation import release

    folder = route.shelf.folder / "release"
    if not folder.exists():
        return []
    try:
        wrong = release.verify(folder)
    except InputError as error:
        return [_fault("release incomplete", str(error), "run again")]
    if wrong:
        route.shelf.discard("release", route.recipe("release"))
    return [
        _fault("release file missing or changed", name, "run again") for name in wrong
    ]
