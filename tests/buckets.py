"""A bucket service for tests: moto's server, which keeps to a bucket's CORS rules."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from scripts.labelstudio import free_port
from tests.labelstudio import launch

KEYS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "not a secret"}


@dataclass(slots=True)
class Service:
    """Where it is, and boto3's client of it, as another program would use it."""

    url: str
    client: Any

    def bucket(self, name: str, *, rules: list[dict] | None = None) -> str:
        """Make a bucket, with CORS rules if any are given."""
        self.client.create_bucket(Bucket=name)
        if rules:
            self.client.put_bucket_cors(
                Bucket=name, CORSConfiguration={"CORSRules": rules}
            )
        return name

    def objects(self, name: str) -> dict[str, dict]:
        """What is in a bucket, by key."""
        listed = self.client.list_objects_v2(Bucket=name).get("Contents", [])
        return {one["Key"]: one for one in listed}


@contextmanager
def running() -> Iterator[Service]:
    """A service on loopback, empty at its start."""
    import boto3

    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=os.environ | {"MOTO_DISABLE_GLOBAL_CORS": "true"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                requests.get(f"{url}/moto-api/", timeout=5)
            except requests.ConnectionError:
                assert process.poll() is None, "moto's server ended"
                time.sleep(0.1)
            else:
                break
        client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )
        with closing(client):
            yield Service(url, client)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service for the tests of a file."""
    pytest.importorskip("boto3")
    pytest.importorskip("moto")
    with running() as service:
        yield service


@pytest.fixture
def keys(monkeypatch) -> None:
    """Its keys, where programs look for them."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def near(tmp_path_factory):
    """A server that may ask services of its own network, as a bucket on loopback is.

    Tests may kill it, and then `restart` it. Those that use it are to be in the group
    `near`, and to delete the projects they make.
    """
    folder = tmp_path_factory.mktemp("near")
    studio = launch(folder, more={"SSRF_PROTECTION_ENABLED": "false"})
    yield studio
    studio.server.kill()
    shutil.rmtree(folder, ignore_errors=True)
