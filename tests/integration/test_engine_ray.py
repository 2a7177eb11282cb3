"""The route on a cluster of several nodes: the same bytes, whatever is lost."""

import hashlib
import os
import random
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
import requests

from curation import engines
from curation.engines import ray as clustered
from curation.engines.storage import Keys, Storage
from curation.errors import ConfigError, InputError, RemoteError
from tests.buckets import KEYS, Service
from tests.parts import picture, works

pytestmark = [
    pytest.mark.xdist_group("ray"),
    # Ray warns of its own use of its own settings
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Busy:
    """A service that says 503 SlowDown to some requests, and hands on the others.

    Attributes:
        share: of the requests that are refused, drawn one by one.
        refused: how many were.
    """

    def __init__(self, behind: str) -> None:
        self.share, self.refused = 0.0, 0
        busy, lock, draw = self, threading.Lock(), random.Random(0)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                body = self.body()
                with lock:
                    refuse = draw.random() < busy.share
                    busy.refused += refuse
                if refuse:
                    self.answer(503, {"Content-Type": "application/xml"}, SLOW_DOWN)
                    return
                headers = {
                    name: value
                    for name, value in self.headers.items()
                    if name not in ("Host", "Transfer-Encoding", "Expect")
                }
                got = requests.request(
                    self.command, behind + self.path, headers=headers, data=body,
                    timeout=30, stream=True,
                )  # fmt: skip
                content = got.raw.read()
                self.answer(got.status_code, dict(got.headers), content)

            def body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers["Content-Length"] or 0))
                pieces = []
                while size := int(self.rfile.readline(), 16):
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(pieces)

            def answer(self, status: int, headers: dict, content: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("connection", "transfer-encoding", "date"):
                        if name.lower() == "content-length" and content:
                            continue
                        self.send_header(name, value)
                if content or "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_one

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)


@pytest.fixture
def busy(service: Service):
    found = Busy(service.url)
    yield found
    found.close()


@pytest.fixture
def bucket(service: Service, request) -> str:
    return service.bucket(
        "b" + hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
    )


def stored(busy: Busy, bucket: str, *, attempts: int = 12) -> Storage:
    keys = Keys(
        KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], "", busy.url,
        "us-east-1",
    )  # fmt: skip
    return Storage(f"s3://{bucket}/photos", keys, attempts=attempts, pause=0.01)


def tables(engine, listed, keep=None) -> dict[str, pa.Table]:
    """Tables of parts, by their first photo."""
    found: dict[str, pa.Table] = {}

    def kept(table: pa.Table) -> None:
        if keep:
            keep(table)
        found[table.column("photo_id")[0].as_py()] = table

    engine.compute(listed, jobs=2, processes=True, keep=kept)
    return found


# storage ----------------------------------------------------------------------------


def test_storage_gives_back_what_was_put(service, busy, bucket, tmp_path):
    busy.share = 0.3
    storage = stored(busy, bucket)
    data = [picture(shade) for shade in range(12)]
    blobs = [work.blobs[0] for work in works("hash", tmp_path, data, part=1)]
    assert storage.bring(blobs) == 12
    assert busy.refused
    for blob in blobs:
        assert storage.read(blob) == blob.read_bytes()
    assert storage.bring(blobs) == 0
    kept = {f"photos/{blob.name[:2]}/{blob.name}" for blob in blobs}
    assert set(service.objects(bucket)) == kept
    # half an object is put again
    half = blobs[0].read_bytes()[:9]
    service.client.put_object(Bucket=bucket, Key=sorted(kept)[0], Body=half)
    assert storage.bring(blobs) == 1
    assert repr(storage).count("secret") == 0


def test_storage_that_stays_busy_says_so(busy, bucket, tmp_path):
    storage = stored(busy, bucket, attempts=3)
    blobs = [work.blobs[0] for work in works("hash", tmp_path, [picture(1)])]
    busy.share = 1.0
    with pytest.raises(RemoteError, match=r"failed 3 times: .*run again to go on"):
        storage.bring(blobs)
    assert busy.refused == 3


def test_storage_does_not_pass_off_another_file(service, busy, bucket, tmp_path):
    storage = stored(busy, bucket)
    (blob,) = works("hash", tmp_path, [picture(1)])[0].blobs
    with pytest.raises(InputError, match="has no photo"):
        storage.read(blob)
    place = f"photos/{blob.name[:2]}/{blob.name}"
    service.client.put_object(Bucket=bucket, Key=place, Body=b"another")
    with pytest.raises(InputError, match="is not the photo it is named after"):
        storage.read(blob)
    blob.write_bytes(b"changed meanwhile")
    with pytest.raises(InputError, match="does not hold the photo"):
        storage.bring([blob])


def test_storage_that_refuses_is_asked_once(busy, tmp_path):
    storage = stored(busy, "nobodys-bucket")
    blobs = works("hash", tmp_path, [picture(1)])[0].blobs
    with pytest.raises(RemoteError, match="refuses"):
        storage.bring(blobs)


def test_a_shared_disk_is_storage_too(tmp_path):
    (tmp_path / "work").mkdir()
    (blob,) = works("hash", tmp_path / "work", [picture(1)])[0].blobs
    storage = Storage(f"file://{tmp_path}/shared", Keys())
    assert storage.bring([blob]) == 1
    assert storage.read(blob) == blob.read_bytes()
    assert storage.bring([blob]) == 0
    found = [path for path in (tmp_path / "shared").rglob("*") if path.is_file()]
    assert [path.name for path in found] == [blob.name]


@pytest.mark.parametrize("url", ["bucket/photos", "s3://", "nonsense://a/b"])
def test_storage_must_be_a_url_of_a_known_kind(url):
    with pytest.raises(ConfigError, match="storage"):
        Storage(url, Keys()).place("ab")


# cluster ----------------------------------------------------------------------------


def test_a_node_is_lost(ray_cluster, tmp_path):
    """One node of three is killed once the first part is there; nothing differs."""
    listed = works("hash", tmp_path, [picture(n) for n in range(80)], part=2)
    alike = tables(engines.Local(), listed)
    node = ray_cluster.add()
    lost = []

    def kill(table: pa.Table) -> None:
        if not lost:
            lost.append(node)
            ray_cluster.kill(node)

    with engines.opened("ray") as engine:
        found = tables(engine, listed, keep=kill)
    assert lost
    assert found == alike


def test_storage_fails_and_the_next_run_goes_on(ray_cluster, busy, bucket, tmp_path):
    listed = works("hash", tmp_path, [picture(n) for n in range(40)], part=2)
    alike = tables(engines.Local(), listed)
    engine = clustered.Ray(stored(busy, bucket, attempts=2))
    engine.storage.bring(blob for work in listed for blob in work.blobs)
    kept: dict[str, pa.Table] = {}

    def keep(table: pa.Table) -> None:
        kept[table.column("photo_id")[0].as_py()] = table
        busy.share = 1.0  # from now on it refuses everything

    with pytest.raises(RemoteError, match="run again to go on"):
        engine.compute(listed, jobs=2, processes=True, keep=keep)
    assert kept
    busy.share, refused = 0.2, busy.refused
    engine = clustered.Ray(stored(busy, bucket))
    left = [w for w in listed if w.photos.column("photo_id")[0].as_py() not in kept]
    kept |= tables(engine, left)
    assert busy.refused > refused
    assert kept == alike


def test_a_worker_that_always_dies_ends_the_run(ray_cluster, tmp_path, monkeypatch):
    """A stage with a model runs in the worker itself: its death is told, not hidden."""
    monkeypatch.setattr(clustered, "TRIES", 2)
    listed = works("outside.crashing", tmp_path, [picture(1), b"exit"], part=1)
    said: list[str] = []
    kept: list[pa.Table] = []
    engine = clustered.Ray(say=said.append)
    with pytest.raises(RemoteError, match=r"lost their worker 2 times.*run again"):
        engine.compute(listed, jobs=1, processes=False, keep=kept.append)
    assert len(kept) == 1
    assert any("computing these again" in line for line in said)


# the command ------------------------------------------------------------------------


def everything(folder: Path) -> dict[str, str]:
    """Sha256 of every file of the tables."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "tables").rglob("*"))
        if path.is_file()
    }


def test_a_run_on_a_cluster_leaves_the_same_bytes(
    ray_cluster, world, busy, bucket, counterset, tmp_path
):
    world.run("--until", "fetch")
    shutil.copytree(world.work, tmp_path / "other")
    world.run("--until", "embed")
    busy.share = 0.1
    done = subprocess.run(
        [
            counterset, "run", "-c", world.config, "--work", tmp_path / "other",
            "--until", "embed", "--engine", "ray", "--storage", f"s3://{bucket}/photos",
        ],
        env=os.environ
        | KEYS
        | {
            "RAY_ADDRESS": ray_cluster.address,
            "AWS_ENDPOINT_URL": busy.url,
            "AWS_REGION": "us-east-1",
        },
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "ray: 2 nodes, 2 cores, 0 GPUs" in done.stderr
    assert "photos copied to s3://" in done.stderr
    assert busy.refused
    assert everything(tmp_path / "other") == everything(world.work)


def test_no_cluster_at_the_address(tmp_path, world, counterset):
    world.run("--until", "fetch")
    for address, code, said in (
        ("127.0.0.1:9", 4, "no Ray cluster can be used at RAY_ADDRESS=127.0.0.1:9"),
        ("ray://127.0.0.1:9", 2, "addresses with ray:// cannot be used"),
    ):
        done = subprocess.run(
            [counterset, *world.arguments("run"), "--engine", "ray"],
            env=os.environ | {"RAY_ADDRESS": address},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert said in done.stderr


def test_ray_is_not_installed(world, counterset, tmp_path):
    world.run("--until", "fetch")
    (tmp_path / "ray.py").write_text("raise ImportError('none here')\n")
    done = subprocess.run(
        [counterset, *world.arguments("run"), "--engine", "ray"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'counterset[ray]'" in done.stderr
