"""Label Studio's server on this machine, in an environment of its own.

    python -m scripts.labelstudio --documents work/labels

installs it where it is missing (`scripts/labelstudio.sh`), starts it on loopback
without any connection outside, and stops it at Ctrl-C. Its data, with the key and
password that were made for it, are in the folder `--data`, beside the documents when
that is left out; nobody else can read them.
"""

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import requests

ROOT = Path(__file__).parents[1]
EMAIL = "admin@example.com"
PATIENCE = 240.0
"""Seconds a first start may take: it makes the database."""

QUIET = {
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "CONVERTER_DOWNLOAD_RESOURCES": "false",
}
"""Settings that keep it from asking anything outside."""


@dataclass(slots=True)
class Server:
    """A server that was started here.

    Attributes:
        url: where it listens, without a slash at the end.
        token: legacy token of its first user.
        password: of its first user, `EMAIL`.
    """

    url: str
    token: str
    password: str
    process: "subprocess.Popen[bytes]"

    def stop(self) -> None:
        """End it, and wait until it has."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()


def install() -> Path:
    """Environment of the server, installed if it is missing."""
    script = ROOT / "scripts" / "labelstudio.sh"
    done = subprocess.run(
        [script],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    return Path(done.stdout.strip())


def start(
    home: Path,
    data: Path,
    documents: Path,
    *,
    port: int = 0,
    more: dict[str, str] | None = None,
) -> Server:
    """Start it on loopback and wait until it answers to its own token.

    Args:
        home: environment of the server, see `install`.
        data: its folder; database and credentials are made there at the first start.
        documents: folder whose files it may show.
        port: 0 takes a free one.
        more: further environment variables.

    Raises:
        RuntimeError: it did not start, or something else answers at its port.
    """
    if port and _answered(port):  # it would start on the next port, and say nothing
        message = (
            f"port {port} is taken, perhaps by a Label Studio that runs already; if it "
            "is another program, choose another port: "
            "`.venv/bin/python -m scripts.labelstudio --help`"
        )
        raise RuntimeError(message)
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    documents.mkdir(parents=True, exist_ok=True)
    token, password = (_secret(data / name) for name in ("token", "password"))
    port = port or free_port()
    # nothing of this environment: proxies, PostgreSQL and Redis settings would be used
    kept = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "TMPDIR")
        if name in os.environ
    }
    environment = kept | QUIET | {
        "LABEL_STUDIO_BASE_DATA_DIR": str(data.resolve()),
        "LABEL_STUDIO_USERNAME": EMAIL,
        "LABEL_STUDIO_PASSWORD": password,
        "LABEL_STUDIO_USER_TOKEN": token,
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(documents.resolve()),
    } | (more or {})  # fmt: skip
    with (data / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [home / "bin" / "label-studio", "start", "--no-browser",
             "--internal-host", "127.0.0.1", "--port", str(port)],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    server = Server(f"http://127.0.0.1:{port}", token, password, process)
    try:
        _wait(server)
    except BaseException:
        server.kill()
        raise
    return server


def _wait(server: Server) -> None:
    """Until it knows its own token; a busy port would make it listen elsewhere."""
    end = time.monotonic() + PATIENCE
    asking = requests.Session()
    asking.trust_env = False
    while time.monotonic() < end:
        if server.process.poll() is not None:
            message = "label-studio ended at its start; see server.log in its folder"
            raise RuntimeError(message)
        try:
            answer = asking.get(
                f"{server.url}/api/current-user/whoami",
                headers={"Authorization": f"Token {server.token}"},
                timeout=10,
            )
        except requests.RequestException:
            time.sleep(0.3)
            continue
        if answer.status_code == 200 and answer.json().get("email") == EMAIL:
            return
        if answer.status_code != 503:
            message = f"{server.url} answers, but it is not the server started here"
            raise RuntimeError(message)
    message = f"label-studio did not answer within {PATIENCE:.0f} s"
    raise RuntimeError(message)


def seeded(home: Path, data: Path) -> None:
    """Lay out a folder for `start` whose database is made already.

    It is made once, beside the server's environment, and copied.
    """
    seed = home / "seed"
    if not (seed / ".ready").exists():
        shutil.rmtree(seed, ignore_errors=True)
        start(home, seed, home / "seed-documents").stop()
        (seed / ".ready").touch()
    shutil.copytree(seed, data)


def _secret(path: Path) -> str:
    """Text of a file that only its owner reads, made if it is missing."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(20))
    return path.read_text()


def _answered(port: int) -> bool:
    """Whether some program of this machine listens at a port."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def main() -> None:
    """Install, start, tell, and wait."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="default: beside --documents")
    parser.add_argument("--documents", type=Path, default=Path("work/labels"))
    parser.add_argument("--port", type=int, default=8080)
    asked = parser.parse_args()
    data = asked.data or asked.documents.parent / "labelstudio"
    home = install()
    # to end this program ends the server: it would keep the port
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    first = "" if (data / "token").exists() else ", which makes its database first"
    print(f"starting Label Studio{first}", file=sys.stderr, flush=True)
    try:
        server = start(home, data, asked.documents, port=asked.port)
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"Label Studio: {server.url}   log in as {EMAIL}")
    print(f"password: cat {data / 'password'}\n")
    print(f"export LABEL_STUDIO_URL={server.url}")
    print(f"export LABEL_STUDIO_API_KEY=$(cat {data / 'token'})", flush=True)
    try:
        sys.exit(server.process.wait())
    except KeyboardInterrupt:
        server.stop()


if __name__ == "__main__":
    main()
