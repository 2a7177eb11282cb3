"""Storage that a project of Label Studio shows pictures from, and its webhooks.

Each is made once: what is there already is looked through first.
"""

from collections.abc import Sequence
from typing import Any

from curation.errors import LabelStudioError
from curation.labelstudio.link import Link

_FOLDER_ADVICE = (
    "the server must run with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
    "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT set to a folder above this one"
)
_BUCKET_ADVICE = (
    "the server must reach the bucket with these keys; an endpoint in a private "
    "network needs SSRF_PROTECTION_ENABLED=false on the server"
)
_NUDGE_ADVICE = (
    "Label Studio posts to private addresses only with SSRF_PROTECTION_ENABLED=false; "
    "without --listen answers come at each look"
)
_CHANGES = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")


def connect_folder(link: Link, project: int, *, path: str, title: str) -> None:
    """Show files of a folder on the server's disk."""
    stores = link.sdk.import_storage.local
    with link.explained():
        there = {
            (store.path or "").rstrip("/") for store in stores.list(project=project)
        }
    if path.rstrip("/") in there:
        return
    try:
        with link.explained():
            stores.create(project=project, path=path, title=title, use_blob_urls=True)
    except LabelStudioError as error:
        raise _advised(error, _FOLDER_ADVICE) from None


def connect_bucket(
    link: Link, project: int, *, key: str, secret: str, **place: str
) -> None:
    """Show objects of an S3-compatible bucket; new keys replace those it had.

    Args:
        link: to the server.
        project: its number.
        key: access key of the bucket.
        secret: that goes with it.
        place: bucket, prefix, endpoint, region and title.
    """
    stores = link.sdk.import_storage.s3
    settings: dict[str, Any] = {
        "project": project,
        "bucket": place["bucket"],
        "prefix": place["prefix"],
        "s3endpoint": place["endpoint"] or None,
        "region_name": place["region"] or None,
        "aws_access_key_id": key,
        "aws_secret_access_key": secret,
        "title": place["title"],
        "presign": True,
        "use_blob_urls": True,
    }
    wanted = (place["bucket"], place["prefix"], place["endpoint"])
    with link.explained():
        same = [
            store.id
            for store in stores.list(project=project)
            if (store.bucket or "", store.prefix or "", store.s3endpoint or "")
            == wanted
        ]
    try:
        with link.explained():
            if same and same[0] is not None:
                stores.update(same[0], **settings)
            else:
                stores.create(**settings)
    except LabelStudioError as error:
        raise _advised(error, _BUCKET_ADVICE, hide=(key, secret)) from None


def nudge(link: Link, project: int, url: str) -> None:
    """Post to a URL whenever an annotation changes."""
    hooks = link.sdk.webhooks
    with link.explained():
        there = {hook.url for hook in hooks.list(project=str(project))}
    if url in there:
        return
    try:
        with link.explained():
            hooks.create(
                url=url,
                project=project,
                actions=_CHANGES,
                send_for_all_actions=False,
                send_payload=False,
            )
    except LabelStudioError as error:
        raise _advised(error, _NUDGE_ADVICE) from None


def _advised(
    error: LabelStudioError, advice: str, *, hide: Sequence[str] = ()
) -> LabelStudioError:
    """The same error with what to do about it, and without secrets it may repeat."""
    text = str(error)
    for secret in hide:
        text = text.replace(secret, "…") if secret else text
    return LabelStudioError(f"{text}: {advice}", url=error.url, status=error.status)
