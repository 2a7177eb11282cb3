"""iNaturalist's open data: the join against a plain one, its order, bounds, faults."""

import logging
from collections import defaultdict
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation import crawls
from curation.config import Collect, Host, Http
from curation.errors import ConfigError, InputError, SourceError
from curation.http.door import HttpDoor
from curation.selection import Selection
from curation.sources import Target
from curation.sources import _open_data as open_data
from curation.sources import _tsv as tsv
from curation.sources import inaturalist_open_data as source
from tests.standins import open_data as standin
from tests.standins.server import Server

BEARS, BROWN, GOOSE = standin.BEARS, standin.BROWN_BEAR, standin.GOOSE
TARGETS = [
    Target("bear", "bear", taxa={"inaturalist": BEARS, "gbif": 1}),
    Target("brown bear", "brown bear", taxa={"inaturalist": BROWN}),
    Target("teddy", "teddy bear"),
    Target("ours too", "brown bear", taxa={"inaturalist": BROWN}),
    Target("goose", "goose", taxa={"inaturalist": GOOSE}),
]
ALL = Collect(per_class=10_000)
WORLD = standin.rows(400)


def spec(folder=None, **more):
    return source.Spec(kind="inaturalist_open_data", dumps=folder, **more)


def pages(where, *, settings=ALL, cursor=None, targets=TARGETS, door=None):
    return source.pages(where, targets, settings=settings, cursor=cursor, door=door)


def found(where, **more):
    return [one for page in pages(where, **more) for one in page.candidates]


def by_class(candidates):
    classes = defaultdict(list)
    for one in candidates:
        classes[one.class_].append(one)
    return classes


def changed(table, edit, world=WORLD):
    """The world with each row of a table edited by `edit(place, row)`."""
    rows = [{**row, **edit(at, row)} for at, row in enumerate(world[table])]
    return {**world, table: rows}


@pytest.fixture(scope="module")
def dumps(tmp_path_factory):
    return standin.write(tmp_path_factory.mktemp("dumps"), WORLD)


@pytest.fixture
def door(tmp_path):
    http = Http(attempts=3, hosts=[Host(name="127.0.0.1", private=True)])
    with HttpDoor(http, state=tmp_path / "hosts", sleep=lambda _: None) as opened:
        yield opened


def naive(grade):
    """(class, photo) → its rows' observations, by the plainest join there is."""
    below = {
        target.name: {
            row["taxon_id"]
            for row in WORLD["taxa"]
            if str(target.taxa["inaturalist"])
            in [str(row["taxon_id"]), *row["ancestry"].replace("\\", "/").split("/")]
        }
        for target in TARGETS
        if "inaturalist" in target.taxa
    }
    joined = defaultdict(list)
    for seen in WORLD["observations"]:
        if grade not in ("any", seen["quality_grade"]):
            continue
        for name in below:
            if seen["taxon_id"] in below[name]:
                for photo in WORLD["photos"]:
                    if photo["observation_uuid"] == seen["observation_uuid"]:
                        joined[name, str(photo["photo_id"])].append((seen, photo))
    return joined


@pytest.mark.parametrize("grade", ["research", "casual", "any"])
def test_every_photo_of_every_class_and_no_other(dumps, grade):
    expected = naive(grade)
    candidates = found(spec(dumps, quality_grade=grade))
    assert len(candidates) == len(expected) > 40
    for one in candidates:
        rows = expected[one.class_, one.key]
        # a photo in two observations is credited to one of them
        (seen, photo), *_ = [
            (seen, photo)
            for seen, photo in rows
            if seen["observation_uuid"] == one.observation_id
        ]
        assert one.licence_text == photo["license"]
        assert one.url.endswith(f"/{one.key}/medium.{photo['extension']}")
        assert one.observer == str(seen["observer_id"])
        assert one.observed_on == (seen["observed_on"] or None)
        names = {row["taxon_id"]: row["name"] for row in WORLD["taxa"]}
        assert one.title == names[seen["taxon_id"]]


def test_ids_are_unique_and_places_are_not_given(dumps):
    where = spec(dumps, quality_grade="any")
    candidates = found(where, settings=ALL.model_copy(update={"coordinates": "coarse"}))
    assert len({one.candidate_id for one in candidates}) == len(candidates)
    assert {(one.latitude, one.longitude) for one in candidates} == {(None, None)}
    assert {one.refused for one in candidates} == {None}
    for one in candidates:
        assert one.photo_key == f"inaturalist:{one.key}"
        assert one.source_url == f"https://www.inaturalist.org/photos/{one.key}"


def test_the_credit_line(tmp_path):
    credits = {
        1: ('Ann "the"', "ann", "CC0", 'Ann "the", no rights reserved (CC0)'),
        2: ("", "bob", "CC-BY", "© bob, some rights reserved (CC-BY)"),
        3: ("Zoë", "z", "PD", "© Zoë, some rights reserved (PD)"),
        4: (None, None, "CC-BY-NC", "© observer 4, some rights reserved (CC-BY-NC)"),
        5: (" ", "c", "CC-BY-SA", "© c, some rights reserved (CC-BY-SA)"),
        6: ("mail me: x@example.org", "d", "CC0",
            "mail me: [e-mail address left out], no rights reserved (CC0)"),
    }  # fmt: skip
    observations = [
        {
            "observation_uuid": f"00000000-0000-4000-8000-{one:012}",
            "observer_id": one,
            "taxon_id": GOOSE,
            "quality_grade": "research",
        }
        for one in credits
    ]
    photos = [
        {
            "photo_id": one,
            "observation_uuid": f"00000000-0000-4000-8000-{one:012}",
            "extension": "jpg",
            "license": licence,
        }
        for one, (_, _, licence, _) in credits.items()
    ]
    observers = [
        {"observer_id": one, "name": name, "login": login}
        for one, (name, login, _, _) in credits.items()
        if login
    ]
    tables = {"observations": observations, "photos": photos, "observers": observers}
    standin.write(tmp_path, {**WORLD, **tables})
    candidates = {int(one.key): one for one in found(spec(tmp_path))}
    assert {key: one.attribution for key, one in candidates.items()} == {
        key: line for key, (*_, line) in credits.items()
    }
    assert candidates[3].licence == "Public Domain"
    assert candidates[4].author is None
    assert candidates[1].author == 'Ann "the"'


def test_licences_and_extensions_that_cannot_be_used(tmp_path):
    odd = ["", "C", "All rights reserved", " CC-BY "]

    def edit(at, row):
        return {"license": odd[at % 4], "extension": ["jpg", "", "j/p", "../x"][at % 4]}

    standin.write(tmp_path, changed("photos", edit))
    reasons = {one.refused for one in found(spec(tmp_path))}
    assert reasons == {
        "no licence is stated",
        "licence not recognised: C",
        "licence not recognised: All rights reserved",
        "no address: its extension is '../x'",
    }


@pytest.mark.parametrize("order", ["newest", "oldest", "random"])
def test_orders(dumps, order):
    asked = Collect(per_class=10_000, order=order)
    classes = by_class(found(spec(dumps), settings=asked))
    positions = {str(row["photo_id"]): row["position"] for row in WORLD["photos"]}
    for candidates in classes.values():
        days = [one.observed_on for one in candidates]
        stated = [day for day in days if day]
        if order == "random":
            assert stated not in (sorted(stated), sorted(stated, reverse=True))
        else:
            assert stated == sorted(stated, reverse=order == "newest")
            assert not any(days[len(stated) :]), "those without a day come last"
        seen = [one.observation_id for one in candidates]
        runs = [a for a, b in zip(seen, [None, *seen], strict=False) if a != b]
        assert len(runs) == len(set(runs)), "an observation's photos come together"
        for one, after in zip(candidates, candidates[1:], strict=False):
            if one.observation_id == after.observation_id:
                assert positions[one.key] <= positions[after.key]


def test_the_seed_decides_the_random_order(dumps):
    asked = [Collect(per_class=10_000, seed=seed) for seed in (0, 0, 1, -1)]
    first, again, other, negative = (found(spec(dumps), settings=one) for one in asked)
    assert first == again
    assert first != other != negative
    assert {one.key for one in first} == {one.key for one in other}


def test_classes_take_turns_and_a_cursor_is_where_it_goes_on(dumps, monkeypatch):
    monkeypatch.setattr(source, "PAGE", 12)
    whole = list(pages(spec(dumps)))
    assert len(whole) > 5
    assert whole[-1].cursor is None
    assert {one.class_ for one in whole[0].candidates} == {
        target.name for target in TARGETS if target.taxa
    }
    for at, page in enumerate(whole[:-1]):
        assert list(pages(spec(dumps), cursor=page.cursor)) == whole[at + 1 :]
    assert found(spec(dumps)) == [one for page in whole for one in page.candidates]
    (past,) = pages(spec(dumps), cursor="99999")
    assert (list(past.candidates), past.cursor) == ([], None)
    for cursor in ("", "x", "-1", "²"):
        with pytest.raises(InputError, match="cannot be read"):
            next(pages(spec(dumps), cursor=cursor))


def passed(candidates, asked):
    rows = crawls.frame(candidates)
    names = [target.name for target in TARGETS]
    taken = Selection(asked, names).take(rows, place=0, classes=names)
    return taken.filter(pl.col("refused").is_null()).select("class", "key").rows()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    per_class=st.integers(1, 30),
    per_observation=st.integers(1, 3),
    per_observer=st.integers(0, 4),
    per_day=st.integers(0, 2),
    order=st.sampled_from(["newest", "oldest", "random"]),
    licences=st.sampled_from([["CC0-1.0"], ["CC-BY", "CC-BY-NC"], ["CC-BY-ND-4.0"]]),
)
def test_what_is_kept_is_all_that_quotas_use(
    dumps, per_class, per_observation, per_observer, per_day, order, licences
):
    asked = Collect(
        per_class=per_class,
        per_observation=per_observation,
        per_observer=per_observer,
        per_observer_day=per_day,
        order=order,
        licences=licences,
    )
    everything = found(
        spec(dumps), settings=asked.model_copy(update={"per_class": 9999})
    )
    kept = found(spec(dumps), settings=asked)
    whole, part = by_class(everything), by_class(kept)
    for name, candidates in part.items():
        assert candidates == whole[name][: len(candidates)]
    # what is judged last does not wait for more than there is
    assert passed(kept, asked) == passed(everything, asked)


def test_quotas_bound_what_is_kept(dumps):
    few = found(spec(dumps), settings=Collect(per_class=1))
    assert 12 <= len(few) < len(found(spec(dumps)))


def test_of_too_many_observations_the_first_are_kept(dumps, monkeypatch):
    for order in ("newest", "oldest", "random"):
        asked = Collect(per_class=4, order=order)
        monkeypatch.setattr(open_data, "OBSERVATIONS", 3_000_000)
        whole = by_class(
            found(spec(dumps), settings=asked.model_copy(update={"per_class": 9999}))
        )
        monkeypatch.setattr(open_data, "OBSERVATIONS", 1)
        monkeypatch.setattr(tsv, "BLOCK", 500)
        part = by_class(found(spec(dumps), settings=asked))
        for name, candidates in part.items():
            assert candidates == whole[name][: len(candidates)]
            assert len(candidates) >= 4
        monkeypatch.undo()


def test_when_hardly_any_licence_is_let_in_more_observations_are_kept(
    dumps, monkeypatch, caplog
):
    monkeypatch.setattr(open_data, "OBSERVATIONS", 1)
    bounds = set()
    keep = open_data._first

    def kept(seen, choice, cut):
        bounds.add(choice.bound)
        return keep(seen, choice, cut)

    monkeypatch.setattr(open_data, "_first", kept)
    asked = Collect(per_class=4, licences=["CC0-1.0"])
    few = passed(found(spec(dumps), settings=asked), asked)
    assert bounds == {12, 96}
    assert passed(found(spec(dumps), settings=ALL), asked) == few
    assert "too few" not in caplog.text
    monkeypatch.setattr(open_data, "_MORE", 1)
    with caplog.at_level(logging.WARNING):
        found(spec(dumps), settings=asked)
    assert "too few have photos that are let in" in caplog.text


@pytest.mark.parametrize("block", [60, 977, 5000])
def test_blocks_of_any_size_and_plain_files_give_the_same(
    dumps, tmp_path, monkeypatch, block
):
    expected = found(spec(dumps))
    standin.write(tmp_path, WORLD, packed=False)
    monkeypatch.setattr(tsv, "BLOCK", block)
    assert found(spec(tmp_path)) == expected


def test_capitals_in_uuids_and_line_ends_do_not_matter(dumps, tmp_path):
    def edit(_, row):
        return {"observation_uuid": row["observation_uuid"].upper()}

    tables = changed("photos", edit)
    for name, rows in tables.items():
        content = standin.text(name, rows, end="\r\n")
        (tmp_path / f"{name}.csv").write_bytes(content)
    assert found(spec(tmp_path)) == found(spec(dumps))


def test_uuids_that_are_equal_in_64_bits_only_are_told_apart(dumps, monkeypatch):
    expected = {one.candidate_id for one in found(spec(dumps))}
    mixed = open_data.mixed
    monkeypatch.setattr(
        "curation.sources._uuids.mixed", lambda numbers: mixed(numbers) >> 60
    )
    assert {one.candidate_id for one in found(spec(dumps))} == expected


def test_over_the_network_a_broken_connection_is_gone_on_with(dumps, door):
    bucket = standin.Bucket(WORLD)
    bucket.broken = {"/photos.csv.gz": 1, "/observations.csv.gz": 2}
    with Server(bucket) as server:
        where = spec(url=server.url, photo_url=f"{server.url}/photos")
        candidates = found(where, door=door)
        assert [one.key for one in candidates] == [
            one.key for one in found(spec(dumps))
        ]
        assert door.photo(candidates[0].url, limit=100_000).startswith(b"\xff\xd8")
        bucket.broken = {"/photos.csv.gz": 99}
        with pytest.raises(SourceError, match=r"photos\.csv\.gz"):
            found(where, door=door)
        del bucket.tables["taxa"]
        with pytest.raises(SourceError, match=r"taxa\.csv\.gz"):
            found(where, door=door)


def test_a_table_that_is_missing_or_lacks_a_column(tmp_path):
    with pytest.raises(InputError, match=r"neither taxa\.csv\.gz nor taxa\.csv"):
        found(spec(tmp_path))
    for name, column in (("observations", "observed_on"), ("photos", "license")):
        tables = dict(WORLD)
        standin.write(tmp_path, tables, packed=False)
        content = (tmp_path / f"{name}.csv").read_bytes()
        (tmp_path / f"{name}.csv").write_bytes(
            content.replace(column.encode(), b"x", 1)
        )
        with pytest.raises(InputError, match=f"{name}.csv, line 1: column {column} is"):
            found(spec(tmp_path))


def test_ragged_rows_are_left_out_and_told(dumps, tmp_path, caplog):
    standin.write(tmp_path, WORLD, packed=False)
    with (tmp_path / "photos.csv").open("ab") as file:
        file.write(b"only one field\n\xff\t\xfe\n")
    with caplog.at_level(logging.WARNING):
        assert found(spec(tmp_path)) == found(spec(dumps))
    assert "photos.csv: 2 rows left out" in caplog.text


@settings(max_examples=60, deadline=None)
@given(
    table=st.sampled_from(sorted(standin.COLUMNS)),
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4)), max_size=9),
)
def test_damaged_tables_give_candidates_or_a_clear_error(
    tmp_path_factory, table, edits
):
    folder = tmp_path_factory.mktemp("damaged")
    small = {name: rows[:60] for name, rows in WORLD.items()}
    standin.write(folder, small, packed=False)
    path = folder / f"{table}.csv"
    content = bytearray(path.read_bytes())
    for at, new in edits:
        at %= len(content)
        content[at : at + 2] = new
    path.write_bytes(content)
    try:
        candidates = found(spec(folder))
    except InputError as error:
        assert table in str(error)  # noqa: PT017 - most damage is no error
    else:
        crawls.frame(candidates)


def test_a_class_without_taxon_and_a_taxon_that_is_not_there(dumps, caplog):
    with pytest.raises(ConfigError, match="scientific_name"):
        found(spec(dumps), targets=[Target("teddy", "teddy")])
    unicorn = Target("unicorn", "unicorn", taxa={"inaturalist": 123})
    with caplog.at_level(logging.WARNING):
        assert found(spec(dumps), targets=[unicorn]) == []
    assert "class unicorn: taxon 123" in caplog.text


def test_how_records_stand(dumps, tmp_path, door):
    one, flipped, unlicensed, gone = sorted({row.key for row in found(spec(dumps))})[:4]
    texts = {row.key: row.licence_text for row in found(spec(dumps))}

    def edit(_, row):
        now = {flipped: "CC-BY-NC-ND", unlicensed: ""}.get(str(row["photo_id"]))
        return {"license": row["license"] if now is None else now}

    tables = changed("photos", edit)
    tables["photos"] = [row for row in tables["photos"] if str(row["photo_id"]) != gone]
    keys = [one, flipped, unlicensed, gone, "not a key"]
    expected = [
        (one, "there", texts[one]),
        (flipped, "there", "CC-BY-NC-ND"),
        (unlicensed, "there", None),
        (gone, "gone", None),
        ("not a key", "gone", None),
    ]
    standin.write(tmp_path, tables)
    with Server(standin.Bucket(tables)) as server:
        for where in (spec(tmp_path), spec(url=server.url)):
            stand = [
                (now.key, now.state, now.licence_text)
                for now in source.again(where, keys, door=door)
            ]
            assert stand == expected
    standin.write(tmp_path, {"photos": []})
    with pytest.raises(InputError, match="has no rows"):
        list(source.again(spec(tmp_path), keys, door=door))


def test_cost(dumps):
    asked = Collect(per_class=100)
    over = source.cost(spec(size="large"), TARGETS, settings=asked)
    assert over.requests == {"inaturalist-open-data.s3.amazonaws.com": 4}
    assert (over.photos, over.bytes) == (400, 400 * 250_000)
    assert over.photo_host == "inaturalist-open-data.s3.amazonaws.com"
    assert source.cost(spec(dumps), TARGETS, settings=asked).requests == {}


def test_the_question_is_another_when_quotas_or_tables_are(dumps, tmp_path):
    def name(where, asked):
        return crawls.identity(source, where, TARGETS, asked)

    first = name(spec(dumps), ALL)
    assert first == name(spec(dumps), ALL)
    assert first != name(spec(dumps), Collect(per_class=5))
    assert first != name(spec(standin.write(tmp_path, WORLD)), ALL)
    assert spec("dumps").located(tmp_path).dumps == tmp_path / "dumps"
    assert replace(TARGETS[0], name="x") != TARGETS[0]


@pytest.mark.network
@pytest.mark.parametrize("name", sorted(standin.COLUMNS))
def test_the_real_tables_have_the_columns(name, tmp_path):
    with HttpDoor(Http(), state=tmp_path / "hosts") as opened:
        lines = opened.lines(f"{spec().url}/{name}.csv.gz")
        header, row = next(lines), next(lines)
        lines.close()
    assert set(standin.COLUMNS[name]) <= set(header.decode().split("\t"))
    assert row.count(b"\t") == header.count(b"\t")
