"""Puts the report together: facts in, `index.html` and figures out."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from curation.config import Dataset
from curation.reports import (
    drops,
    examples,
    facts,
    figures,
    known,
    origins,
    people,
    review,
    scores,
)
from curation.reports.album import Album
from curation.reports.charts import PERCENT, Scatter, around
from curation.reports.facts import Facts, demonstration
from curation.reports.wording import num, pvalue, span, thousands

TEMPLATES = Path(__file__).parent / "templates"
CLASS_CHARTS = 8  # models that get a scatter of their classes

CONTENTS = (
    ("known", "Planted"), ("drops", "Drop per class"), ("models", "Models"),
    ("backgrounds", "Backgrounds"), ("photos", "Photos"), ("route", "Route"),
    ("duplicates", "Duplicates"), ("proposals", "Proposals"), ("flags", "Flags"),
    ("people", "Agreement"), ("failed", "Failed"), ("licences", "Licences"),
    ("made", "Recipe"),
)  # fmt: skip


def build(
    folder: Path,
    *,
    config: Dataset,
    tables: Mapping[str, pa.Table],
    results: Sequence[Mapping[str, object]],
    read: Callable[[str], bytes],
    truth: Mapping[str, object] | None = None,
    provenance: Mapping[str, object] | None = None,
    gold: Mapping[tuple[str, str], str] | None = None,
) -> Path:
    """Write the dataset report; equal input gives equal bytes.

    Args:
        folder: gets `index.html` and `figures/*.svg` and `*.pdf`; made when missing.
        config: the dataset's configuration.
        tables: tables of `curation.schemas` by name. The section of a missing or empty
            table says so.
        results: objects of `evaluate`'s JSON.
        read: the bytes of a photo, by photo_id; a photo it raises OSError, KeyError or
            a CounterSetError for is shown as missing.
        truth: what a demonstration planted (`curation.demo`), to check against.
        provenance: versions, models and recipes: values, or mappings to show under a
            heading of their own.
        gold: answers known beforehand, by photo_id and question.

    Returns: the path of `index.html`.

    Raises:
        InputError: a table lacks a column of its schema.
    """
    report = facts.gather(
        config,
        tables,
        results=results,
        truth=truth,
        provenance=provenance,
        gold=gold,
    )
    content = gather(report, Album(read))
    content["figures"] = figures.save(
        folder / "figures",
        content["drops"],
        content["scores"],
        note=_honest_note(content),
    )
    page = folder / "index.html"
    page.write_text(render(content), encoding="utf-8")
    return page


def gather(report: Facts, album: Album) -> dict[str, Any]:
    """Everything the templates show, in the order pictures may use the budget."""
    evidence = drops.read(report, known.planted(report))
    scored = scores.read(report)
    lead = next((s for s in scored if s.drop.known), None)
    failures = review.failures(report)
    checks = known.check(report, evidence, scored, n_failed=len(failures))
    square, small = Scatter(), Scatter(side=300, room=244, left=44, top=8)
    about = report.config.dataset
    content: dict[str, Any] = {
        "about": about,
        "title": about.title or about.name,
        "config": report.config,
        "contents": [c for c in CONTENTS if checks or c[0] != "known"],
        "drops": evidence,
        "overall": evidence.overall,
        "kept": evidence.kept,
        "axis": around(
            estimate
            for row in [*evidence.tested, *filter(None, [evidence.overall])]
            for estimate in (row.naive, row.cross)
        ),
        "percent_axis": PERCENT,
        "has_cells": any(row.cells for row in evidence.classes),
        "scores": scored,
        "lead": lead,
        "others": [s for s in scored if s is not lead and s.drop.known][:4],
        "square": square,
        "small": small,
        "placed": square.place(scores.points(scored)),
        "class_charts": [
            (score, small.place(scores.class_points(score)))
            for score in scored[:CLASS_CHARTS]
            if score.classes
        ],
        "pair": examples.pair(report, evidence, album),
        "examples": examples.per_class(report, evidence, album),
        "missing_examples": report.missing("evidence", "groups", "photos")
        or ["evidence"],
        "route": review.route(report),
        "duplicates": review.duplicates(report, album),
        "proposals": review.proposals(report, album),
        "people": people.read(report, album),
        "flags": review.flags(report, album) if report.has("flags") else [],
        "failures": failures,
        "turned_away": review.turned_away(report),
        "known": checks,
        "licences": origins.licence_counts(report),
        "composed": origins.composed(report),
        "settings": origins.settings(report),
        "provenance": origins.provenance(report),
    }
    content["simulated"] = content["people"].simulated
    content["demo_models"] = _demo_models(report, [s.model for s in scored])
    # last: these tell of the pictures the page has shown
    content["shown"] = origins.shown(report, list(album.shown))
    content["left_out"] = album.left_out
    content["figures"] = []
    return content


def _demo_models(report: Facts, measured: Sequence[str]) -> list[str]:
    named = [*report.discovery, report.config.embed.model, *measured]
    return [name for name in dict.fromkeys(named) if demonstration(name)]


def _honest_note(content: Mapping[str, Any]) -> str:
    """The line under each saved figure that says what is not real."""
    parts = [
        "composed photos" if content["composed"][0] else "",
        "simulated annotators" if content["simulated"] else "",
        "demonstration models" if content["demo_models"] else "",
    ]
    said = ", ".join(part for part in parts if part)
    return f"{content['title']}: {said}" if said else ""


def render(content: Mapping[str, Any]) -> str:
    """The page, from what `gather` gave."""
    script = (TEMPLATES / "script.js").read_text(encoding="utf-8")
    digest = hashlib.sha256(script.encode()).digest()
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            content,
            style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
            script=Markup(script),
            script_hash=base64.b64encode(digest).decode("ascii"),
        )
    )


@cache
def _environment() -> Environment:
    """Templates, compiled once; escaped, for names and authors are strangers' words."""
    environment = Environment(
        loader=PackageLoader("curation.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., object]] = {
        "num": num,
        "pvalue": pvalue,
        "thousands": thousands,
        "demonstration": demonstration,
    }
    environment.filters.update(filters)
    environment.globals["span"] = span
    return environment
