"""Branches, tags, history and pull requests of the stand-in Hub."""

from typing import TYPE_CHECKING

from tests.standins.hub_api import REPO, Call, Reply, route, told
from tests.standins.hub_repos import RefusedError

if TYPE_CHECKING:
    from tests.standins.hub import Hub


@route("GET", f"{REPO}/refs")
def refs(hub: "Hub", call: Call, id: str) -> Reply:
    repo = hub.repository(id, call)

    def kind(start: str) -> list[dict]:
        return [
            {"name": ref.removeprefix(start), "ref": ref, "targetCommit": sha}
            for ref, sha in repo.refs().items()
            if ref.startswith(start)
        ]

    found = {
        "branches": kind("refs/heads/"),
        "tags": kind("refs/tags/"),
        "converts": [],
    }
    if "include_prs" in call.query:
        found["pullRequests"] = [
            {"name": x["ref"], "ref": x["ref"], "targetCommit": x["targetCommit"]}
            for x in kind("refs/pr/")
        ]
    return told(found)


@route("POST", f"{REPO}/tag/(?P<rev>[^/]+)")
def tag(hub: "Hub", call: Call, id: str, rev: str) -> Reply:
    repo, name = hub.writable(id, call), call.json()["tag"]
    if name in repo.tags:
        raise RefusedError(409, f"Tag reference exists already: {name}")
    repo.tags[name] = repo.find(rev).sha
    return Reply()


@route("DELETE", f"{REPO}/tag/(?P<name>[^/]+)")
def untag(hub: "Hub", call: Call, id: str, name: str) -> Reply:
    if hub.writable(id, call).tags.pop(name, None) is None:
        raise RefusedError(404, f"no tag {name}", code="RevisionNotFound")
    return Reply()


@route("POST", f"{REPO}/branch/(?P<name>[^/]+)")
def branch(hub: "Hub", call: Call, id: str, name: str) -> Reply:
    repo = hub.writable(id, call)
    if name in repo.branches:
        raise RefusedError(409, f"Branch already exists: {name}")
    start = call.json().get("startingPoint") if call.body else None
    repo.branches[name] = repo.find(start or "main").sha
    return Reply()


@route("DELETE", f"{REPO}/branch/(?P<name>[^/]+)")
def unbranch(hub: "Hub", call: Call, id: str, name: str) -> Reply:
    repo = hub.writable(id, call)
    if name == "main":
        raise RefusedError(403, "main cannot be deleted")
    if repo.branches.pop(name, None) is None:
        raise RefusedError(404, f"no branch {name}", code="RevisionNotFound")
    return Reply()


@route("GET", f"{REPO}/commits/(?P<rev>[^/]+)")
def commits(hub: "Hub", call: Call, id: str, rev: str) -> Reply:
    return told(
        [
            {
                "id": commit.sha,
                "title": commit.title,
                "message": commit.message,
                "date": commit.date,
                "authors": [{"user": commit.author}],
            }
            for commit in hub.repository(id, call).history(rev)
        ]
    )


@route("POST", f"{REPO}/super-squash/(?P<name>[^/]+)")
def squash(hub: "Hub", call: Call, id: str, name: str) -> Reply:
    """The history of a branch becomes one commit; tags keep what they name."""
    repo = hub.writable(id, call)
    assert call.account
    title = (call.json() if call.body else {}).get("message")
    title = title or f"Super-squash branch '{name}' using huggingface_hub"
    files = repo.find(name).files
    repo.move(name, repo.add(None, files, title, call.account.name))
    return Reply()


@route("POST", f"{REPO}/discussions")
def discuss(hub: "Hub", call: Call, id: str) -> Reply:
    repo, asked = hub.repository(id, call), call.json()
    if call.account is None:
        raise RefusedError(401, "Invalid username or password.")
    number = repo.open_pull(asked["title"], call.account.name, asked["description"])
    return told({"num": number, "pullRequest": True})


@route("GET", f"{REPO}/discussions")
def discussions(hub: "Hub", call: Call, id: str) -> Reply:
    found = [*hub.repository(id, call).discussions.values()][::-1]
    return told({"count": len(found), "start": 0, "discussions": found})


@route("GET", f"{REPO}/discussions/(?P<number>[0-9]+)")
def discussion(hub: "Hub", call: Call, id: str, number: str) -> Reply:
    found = hub.repository(id, call).discussions.get(int(number))
    if found is None:
        raise RefusedError(404, "no such discussion")
    return told(found)


@route("POST", f"{REPO}/discussions/(?P<number>[0-9]+)/merge")
def merge(hub: "Hub", call: Call, id: str, number: str) -> Reply:
    """The files of a pull request that is not behind become those of main."""
    repo = hub.writable(id, call)
    commit = repo.commits[repo.pulls[int(number)]]
    if repo.head not in [older.sha for older in repo.history(commit.sha)]:
        raise RefusedError(409, "main has moved since")
    repo.branches["main"] = commit.sha
    repo.discussions[int(number)]["status"] = "merged"
    event = {"id": number, "type": "status-change", "createdAt": commit.date}
    return told({"newMessage": event | {"data": {"status": "merged"}}})
