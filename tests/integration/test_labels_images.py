"""Pictures to annotators: a real Label Studio, a bucket, a server of ours."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
import requests
from PIL import Image

from curation.commands import opened
from curation.errors import ConfigError, LabelStudioError, RemoteError
from curation.labelling import images, interface, pictures, serve
from curation.labelstudio import LabelStudio
from evaluation.images import sniff
from scripts.labelstudio import free_port
from tests import buckets
from tests.world import World

NEAR = pytest.mark.xdist_group("near")


@pytest.fixture
def mixed(world: World) -> World:
    """A world with photos that browsers do not show among its photos."""
    bears = sorted((world.photos / "bear").iterdir())
    for path in (*bears[3:], *sorted((world.photos / "dog").iterdir())[2:]):
        path.unlink()
    for path, change in (
        (bears[0], {"format": "TIFF"}),
        (bears[1], {"format": "JPEG", "mode": "CMYK"}),
    ):
        picture = Image.open(path).convert(change.get("mode", "RGB"))
        sink = io.BytesIO()
        picture.save(sink, change["format"])
        path.write_bytes(sink.getvalue())
    return world


@contextmanager
def route_of(world: World, **labels):
    """The route of a world that has fetched, with settings of its labels."""
    lines = "".join(f"{key} = {json.dumps(str(v))}\n" for key, v in labels.items())
    text = world.config.read_text().split("\n[labels]\n")[0]
    world.config.write_text(f"{text}\n[labels]\n{lines}")
    world.run("--until", "fetch")
    with opened(world.config, world.work) as route:
        yield route


def photos_of(route) -> list[str]:
    return sorted(route.table("photos").column("photo_id").to_pylist())


def put(route, studio: LabelStudio, *, connect: bool = True):
    """A project whose tasks show the pictures that were placed."""
    places = images.place(route, photos_of(route))
    project = studio.create_project(
        title="pictures",
        description="",
        interface=interface.xml(route.config, blind=True),
        instructions="",
        answers=1,
        show_proposals=False,
    )
    if connect:
        images.connect(route, studio, project.id)
    return project.id, tasks(studio, project.id, places)


def tasks(studio: LabelStudio, project: int, places: dict[str, str]):
    data = [
        {"data": {"image": image, "key": key, "class_name": "bear", "attribution": "x"}}
        for key, image in places.items()
    ]
    numbers = studio.import_tasks(project, data)
    return [
        (number, *pair) for number, pair in zip(numbers, places.items(), strict=True)
    ]


@pytest.fixture
def login():
    """Logs in with the key of a server's first user, or of an annotator."""
    doors = []

    def door(server, name: str = "") -> LabelStudio:
        token = server.annotator(name).token if name else server.token
        doors.append(LabelStudio(server.url, token))
        return doors[-1]

    yield door
    for one in doors:
        one.close()


def shown_bytes(route, photo: str) -> bytes:
    return pictures.shown(route.shelf.read_photo(photo))[0]


# a folder ---------------------------------------------------------------------------


def test_a_folder_shows_to_every_annotator(mixed, label_studio, login):
    with route_of(mixed, documents=label_studio.documents) as route:
        studio, other = login(label_studio), login(label_studio, "carla")
        _, shown = put(route, studio)
        assert len(shown) == 5
        assert images.preflight(route, studio, shown) == []
        assert images.preflight(route, other, shown) == []
        formats = set()
        for task, photo, image in shown:
            found = other.picture(image, task=task)
            assert found.data == shown_bytes(route, photo)
            formats.add(sniff(route.shelf.read_photo(photo)).mode)
        assert "CMYK" in formats


def test_webp_png_and_gif_show_from_a_folder(mixed, label_studio, login):
    for place, path in enumerate(sorted((mixed.photos / "dog").iterdir())):
        picture = Image.open(path)
        path.unlink()
        for format in ("webp", "png", "gif"):
            picture.rotate(place).save(path.with_suffix(f".{format}"))
    with route_of(mixed, documents=label_studio.documents) as route:
        studio = login(label_studio)
        _, shown = put(route, studio)
        assert images.preflight(route, studio, shown) == []
        ends = {image.rpartition(".")[2] for _, _, image in shown}
        assert ends == {"jpg", "webp", "png", "gif"}


def test_a_folder_that_is_not_connected(mixed, label_studio, login):
    mixed.change('"small-world"', '"lonely-world"')
    with route_of(mixed, documents=label_studio.documents / "aside") as route:
        studio = login(label_studio)
        project, shown = put(route, studio, connect=False)
        (problem,) = images.preflight(route, studio, shown)
        assert problem.startswith("5 of 5 pictures looked at (task ")
        assert "answers 404" in problem
        for name in ("LOCAL_FILES_SERVING_ENABLED=true", "LOCAL_FILES_DOCUMENT_ROOT="):
            assert name in problem
        assert str(label_studio.documents / "aside") in problem
        # its addresses count from the server's own root
        images.connect(route, studio, project)
        assert "answers 404" in images.preflight(route, studio, shown)[0]


def test_a_folder_the_server_may_not_show(mixed, label_studio, login):
    with (
        route_of(mixed) as route,  # below the work folder
        pytest.raises(LabelStudioError, match="LOCAL_FILES_DOCUMENT_ROOT"),
    ):
        put(route, login(label_studio))


def test_pictures_that_were_changed(mixed, label_studio, login):
    with route_of(mixed, documents=label_studio.documents) as route:
        studio = login(label_studio)
        _, shown = put(route, studio)
        home = images.folder(route)
        plain = [
            one for one in shown if images.as_is(route, *images.known(route, [one[1]]))
        ]
        (first, second), made = (
            plain[:2],
            next(one for one in shown if one not in plain),
        )
        paths = [home / one[2].rpartition("/")[2] for one in (first, second, made)]
        contents = [path.read_bytes() for path in paths]
        contents = [contents[1], contents[0][:3000], b"<html>log in</html>"]
        for path, content in zip(paths, contents, strict=True):
            path.unlink()  # it is the blob's own file
            path.write_bytes(content)
        problems = {
            re.search(r"photo (\w+)\)", line)[1]: line
            for line in images.preflight(route, studio, shown)
        }
        assert "another picture than the photo" in problems[first[1][:12]]
        assert "bytes that do not decode" in problems[second[1][:12]]
        assert "bytes that do not decode" in problems[made[1][:12]]
        images.place(route, photos_of(route))
        assert images.preflight(route, studio, [second, made]) == []


# a bucket ---------------------------------------------------------------------------


def in_bucket(service, name: str, **more) -> dict[str, str]:
    return {"images": "s3", "bucket": name, "endpoint": service.url} | more


@NEAR
def test_a_bucket_is_filled_once(mixed, service, keys):
    service.bucket("filled")
    with route_of(mixed, **in_bucket(service, "filled", prefix="/zoo/")) as route:
        photos = photos_of(route)
        places = images.place(route, photos)
        assert places == {one: f"s3://filled/zoo/{one}.jpg" for one in photos}
        first = service.objects("filled")
        assert len(first) == 5
        for photo in photos:
            found = service.client.get_object(Bucket="filled", Key=f"zoo/{photo}.jpg")
            assert found["ContentType"] == "image/jpeg"
            assert found["Body"].read() == shown_bytes(route, photo)
        assert images.place(route, photos) == places
        again = service.objects("filled")
        assert {key: one["LastModified"] for key, one in again.items()} == {
            key: one["LastModified"] for key, one in first.items()
        }
        service.client.put_object(Bucket="filled", Key="zoo/mine.txt", Body=b"not ours")
        service.client.delete_object(Bucket="filled", Key=f"zoo/{photos[1]}.jpg")
        route.append("takedowns", [{"photo_id": photos[0], "records": []}])
        images.place(route, photos)
        assert {*service.objects("filled")} == {
            "zoo/mine.txt", *(f"zoo/{photo}.jpg" for photo in photos[1:])
        }  # fmt: skip


@NEAR
def test_a_bucket_shows_once_its_rules_let_it(mixed, service, keys, near, login):
    service.bucket("shown")
    with route_of(mixed, **in_bucket(service, "shown")) as route:
        studio = login(near)
        project, shown = put(route, studio)
        (problem,) = images.preflight(route, studio, shown)
        assert "Access-Control-Allow-Origin is missing" in problem
        rules = json.loads(re.search(r"\[\{.*\}\]", problem)[0])
        service.client.put_bucket_cors(
            Bucket="shown", CORSConfiguration={"CORSRules": rules}
        )
        assert images.preflight(route, studio, shown) == []
        task, photo, image = shown[0]
        found = login(near, "dora").picture(image, task=task)
        assert found.url.startswith(service.url)
        assert found.data == shown_bytes(route, photo)
        images.connect(route, studio, project)  # twice is once
        stores = near.ask("GET", f"/api/storages/s3/?project={project}").json()
        assert len(stores) == 1
        service.client.delete_object(Bucket="shown", Key=image.split("/", 3)[3])
        (problem,) = images.preflight(route, studio, shown)
        assert problem.startswith(f"1 of 5 pictures looked at (task {task}, photo ")
        assert "the object is not in the bucket (push again)" in problem


@NEAR
def test_a_bucket_that_is_not_connected(mixed, service, keys, near, login):
    service.bucket("apart")
    with route_of(mixed, **in_bucket(service, "apart")) as route:
        studio = login(near)
        _, shown = put(route, studio, connect=False)
        (problem,) = images.preflight(route, studio, shown)
        assert "the bucket is not connected" in problem


def test_a_bucket_in_the_servers_own_network(mixed, service, keys, label_studio, login):
    service.bucket("inside")
    with (
        route_of(mixed, **in_bucket(service, "inside")) as route,
        pytest.raises(LabelStudioError, match="SSRF_PROTECTION_ENABLED=false") as error,
    ):
        put(route, login(label_studio))
    assert buckets.KEYS["AWS_SECRET_ACCESS_KEY"] not in str(error.value)


@NEAR
def test_buckets_that_cannot_be_used(mixed, service, keys, monkeypatch):
    with (
        route_of(mixed, **in_bucket(service, "nowhere")) as route,
        pytest.raises(ConfigError, match="there is no such bucket"),
    ):
        images.place(route, photos_of(route))
    away = {
        "images": "s3",
        "bucket": "x",
        "endpoint": f"http://127.0.0.1:{free_port()}",
    }
    with (
        route_of(mixed, **away) as route,
        pytest.raises(RemoteError, match="EndpointConnectionError"),
    ):
        images.place(route, photos_of(route))


@NEAR
def test_passing_credentials_are_not_handed_on(
    mixed, service, keys, near, monkeypatch, login
):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "passing")
    service.bucket("passing")
    with route_of(mixed, **in_bucket(service, "passing")) as route:
        images.place(route, photos_of(route))
        with pytest.raises(ConfigError, match="AWS_SESSION_TOKEN is set"):
            images.connect(route, login(near), 1)


# a server of ours -------------------------------------------------------------------


def on_loopback() -> dict[str, str]:
    return {"images": "serve", "address": f"http://127.0.0.1:{free_port()}"}


def start(world: World) -> "subprocess.Popen[str]":
    """`counterset labels serve`, once it says that it serves."""
    process = subprocess.Popen(
        [sys.executable, "-m", "curation.cli", "labels", "serve",
         "--work", world.work, "-c", world.config],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    line = process.stderr.readline()
    assert "pictures for annotators" in line, line + process.stderr.read()
    return process


def test_a_server_of_ours_shows_while_it_runs(mixed, label_studio, login):
    studio = login(label_studio)
    with route_of(mixed, **on_loopback()) as route:
        _, shown = put(route, studio)
        (problem,) = images.preflight(route, studio, shown)
        assert "nobody answers at" in problem
        assert "start `counterset labels serve`" in problem
        process = start(mixed)
        try:
            assert images.preflight(route, studio, shown) == []
            for task, photo, image in shown:
                found = studio.picture(image, task=task)
                assert found.data == shown_bytes(route, photo)
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        assert process.returncode == 0, said
        assert said == "stopped; pictures no longer show\n"
        (problem,) = images.preflight(route, studio, shown)
        assert "nobody answers" in problem


def test_another_program_at_the_port(mixed, label_studio, tmp_path, login):
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    settings = on_loopback()
    port = int(settings["address"].rpartition(":")[2])
    with ThreadingHTTPServer(("127.0.0.1", port), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with route_of(mixed, **settings) as route:
            studio = login(label_studio)
            _, shown = put(route, studio)
            (problem,) = images.preflight(route, studio, shown)
            assert "another program answers" in problem
            with pytest.raises(ConfigError, match="taken by another program"):
                serve.serve(route, say=lambda line: None)
        server.shutdown()


def test_a_photo_that_is_gone_is_told(mixed, label_studio, login):
    studio = login(label_studio)
    with route_of(mixed, **on_loopback()) as route:
        _, shown = put(route, studio)
        process = start(mixed)
        try:
            route.shelf.blob(shown[0][1]).unlink()
            assert requests.get(shown[0][2], timeout=10).status_code == 404
            (problem,) = images.preflight(route, studio, shown)
            assert problem.startswith(f"1 of 5 pictures looked at (task {shown[0][0]}")
            assert "answers 404; the photo is gone" in problem
            secret = shown[0][2].split("/")[3]
            assert secret not in problem
        finally:
            process.terminate()
            process.communicate(timeout=30)
