"""Pictures for annotators: which file is shown, where it is put, who gets it."""

import hashlib
import io
import socket
import threading
from types import SimpleNamespace

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation.config import parse
from curation.errors import ConfigError, InputError, LabelStudioError
from curation.labelling import images, pictures, serve
from curation.labelstudio import Picture
from curation.pipeline import Route
from curation.schemas import from_rows
from curation.shelf import Shelf
from evaluation.images import decode, sniff

CONFIG = {
    "dataset": {"name": "zoo"},
    "classes": [{"name": "bear"}],
    "backgrounds": [
        {"name": "snow", "prompts": ["snow"]},
        {"name": "grass", "prompts": ["grass"]},
    ],
    "sources": [{"kind": "folder", "path": "photos", "licence": "CC0-1.0"}],
}


def picture(mode="RGB", size=(120, 80), seed=0) -> Image.Image:
    gradient = Image.linear_gradient("L").resize(size).point(lambda v: (v + seed) % 256)
    flat = Image.new("L", size, 90)
    image = Image.merge("RGB", (gradient, flat, gradient.transpose(1)))
    if mode == "I;16":
        return gradient.convert("I").point(lambda v: v * 200).convert("I;16")
    return image.convert(mode)


def file(format="JPEG", mode="RGB", size=(120, 80), seed=0, **options) -> bytes:
    sink = io.BytesIO()
    picture(mode, size, seed).save(sink, format, **options)
    return sink.getvalue()


def turned(format: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return file(format, exif=exif)


def world(folder, files: list[bytes], **labels) -> tuple[Route, list[str]]:
    """A work folder that holds photos, and their ids."""
    config = parse(CONFIG | {"labels": labels}, base=folder, name="test")
    shelf = Shelf(folder / "work")
    rows = []
    with shelf.lock():
        for place, data in enumerate(files):
            photo_id = hashlib.sha256(data).hexdigest()
            shelf.add_photo(photo_id, data)
            head = sniff(data)
            rows.append(
                {
                    "photo_id": photo_id,
                    "candidate_id": photo_id,
                    "class": "bear",
                    "classes": ["bear"],
                    "observation_id": photo_id,
                    "composed": False,
                    "bytes": len(data),
                    "format": head.format,
                    "width": head.width,
                    "height": head.height,
                    "order": place,
                }  # fmt: skip
            )
        route = Route(shelf, config)
        shelf.write_table("fetch", route.recipe("fetch"), from_rows(rows, "photos"))
    return route, [row["photo_id"] for row in rows]


SHOWN = {
    "jpeg": (file(), "jpg"),
    "grey": (file(mode="L"), "jpg"),
    "turned jpeg": (turned("JPEG"), "jpg"),
    "png": (file("PNG"), "png"),
    "palette": (file("PNG", "P"), "png"),
    "webp": (file("WEBP"), "webp"),
    "gif": (file("GIF"), "gif"),
}
MADE = {
    "tiff": file("TIFF"),
    "turned tiff": turned("TIFF"),
    "bmp": file("BMP"),
    "cmyk": file(mode="CMYK"),
    "16 bit": file("PNG", "I;16"),
    "turned png": turned("PNG"),
    "turned webp": turned("WEBP"),
    "avif": file("AVIF"),
    "large": file("PNG", "L", size=(6000, 3500)),
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_browsers_show_is_linked(tmp_path, name):
    data, suffix = SHOWN[name]
    route, (photo,) = world(tmp_path, [data])
    address = images.place(route, [photo])[photo]
    assert address == f"/data/local-files/?d=zoo/{photo}.{suffix}"
    path = images.documents(route) / "zoo" / f"{photo}.{suffix}"
    assert path.samefile(route.shelf.blob(photo))
    assert pictures.shown(data) == (data, pictures.KIND[suffix])


@pytest.mark.parametrize("name", MADE)
def test_of_everything_else_an_upright_jpeg_is_made(tmp_path, name):
    data = MADE[name]
    route, (photo,) = world(tmp_path, [data])
    assert images.place(route, [photo])[photo].endswith(f"/{photo}.jpg")
    written = (images.documents(route) / "zoo" / f"{photo}.jpg").read_bytes()
    head, upright = sniff(written), decode(data)
    assert (head.format, head.mode, head.orientation) == ("JPEG", "RGB", 1)
    if name == "large":
        assert max(head.width, head.height) == 4096
        upright = upright.resize((head.width, head.height))
    else:
        assert (head.width, head.height) == upright.size
    small = (16, 16)
    pairs = zip(
        decode(written).resize(small).tobytes(),
        upright.resize(small).tobytes(),
        strict=True,
    )
    assert max(abs(one - other) for one, other in pairs) < 12
    assert pictures.shown(data) == (written, "image/jpeg")


def test_a_header_behind_64_kb_is_found(tmp_path):
    long = file(icc_profile=b"x" * 200_000)
    cmyk = file(mode="CMYK", icc_profile=b"x" * 200_000)
    assert min(len(long), len(cmyk)) > 2 * pictures.HEAD
    route, photos = world(tmp_path, [long, cmyk])
    images.place(route, photos)
    home = images.folder(route)
    assert (home / f"{photos[0]}.jpg").samefile(route.shelf.blob(photos[0]))
    assert sniff((home / f"{photos[1]}.jpg").read_bytes()).mode == "RGB"


def test_placed_again_nothing_is_touched_and_faults_are_mended(tmp_path):
    files = [file(seed=seed) for seed in range(3)] + [MADE["cmyk"], MADE["tiff"]]
    route, photos = world(tmp_path, files)
    first = images.place(route, photos)
    home = images.folder(route)
    before = {path.name: path.stat().st_mtime_ns for path in home.iterdir()}
    assert len(before) == 5
    assert images.place(route, photos) == first
    assert {p.name: p.stat().st_mtime_ns for p in home.iterdir()} == before
    for photo in (photos[0], photos[4]):
        path = home / f"{photo}.jpg"
        path.unlink()
        path.write_bytes(b"half")
    images.place(route, photos)
    assert (home / f"{photos[0]}.jpg").read_bytes() == files[0]
    assert sniff((home / f"{photos[4]}.jpg").read_bytes()).format == "JPEG"
    assert route.shelf.read_photo(photos[0]) == files[0]


def test_a_copy_where_linking_is_impossible(tmp_path, monkeypatch):
    import errno
    import os

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    route, (photo,) = world(tmp_path, [file()])
    monkeypatch.setattr(os, "link", refuse)
    images.place(route, [photo])
    path = images.folder(route) / f"{photo}.jpg"
    assert path.read_bytes() == file()
    assert not path.samefile(route.shelf.blob(photo))
    stamp = path.stat().st_mtime_ns
    images.place(route, [photo])
    assert path.stat().st_mtime_ns == stamp


def test_pictures_of_photos_taken_down_go(tmp_path):
    route, photos = world(
        tmp_path, [file(seed=1), file(seed=2)], documents=tmp_path / "shared"
    )
    images.place(route, photos)
    route.append("takedowns", [{"photo_id": photos[0], "records": []}])
    assert [*images.place(route, photos)] == photos[1:]
    left = [path.name for path in (tmp_path / "shared" / "zoo").iterdir()]
    assert left == [f"{photos[1]}.jpg"]


def test_purging_a_photo_takes_its_picture_along(tmp_path):
    route, photos = world(tmp_path, [file(seed=1), MADE["tiff"]])
    images.place(route, photos)
    for photo in photos:
        route.shelf.purge(photo)
    assert [*images.folder(route).iterdir()] == []


def test_a_photo_that_is_not_there_is_said(tmp_path):
    route, (photo,) = world(tmp_path, [file()])
    with pytest.raises(InputError, match="not in this work folder"):
        images.place(route, ["0" * 64])
    route.shelf.blob(photo).unlink()
    with pytest.raises(InputError, match="its blob cannot be read"):
        images.place(route, [photo])
    route.shelf.add_photo(photo, b"\xff\xd8\xff damaged")
    with pytest.raises(InputError, match=r"cannot be decoded.*counterset check"):
        images.place(route, [photo])


def test_the_servers_path_of_the_folder(tmp_path):
    route, _ = world(tmp_path, [file()], documents=tmp_path / "there")
    assert images.on_server(route) == str(tmp_path / "there" / "zoo")
    route, _ = world(tmp_path, [file()], documents_on_server="/label-studio/files/")
    assert images.on_server(route) == "/label-studio/files/zoo"


# serving ----------------------------------------------------------------------------

SECRET = bytes(range(32))
PHOTO = hashlib.sha256(b"photo").hexdigest()
RIGHT = serve.path(SECRET, PHOTO)
hexes = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(
    st.one_of(
        st.text(),
        st.builds("/{}/{}.jpg".format, hexes, hexes),
        st.builds("/{}/{}.jpg".format, hexes, st.just(PHOTO)),
        st.builds(RIGHT.replace, st.just(PHOTO), hexes),
        st.builds("{}{}".format, st.just(RIGHT), st.text(min_size=1)),
        st.builds("{}{}".format, st.text(min_size=1), st.just(RIGHT)),
        st.sampled_from(
            [RIGHT.upper(), RIGHT.replace(".jpg", ".png"), RIGHT[1:], RIGHT + "?",
             RIGHT.replace("/", "//"), f"/..{RIGHT}", RIGHT.replace("a", "%61")]
        ),
        st.integers(0, len(RIGHT) - 1).flatmap(
            lambda place: st.characters().map(
                lambda sign: RIGHT[:place] + sign + RIGHT[place + 1 :]
            )
        ),
    )
)  # fmt: skip
def test_no_other_path_than_the_right_one_gets_a_picture(target):
    assert (serve.asked(SECRET, target) == PHOTO) == (target == RIGHT)
    found = serve.asked(SECRET, target)
    assert found is None or serve.path(SECRET, found) == target


def test_another_work_folder_has_other_paths(tmp_path):
    one, (photo,) = world(tmp_path / "a", [file()], images="serve")
    other, _ = world(tmp_path / "b", [file()], images="serve")
    address = images.place(one, [photo])[photo]
    assert address.startswith("http://127.0.0.1:8099/")
    assert address != images.place(other, [photo])[photo]
    assert address == images.place(one, [photo])[photo]


@pytest.mark.parametrize(
    "address",
    [
        "http://0.0.0.0:8099", "http://192.168.1.5:8099", "http://example.org:8099",
        "http://[::]:8099", "http://127.0.0.1.example.org:8099",
    ],
)  # fmt: skip
def test_only_this_machine_is_served(address):
    with pytest.raises(ConfigError, match="this machine"):
        serve.place(address)


@pytest.mark.parametrize(
    "address",
    [
        "https://127.0.0.1:8099", "127.0.0.1:8099", "http://127.0.0.1", "http://:8099",
        "http://127.0.0.1:8099/pictures", "http://127.0.0.1:99999", "http://[::1",
        "http://me@127.0.0.1:8099", "",
    ],
)  # fmt: skip
def test_an_address_that_is_none(address):
    with pytest.raises(ConfigError, match=r"labels\.address: found"):
        serve.place(address)


def free() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
def served(tmp_path):
    """Photos that are being served: where, and their addresses."""
    address = f"http://127.0.0.1:{free()}"
    files = [file(), MADE["tiff"], file("WEBP"), file("PNG", seed=9)]
    route, photos = world(tmp_path, files, images="serve", address=address)
    server = serve.listening(route)
    running = threading.Thread(target=server.serve_forever, args=(0.05,))
    running.start()
    yield SimpleNamespace(
        route=route, photos=photos, files=files, base=address,
        at=images.place(route, photos),
    )  # fmt: skip
    server.shutdown()
    server.server_close()
    running.join()


def test_pictures_come_over_http(served):
    kinds = []
    for photo, data in zip(served.photos, served.files, strict=True):
        answer = requests.get(served.at[photo], timeout=10)
        assert answer.status_code == 200
        assert answer.content == pictures.shown(data)[0]
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "private" in answer.headers["Cache-Control"]
        kinds.append(answer.headers["Content-Type"])
    assert kinds == ["image/jpeg", "image/jpeg", "image/webp", "image/png"]


def test_head_and_conditional_requests(served):
    url = served.at[served.photos[0]]
    head = requests.head(url, timeout=10)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(served.files[0])
    known = {"If-None-Match": head.headers["ETag"]}
    again = requests.get(url, headers=known, timeout=10)
    assert (again.status_code, again.content) == (304, b"")
    other = requests.get(url, headers={"If-None-Match": '"x"'}, timeout=10)
    assert other.status_code == 200
    served.route.shelf.purge(served.photos[0])
    assert requests.get(url, headers=known, timeout=10).status_code == 404


def test_everything_else_is_not_found(served):
    right = served.at[served.photos[0]].removeprefix(served.base)
    blob = served.route.shelf.blob(served.photos[0])
    unknown = serve.path(served.route.shelf.secret(serve.SECRET), "0" * 64)
    for target in (
        "/", "", right[:-69], right[:-68], "/secrets/pictures",
        f"/../../../..{blob}", str(blob), f"/{served.photos[0]}.jpg", unknown,
        f"{right}?x=1", f"{right}/", right.replace(".jpg", ".tif"), "/favicon.ico",
        f"/%2e%2e{right}", "/health/", "/shelf.json",
    ):  # fmt: skip
        status, body = raw(served.base, f"GET {target or '*'} HTTP/1.1")
        assert (status, body) == (404, b"not found\n"), target
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        assert raw(served.base, f"{method} {right} HTTP/1.1")[0] == 501
    assert raw(served.base, "GET / / / HTTP/1.1")[0] == 400


def raw(base: str, line: str) -> tuple[int, bytes]:
    """One request as it stands: clients would tidy its path."""
    port = int(base.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        wire.sendall(f"{line}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: wire.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_who_answers_at_the_port(served, tmp_path):
    route = served.route
    assert serve.who(served.base, serve.identity(route.shelf)) == "ours"
    assert serve.who(served.base, "somebody else's") == "other"
    assert serve.who(f"http://127.0.0.1:{free()}", "") == "nobody"
    with pytest.raises(ConfigError, match="served there already"):
        serve.listening(route)
    other, _ = world(tmp_path / "b", [], images="serve", address=served.base)
    with pytest.raises(ConfigError, match="of another work folder"):
        serve.listening(other)


def test_a_port_of_another_program(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:

        def hang_up() -> None:
            wire, _ = taken.accept()
            wire.recv(1000)
            wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            wire.close()

        threading.Thread(target=hang_up, daemon=True).start()
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        route, _ = world(tmp_path, [], images="serve", address=address)
        with pytest.raises(ConfigError, match="taken by another program; choose"):
            serve.listening(route)


def test_serving_what_nobody_asks_for(tmp_path):
    route, _ = world(tmp_path, [])
    with pytest.raises(ConfigError, match=r'labels\.images is "local"'):
        serve.serve(route, say=lambda line: None)


# the check --------------------------------------------------------------------------


class Between:
    """A Label Studio whose pictures come as a test says."""

    def __init__(self, url: str, found: Picture | None) -> None:
        self.url, self.found = url, found

    def picture(self, image: str, *, task: int) -> Picture:
        if self.found is None:
            message = "no picture"
            raise LabelStudioError(message, url=image)
        return self.found


def found(data=b"", **more) -> Picture:
    usual = {"status": 200, "kind": "image/jpeg", "url": "http://there.org/a/b.jpg"}
    return Picture(data=data, **{**usual, "shown_to_others": True, **more})


def checked(route, photo, url, picture) -> list[str]:
    shown = [(task, photo, "s3://photos/a.jpg") for task in (7, 8)]
    return images.preflight(route, Between(url, picture), shown)


def test_what_the_check_says(tmp_path):
    data = file()
    route, (photo,) = world(tmp_path, [data], images="s3", endpoint="http://there.org")
    https, http = "https://label.org", "http://label.org"
    assert checked(route, photo, http, found(data)) == []
    for url, picture, said in (
        (https, found(data, shown_to_others=False), "browsers refuse the mixture"),
        (http, found(data, shown_to_others=False), '"AllowedOrigins": ["http://label.org"]'),
        (http, found(status=401), "there.org answers 401; the object is not in"),
        (http, found(status=403), "there.org answers 403; the object is not in"),
        (http, found(status=500), "browsers must reach http://there.org themselves"),
        (http, found(b"<html>", kind="text/html"), "text/html came in place of a pict"),
        (http, found(data, kind="text/html"), "'text/html', which is no picture"),
        (http, found(data[:900]), "900 bytes that do not decode"),
        (http, found(file(seed=3)), "another picture than the photo"),
        (http, None, "does not answer; browsers must reach http://there.org"),
    ):  # fmt: skip
        (problem,) = checked(route, photo, url, picture)
        assert problem.startswith("2 of 2 pictures looked at (task 7, photo ")
        assert said in problem


def test_the_check_of_pictures_that_were_made(tmp_path):
    data = MADE["tiff"]
    route, (photo,) = world(tmp_path, [data], images="s3")
    other_library = io.BytesIO()
    decode(data).save(other_library, "JPEG", quality=70)
    smaller = file(size=(60, 40))
    here = "http://label.org"
    assert checked(route, photo, here, found(pictures.shown(data)[0])) == []
    assert checked(route, photo, here, found(other_library.getvalue())) == []
    assert "another" in checked(route, photo, here, found(smaller))[0]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_pictures_of_this_machine_for_pages_of_another(tmp_path, scheme):
    route, (photo,) = world(tmp_path, [file()], images="serve")
    (problem,) = checked(route, photo, f"{scheme}://label.org", found(file()))
    assert problem.startswith("Label Studio is at label.org")
    assert ("mixed content" in problem) == (scheme == "https")
    assert 'labels.images = "local" or "s3"' in problem


# a bucket ---------------------------------------------------------------------------


def test_a_bucket_that_is_not_set_up(tmp_path, monkeypatch):
    route, photos = world(tmp_path, [file()], images="s3")
    with pytest.raises(ConfigError, match=r"labels\.bucket: missing"):
        images.place(route, photos)
    route, photos = world(tmp_path, [file()], images="s3", bucket="photos")
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    with pytest.raises(ConfigError, match=r"counterset\[s3\]"):
        images.place(route, photos)


def test_a_bucket_without_credentials(tmp_path, monkeypatch):
    pytest.importorskip("boto3")
    route, photos = world(tmp_path, [file()], images="s3", bucket="photos")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(ConfigError, match="AWS_SECRET_ACCESS_KEY not set"):
        images.place(route, photos)
