"""Bytes to and from the stand-in Hub: uploads of large files, and downloads."""

import math
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.standins import hub_accounts as who
from tests.standins.hub_api import Call, Reply, route, told
from tests.standins.hub_repos import RefusedError

if TYPE_CHECKING:
    from tests.standins.hub import Hub

LFS = "/datasets/(?P<id>[^/]+/[^/]+)\\.git/info/lfs"


@route("POST", f"{LFS}/objects/batch")
def batch(hub: "Hub", call: Call, id: str) -> Reply:
    """Where to send each object that is not there."""
    hub.writable(id, call)
    asked = call.json()
    transfer, found = "basic", []
    for item in asked["objects"]:
        entry = {"oid": item["oid"], "size": item["size"]}
        if not hub.objects.has(item["oid"]):
            upload, several = _upload(hub, item["oid"], item["size"])
            transfer = "multipart" if several else transfer
            verify = f"{hub.url}/datasets/{id}.git/info/lfs/verify"
            entry["actions"] = {"upload": upload, "verify": {"href": verify}}
        found.append(entry)
    return told({"transfer": transfer, "objects": found})


def _upload(hub: "Hub", oid: str, size: int) -> tuple[dict, bool]:
    base = f"{hub.url}/upload/{hub.objects.secret}/{oid}"
    if hub.part is None or size <= hub.part:
        return {"href": base}, False
    header = {"chunk_size": str(hub.part)}
    for number in range(1, math.ceil(size / hub.part) + 1):
        header[f"{number:05}"] = f"{base}/{number}"
    return {"href": f"{base}/complete", "header": header}, True


@route(
    "PUT", "/upload/(?P<secret>[0-9a-f]+)/(?P<oid>[0-9a-f]{64})(?:/(?P<part>[0-9]+))?"
)
def upload(hub: "Hub", call: Call, secret: str, oid: str, part: str = "") -> Reply:
    _signed(hub, secret)
    assert call.file
    if part:
        call.file.replace(hub.objects.part(oid, int(part)))
    else:
        hub.objects.keep(oid, call.file, call.digest)
    return Reply(headers={"ETag": f'"{call.digest[:32]}"'})


@route("POST", "/upload/(?P<secret>[0-9a-f]+)/(?P<oid>[0-9a-f]{64})/complete")
def complete(hub: "Hub", call: Call, secret: str, oid: str) -> Reply:
    _signed(hub, secret)
    hub.objects.join(oid, [part["partNumber"] for part in call.json()["parts"]])
    return told({})


@route("POST", f"{LFS}/verify")
def verify(hub: "Hub", call: Call, id: str) -> Reply:
    hub.writable(id, call)
    asked = call.json()
    path = hub.objects.path(asked["oid"])
    if not path.exists() or path.stat().st_size != asked["size"]:
        raise RefusedError(404, "the object is not there")
    return told({})


@route("GET", "/datasets/(?P<id>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)")
def resolve(hub: "Hub", call: Call, id: str, rev: str, path: str) -> Reply:
    """A file; large ones are sent by another host, as the Hub's are."""
    repo = hub.repository(id, call)
    who.read(repo, call.account)
    commit = repo.find(rev)
    headers = {"X-Repo-Commit": commit.sha, "Accept-Ranges": "bytes"}
    entry = commit.files.get(path)
    if entry is None:
        raise RefusedError(404, "Entry not found", code="EntryNotFound", **headers)
    headers["ETag"] = f'"{entry.etag}"'
    if entry.sha256 is None:
        assert entry.data is not None
        return Reply(200, entry.data, headers)
    headers |= {
        "X-Linked-Size": str(entry.size),
        "X-Linked-Etag": f'"{entry.sha256}"',
        "Location": f"{hub.elsewhere}/cdn/{hub.objects.secret}/{entry.sha256}"
        f"?size={entry.size}",
    }
    if name := hub.objects.xet_hash(entry.sha256):
        token = f"{hub.url}/api/datasets/{quote(id)}/xet-read-token/{commit.sha}"
        headers |= {"X-Xet-Hash": name, "Link": f'<{token}>; rel="xet-auth"'}
    return Reply(302, b"", headers)


@route("GET", "/cdn/(?P<secret>[0-9a-f]+)/(?P<oid>[0-9a-f]{64})")
def cdn(hub: "Hub", call: Call, secret: str, oid: str) -> Reply:
    _signed(hub, secret)
    headers = {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"}
    file = hub.objects.file(oid, int(call.query.get("size", -1)))
    return Reply(200, headers=headers, file=file)


def _signed(hub: "Hub", secret: str) -> None:
    if secret != hub.objects.secret:
        raise RefusedError(403, "the link is not signed")
