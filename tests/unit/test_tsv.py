"""Tab-separated tables: every row as it is written, whatever its bytes and blocks."""

import gzip
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import InputError
from curation.sources import _tsv as tsv

HEADER = b"a\tb\tc"
FIELD = st.binary(max_size=6).map(
    lambda raw: raw.replace(b"\t", b'"').replace(b"\n", b"'").replace(b"\r", b" ")
)
ROW = st.tuples(FIELD, FIELD, FIELD)


def read(pieces, columns=("a", "c")):
    table = tsv.Table(pieces, columns, name="t.csv")
    found = [
        tuple(row[name] for name in columns)
        for block in table
        for row in block.to_pylist()
    ]
    return found, table


@given(
    rows=st.lists(ROW, max_size=30),
    end=st.sampled_from([b"\n", b"\r\n"]),
    last=st.booleans(),
    size=st.integers(1, 40),
)
def test_rows_are_read_as_written(rows, end, last, size):
    lines = [HEADER, *(b"\t".join(row) for row in rows)]
    body = end.join(lines) + (end if last else b"")
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    found, table = read(pieces)
    assert found == [(row[0], row[2]) for row in rows]
    assert (table.rows, table.ragged) == (len(rows), 0)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_are_rows_or_a_clear_error(body, size):
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    read([HEADER, b"\n", *pieces])
    with suppress(InputError):
        read(pieces)


@given(st.lists(st.integers(1, 6), max_size=40), st.integers(1, 30))
def test_ragged_rows_are_left_out_and_counted(widths, size):
    lines = [HEADER, *(b"\t".join([b"x"] * width) for width in widths)]
    body = b"\n".join(lines)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    found, table = read(pieces)
    assert len(found) == table.rows == widths.count(3)
    assert table.ragged == len(widths) - table.rows


def test_a_table_whose_rows_are_mostly_ragged_is_an_error():
    lines = [HEADER, *[b"1\t2"] * 1001, b"1\t2\t3"]
    with pytest.raises(InputError, match=r"t\.csv: 1,001 of 1,002 rows"):
        read([b"\n".join(lines)])


def test_a_missing_or_repeated_column_is_named():
    with pytest.raises(InputError, match="line 1: column c is missing; found a, b"):
        read([b"a\tb\n1\t2\n"])
    with pytest.raises(InputError, match="line 1: column a is there twice"):
        read([b"a\ta\tc\n1\t2\t3\n"])
    with pytest.raises(InputError, match="column a is missing; found a,b,c"):
        read([b"a,b,c\n1,2,3\n"])


def test_an_empty_table_and_one_with_nothing_but_its_header():
    with pytest.raises(InputError, match="is empty"):
        read([])
    assert read([HEADER])[0] == []
    assert read([b"\xef\xbb\xbf", HEADER, b"\r\n"])[0] == []


def test_a_line_without_end_is_not_read_into_memory(monkeypatch):
    monkeypatch.setattr(tsv, "BLOCK", 100)
    endless = (b"x" * 100 for _ in range(10**9))
    with pytest.raises(InputError, match="a line longer than 400 bytes"):
        read(endless)


def test_files_packed_and_not_whatever_their_names(tmp_path, monkeypatch):
    monkeypatch.setattr(tsv, "BLOCK", 7)
    body = HEADER + b'\n1\t2\t"\n4\t5\t6\n'
    halves = gzip.compress(body[:8]) + gzip.compress(body[8:])
    for name, content in (
        ("t.csv", body),
        ("t.gz", gzip.compress(body)),
        ("m", halves),
    ):
        (tmp_path / name).write_bytes(content)
        found, _ = read(tsv.pieces_of_file(tmp_path / name))
        assert found == [(b"1", b'"'), (b"4", b"6")]


def test_a_file_cut_off_or_damaged_is_an_error_not_a_short_table(tmp_path):
    body = HEADER + b"\n" + b"".join(b"%d\t2\t3\n" % one for one in range(5000))
    packed = gzip.compress(body)
    for content in (packed[:-4], packed[: len(packed) // 2], packed[:99] + b"!" * 500):
        (tmp_path / "t.gz").write_bytes(content)
        with pytest.raises(InputError, match=r"t\.csv cannot be read to its end"):
            read(tsv.pieces_of_file(tmp_path / "t.gz"))
    with pytest.raises(InputError, match="cannot be read"):
        read(tsv.pieces_of_file(tmp_path / "none"))


def test_lines_become_pieces_and_errors_pass_through():
    lines = [HEADER, *[b"1\t2\t3"] * 250_000]
    assert len(read(tsv.pieces_of_lines(lines))[0]) == 250_000

    def failing():
        yield HEADER
        raise KeyError("the service")

    with pytest.raises(KeyError, match="the service"):
        read(tsv.pieces_of_lines(failing()))


def test_columns_of_numbers_and_texts():
    body = b"a\n" + b"\n".join([b"7", b"", b"-1", b"x", b"1.5", b"9" * 30, b"\xff"])
    (block,) = tsv.Table([body + b"\n"], ["a"], name="t")
    # an empty line is no row
    assert tsv.integers(block["a"]).tolist() == [7, -1, -1, -1, -1, -1]
    assert tsv.texts(block["a"]).to_list()[-1] == "�"
    words = tsv.Words()
    first = words.numbers(block["a"])
    assert [words.known[one] for one in first][:3] == ["7", "-1", "x"]
    assert words.numbers(block["a"]).tolist() == first.tolist()
