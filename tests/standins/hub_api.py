"""What the stand-in Hub answers to each request of `huggingface_hub` and `datasets`."""

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from tests.standins import hub_accounts as who
from tests.standins.hub_repos import (
    Commit,
    Entry,
    RefusedError,
    Repository,
    kept_outside,
)

if TYPE_CHECKING:
    from tests.standins.hub import Hub


@dataclass(slots=True)
class Call:
    """A request: names of the path and the query unquoted, the body read.

    Attributes:
        body: empty when it went to `file`, with its sha256 in `digest`.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    account: who.Account | None
    body: bytes = b""
    file: Path | None = None
    digest: str = ""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Reply:
    """An answer; `file` is sent instead of `body`, in the range that was asked for."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    file: Path | None = None


def told(content: object, **headers: str) -> Reply:
    """JSON."""
    headers = {"Content-Type": "application/json"} | headers
    return Reply(200, json.dumps(content).encode(), headers)


Route = Callable[..., Reply]
ROUTES: list[tuple[str, re.Pattern[str], Route]] = []
REPO = "/api/datasets/(?P<id>[^/]+/[^/]+)"


def route(method: str, pattern: str) -> Callable[[Route], Route]:
    """A function answers requests whose whole path matches."""

    def add(function: Route) -> Route:
        ROUTES.append((method, re.compile(pattern), function))
        return function

    return add


def answer(hub: "Hub", call: Call) -> Reply:
    """Find the route and follow it."""
    for method, pattern, function in ROUTES:
        asked = "GET" if call.method == "HEAD" else call.method
        if method == asked and (match := pattern.fullmatch(call.path)):
            parts = {k: unquote(v) for k, v in match.groupdict().items() if v}
            return function(hub, call, **parts)
    raise RefusedError(404, f"no such page: {call.method} {call.path}")


@route("GET", "/api/whoami-v2")
def whoami(hub: "Hub", call: Call) -> Reply:
    if call.account is None:
        raise RefusedError(401, "Invalid username or password.")
    return told(call.account.whoami())


@route("POST", "/api/repos/create")
def create(hub: "Hub", call: Call) -> Reply:
    asked = call.json()
    account = call.account
    owner = asked.get("organization") or (account.name if account else "")
    id = f"{owner}/{asked['name']}"
    url = f"{hub.url}/datasets/{id}"
    if account and account.belongs(owner) and id in hub.repos:
        reply = told({"error": "You already created this dataset repo", "url": url})
        reply.status = 409
        return reply
    account = who.write(owner, account)
    private = asked.get("visibility") == "private"
    hub.repos[id] = Repository(id, account.name, private=private)
    return told({"url": url, "name": id, "id": id})


@route("DELETE", "/api/repos/delete")
def delete(hub: "Hub", call: Call) -> Reply:
    asked = call.json()
    owner = asked.get("organization") or (call.account.name if call.account else "")
    repo = hub.repository(f"{owner}/{asked['name']}", call)
    who.write(owner, call.account)
    del hub.repos[repo.id]
    return Reply()


@route("PUT", f"{REPO}/settings")
def settings(hub: "Hub", call: Call, id: str) -> Reply:
    repo = hub.writable(id, call)
    asked = call.json()
    repo.gated = asked.get("gated", repo.gated)
    if "visibility" in asked:
        repo.private = asked["visibility"] == "private"
    return told({"gated": repo.gated, "private": repo.private})


@route("POST", "/api/validate-yaml")
def validate(hub: "Hub", call: Call) -> Reply:
    import yaml

    parts = call.json()["content"].split("---\n")
    try:
        yaml.safe_load(parts[1] if len(parts) > 2 else "")
    except yaml.YAMLError as error:
        reply = told({"errors": [{"message": str(error)}], "warnings": []})
        reply.status = 400
        return reply
    return told({"errors": [], "warnings": []})


@route("POST", f"{REPO}/preupload/(?P<rev>[^/]+)")
def preupload(hub: "Hub", call: Call, id: str, rev: str) -> Reply:
    files = hub.writable(id, call).find(rev).files
    found = []
    for asked in call.json()["files"]:
        sample = base64.b64decode(asked["sample"])
        outside = kept_outside(asked["path"], asked["size"], sample)
        entry = {
            "path": asked["path"],
            "uploadMode": "lfs" if outside else "regular",
            "shouldIgnore": False,
        }
        if there := files.get(asked["path"]):
            entry["oid"] = there.etag
        found.append(entry)
    return told({"files": found})


@route("POST", f"{REPO}/commit/(?P<rev>[^/]+)")
def commit(hub: "Hub", call: Call, id: str, rev: str) -> Reply:
    """One commit, all of it or nothing."""
    repo = hub.writable(id, call)
    lines = [json.loads(line) for line in call.body.splitlines() if line.strip()]
    header = next(x["value"] for x in lines if x["key"] == "header")
    title, message = header["summary"], header.get("description") or ""
    asked_pull = "create_pr" in call.query
    with hub.lock:  # looking at the head and moving it are one step
        base = repo.find(rev)
        parent = header.get("parentCommit") or base.sha
        if asked_pull:
            base = repo.find(parent)
        elif parent != base.sha:
            raise RefusedError(412, "A commit has happened since. Please refresh.")
        files = dict(base.files)
        for line in lines:
            _apply(hub, files, line["key"], line["value"])
        assert call.account
        sha = repo.add(base.sha, files, title, call.account.name, message)
        reply = {
            "success": True,
            "commitOid": sha,
            "commitUrl": f"{hub.url}/datasets/{id}/commit/{sha}",
        }
        if asked_pull:
            number = repo.open_pull(title, call.account.name, message)
            repo.pulls[number] = sha
            reply["pullRequestUrl"] = f"{hub.url}/datasets/{id}/discussions/{number}"
        elif rev in repo.branches or rev in repo.refs():
            repo.move(rev, sha)
        else:
            raise RefusedError(400, f"{rev} is not a branch")
    return told(reply)


def _apply(hub: "Hub", files: dict[str, Entry], key: str, value: dict) -> None:
    if key == "file":
        data = base64.b64decode(value["content"])
        files[value["path"]] = Entry(len(data), data)
    elif key == "lfsFile":
        if not hub.objects.has(value["oid"]):
            raise RefusedError(400, f"{value['path']}: its object was not uploaded")
        size = value.get("size")
        if size is None:
            size = hub.objects.file(value["oid"], -1).stat().st_size
        files[value["path"]] = Entry(size, sha256=value["oid"])
    elif key == "deletedFile":
        if files.pop(value["path"], None) is None:
            raise RefusedError(
                404, f"{value['path']} is not there", code="EntryNotFound"
            )
    elif key == "deletedFolder":
        inside = [p for p in files if p.startswith(value["path"].rstrip("/") + "/")]
        for path in inside:
            del files[path]
    elif key != "header":
        raise RefusedError(400, f"unknown operation {key}")


@route("GET", f"{REPO}(?:/revision/(?P<rev>[^/]+))?")
def info(hub: "Hub", call: Call, id: str, rev: str = "main") -> Reply:
    repo = hub.repository(id, call)
    commit = repo.find(rev)
    siblings = [
        _sibling(path, entry, whole="blobs" in call.query)
        for path, entry in sorted(commit.files.items())
    ]
    return told(
        {
            "_id": repo.commits[repo.history("main")[-1].sha].sha[:24],
            "id": id,
            "author": repo.owner,
            "sha": commit.sha,
            "lastModified": commit.date,
            "createdAt": repo.history(rev)[-1].date,
            "private": repo.private,
            "gated": repo.gated,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": siblings,
        }
    )


def _sibling(path: str, entry: Entry, *, whole: bool) -> dict:
    found: dict[str, object] = {"rfilename": path}
    if whole:
        found |= {"size": entry.size, "blobId": entry.oid}
        if entry.sha256:
            found["lfs"] = {
                "size": entry.size,
                "sha256": entry.sha256,
                "pointerSize": 130,
            }
    return found


def _described(hub: "Hub", path: str, entry: Entry, commit: Commit | None) -> dict:
    found: dict[str, object] = {
        "type": "file",
        "path": path,
        "oid": entry.oid,
        "size": entry.size,
    }
    if entry.sha256:
        found["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": 130}
        if name := hub.objects.xet_hash(entry.sha256):
            found["xetHash"] = name
    if commit:
        last = {"id": commit.sha, "title": commit.title, "date": commit.date}
        found["lastCommit"] = last
        found["securityFileStatus"] = {
            "status": "safe",
            "avScan": None,
            "pickleImportScan": None,
        }
    return found


@route("GET", f"{REPO}/tree/(?P<rev>[^/]+)(?:/(?P<path>.+))?")
def tree(hub: "Hub", call: Call, id: str, rev: str, path: str = "") -> Reply:
    """Files and folders below a path, a page at a time."""
    repo = hub.repository(id, call)
    commit = repo.find(rev)
    under = path.strip("/") + "/" if path.strip("/") else ""
    found: dict[str, dict] = {}
    last = commit if call.query.get("expand") in ("true", "True", "1") else None
    recursive = call.query.get("recursive") in ("true", "True", "1")
    for name, entry in sorted(commit.files.items()):
        if not name.startswith(under):
            continue
        folders = name.removeprefix(under).split("/")[:-1]
        for depth in range(
            1, len(folders) + 1 if recursive else min(2, len(folders) + 1)
        ):
            folder = under + "/".join(folders[:depth])
            found[folder] = {
                "type": "directory",
                "path": folder,
                "oid": "0" * 40,
                "size": 0,
            }
        if recursive or not folders:
            found[name] = _described(hub, name, entry, last)
    if under and not found:
        raise RefusedError(404, f"{path} does not exist", code="EntryNotFound")
    entries, start = list(found.values()), int(call.query.get("cursor", 0))
    reply = told(entries[start : start + hub.page])
    if start + hub.page < len(entries):
        more = "&".join(
            f"{k}={quote(v)}" for k, v in call.query.items() if k != "cursor"
        )
        link = f"{hub.url}{call.path}?{more}&cursor={start + hub.page}"
        reply.headers["Link"] = f'<{link}>; rel="next"'
    return reply


@route("POST", f"{REPO}/paths-info/(?P<rev>[^/]+)")
def paths_info(hub: "Hub", call: Call, id: str, rev: str) -> Reply:
    files = hub.repository(id, call).find(rev).files
    asked = call.json() if call.body[:1] == b"{" else _form(call.body)
    found = [
        _described(hub, path, files[path], None)
        for path in asked["paths"]
        if path in files
    ]
    folders = [p for p in asked["paths"] if any(f.startswith(p + "/") for f in files)]
    empty = {"type": "directory", "oid": "0" * 40, "size": 0}
    return told(found + [empty | {"path": path} for path in folders])


def _form(body: bytes) -> dict[str, list[str]]:
    from urllib.parse import parse_qs

    return {"paths": []} | parse_qs(body.decode())


@route("GET", f"{REPO}/xet-(?P<kind>read|write)-token/(?P<rev>[^/]+)")
def xet_token(hub: "Hub", call: Call, id: str, kind: str, rev: str) -> Reply:
    repo = hub.writable(id, call) if kind == "write" else hub.repository(id, call)
    who.read(repo, call.account)
    store = hub.objects.xet if kind == "write" else hub.objects.xet_copy()
    url, exp = f"local://{store}", int(time.time()) + 3600
    return told(
        {"casUrl": url, "accessToken": "xet", "exp": exp},
        **{
            "X-Xet-Cas-Url": url,
            "X-Xet-Access-Token": "xet",
            "X-Xet-Token-Expiration": str(exp),
        },
    )
