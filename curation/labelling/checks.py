"""The check before labelling starts: does an annotator's browser show the pictures?

Label Studio lets people submit answers beside a picture that never came, so a server, a
bucket or a folder that is set up wrongly gives labels made blind.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from curation.errors import LabelStudioError
from curation.labelling import images, pictures, serve
from curation.labelling.bucket import cors

if TYPE_CHECKING:
    from curation.labelstudio import LabelStudio, Picture
    from curation.pipeline import Route

Shown = tuple[int, str, str]
"""Task id, photo_id and image address."""

SAMPLE = 12
"""Pictures looked at, spread over those given."""


def look(route: "Route", studio: "LabelStudio", shown: Sequence[Shown]) -> list[str]:
    """As `images.preflight`."""
    if not shown:
        return []
    if route.config.labels.images == "serve":
        problem = _serving(route, studio)
        if problem:
            return [problem]
    step = max(1, len(shown) // SAMPLE)
    faults: dict[str, list[str]] = {}
    looked = shown[::step][:SAMPLE]
    photos = {one.photo_id: one for one in images.known(route, [x[1] for x in looked])}
    for task, photo_id, image in looked:
        fault = _fault(route, studio, task, photos[photo_id], image)
        if fault:
            faults.setdefault(fault, []).append(f"task {task}, photo {photo_id[:12]}")
    return [
        f"{len(where)} of {len(looked)} pictures looked at ({where[0]}): {fault}"
        for fault, where in faults.items()
    ]


def _serving(route: "Route", studio: "LabelStudio") -> str:
    """Why `counterset labels serve` would show nothing; empty when it would."""
    address = route.config.labels.address
    serve.place(address)
    page = urlsplit(studio.url)
    if not serve.loopback(page.hostname or ""):
        secure = (
            ", and its page is https while the pictures are http (mixed content)"
            if page.scheme == "https"
            else ""
        )
        return (
            f"Label Studio is at {page.netloc}{secure}: a browser there asks its own "
            f"machine for {address}. Reach Label Studio through a tunnel to this "
            'machine, or use labels.images = "local" or "s3"'
        )
    found = serve.who(address, serve.identity(route.shelf))
    start = "start `counterset labels serve` in another terminal and leave it running"
    return {
        "ours": "",
        "nobody": f"nobody answers at {address}: {start}",
        "other": (
            f"{address} shows the pictures of another work folder: stop that "
            f"`counterset labels serve` or choose another labels.address, then {start}"
        ),
        "stranger": (
            f"another program answers at {address}: choose another labels.address, "
            f"then {start}"
        ),
    }[found]


def _fault(
    route: "Route",
    studio: "LabelStudio",
    task: int,
    photo: images.Photo,
    image: str,
) -> str:
    """What is wrong with one picture and what to do; empty when it shows."""
    try:
        found = studio.picture(image, task=task)
    except LabelStudioError as error:
        return f"{_host(error.url)} does not answer; {_advice(route, 'silent')}"
    if found.status != 200:
        why = {401: "refused", 403: "refused", 404: "missing"}
        advice = _advice(route, why.get(found.status, "failed"))
        return f"{_host(found.url)} answers {found.status}; {advice}"
    if not found.shown_to_others:
        return _kept_back(studio, found)
    return _content(route, photo, found)


def _kept_back(studio: "LabelStudio", found: "Picture") -> str:
    """The bytes came, but a browser would not give them to the page."""
    page, place = urlsplit(studio.url), urlsplit(found.url)
    origin = f"{page.scheme}://{page.netloc}"
    if page.scheme == "https" and place.scheme == "http":
        return (
            f"the page is https and {place.netloc} is http: browsers refuse the "
            "mixture. Give the pictures an https address (labels.endpoint)"
        )
    return (
        f"{place.netloc} does not let pages of {origin} read its answers: the header "
        "Access-Control-Allow-Origin is missing. Set the CORS rules of the bucket to "
        f"{cors(origin)}, or have the server of the pictures send "
        f"Access-Control-Allow-Origin: {origin}"
    )


def _content(route: "Route", photo: images.Photo, found: "Picture") -> str:
    """Whether the bytes are the photo's."""
    if hashlib.sha256(found.data).hexdigest() == photo.photo_id:
        # not every browser guesses right what a file is
        named = found.kind.startswith("image/") or found.kind.endswith("octet-stream")
        return "" if named else f"it is called {found.kind!r}, which is no picture"
    if not found.kind.startswith("image/"):
        return (
            f"{found.kind or 'something without a type'} came in place of a picture "
            f"from {_host(found.url)}: another service, or a login page, answers there"
        )
    limit = route.config.fetch.max_pixels
    size = pictures.decodes(found.data, max_pixels=limit)
    again = "delete it where the pictures are, and push again"
    if size is None:
        return f"it is damaged ({len(found.data):,} bytes that do not decode): {again}"
    if images.as_is(route, photo):
        return f"it is another picture than the photo: {again}"
    # another version of the library may have made it: other bytes, the same picture
    if size != pictures.decodes(images.made(route, photo), max_pixels=limit):
        return f"it is another picture than the photo: {again}"
    return ""


def _advice(route: "Route", what: str) -> str:
    """What to do about a picture that did not come."""
    labels = route.config.labels
    if labels.images == "local":
        return (
            "start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
            f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={_root(route)}; if it sees that "
            "folder under another path, say so in labels.documents_on_server"
        )
    if labels.images == "s3":
        return {
            "missing": "the bucket is not connected to the project, or the object is "
            "not in it: push again",
            # without the right to list, a missing object is a forbidden one
            "refused": "the object is not in the bucket (push again), or the key that "
            "Label Studio was given may not read it, or its clock is wrong",
        }.get(what, f"browsers must reach {labels.endpoint or 'the bucket'} themselves")
    return {
        "missing": "the photo is gone, or the address was made by another work folder: "
        "push again",
    }.get(what, "start `counterset labels serve` again and leave it running")


def _root(route: "Route") -> str:
    return route.config.labels.documents_on_server or str(images.documents(route))


def _host(url: str) -> str:
    """Host of a URL: paths of pictures are secrets."""
    return urlsplit(url).netloc.rpartition("@")[2] or url
