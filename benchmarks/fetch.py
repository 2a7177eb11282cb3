"""Photos per second of fetching, beside a serial `requests.Session` and `img2dataset`.

    python -m benchmarks.fetch [--photos 2000] [--kilobytes 60]
        [--peer img2dataset=PYTHON] [--json]

A server in a process of its own, on loopback, answers each request 20 ms after it came.
All three fetch the same list, each run in a new process and a new folder. Ours is the
whole command `counterset fetch` after `counterset collect`: header read, sha256, photo
and log flushed to disk, table drawn. `img2dataset` neither resizes nor encodes, and
writes files; it runs with its own number of threads and with as many as we use. A run
with one photo is what starting takes; it is left out of the rates and ratios in the
columns "started".

`img2dataset` needs an environment of its own: `python -m benchmarks.peers img2dataset`
makes it and says what to give as --peer img2dataset=PYTHON. Without it, it is left out.
"""

import argparse
import asyncio
import csv
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from benchmarks import _planted
from benchmarks._figures import Figure, peers, show
from benchmarks.peers import PEERS

LATENCY = 0.02
OURS, OTHER_NAME, SERIAL_NAME = "counterset", "img2dataset", "serial requests.Session"
DISTINCT = 64  # pictures; a comment makes each photo one of its own

CONFIG = """\
[dataset]
name = "benchmark"
[[classes]]
name = "bear"
[[backgrounds]]
name = "snow"
prompts = ["snow"]
[[backgrounds]]
name = "grass"
prompts = ["grass"]
[[sources]]
kind = "urls"
path = "list.csv"
licence = "CC0-1.0"
[collect]
per_class = 1000000
per_observer = 0
per_observer_day = 0
[http]
connections = {connections}
[[http.hosts]]
name = "127.0.0.1"
private = true
"""

SERIAL = """\
import csv, pathlib, requests, sys
folder = pathlib.Path(sys.argv[2])
folder.mkdir()
session = requests.Session()
for place, row in enumerate(csv.DictReader(open(sys.argv[1]))):
    answer = session.get(row["url"])
    answer.raise_for_status()
    (folder / f"{place}.jpg").write_bytes(answer.content)
"""

OTHER = """\
import sys
from img2dataset import download
if __name__ == "__main__":
    download(
        url_list=sys.argv[1], output_folder=sys.argv[2], input_format="csv",
        url_col="url", output_format="files", resize_mode="no",
        disable_all_reencoding=True, processes_count=int(sys.argv[3]),
        thread_count=int(sys.argv[4]),
    )
"""


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of one run: wall, and CPU of all its processes."""

    wall: float
    cpu: float


def photos(count: int, size: int) -> list[bytes]:
    """JPEGs, no two alike."""
    pictures = [_planted.photo(n, size // 1000) for n in range(min(count, DISTINCT))]
    made = []
    for place in range(count):
        data, text = pictures[place % DISTINCT], f"photo {place}".encode()
        comment = b"\xff\xfe" + (len(text) + 2).to_bytes(2) + text
        made.append(data[:2] + comment + data[2:])
    return made


async def serve(count: int, size: int) -> None:
    """Answer `/<number>.jpg` until killed; the port is the first line of stdout."""
    bodies = photos(count, size)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            await asyncio.sleep(LATENCY)
            name = head.split(b" ", 2)[1].lstrip(b"/").partition(b".")[0]
            body = bodies[int(name)] if name.isdigit() else b""
            status = b"200 OK" if body else b"404 Not Found"
            length = str(len(body)).encode()
            kind = b"Content-Type: image/jpeg\r\nContent-Length: " + length
            writer.write(b"HTTP/1.1 " + status + b"\r\n" + kind + b"\r\n\r\n" + body)
            await writer.drain()

    async def safely(r: asyncio.StreamReader, w: asyncio.StreamWriter) -> None:
        try:
            await talk(r, w)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            w.close()

    server = await asyncio.start_server(safely, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def serving(count: int, kilobytes: int) -> Iterator[str]:
    """The server's URL; it runs in a process of its own."""
    words = ["--serve", "--photos", str(count), "--kilobytes", str(kilobytes)]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fetch", *words],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def timed(words: list[str | Path], folder: Path) -> Took:
    """Run a program."""
    environment = os.environ | {
        "XDG_STATE_HOME": str(folder / "state"),
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode:
        raise SystemExit(done.stderr)
    cpu = after.children_user - before.children_user
    return Took(wall, cpu + after.children_system - before.children_system)


def write_list(path: Path, urls: list[str]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["url", "class"])
        writer.writerows([url, "bear"] for url in urls)


def ours(connections: int, folder: Path, urls: list[str]) -> Took:
    """The command `counterset fetch`."""
    write_list(folder / "list.csv", urls)
    (folder / "dataset.toml").write_text(CONFIG.format(connections=connections))
    command = Path(sys.executable).parent / "counterset"
    place = ["-c", folder / "dataset.toml", "--work", folder / "work", "--quiet"]
    timed([command, "collect", *place], folder)
    took = timed([command, "fetch", *place], folder)
    arrived(len(list(folder.glob("work/blobs/??/*"))), len(urls))
    return took


def serial(folder: Path, urls: list[str]) -> Took:
    """One photo after another, on one connection."""
    write_list(folder / "list.csv", urls)
    words = ["-c", SERIAL, folder / "list.csv", folder / "out"]
    took = timed([sys.executable, *words], folder)
    arrived(len(list(folder.glob("out/*.jpg"))), len(urls))
    return took


def other(
    python: Path, processes: int, threads: int, folder: Path, urls: list[str]
) -> Took:
    """`img2dataset`."""
    write_list(folder / "list.csv", urls)
    (folder / "other.py").write_text(OTHER)
    words = [folder / "other.py", folder / "list.csv", folder / "out"]
    took = timed([python, *words, str(processes), str(threads)], folder)
    arrived(len(list(folder.glob("out/*/*.jpg"))), len(urls))
    return took


def arrived(found: int, wanted: int) -> None:
    if found != wanted:
        message = f"{found} of {wanted} photos arrived"
        raise SystemExit(message)


def rounds(
    contenders: Mapping[str, partial[Took]], urls: list[str], runs: int
) -> dict[str, list[Took]]:
    """Each contender in turn, so many times."""
    found: dict[str, list[Took]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, run in contenders.items():
            folder = Path(tempfile.mkdtemp(prefix="counterset-fetch-"))
            try:
                found[name].append(run(folder, urls))
            finally:
                shutil.rmtree(folder)
    return found


def median(took: Sequence[Took]) -> Took:
    return Took(
        statistics.median(one.wall for one in took),
        statistics.median(one.cpu for one in took),
    )


def figures(
    took: Mapping[str, list[Took]], count: int, kilobytes: int
) -> Iterator[Figure]:
    """Whole runs of ours beside each of the others."""
    others = [name for name in took if not name.startswith(OURS)]
    for name in took:
        if not name.startswith(OURS):
            continue
        for other in others:
            release = PEERS[OTHER_NAME][0].replace("==", " ")
            if other == SERIAL_NAME:
                release = f"requests {version('requests')}"
            case = [name.split()[1], *re.findall(r"\w+", other)]
            yield Figure(
                name=f"fetch.{'.'.join(case)}",
                what=f"{name}, {count:,} photos of {kilobytes} kB from this machine",
                unit="s",
                ours=tuple(one.wall for one in took[name]),
                peer=f"{release} ({other})",
                theirs=tuple(one.wall for one in took[other]),
                less=True,
                note=f"the server answers after {1000 * LATENCY:.0f} ms",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--kilobytes", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--json", action="store_true", help="figures, one a line")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.photos, given.kilobytes * 1000))
        return
    contenders = {SERIAL_NAME: partial(serial)}
    for count in given.connections:
        contenders[f"{OURS}, {count} connections"] = partial(ours, count)
    if python := peers(given.peer).get(OTHER_NAME):
        for processes, threads in ((1, 256), (1, given.connections[0]), (2, 256)):
            name = f"{OTHER_NAME}, {processes} x {threads} threads"
            contenders[name] = partial(other, python, processes, threads)
    with serving(given.photos, given.kilobytes) as url:
        urls = [f"{url}/{place}.jpg" for place in range(given.photos)]
        started = {} if given.json else rounds(contenders, urls[:1], given.runs)
        took = rounds(contenders, urls, given.runs)
    if given.json:
        show(figures(took, given.photos, given.kilobytes))
        return
    print(f"{given.photos:,} photos, medians of {given.runs}; x: times serial's rate")
    print(f"{'':34}{'wall s':>8}{'CPU s':>8}{'x':>7}{'started s':>11}{'x':>7}")
    base = Took(0.0, 0.0)
    for name in contenders:
        start, whole = median(started[name]), median(took[name])
        net = whole.wall - start.wall
        base = base if base.wall else Took(whole.wall, net)
        print(
            f"{name:34}{whole.wall:8.2f}{whole.cpu:8.2f}{base.wall / whole.wall:7.1f}"
            f"{net:11.2f}{base.cpu / net:7.1f}"
        )


if __name__ == "__main__":
    main()
