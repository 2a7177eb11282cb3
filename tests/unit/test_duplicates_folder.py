"""A folder's files are listed, hashed and told, whatever is in it and whoever dies."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation import filenames
from curation.duplicates import compare, findings, folder, gallery, hashing, tables
from curation.duplicates.crew import Crew
from curation.duplicates.findings import Cluster, Findings, Member, Photo, Suggestion
from curation.errors import InputError
from curation.schemas import from_rows
from tests import hostile_folder
from tests.crewed import divided, twice

HOW = folder.How(hashing.FAST)


# --- processes ----------------------------------------------------------------------


def died(item: int, how: str) -> str:
    return f"{item}: {how}"


def parts(count: int, size: int) -> list[list[int]]:
    return [list(range(at, min(at + size, count))) for at in range(0, count, size)]


@pytest.mark.parametrize(("jobs", "size"), [(1, 4), (3, 1), (2, 5)])
def test_one_death_costs_nothing_and_two_cost_one_item(tmp_path, jobs, size):
    for deaths, expected in ((0, 14), (1, 14), (2, "7: signal SIGSEGV")):
        places = tmp_path / str(deaths)
        places.mkdir()
        work = partial(twice, places=str(places), deaths=deaths)
        with Crew(jobs) as crew:
            found = list(crew.each(work, iter(parts(20, size)), died=died))
        assert [len(part) for part in found] == [len(part) for part in parts(20, size)]
        flat = [one for part in found for one in part]
        assert flat == [expected if item == 7 else 2 * item for item in range(20)]


def test_a_bug_of_ours_is_no_bad_file():
    with Crew(1) as crew, pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(crew.each(divided, [[0]], died=died))


def test_a_crew_works_again_after_somebody_stopped_listening():
    work = partial(twice, places="/nowhere", deaths=0)
    with Crew(2) as crew:
        for part in crew.each(work, parts(40, 2), died=died):
            assert part == [0, 2]
            break
        again = crew.each(work, parts(6, 2), died=died)
        assert [one for part in again for one in part] == [0, 2, 4, 6, 8, 10]


def test_processes_killed_while_they_wait_are_replaced():
    work = partial(twice, places="/nowhere", deaths=0)
    with Crew(2) as crew:
        assert list(crew.each(work, parts(4, 1), died=died)) == [[0], [2], [4], [6]]
        for process in crew._idle:
            process._process.kill()
            process._process.wait()
        again = crew.each(work, parts(4, 1), died=died)
        assert list(again) == [[0], [2], [4], [6]]


def test_nothing_to_do():
    with Crew(2) as crew:
        assert list(crew.each(divided, [], died=died)) == []


# --- listing ------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=40).filter(lambda b: not {0, 47} & set(b)))
def test_any_name_is_told_as_text_and_found_again(raw):
    path = Path(os.fsdecode(raw))
    name = filenames.encoded(path)
    name.encode()  # it is text
    assert os.fsencode(filenames.decoded(name)) == os.fsencode(path)


def test_what_is_listed_and_what_is_refused(tmp_path):
    place = hostile_folder.build(tmp_path / "photos")
    listing = folder.listed(place)
    names = [file.name for file in listing.files]
    assert names == sorted(names, key=lambda name: os.fsencode(filenames.decoded(name)))
    links = [name for name, why in hostile_folder.BAD.items() if "folder" in why]
    assert {*links, "self.jpg", "dangling.jpg", "pipe.jpg"} == dict(
        listing.refused
    ).keys()
    assert listing.hidden == hostile_folder.HIDDEN


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "no such folder"),
        (lambda path: path.write_text("x"), "not a folder"),
        (lambda path: path.symlink_to("nowhere"), "not a folder"),
    ],
)
def test_what_is_no_folder_is_told(tmp_path, make, told):
    make(tmp_path / "x")
    with pytest.raises(InputError, match=told):
        folder.listed(tmp_path / "x")


def test_a_folder_named_by_a_link_is_read(tmp_path):
    place = tmp_path / "real"
    place.mkdir()
    hostile_folder.original(0).save(place / "a.jpg")
    (tmp_path / "link").symlink_to(place)
    listing = folder.listed(tmp_path / "link")
    assert [file.name for file in listing.files] == ["a.jpg"]


# --- hashing ------------------------------------------------------------------------


def _rows(listing: folder.Listing, jobs: int = 1, how: folder.How = HOW) -> list[dict]:
    with Crew(jobs) as crew:
        return [row for part in folder.rows(listing, crew, how) for row in part]


@pytest.mark.parametrize("path", [hashing.FAST, hashing.FULL])
def test_rows_are_those_of_hashing(tmp_path, path):
    for place in range(5):
        hostile_folder.original(place).save(tmp_path / f"{place}.jpg")
    (tmp_path / "again.jpg").write_bytes((tmp_path / "3.jpg").read_bytes())
    rows = _rows(folder.listed(tmp_path), how=folder.How(path))
    data = [(tmp_path / row["name"]).read_bytes() for row in rows]
    whole = hashing.rows(data, path=path, max_pixels=10**8)
    for row, other in zip(rows, whole, strict=True):
        assert {name: row[name] for name in ("phash", "dhash", "thumb", "pixels")} == {
            name: other[name] for name in ("phash", "dhash", "thumb", "pixels")
        }
        assert (row["width"], row["height"], row["frames"]) == (480, 360, 1)


def test_files_that_change_while_they_are_read(tmp_path):
    for name in ("gone", "pipe", "link", "cut"):
        hostile_folder.original(0).save(tmp_path / f"{name}.jpg")
    listing = folder.listed(tmp_path)
    for name in ("gone", "pipe", "link"):
        (tmp_path / f"{name}.jpg").unlink()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("cut.jpg")
    os.truncate(tmp_path / "cut.jpg", 900)
    rows = _rows(listing)
    told = {row["name"]: row["error"] for row in rows if row["status"] == "failed"}
    assert told.keys() == {"gone.jpg", "pipe.jpg", "link.jpg", "cut.jpg"}
    assert "gone since" in told["gone.jpg"]
    assert "not a regular file" in told["pipe.jpg"]
    assert "truncated" in told["cut.jpg"]
    assert "symbolic link" in told["link.jpg"]


def test_a_file_too_large_is_not_read(tmp_path):
    with (tmp_path / "big.jpg").open("wb") as file:
        file.write(b"\xff\xd8\xff")
        file.truncate(folder.MAX_BYTES + 1)  # sparse: it takes no room
    with (tmp_path / "film.mp4").open("wb") as file:
        file.truncate(folder.MAX_BYTES + 1)
    rows = _rows(folder.listed(tmp_path))
    assert [row["status"] for row in rows] == ["failed", folder.IGNORED]
    assert "too large" in rows[0]["error"]


def test_pixels_of_files_that_changed_are_not_compared(tmp_path):
    hostile_folder.original(0).save(tmp_path / "a.png")
    row = _rows(folder.listed(tmp_path))[0]
    path = str(tmp_path / "a.png")
    with Crew(1) as crew:
        first = folder.pixels([(path, row["sha256"])], crew, HOW)
        hostile_folder.original(1).save(tmp_path / "a.png")
        assert folder.pixels([(path, row["sha256"])], crew, HOW) == [None]
    assert first == [hashing.pixels_sha256(hostile_folder.original(0))]


# --- tables -------------------------------------------------------------------------


def _some_rows(tmp_path: Path) -> list[dict]:
    for place in range(3):
        hostile_folder.original(place).save(tmp_path / f"{place}.jpg")
    (tmp_path / "text.jpg").write_text("no picture")
    return _rows(folder.listed(tmp_path))


def test_a_table_comes_back_as_it_was_written(tmp_path):
    rows = _some_rows(tmp_path)
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    assert tables.write(first, iter(rows)) == 4
    assert tables.write(second, rows) == 4
    assert first.read_bytes() == second.read_bytes()
    found = tables.read(first)
    assert found.equals(tables.table(rows))
    assert found["status"].to_pylist() == ["ok", "ok", "ok", "failed"]
    tables.write(first, rows[:1])  # a hash table may be replaced
    assert len(tables.read(first)) == 1
    assert not list(tmp_path.glob(".*"))


def test_files_that_are_no_hash_tables_are_told_and_kept(tmp_path):
    (tmp_path / "text.parquet").write_text("hello")
    pq.write_table(pa.table({"name": ["a"], "phash": [1]}), tmp_path / "other.parquet")
    (tmp_path / "folder.parquet").mkdir()
    for name, told in (
        ("text", "no Parquet file"),
        ("other", "lacks status"),
        ("folder", "is a folder"),
    ):
        with pytest.raises(InputError, match=told) as read:
            tables.read(tmp_path / f"{name}.parquet")
        assert "counterset hash FOLDER --out" in str(read.value)
        with pytest.raises(InputError, match=told):
            tables.write(tmp_path / f"{name}.parquet", [])
    with pytest.raises(InputError, match="no such hash table"):
        tables.read(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="cannot be written"):
        tables.write(tmp_path / "no folder" / "x.parquet", [])
    assert (tmp_path / "text.parquet").read_text() == "hello"


@pytest.mark.parametrize(
    ("column", "value"),
    [("phash", [1, 2]), ("thumb", b"short"), ("sha256", None), ("path", None)],
)
def test_a_table_whose_rows_cannot_be_compared_is_told(tmp_path, column, value):
    rows = _some_rows(tmp_path)
    rows[1][column] = value
    tables.write(tmp_path / "x.parquet", rows)
    with pytest.raises(InputError, match=f"damaged: rows that are ok lack {column}"):
        tables.read(tmp_path / "x.parquet")
    data = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(data[:-200])
    with pytest.raises(InputError, match="no Parquet file"):
        tables.read(tmp_path / "x.parquet")


# --- what is told -------------------------------------------------------------------


def photo(name: str, sha256: str = "", size: int = 1000) -> Photo:
    return Photo(name, name, sha256 or name, size, 4, 3, "JPEG", 1)


def _decided(*rows: tuple[str, str, str, str, str | None, float]) -> pa.Table:
    names = ("photo_id", "keeper", "decision", "reason", "variant", "distance")
    return from_rows([dict(zip(names, row, strict=True)) for row in rows], "duplicates")


def test_names_of_the_same_bytes_are_members_of_their_keeper():
    same = {
        "A": [photo("a1", "A"), photo("a2", "A")],
        "B": [photo("b1", "B"), photo("b2", "B")],
        "C": [photo("c", "C")],
        "D": [photo("d", "D")],
        "E": [photo("e", "E")],
    }
    table = _decided(
        ("B", "A", "merge", "perceptual", "mirror", 2.0),
        ("C", "A", "merge", "perceptual", "identity", 2.0),
        ("D", "A", "suggest", "embedding", None, 0.01),
        ("E", "A", "merge", "confirmed", "identity", 8.0),
    )
    clusters, suggestions = compare.assembled(table, same, equal={("A", "C")})
    assert [cluster.keeper.name for cluster in clusters] == ["a1"]
    told = [
        (one.photo.name, one.reason, one.distance, one.variant, one.twin)
        for one in clusters[0].members
    ]
    assert told == [
        ("a2", "bytes", 0.0, "identity", None),
        ("b1", "perceptual", 2.0, "mirror", None),
        ("b2", "perceptual", 2.0, "mirror", "b1"),
        ("c", "pixels", 0.0, "identity", None),
        ("e", "embedding", 8.0, "identity", None),  # JSON's word for it
    ]
    assert [(one.a.name, one.b.name, one.score) for one in suggestions] == [
        ("a1", "d", 0.99)
    ]


def _found(**more: object) -> Findings:
    empty = dict.fromkeys(
        ("failed", "clusters", "suggestions", "leaks", "animated", "against"), ()
    )
    return Findings(
        **{
            "folder": Path("photos"),
            "photos": 0,
            "ignored": 0,
            "hidden": 0,
            "path": "p",
        }
        | empty
        | more
    )


def test_text_is_bounded_and_its_lines_are_lines():
    members = [Member(photo(f"{n}"), "bytes", 0.0, "identity") for n in range(9999)]
    many = [Cluster(photo(f"keep{n}"), members[:1]) for n in range(500)]
    failed = [(f"bad\n\x1b[31m{n}.jpg", "truncated") for n in range(700)]
    text = findings.text(
        _found(photos=20_000, clusters=[Cluster(photo("x"), members), *many],
               failed=failed)
    )  # fmt: skip
    assert "… and 9,987 more" in text
    assert "… and 441 clusters more" in text
    assert "… and 640 more" in text
    assert "\x1b" not in text
    assert len(text.splitlines()) < 400
    assert "20,000 photos compared, 700 not (named above)" in text
    assert "501 clusters: 10,499 of the photos could go (10,499 same bytes)" in text


def test_an_empty_folder_and_one_without_copies_in_words():
    assert (
        findings.text(_found(ignored=2))
        == "no pictures in photos (2 files no pictures)"
    )
    assert findings.text(_found(photos=1)).splitlines()[-1] == "nothing is there twice"


def test_a_page_is_bounded_and_says_what_it_leaves_out():
    members = [Member(photo(f"{n}"), "bytes", 0.0, "identity") for n in range(20_000)]
    many = [Cluster(photo(f"keep{n}"), members[:3]) for n in range(20_000)]
    pairs = [Suggestion(photo("a"), photo("b"), "embedding", 0.01, None)] * 20_000
    failed = [(f"{n}.jpg", "truncated") for n in range(20_000)]
    found = _found(
        photos=100_000, clusters=[Cluster(photo("x"), members), *many],
        suggestions=pairs, failed=failed,
    )  # fmt: skip
    page = gallery.render(found, {})
    assert len(page) < 2_000_000
    assert "19,601 more are left out here" in page
    assert "19,880 more are left out here" in page
    assert "19,500 more are left out here" in page
    assert "19,963 more" in page  # members of the large cluster


def test_what_differs_most_is_shown_first():
    def cluster(name: str, reason: str, distance: float) -> Cluster:
        return Cluster(photo(name), [Member(photo("m"), reason, distance, "identity")])

    shown = gallery.ordered(
        [
            cluster("equal", "bytes", 0.0),
            cluster("near", "perceptual", 2.0),
            cluster("pixels", "pixels", 0.0),
            cluster("far", "perceptual", 8.0),
        ]
    )
    assert [one.keeper.name for one in shown] == ["far", "near", "pixels", "equal"]


def test_names_are_strangers_words_on_the_page():
    evil = "<script>alert(1)<script>\"'><img src=x onerror=alert(1)>.jpg"
    cluster = Cluster(photo(evil), [Member(photo("b"), "bytes", 0.0, "identity", evil)])
    leak = findings.Leak(photo(evil), evil, evil, "perceptual", 2.0, "mirror")
    page = gallery.render(
        _found(photos=2, clusters=[cluster], failed=[(evil, evil)], leaks=[leak],
               animated=[(evil, 2)], against=[evil], folder=Path(evil)),
        {evil: gallery.Thumb("data:image/jpeg;base64,AA", 4, 3)},
    )  # fmt: skip
    assert "<script" not in page
    assert "<img src=x" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 8


def test_small_pictures_are_upright_and_those_that_changed_are_left_out(tmp_path):
    picture = hostile_folder.original(4, (480, 360))
    pixels = np.asarray(picture.resize((240, 180))).astype(float)
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    picture.save(tmp_path / "plain.jpg", quality=95)
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    rows = _rows(folder.listed(tmp_path))
    files = [(str(tmp_path / row["name"]), row["sha256"]) for row in rows]
    for thumb in gallery.small(files, how=HOW):
        assert (thumb.width, thumb.height) == (240, 180)
        shown = np.asarray(Image.open(_data(thumb.uri)).convert("RGB")).astype(float)
        assert np.abs(shown - pixels).mean() < 12
    changed = gallery.small([(files[0][0], "0" * 64)], how=HOW)[0]
    assert (changed.uri, changed.why) == ("", "changed since it was compared")


def _data(uri: str) -> object:
    import base64
    import io

    return io.BytesIO(base64.b64decode(uri.partition(",")[2]))
