"""However quotas were turned and services failed before: the table is what it is.

The source is an outside package, found by its entry point.
"""

import sys

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from curation.config import parse
from curation.errors import HostBlocked, RemoteError, SourceError
from curation.pipeline import Route
from curation.shelf import Shelf

SOURCE = '''\
"""Numbered records, in pages of uneven length; fails where it is told to."""

from typing import Literal

from pydantic import Field

from curation.config import SourceSpec
from curation.sources import Candidate, Cost, Page

REMOTE = True
PER_CLASS = True
failing, given = {}, []


class Spec(SourceSpec):
    """Numbered records."""

    kind: Literal["numbered", "all_at_once"] = Field(description="numbered records")
    count: int = Field(60, description="of each class")
    of: str = Field("a", description="which photos it has")


def pages(spec, targets, *, settings, cursor, door):
    start = int(cursor or 0)
    while start < spec.count:
        if error := failing.pop((spec.of, start), None):
            raise error
        end = min(start + start % 7 + 1, spec.count)
        rows = [record(spec, one.name, n) for n in range(start, end) for one in targets]
        given.append((spec.of, targets[0].name, start))
        # a source may also end without saying so
        yield Page(rows, str(end))
        start = end


def record(spec, name, number):
    return Candidate(
        source=spec.kind,
        key=f"{spec.of}{number}",
        revision="",
        class_=name,
        url=f"https://photos.example/{spec.of}/{number}",
        photo_key=f"photo:{number * 3 if spec.of == 'b' else number}",
        licence=None if number % 11 == 3 else "CC-BY-4.0",
        observation_id=f"{name}{number // 2}",
        observer=f"{number % 5}",
        observed_on=f"2024-05-{number % 3 + 1:02d}",
    )


def cost(spec, targets, *, settings):
    return Cost({"photos.example": 1}, spec.count, "photos.example", 1000)


def again(spec, keys, *, door):
    yield from ()
'''


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """The module of the outside package."""
    site = tmp_path_factory.mktemp("site")
    (site / "numbered_source.py").write_text(SOURCE)
    whole = SOURCE.replace("PER_CLASS = True", "PER_CLASS = False")
    (site / "all_at_once_source.py").write_text(whole)
    facts = site / "numbered_source-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Name: numbered-source\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[counterset.sources]\nnumbered = numbered_source\n"
        "all_at_once = all_at_once_source\n"
    )
    sys.path.insert(0, str(site))
    import all_at_once_source
    import numbered_source

    yield {"numbered": numbered_source, "all_at_once": all_at_once_source}
    sys.path.remove(str(site))


def collected(folder, kind, *, limit=0, **collect):
    """Run it; the parts of the table, and what services failed with."""
    content = {
        "dataset": {"name": "numbers"},
        "classes": [{"name": "bear"}, {"name": "fox"}],
        "backgrounds": [{"name": n, "prompts": [n]} for n in ("snow", "grass")],
        "sources": [{"kind": kind, "of": "a"}, {"kind": kind, "of": "b"}],
        "collect": collect,
    }
    with Shelf(folder).lock() as shelf:
        config = parse(content, base=folder, name="test")
        route = Route(shelf, config, limit=limit)
        (outcome,) = route.run("collect")
        table = shelf.table_folder("collect", route.recipe("collect"))
        parts = [path.read_bytes() for path in sorted(table.glob("*.parquet"))]
        assert route.table("candidates").num_rows == outcome.rows
        return parts, route, outcome


faults = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.sampled_from([0, 1, 3, 7, 8, 10, 14, 15, 17])),
    st.sampled_from(["blocked", "failed"]),
    max_size=4,
)
quotas = st.integers(1, 40)


@examples(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    kind=st.sampled_from(["numbered", "all_at_once"]),
    runs=st.lists(st.tuples(quotas, st.integers(0, 3), faults), min_size=1, max_size=4),
    last=quotas,
)
def test_the_past_does_not_show(numbered, tmp_path_factory, kind, runs, last):
    module = numbered[kind]
    module.given.clear()
    work = tmp_path_factory.mktemp("work")
    for quota, per_day, failing in runs:
        for at, what in failing.items():
            blocked = HostBlocked("h is left alone", url="u", host="h", until=0)
            failed = SourceError("u failed", url="u", status=500)
            module.failing[at] = blocked if what == "blocked" else failed
        collected(work, kind, per_class=quota, per_observer_day=per_day)
        module.failing.clear()
    parts, route, _ = collected(work, kind, per_class=last)
    assert not route.troubles
    assert len(module.given) == len(set(module.given)), "a page was given twice"

    fresh, _, _ = collected(tmp_path_factory.mktemp("fresh"), kind, per_class=last)
    assert parts == fresh
    module.given.clear()
    again, _, outcome = collected(work, kind, per_class=last)
    assert again == parts
    assert outcome.computed == 0
    assert not module.given


def test_trouble_is_told_at_the_end_and_what_came_before_it_is_kept(numbered, tmp_path):
    module = numbered["numbered"]
    module.failing["a", 10] = HostBlocked(
        "h is left alone until noon", url="u", host="h", until=0
    )
    _, route, outcome = collected(tmp_path, "numbered", per_class=40)
    assert outcome.rows > 10
    with pytest.raises(RemoteError, match=r"until noon\. Everything else is kept"):
        route.settle()
    rows = pl.DataFrame(pl.from_arrow(route.table("candidates")))
    kept = rows.filter((pl.col("place") == 0) & (pl.col("class") == "bear"))
    assert kept.height == 10
    assert not rows.filter((pl.col("place") == 0) & (pl.col("class") == "fox")).height
    assert rows.filter((pl.col("place") == 1) & (pl.col("class") == "fox")).height
    states = {line["stage"]: line["state"] for line in route.status()}
    assert states["collect"] == "partial"
    _, route, _ = collected(tmp_path, "numbered", per_class=40)
    states = {line["stage"]: line["state"] for line in route.status()}
    assert states["collect"] == "done"


def test_the_limit_holds_for_all_sources_together(numbered, tmp_path):
    caps = {"per_observation": 5, "per_observer": 0, "per_observer_day": 0}
    _, route, _ = collected(tmp_path, "numbered", limit=4, per_class=3, **caps)
    rows = pl.DataFrame(pl.from_arrow(route.table("candidates")))
    good = rows.filter(pl.col("refused").is_null())
    counts = good.group_by("class", "place").len().sort("class", "place")
    assert counts.rows() == [
        ("bear", 0, 3),
        ("bear", 1, 1),
        ("fox", 0, 3),
        ("fox", 1, 1),
    ]
    assert numbered["numbered"].given
