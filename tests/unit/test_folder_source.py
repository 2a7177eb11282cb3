"""The folder source: every file accounted for, nothing followed out of it."""

import os

import pytest

from curation.errors import FetchError, InputError
from curation.sources.folder import Spec, candidates, read


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos" / "bear").mkdir(parents=True)
    return tmp_path / "photos"


def spec(folder, **more):
    return Spec(kind="folder", path=folder, **more)


def listed(folder, **more):
    return {c.key: c for c in candidates(spec(folder, **more), ["bear"])}


def test_sub_folders_are_classes_and_strange_names_survive(folder):
    names = ["a b.jpg", 'it\'s "x".jpg', "new\nline.jpg", "медведь.jpg", "熊.png"]
    for name in names:
        (folder / "bear" / name).write_bytes(name.encode())
    found = listed(folder)
    assert set(found) == {f"bear/{name}" for name in names}
    for key, candidate in found.items():
        assert candidate.class_ == "bear"
        assert candidate.refused is None
        assert read(candidate.url, spec(folder), 99) == key.split("/")[1].encode()


def test_a_name_that_is_not_utf8_can_be_read_back(folder):
    (folder / "bear" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    (candidate,) = listed(folder).values()
    candidate.key.encode("utf-8")
    assert read(candidate.url, spec(folder), 9) == b"x"


def test_what_is_in_no_class_is_told_not_dropped(folder):
    (folder / "top.jpg").write_bytes(b"x")
    (folder / "cat").mkdir()
    (folder / "cat" / "c.jpg").write_bytes(b"x")
    found = listed(folder)
    assert "sub-folder of a class" in found["top.jpg"].refused
    assert "'cat' is not in dataset.toml" in found["cat/c.jpg"].refused


def test_links_are_named_and_never_followed(folder, tmp_path):
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    (folder / "bear" / "out.jpg").symlink_to(secret)
    (folder / "bear" / "self.jpg").symlink_to("self.jpg")
    (folder / "loop").symlink_to(folder)
    found = listed(folder)
    assert set(found) == {"bear/out.jpg", "bear/self.jpg", "loop"}
    for key in found:
        assert "symbolic link" in found[key].refused
        with pytest.raises(FetchError, match="symbolic link"):
            read(key, spec(folder), 9)


def test_reading_stays_in_the_folder_and_under_the_cap(folder, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    for url in ("../secret.jpg", str(tmp_path / "secret.jpg"), "bear/../../secret.jpg"):
        with pytest.raises(FetchError, match="outside the source folder"):
            read(url, spec(folder), 9)
    (folder / "bear" / "big.jpg").write_bytes(b"x" * 10)
    with pytest.raises(FetchError, match="larger than 9 bytes"):
        read("bear/big.jpg", spec(folder), 9)
    os.mkfifo(folder / "bear" / "pipe.jpg")
    with pytest.raises(FetchError, match="not a regular file"):
        read("bear/pipe.jpg", spec(folder), 9)
    with pytest.raises(FetchError, match="cannot be read"):
        read("bear/absent.jpg", spec(folder), 9)


def test_a_csv_names_files_licences_and_what_is_composed(folder):
    (folder / "bear" / "a.jpg").write_bytes(b"x")
    (folder / "photos.csv").write_text(
        "file,class,licence,author,observation_id,composed\n"
        "bear/a.jpg,bear,CC BY 4.0,Ann,o1,true\nbear/b.jpg,cat,,,,\n../x.jpg,bear,,,,\n"
    )
    found = listed(folder, csv="photos.csv", licence="CC0-1.0")
    a = found["bear/a.jpg"]
    assert (a.licence, a.author, a.observation_id) == ("CC-BY-4.0", "Ann", "o1")
    assert a.composed
    assert a.licence_text == "CC BY 4.0"
    assert found["bear/b.jpg"].licence == "CC0-1.0"
    assert "'cat'" in found["bear/b.jpg"].refused
    assert found["../x.jpg"].refused == "outside the source folder"


def test_a_csv_without_its_columns_is_an_error(folder):
    (folder / "photos.csv").write_text("path,class\na,b\n")
    with pytest.raises(InputError, match="column file is missing; found path, class"):
        listed(folder, csv="photos.csv")
    with pytest.raises(InputError, match=r"no\.csv cannot be read"):
        listed(folder, csv="no.csv")


def test_a_folder_that_is_not_there(folder):
    with pytest.raises(InputError, match="is not there"):
        listed(folder / "nowhere")


def test_a_changed_file_is_another_candidate(folder):
    path = folder / "bear" / "a.jpg"
    path.write_bytes(b"x")
    (before,) = listed(folder).values()
    path.write_bytes(b"xy")
    (after,) = listed(folder).values()
    assert before.candidate_id != after.candidate_id
