"""The server: on loopback only, started by command, known, with annotators."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from curation.labelstudio import LabelStudio
from scripts import labelstudio
from tests.labelstudio import HOME, needed

SOCKETS = Path("/proc/self/net/tcp")
LISTENING, LOOPBACK = "0A", "0100007F"


def test_annotators_have_accounts(label_studio):
    anna, bert = (label_studio.annotator(name) for name in ("anna", "bert"))
    assert anna.id != bert.id
    assert label_studio.annotator("anna") == anna
    whoami = label_studio.ask("GET", "/api/current-user/whoami", anna.token).json()
    assert whoami["email"] == "anna@example.org"


@pytest.mark.skipif(not SOCKETS.exists(), reason="no /proc to read")
def test_it_listens_on_loopback_and_talks_to_nobody_else(label_studio):
    process = Path("/proc") / str(label_studio.server.process.pid)
    names = [str(file.readlink()) for file in (process / "fd").iterdir()]
    own = {found[1] for n in names if (found := re.match(r"socket:\[(\d+)", n))}
    lines = [
        line.split()
        for kind in ("tcp", "tcp6")
        for line in (process / "net" / kind).read_text().splitlines()[1:]
    ]
    # local address, remote address, state
    held = [line[1:4] for line in lines if line[9] in own]
    port = int(label_studio.url.rpartition(":")[2])
    assert f"{LOOPBACK}:{port:04X}" in {at for at, _, how in held if how == LISTENING}
    assert {at.partition(":")[0] for at, _, _ in held} == {LOOPBACK}
    others = {to.partition(":")[0] for _, to, how in held if how != LISTENING}
    assert others <= {LOOPBACK}


def test_a_port_of_another_program_is_told_before_anything_is_made(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"port {port} is taken"):
            labelstudio.start(HOME, tmp_path / "data", tmp_path / "files", port=port)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_starts_it_says_how_to_reach_it_and_ends_it(tmp_path):
    home, data = needed(), tmp_path / "labelstudio"
    with FileLock(home / "seed.lock"):
        labelstudio.seeded(home, data)
    port = labelstudio.free_port()
    running = subprocess.Popen(
        [
            sys.executable, "-m", "scripts.labelstudio", "--port", str(port),
            "--documents", str(tmp_path / "labels"),
        ],
        cwd=labelstudio.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert running.stdout
        told = "".join(running.stdout.readline().decode() for _ in range(5))
        assert f"export LABEL_STUDIO_URL=http://127.0.0.1:{port}\n" in told
        assert f"export LABEL_STUDIO_API_KEY=$(cat {data / 'token'})\n" in told
        key = (data / "token").read_text()
        assert LabelStudio(f"http://127.0.0.1:{port}", key).greet() == "1.23.2"
        assert key not in told
    finally:
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=60)
    assert b"Traceback" not in said
    with socket.socket() as asking:
        assert asking.connect_ex(("127.0.0.1", port)) != 0
