"""Lists of URLs: every row accounted for, clear errors, flat memory."""

import csv
import itertools
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import crawls
from curation.config import Collect, Host, Http
from curation.errors import HostBlocked, InputError
from curation.http.door import HttpDoor
from curation.sources import Target
from curation.sources import urls as source
from tests.standins.open_data import picture
from tests.standins.server import Answer, Server

TARGETS = [Target("bear", "bear"), Target("goose", "goose")]
HEADER = ["url", "class", "licence", "author", "title", "sha256"]
SHA = "ab" * 32


def write(path, rows, header=HEADER, **more):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, **more)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def write_parquet(path, rows, header=HEADER):
    columns = list(zip(*rows, strict=True))
    pq.write_table(pa.table(dict(zip(header, columns, strict=True))), path)
    return path


def pages(path, cursor=None, **more):
    spec = source.Spec(kind="urls", path=path, **more)
    return source.pages(spec, TARGETS, settings=Collect(), cursor=cursor, door=None)


def found(path, **more):
    return [one for page in pages(path, **more) for one in page.candidates]


@pytest.fixture
def listed(tmp_path):
    return [
        ["https://a.example/1.jpg", "bear", "CC BY 4.0", "Ann", 'a "b", c', SHA],
        ["http://b.example/x?y=1&z=2#f", "goose", "", "", "", ""],
        ["https://a.example/1.jpg", "goose", "cc0", "Ann", "two\nlines", SHA.upper()],
        ["https://www.inaturalist.org/photos/7", "bear", "nonsense", "", "", ""],
    ]


def test_module():
    assert (source.REMOTE, source.PER_CLASS, source.ROBOTS) == (True, False, True)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "txt"])
def test_rows_become_candidates(tmp_path, listed, suffix):
    path = tmp_path / f"list.{suffix}"
    if suffix == "parquet":
        write_parquet(path, listed)
    else:
        write(path, listed, delimiter="\t" if suffix == "tsv" else ",")
    one, two, three, four = found(path, licence="CC-BY-SA-3.0", author="Us")
    assert (one.url, one.class_, one.licence) == (listed[0][0], "bear", "CC-BY-4.0")
    assert (one.licence_text, one.author, one.title) == ("CC BY 4.0", "Ann", 'a "b", c')
    assert (one.key, one.photo_key, one.revision) == (one.url, f"url:{one.url}", SHA)
    assert (two.licence, two.author, two.title) == ("CC-BY-SA-3.0", "Us", None)
    assert (three.key, three.revision, three.licence) == (one.key, SHA, "CC0-1.0")
    assert three.title == "two lines"
    assert four.photo_key == "inaturalist:7"
    assert [row.refused for row in (one, two, three, four)] == [
        *[None] * 3,
        "licence not recognised: nonsense",
    ]
    assert len({row.candidate_id for row in (one, two, three, four)}) == 4


def test_every_column_that_is_known(tmp_path):
    values = {
        "url": "https://a.example/1.jpg",
        "class": "bear",
        "licence": "CC0",
        "author": "Ann mail@example.org",
        "source_url": "https://a.example/page",
        "title": "A title",
        "observation_id": "o1",
        "observer": "obs",
        "observed_on": "2024-02-29T10:00:00Z",
        "attribution": "Photo: Ann",
        "note": "seen twice",
        "sha256": SHA,
    }
    assert list(values) == [*source.NEEDED, *source.KNOWN]
    other = {"license": values.pop("licence"), "colour": "red"}
    (one,) = found(
        write(tmp_path / "l.csv", [[*values.values(), *other.values()]],
              [*values, *other])
    )  # fmt: skip
    assert one.licence == "CC0-1.0"
    assert one.author == "Ann [e-mail address left out]"
    assert (one.source_url, one.title) == (values["source_url"], "A title")
    assert (one.observation_id, one.observer) == ("o1", "obs")
    assert (one.observed_on, one.attribution) == ("2024-02-29", "Photo: Ann")
    assert (one.note, one.revision) == ("seen twice", SHA)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "url is empty"),
        ("   ", "url is empty"),
        ("ftp://a.example/1.jpg", "does not begin with http"),
        ("file:///etc/passwd", "does not begin with http"),
        ("/photos/1.jpg", "does not begin with http"),
        ("javascript:alert(1)", "does not begin with http"),
        ("https://ann:secret@a.example/1.jpg", "user name or password"),
        ("https://ann@a.example/1.jpg", "user name or password"),
        ("https://", "not well-formed"),
        ("https://a.example/a b.jpg", "not well-formed"),
        ("https://a.example:99999/1.jpg", "not well-formed"),
        ("http://[::1/1.jpg", "not well-formed"),
        ("https://a.example/" + "x" * 3000, "too long"),
    ],
)
def test_urls_that_cannot_be_fetched_are_told_not_dropped(tmp_path, url, reason):
    (one,) = found(write(tmp_path / "l.csv", [[url, "bear", "CC0", "", "", ""]]))
    assert reason in one.refused
    assert (one.url, one.key, one.photo_key) == ("", "row 2", None)
    assert "secret" not in repr(one)


def test_other_rows_that_can_never_become_photos(tmp_path):
    path = tmp_path / "l.csv"
    content = (
        b"url,class,licence,author,title,sha256\r\n"
        b"https://a.example/1,cat,CC0,,,\r\n"
        b"https://a.example/2,,CC0,,,\r\n"
        b"https://a.example/3,bear,,,,\r\n"
        b"https://a.example/4,bear,CC0,,,abc\r\n"
        b"https://a.example/5,bear,CC0,Andr\xe9,,\r\n"
        b"\r\n"
        b"https://a.example/6,bear\r\n"
        b"https://a.example/7,bear,CC0,a,b,,extra\r\n"
        b"https://a.example/8,bear,CC0,\xc3\x89milie,,\r\n"
    )
    path.write_bytes(b"\xef\xbb\xbf" + content)
    rows = found(path)
    assert [row.refused for row in rows] == [
        "class 'cat' is not in dataset.toml",
        "class is empty",
        "no licence is stated",
        "sha256 is not 64 hexadecimal digits",
        "line 6, column author: not UTF-8",
        "line 8: 2 fields, the header has 6",
        "line 9: 7 fields, the header has 6",
        None,
    ]
    assert (rows[4].author, rows[7].author) == ("Andr�", "Émilie")
    assert crawls.frame(rows).height == 8


def test_files_that_are_no_lists(tmp_path):
    def error(content, name="l.csv"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as caught:
            found(tmp_path / name)
        return str(caught.value)

    where = tmp_path / "l.csv"
    assert (
        error(b"") == f"{where}, line 1: column url and class is missing; found nothing"
    )
    assert "line 1: column class is missing; found url, klass" in error(b"url,klass\n")
    assert "column class is missing; found url;class" in error(b"url;class\n").replace(
        "url and ", ""
    )
    assert "column url is there twice" in error(b"url,class,url\n")
    assert "column licence is there twice" in error(b"url,class,licence,license\n")
    swallowed = b'url,class\na,b\n"' + b"x,y\n" * 100_000
    assert f"{where}, line" in error(swallowed)
    assert "not CSV: field larger" in error(swallowed)
    assert "l.parquet cannot be read" in error(b"PAR1 and no more", "l.parquet")
    with pytest.raises(InputError, match=r"none\.csv cannot be read"):
        found(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read"):
        found(tmp_path)


def test_parquet_of_other_types(tmp_path):
    path = tmp_path / "l.parquet"
    days = pa.array([19_000, None], pa.int32()).cast(pa.date32())
    table = {
        "url": pa.array(["https://a.example/1", None]),
        "class": pa.array(["bear", "bear"]).dictionary_encode(),
        "license": pa.array(["CC0", "CC0"], pa.large_string()),
        "observed_on": days,
        "observer": pa.array([17, 18]),
        "title": pa.array(["a", None], pa.string_view()),
    }
    pq.write_table(pa.table(table), path)
    one, two = found(path)
    assert (one.observed_on, one.observer, one.title) == ("2022-01-08", "17", "a")
    assert (two.refused, two.key) == ("url is empty", "row 2")
    pq.write_table(pa.table({"url": ["u"], "class": [["bear"]]}), path)
    with pytest.raises(InputError, match="column class: list<.*is not text"):
        found(path)
    pq.write_table(pa.table({"url": ["u"]}), path)
    with pytest.raises(InputError, match=r"l\.parquet: column class is missing"):
        found(path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 35])
def test_a_cursor_is_where_it_goes_on(tmp_path, monkeypatch, count, suffix):
    monkeypatch.setattr(source, "PAGE", 10)
    rows = [[f"https://a.example/{one}", "bear"] for one in range(count)]
    rows = rows or [["https://a.example/", "bear"]]
    path = tmp_path / f"l.{suffix}"
    (write_parquet if suffix == "parquet" else write)(path, rows, ["url", "class"])
    whole = list(pages(path))
    assert len(whole) == max(1, -(-count // 10))
    assert [page.cursor is None for page in whole] == [False] * (len(whole) - 1) + [
        True
    ]
    assert sum(len(page.candidates) for page in whole) == max(1, count)
    for at, page in enumerate(whole[:-1]):
        assert list(pages(path, page.cursor)) == whole[at + 1 :]
    assert [list(page.candidates) for page in pages(path, "9999")] == [[]]
    with pytest.raises(InputError, match="cannot be read"):
        next(pages(path, "x"))


def test_a_list_is_read_a_page_at_a_time(tmp_path):
    rows = ([f"https://a.example/{one}", "bear"] for one in range(20_000))
    path = write(tmp_path / "l.csv", rows, ["url", "class"])
    tracemalloc.start()
    for _ in itertools.islice(pages(path), 4):
        pass
    few = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    assert sum(len(page.candidates) for page in pages(path)) == 20_000
    assert tracemalloc.get_traced_memory()[1] < 1.5 * few
    tracemalloc.stop()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=120), st.sampled_from([b"", b"url,class,title\n"]))
def test_any_bytes_are_rows_or_a_clear_error(tmp_path_factory, content, header):
    path = tmp_path_factory.mktemp("any") / "l.csv"
    path.write_bytes(header + content)
    try:
        rows = found(path)
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017 - most content is no error
    else:
        crawls.frame(rows)


def test_cost(tmp_path):
    rows = [
        [f"https://{'ab'[one % 3 == 0]}.example/{one}", "bear"] for one in range(50)
    ]
    path = write(tmp_path / "l.csv", rows, ["url", "class"])
    spec = source.Spec(kind="urls", path=path)
    estimate = source.cost(spec, TARGETS, settings=Collect(per_class=100))
    assert (dict(estimate.requests), estimate.photos) == ({}, 50)
    assert estimate.photo_host == "a.example"
    assert source.cost(spec, TARGETS, settings=Collect(per_class=3)).photos == 6


@pytest.fixture
def door(tmp_path):
    hosts = [Host(name=name, private=True) for name in ("127.0.0.1", "localhost")]
    http = Http(attempts=2, hosts=hosts)
    with HttpDoor(http, state=tmp_path / "hosts", sleep=lambda _: None) as opened:
        yield opened


def test_how_records_stand(tmp_path, door):
    body = picture(1) + bytes(2_000_000)
    status = {"/gone": 404, "/away": 410, "/failing": 500}

    def reply(asked):
        if asked.path == "/robots.txt":
            return Answer(404)
        return Answer(status.get(asked.path, 200), body)

    names = ["there", "gone", "away", "failing", "relicensed", "unlisted"]
    with Server(reply) as server:
        keys = [f"{server.url}/{name}" for name in names]
        rows = [[key, "bear", "CC0"] for key in keys[:-2]]
        rows.append([keys[-2], "bear", "CC BY-NC 4.0"])
        path = write(tmp_path / "l.csv", rows, ["url", "class", "licence"])
        spec = source.Spec(kind="urls", path=path)
        standing = list(source.again(spec, [*keys, "row 9"], door=door))
        asked = [one.path for one in server.asked]
    assert [(now.key, now.state, now.licence_text) for now in standing] == [
        (keys[0], "there", "CC0"),
        (keys[1], "gone", None),
        (keys[2], "gone", None),
        (keys[3], "there", "CC0"),
        (keys[4], "there", "CC BY-NC 4.0"),
        (keys[5], "gone", None),
        ("row 9", "gone", None),
    ]
    assert asked.count("/there") == 1
    assert "/unlisted" not in asked


class Refusing:
    """A door of which one host is shut."""

    def photo(self, url, *, limit, robots=False):
        assert robots
        if "//shut." in url:
            raise HostBlocked("shut", url=url, host="shut.example", until=1.0)
        return b"\xff"


def test_a_host_that_is_shut_does_not_stop_the_others(tmp_path):
    keys = [
        f"https://{name}.example/{one}"
        for one in range(40)
        for name in ("open", "shut")
    ]
    path = write(tmp_path / "l.csv", [[key, "bear"] for key in keys], ["url", "class"])
    spec = source.Spec(kind="urls", path=path)
    standing = source.again(spec, keys, door=Refusing())
    said = [next(standing).key for key in keys if "open" in key]
    with pytest.raises(HostBlocked):
        next(standing)
    assert said == [key for key in keys if "open" in key]
