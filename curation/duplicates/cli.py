"""The commands for anybody with a folder of pictures: parse, call, print; no logic."""

from pathlib import Path
from typing import Annotated

import typer

from curation.commands import Jobs, Json, Quiet, as_object, logging

Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Folder of pictures, with sub-folders.")
]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="Decode every pixel: hashes are those of imagehash, to join with tables "
        "made by it; slower.",
    ),
]
MaxPixels = Annotated[
    int, typer.Option(min=1, help="Larger pictures are refused and named, pixels.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to an application."""
    app.command()(dedup)
    app.command("hash")(hash_)


def dedup(
    folder: Folder,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="TABLE",
            help="Also tell which photos another set has; its table is from "
            "`counterset hash`; repeatable.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page that shows them side by side."),
    ] = None,
    exact: Exact = False,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Let a model confirm and suggest pairs, such as "
            "open_clip:ViT-B-32/openai; slower.",
        ),
    ] = "",
    max_pixels: MaxPixels = 150_000_000,
    jobs: Jobs = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find pictures that a folder holds more than once.

    Nothing is changed. Finds equal files, equal pixels, and copies that were resized,
    recompressed, made brighter or darker, mirrored, turned or cropped a little. Files
    that cannot be read are named with the reason, and are no error: the exit code is 0
    with them, too.
    """
    from curation.duplicates import findings, run

    with logging(quiet) as say:
        found = run.dedup(
            folder, against=against or (), html=html, exact=exact, model=model,
            max_pixels=max_pixels, jobs=jobs, say=say,
        )  # fmt: skip
    if as_json:
        as_object(findings.as_object(found))
    else:
        typer.echo(findings.text(found, page=str(html or "")))


def hash_(
    folder: Folder,
    out: Annotated[
        Path, typer.Option(metavar="TABLE", help="Parquet file to write, or replace.")
    ],
    exact: Exact = False,
    max_pixels: MaxPixels = 150_000_000,
    jobs: Jobs = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a table of a folder's hashes, for `dedup --against`.

    The table has names, sizes, hashes and thumbs of 32 × 32 grey pixels, some kilobyte
    per picture. Files that cannot be read are rows with the reason.
    """
    from curation.duplicates import run

    with logging(quiet) as say:
        told = run.hash_folder(
            folder, out, exact=exact, max_pixels=max_pixels, jobs=jobs, say=say
        )
    if as_json:
        as_object(told.as_object())
    else:
        typer.echo(told.text())
