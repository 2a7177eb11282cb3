"""Large files of a stand-in Hub: by sha256 in a folder, in parts, or in a Xet store."""

import hashlib
import secrets
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path

from tests.standins.hub_repos import RefusedError

REBUILD = """\
import sys, hf_xet
endpoint, hash, size, out = sys.argv[1:]
session = hf_xet.XetSession()
with session.new_file_download_group(endpoint=endpoint) as group:
    group.start_download_file(hf_xet.XetFileInfo(hash, int(size)), out)
"""
RECORD = 48  # bytes of a shard's header and of every record after it
VERIFIED, DESCRIBED = 1 << 31, 1 << 30  # flags: the records that follow a file's


class Objects:
    """Objects by sha256; `secret` stands for the signature of a link to one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.xet = folder / "objects", folder / "xet"
        self.folder.mkdir(parents=True)
        self.xet.mkdir()
        self.secret = secrets.token_hex(8)
        self._lock, self._building = threading.Lock(), threading.Lock()
        self._hashes: dict[str, str] = {}
        self._read: set[Path] = set()
        self._copies = 0

    def path(self, sha256: str) -> Path:
        return self.folder / sha256

    def part(self, sha256: str, number: int) -> Path:
        return self.folder / f"{sha256}.part{number}"

    def keep(self, sha256: str, file: Path, digest: str) -> None:
        """Take in an uploaded file, if its bytes are what its name says."""
        if digest != sha256:
            file.unlink()
            raise RefusedError(400, "the bytes are not those of the oid")
        file.replace(self.path(sha256))

    def join(self, sha256: str, numbers: list[int]) -> None:
        """Put the parts of a multipart upload together."""
        whole, digest = self.folder / f"{sha256}.whole", hashlib.sha256()
        with whole.open("wb") as out:
            for number in numbers:
                part = self.part(sha256, number).read_bytes()
                digest.update(part)
                out.write(part)
                self.part(sha256, number).unlink()
        self.keep(sha256, whole, digest.hexdigest())

    def has(self, sha256: str) -> bool:
        return self.path(sha256).exists() or self.xet_hash(sha256) is not None

    def xet_hash(self, sha256: str) -> str | None:
        """Name of a file in the Xet store, if it was uploaded there."""
        with self._lock:
            if sha256 not in self._hashes:
                for path in set(self.xet.glob("xet/xorbs/shards/*.mdb")) - self._read:
                    self._hashes |= described(path.read_bytes())
                    self._read.add(path)
            return self._hashes.get(sha256)

    def xet_bytes(self) -> int:
        """Bytes that uploads sent to the Xet store: new chunks, and their lists."""
        sent = [p for p in self.xet.glob("xet/xorbs/*/*") if p.suffix != ".tagset"]
        return sum(path.stat().st_size for path in sent)

    def xet_copy(self) -> Path:
        """The Xet store for one reader.

        A store can be open in one process only. So each reader has its own: links to
        the same chunks, and a copy of the database.
        """
        with self._lock:
            self._copies += 1
            copy = self.xet.with_name(f"xet-{self._copies}")
        for path in sorted(self.xet.rglob("*")):
            place = copy / path.relative_to(self.xet)
            if path.is_dir():
                place.mkdir(parents=True)
            elif path.suffix == ".redb":
                shutil.copyfile(path, place)
            else:
                place.hardlink_to(path)
        return copy

    def file(self, sha256: str, size: int) -> Path:
        """The object as a file; out of the Xet store another process rebuilds it."""
        path = self.path(sha256)
        if path.exists():
            return path
        name = self.xet_hash(sha256)
        if name is None:
            raise RefusedError(404, "no such object")
        with self._building:
            if not path.exists():
                self._rebuild(name, size, path)
        return path

    def _rebuild(self, name: str, size: int, path: Path) -> None:
        out = path.with_suffix(".rebuilt")
        command = [sys.executable, "-c", REBUILD, f"local://{self.xet_copy()}"]
        done = subprocess.run(
            [*command, name, str(size), str(out)], capture_output=True, check=False
        )
        if done.returncode:
            raise RefusedError(500, f"Xet store: {done.stderr[-300:]!r}")
        out.replace(path)

    def forget(self) -> None:
        shutil.rmtree(self.folder)


def described(shard: bytes) -> dict[str, str]:
    """Xet hash by sha256, of the files a shard of a Xet store describes."""
    found, at = {}, RECORD
    while shard[at : at + 32] != b"\xff" * 32:
        hash = shard[at : at + 32]
        flags, records = struct.unpack_from("<II", shard, at + 32)
        at += RECORD * (1 + records * (2 if flags & VERIFIED else 1))
        if flags & DESCRIBED:
            found[_hex(shard[at : at + 32])] = _hex(hash)
            at += RECORD
    return found


def _hex(hash: bytes) -> str:
    """Four little-endian numbers, as Xet writes its hashes."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", hash))
