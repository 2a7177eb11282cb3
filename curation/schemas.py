"""Every table's columns, types, units and meaning: read this to know all the data.

A photo is one image file; its key everywhere is `photo_id`, the sha256 (lower-case
hex) of the bytes as they were fetched. Scores are kept apart from decisions: hashes,
embeddings, flags and proposals hold no threshold; dedup, tasks, resolve and group do.

A column's meaning travels with it, as metadata of the Arrow field.
"""

from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from curation.errors import InputError

GROUPS = ("common", "counter", "unused")
CRITERIA = ("label_noise", "feature_noise", "ambiguity", "clarity")
DEFECTS = (*CRITERIA, "wrong_animal")
"""What can be wrong with a photo: the paper's four criteria, which have scores, and an
animal that is not of the photo's class."""
QUESTIONS = ("background", *DEFECTS)
CANNOT_TELL = "cannot_tell"
SKIPPED, WITHDRAWN = "skipped", "withdrawn"
NO_ANSWER = (SKIPPED, WITHDRAWN)
"""Events that say that someone has no answer (any more): kept, and never counted."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its Arrow type, whether it may be null, and what it means."""

    type: pa.DataType
    meaning: str
    null: bool = False


Table = dict[str, Column]

_text, _int, _real, _flag = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_photo = Column(_text, "sha256 of the photo's bytes as fetched, lower-case hex")
_status = Column(_text, "ok or failed")
_error = Column(_text, "why the row failed", null=True)
_class = Column(_text, "name of the class in dataset.toml")

SCHEMAS: dict[str, Table] = {
    # one row = one record of a source; many may point to one photo
    "candidates": {
        "candidate_id": Column(_text, "sha256 of source, key and revision"),
        "source": Column(_text, "kind of source, such as folder"),
        "key": Column(_text, "what the source calls it: a relative path, an id"),
        "revision": Column(_text, "changes when the source's file changes"),
        "class": Column(_text, "class the source files it under"),
        "url": Column(_text, "where the bytes are: a URL, or a path in the source"),
        "photo_key": Column(
            _text, "names the photo in every source, such as inaturalist:92152429", True
        ),
        "source_url": Column(_text, "page that shows the photo", null=True),
        "title": Column(_text, "title given by the source", null=True),
        "author": Column(_text, "who made it, as the source states it", null=True),
        "licence": Column(_text, "licence, SPDX-like, such as CC-BY-4.0", null=True),
        "licence_text": Column(_text, "licence as the source spells it", null=True),
        "attribution": Column(_text, "credit line as the source asks for it", True),
        "observation_id": Column(
            _text, "photos that share it are not independent", null=True
        ),
        "observer": Column(_text, "who saw it, by the source's id", null=True),
        "observed_on": Column(_text, "day it was seen, YYYY-MM-DD", null=True),
        "latitude": Column(_real, "rounded to 0.1 degree", null=True),
        "longitude": Column(_real, "rounded to 0.1 degree", null=True),
        "composed": Column(_flag, "put together from several pictures, not taken"),
        "note": Column(_text, "remark of the source", null=True),
        "refused": Column(_text, "why it does not become a photo", null=True),
        "place": Column(_int, "which of dataset.toml's sources, from 0"),
        "order": Column(_int, "place in the source's own order, from 0"),
    },
    # append-only log; one row = one attempt to fetch a record's photo
    "fetches": {
        "candidate_id": Column(_text, "record that was tried"),
        "status": Column(_text, "ok, failed, or lost (its bytes were gone later)"),
        "error": Column(_text, "why it failed", null=True),
        "photo_id": Column(_text, "sha256 of what arrived", null=True),
        "bytes": Column(_int, "size of the file, bytes", null=True),
        "format": Column(_text, "JPEG, PNG, … by content", null=True),
        "width": Column(_int, "pixels, upright", null=True),
        "height": Column(_int, "pixels, upright", null=True),
        "limits": Column(_text, "limits in force; under others it is tried again"),
        "attempts": Column(
            _int, "requests it took; 0: had already, under another record", True
        ),
        "again": Column(
            _flag, "the service failed, not the photo: the next run tries it", True
        ),
        "photo_key": Column(_text, "names the photo in every source", null=True),
        "licence": Column(_text, "licence when it was fetched, SPDX-like", null=True),
        "licence_text": Column(
            _text, "that licence as the source spelled it", null=True
        ),
        "at": Column(_text, "when, ISO 8601 with zone"),
    },
    # append-only log; one row = what a source said of a record when asked once more
    "rechecks": {
        "candidate_id": Column(_text, "record that was asked about"),
        "at": Column(_text, "when, ISO 8601 with zone"),
        "state": Column(_text, "there, gone (not offered), or unknown (no answer)"),
        "licence": Column(_text, "licence then, SPDX-like", null=True),
        "licence_text": Column(_text, "licence as the source spelled it", null=True),
    },
    # append-only log; what is in it is never fetched again
    "takedowns": {
        "photo_id": _photo,
        "records": Column(
            pa.list_(pa.list_(_text)),
            "source, key, photo_key and web address of each record that led to it",
        ),
        "reason": Column(_text, "as given"),
        "at": Column(_text, "when, ISO 8601 with zone"),
    },
    # one row = one distinct file that arrived and looks like a picture
    "photos": {
        "photo_id": _photo,
        "candidate_id": Column(
            _text, "record it is credited to: most open licence, then earliest"
        ),
        "class": Column(_text, "class the credited record files it under"),
        "classes": Column(
            pa.list_(_text), "every class it was filed under; two are a contradiction"
        ),
        "observation_id": Column(_text, "shared by photos that are not independent"),
        "composed": Column(_flag, "put together from several pictures, not taken"),
        "bytes": Column(_int, "size of the file, bytes"),
        "format": Column(_text, "JPEG, PNG, WEBP, … by content, not by name"),
        "width": Column(_int, "pixels, upright (EXIF orientation applied)"),
        "height": Column(_int, "pixels, upright (EXIF orientation applied)"),
        "order": Column(_int, "place of its earliest record, from 0"),
    },
    # one row = one photo's pixels, decoded once
    "hashes": {
        "photo_id": _photo,
        "status": _status,
        "error": _error,
        "path": Column(_text, "decoding path that made the row, and its version"),
        "pixels": Column(
            _text, "sha256 of width, height and upright RGB bytes; null by fast", True
        ),
        "phash": Column(
            pa.list_(pa.uint64()),
            "pHash (64 bit; by the full path imagehash's) of the 8 dihedral variants; "
            "order: identity, rotate 90/180/270 (counter-clockwise), then the same "
            "four of the mirror image",
            null=True,
        ),
        "dhash": Column(
            pa.uint64(), "dHash, 64 bit; by the full path imagehash's", True
        ),
        "thumb": Column(
            pa.binary(), "32 × 32 grey bytes, upright, row by row: pHash's input", True
        ),
        "texture": Column(
            _real, "standard deviation of grey, 0-255; low: hashes are noise", True
        ),
        "sharpness": Column(
            _real, "variance of the Laplacian of grey at 512 px; null by fast", True
        ),
        "brightness": Column(_real, "mean grey, 0-1", null=True),
        "noise": Column(_real, "pixel noise, grey levels; null by fast", True),
    },
    # one row = one file of any folder: `counterset hash` writes it, dedup reads it
    "hash_table": {
        "name": Column(_text, "relative path; bytes that are no text: percent-encoded"),
        "status": _status,
        "error": _error,
        "sha256": Column(_text, "sha256 of the file's bytes, lower-case hex", True),
        "bytes": Column(_int, "size of the file, bytes"),
        "format": Column(_text, "JPEG, PNG, WEBP, … by content", null=True),
        "frames": Column(_int, "pictures in the file; the first is hashed", True),
        "width": Column(_int, "pixels, upright", null=True),
        "height": Column(_int, "pixels, upright", null=True),
        "path": Column(_text, "decoding path that made the hashes", null=True),
        "pixels": Column(_text, "as in hashes; null by the fast path", null=True),
        "phash": Column(pa.list_(pa.uint64()), "8 variants, as in hashes", True),
        "dhash": Column(pa.uint64(), "as in hashes", null=True),
        "thumb": Column(pa.binary(), "32 × 32 grey bytes, as in hashes", null=True),
        "texture": Column(_real, "as in hashes", null=True),
    },
    "embeddings": {
        "photo_id": _photo,
        "status": _status,
        "error": _error,
        "embedding": Column(
            pa.list_(pa.float16()), "image embedding, unit length", null=True
        ),
    },
    # one row = one decision on a pair; a photo is merged into one keeper at most
    "duplicates": {
        "photo_id": _photo,
        "keeper": Column(
            _text, "photo_id kept in its place (or the look-alike, or burst's first)"
        ),
        "decision": Column(
            _text,
            "merge, suggest (for a person to look at), or burst (no copies, but of one "
            "observer and day and alike: they stay together)",
        ),
        "reason": Column(
            _text,
            "pixels, perceptual, confirmed (hashes near, embeddings too), or embedding",
        ),
        "variant": Column(
            _text,
            "what it is of the keeper: identity, mirror, rotate90, …, crop, or wider "
            "(the keeper is its crop); null for embedding",
            null=True,
        ),
        "distance": Column(_real, "bits (hashes), or 1 - cosine (embedding)"),
        "disagreement": Column(
            _real, "of the thumbs' worst block, in their standard deviations", null=True
        ),
        "cosine": Column(_real, "of the embeddings, where both are known", null=True),
    },
    # one row = one photo that another set has too
    "leaks": {
        "photo_id": _photo,
        "set": Column(_text, "the other set: the name of its hash table's file"),
        "name": Column(_text, "what the photo is called there"),
        "reason": Column(_text, "bytes, pixels, or perceptual"),
        "variant": Column(
            _text, "what that photo is of this one: identity, mirror, …, crop, or wider"
        ),
        "distance": Column(_real, "bits between the hashes"),
        "dropped": Column(_flag, "left out of the groups (dedup.drop_leaks)"),
    },
    # the paper's four criteria as scores in 0-1, higher is worse
    "flags": {
        "photo_id": _photo,
        "label_noise": Column(_real, "how likely the animal is of another class"),
        "feature_noise": Column(_real, "how noisy or unlike its class it looks"),
        "ambiguity": Column(_real, "how evenly two classes claim it"),
        "clarity": Column(_real, "how blurred or dark it is (1: least clear)"),
    },
    "proposals": {
        "photo_id": _photo,
        "background": Column(_text, "most probable background"),
        "probability": Column(_real, "its calibrated probability, 0-1"),
        "margin": Column(_real, "probability minus that of the second, 0-1"),
        "second": Column(_text, "second most probable background"),
        "abstained": Column(_flag, "probability is below the stated confidence"),
        "probabilities": Column(
            pa.list_(_real), "one per background, in dataset.toml's order"
        ),
        "temperature": Column(_real, "temperature that scaled the scores"),
        "calibrated_on": Column(
            _int, "labelled photos the temperature is from; 0: none"
        ),
    },
    "tasks": {
        "photo_id": _photo,
        "question": Column(_text, "background, or one of the four criteria"),
        "rank": Column(_int, "order to ask in, 0 first"),
        "priority": Column(_real, "informativeness, higher is asked earlier"),
        "why": Column(_text, "what makes it informative"),
        "class": _class,
        "proposal": Column(_text, "answer proposed, null when blind", null=True),
        "probability": Column(_real, "calibrated probability of it", null=True),
        "answers": Column(_int, "answers there are already"),
    },
    # append-only log; a row is never changed, only superseded
    "label_events": {
        "event_id": Column(_text, "sha256 of what identifies the answer"),
        "photo_id": _photo,
        "question": Column(_text, "background, or one of the four criteria"),
        "answer": Column(
            _text,
            "a background, cannot_tell, or yes / no; skipped or withdrawn: none (now)",
        ),
        "annotator": Column(_text, "pseudonym"),
        "proposal": Column(_text, "proposal shown, null when none was", null=True),
        "origin": Column(_text, "confirmed (the proposal), or chosen"),
        "lead_time_s": Column(_real, "seconds taken", null=True),
        "created_at": Column(_text, "when answered, ISO 8601 with zone"),
        "supersedes": Column(_text, "event_id it replaces", null=True),
        "role": Column(_text, "adjudicator, when it settles a question", null=True),
        "note": Column(_text, "remark left with the answer", null=True),
        "edits": Column(
            _text,
            "whose annotation was overwritten, if it was not their own",
            null=True,
        ),
        "annotation": Column(
            _text, "where it is from: campaign and annotation id; null in files", True
        ),
    },
    # append-only log; the latest row of a campaign says where its project is
    "label_projects": {
        "campaign": Column(_text, "random id, also in the project's description"),
        "kind": Column(_text, "labels, or adjudication"),
        "server": Column(_text, "host and port it was reached at"),
        "project": Column(_int, "the project's number on the server"),
        "title": Column(_text, "title of the project"),
        "interface": Column(_text, "labelling configuration that was pushed, XML"),
        "instructions": Column(_text, "what annotators read first, HTML"),
        "blind": Column(_flag, "proposals are hidden"),
        "at": Column(_text, "when, ISO 8601 with zone"),
    },
    # append-only log; one row = one photo that was pushed, or was found on the server
    "label_tasks": {
        "campaign": Column(_text, "campaign it is part of"),
        "task": Column(_int, "the task's number on the server"),
        "photo_id": _photo,
        "use": Column(_text, "question, calibration, gold, or adjudication"),
        "proposal": Column(_text, "proposal shown, null when none was", null=True),
        "image": Column(_text, "where the task's picture is, as the server knows it"),
        "at": Column(_text, "when, ISO 8601 with zone"),
    },
    # append-only log; one row = one change of one annotation, as seen by a pull
    "annotations": {
        "campaign": Column(_text, "campaign it is part of"),
        "pull": Column(_int, "pull that saw it, from 1 in each campaign"),
        "task": Column(_int, "the task's number on the server"),
        "photo_id": Column(_text, "photo of the task, null if unknown", null=True),
        "annotation": Column(_int, "the annotation's number on the server"),
        "state": Column(
            _text, "present, deleted, or task_deleted (its answers stay in force)"
        ),
        "annotator": Column(_text, "pseudonym of who made it"),
        "editor": Column(_text, "pseudonym of who last changed it, if another", True),
        "fault": Column(_text, "why no answer could be read from it", null=True),
        "raw": Column(_text, "the annotation as the server gave it, JSON"),
        "at": Column(_text, "when it was seen, ISO 8601 with zone"),
    },
    # append-only log; one row = one pull that was finished
    "pulls": {
        "campaign": Column(_text, "campaign that was pulled"),
        "pull": Column(_int, "number of the pull, from 1 in each campaign"),
        "cursor": Column(_text, "updated_at of the latest task seen; the next starts"),
        "recent": Column(
            pa.list_(_text), "tasks of the minute before it, and when: seen already"
        ),
        "tasks": Column(_int, "tasks looked at"),
        "annotations": Column(_int, "annotations that were new, changed or deleted"),
        "events": Column(_int, "answers added to label_events"),
        "at": Column(_text, "when, ISO 8601 with zone"),
    },
    "labels": {
        "photo_id": _photo,
        "question": Column(_text, "background, or one of the four criteria"),
        "verdict": Column(_text, "the resolved answer; null while open", null=True),
        "status": Column(_text, "resolved, adjudicated, tie, or too_few"),
        "agreement": Column(_real, "fraction of answers equal to the verdict", True),
        "n_answers": Column(_int, "answers counted, one per annotator"),
        "annotators": Column(pa.list_(_text), "who answered, sorted"),
    },
    # one row = what one model says of one photo, in the dataset's label space
    "predictions": {
        "photo_id": _photo,
        "model": Column(_text, "full model name"),
        "class": _class,
        "predicted": Column(_text, "name of the class predicted", null=True),
        "probability": Column(_real, "probability of that class", null=True),
        "label_probability": Column(_real, "probability of the photo's class", True),
        "correct": Column(_flag, "predicted class is the photo's class", null=True),
        "status": _status,
        "error": _error,
    },
    # what the grouping rests on, at three levels
    "evidence": {
        "level": Column(_text, "background, class, or dataset"),
        "class": Column(_text, "null at level dataset", null=True),
        "background": Column(_text, "null above level background", null=True),
        "group": Column(_text, "common, counter or unused; level background", True),
        "kept": Column(_flag, "class is kept; levels background and class", True),
        "reason": Column(_text, "why it is kept, or is not", null=True),
        "n": Column(_int, "photos"),
        "n_clusters": Column(_int, "independent clusters of photos"),
        "correct": Column(_real, "photos right (mean over voting models)", null=True),
        "accuracy": Column(_real, "accuracy, 0-100", null=True),
        "accuracy_low": Column(_real, "95 % Wilson interval, 0-100", null=True),
        "accuracy_high": Column(_real, "95 % Wilson interval, 0-100", null=True),
        "naive_drop": Column(_real, "points; chosen and measured on the same", True),
        "naive_low": Column(_real, "95 % interval, points", null=True),
        "naive_high": Column(_real, "95 % interval, points", null=True),
        "cross_drop": Column(
            _real, "points; chosen on one half, measured on other", True
        ),
        "cross_low": Column(_real, "95 % interval, points", null=True),
        "cross_high": Column(_real, "95 % interval, points", null=True),
        "p_value": Column(_real, "permutation test; level class", null=True),
        "q_value": Column(_real, "Benjamini-Hochberg over classes", null=True),
        "models": Column(pa.list_(_text), "discovery models: results selected on them"),
    },
    "groups": {
        "photo_id": _photo,
        "class": _class,
        "imagenet_index": Column(_int, "0-999, null outside ImageNet", null=True),
        "background": Column(_text, "verified background", null=True),
        "group": Column(_text, "common, counter or unused"),
        "reason": Column(_text, "why it is unused", null=True),
        "cluster": Column(_text, "shared by photos that are not independent"),
    },
}


def schema(table: str) -> pa.Schema:
    """Arrow schema of a table, each field carrying its meaning.

    Example:
        >>> schema("labels").names[:3]
        ['photo_id', 'question', 'verdict']
    """
    return pa.schema(
        [
            pa.field(name, column.type, column.null, {"meaning": column.meaning})
            for name, column in SCHEMAS[table].items()
        ]
    )


def empty(table: str) -> pa.Table:
    """A table with no rows."""
    return from_rows([], table)


def conform(data: pa.Table, table: str) -> pa.Table:
    """Columns in the schema's order and types, further ones dropped.

    Raises:
        InputError: a column is missing, has another type, or a null it may not have.
    """
    columns = []
    for field in schema(table):
        if field.name not in data.column_names:
            message = f"table {table}: column {field.name!r} is missing"
            raise InputError(message)
        column = data.column(field.name)
        try:
            column = column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            message = (
                f"table {table}: column {field.name!r} is {column.type}, "
                f"not {field.type} ({error})"
            )
            raise InputError(message) from error
        if column.null_count and not field.nullable:
            message = (
                f"table {table}: column {field.name!r} has {column.null_count} nulls"
            )
            raise InputError(message)
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema(table))


def from_rows(rows: list[dict[str, object]], table: str) -> pa.Table:
    """A table from dictionaries; a missing key is null.

    Through Polars: Arrow would import pandas to look at the values, 1.5 s of start.
    """
    data = pl.DataFrame(
        [
            pl.Series(name, [row.get(name) for row in rows], type_)
            for name, type_ in pl.Schema(schema(table)).items()
        ]
    )
    return conform(data.to_arrow(), table)
