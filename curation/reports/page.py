"""Puts the report together: facts in, `index.html` and figures out."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
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
from curation.reports.facts import Estimate, Facts, demonstration

TEMPLATES = Path(__file__).parent / "templates"
CLASS_CHARTS = 5  # models that get a scatter of their classes

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
) -> Path:
    """Write the dataset report; equal input gives equal bytes.

    Args:
        folder: gets `index.html` and `figures/*.svg` and `*.pdf`; made when missing.
        config: the dataset's configuration.
        tables: tables of `curation.schemas` by name, and, where it is at hand,
            "fetches" (candidate_id, status, error), the log of fetches. The section
            of a missing or empty table says so.
        results: objects of `evaluate`'s JSON.
        read: the bytes of a photo, by photo_id; a photo it raises OSError, KeyError or
            a CounterSetError for is shown as missing.
        truth: what a demonstration planted (`curation.demo`), to check against.
        provenance: versions, models and recipes: values, or mappings to show under a
            heading of their own.

    Returns: the path of `index.html`.

    Raises:
        InputError: a table lacks a column of its schema.
    """
    known_facts = facts.gather(
        config, tables, results=results, truth=truth, provenance=provenance
    )
    album = Album(read)
    content = _content(known_facts, album, fetches=tables.get("fetches"))
    note = _honest_note(content)
    content["figures"] = figures.save(
        folder / "figures", content["drops"], content["scores"], note=note
    )
    # credits last: they name the pictures the page has shown
    content["shown"] = origins.shown(known_facts, list(album.shown))
    content["left_out"] = album.left_out
    page = folder / "index.html"
    page.write_text(_render(content), encoding="utf-8")
    return page


def _content(
    report: Facts, album: Album, *, fetches: pa.Table | None
) -> dict[str, Any]:
    """Everything the templates show, in the order pictures may use the budget."""
    evidence = drops.read(report, known.planted(report))
    scored = scores.read(report)
    lead = next((s for s in scored if s.drop.known), None)
    failures = review.failures(report, fetches)
    checks = known.check(report, evidence, scored, n_failed=len(failures))
    square = Scatter()
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
        "placed": square.place(scores.points(scored)),
        "class_charts": [
            (score, square.place(scores.class_points(score)))
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
        "known": checks,
        "licences": origins.licence_counts(report),
        "composed": origins.composed(report),
        "settings": origins.settings(report),
        "provenance": origins.provenance(report),
    }
    content["simulated"] = content["people"].simulated
    content["demo_models"] = _demo_models(report, [s.model for s in scored])
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


def _render(content: Mapping[str, Any]) -> str:
    # every template is HTML: file names and authors are strangers' words
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
        "thousands": lambda n: f"{n:,}".replace(",", "\u202f"),
        "demonstration": demonstration,
    }
    environment.filters.update(filters)
    environment.globals["span"] = _span
    script = (TEMPLATES / "script.js").read_text(encoding="utf-8")
    digest = hashlib.sha256(script.encode()).digest()
    return environment.get_template("page.html.j2").render(
        content,
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(digest).decode("ascii"),
    )


def num(value: float | None, digits: int = 1) -> str:
    """A number for people: a true minus sign, no minus zero, a dash for None.

    Example:
        >>> num(-3.25, 1), num(-0.04), num(None)
        ('−3.2', '0.0', '–')
    """
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if not float(text) else text.replace("-", "−")


def pvalue(value: float) -> str:
    """A p- or q-value with its sign.

    Example:
        >>> pvalue(0.0004), pvalue(0.0312), pvalue(0.4)
        ('< 0.001', '= 0.031', '= 0.40')
    """
    if value < 0.001:
        return "< 0.001"
    return f"= {value:.3f}" if value < 0.1 else f"= {value:.2f}"


def _span(estimate: Estimate) -> Markup:
    """The interval as it stands in a sentence."""
    if not estimate.bounded:
        return Markup("")
    low, high = num(estimate.low), num(estimate.high)
    return Markup(' <span class="ci">[{}, {}]</span>').format(low, high)
