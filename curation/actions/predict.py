"""predict: what the models say of every photo whose background people verified.

Discovery and evaluated models alike, in one pass over the photos; what they made of a
photo is kept, so that grouping, evaluating and asking with other words costs no second
look at the photos.
"""

from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from curation.config import Dataset
from curation.pipeline import Route
from curation.schemas import CANNOT_TELL, conform, empty
from evaluation.models import identity

if TYPE_CHECKING:
    from evaluation.examples import ExampleSet

VERSION = 1
OUTPUT = "predictions"
INPUTS = ("photos", "hashes", "duplicates", "labels")


def settings(config: Dataset) -> dict[str, Any]:
    """Models, and what they choose among."""
    return {
        "models": [identity(name) for name in models(config)],
        "prompts": config.evaluate.prompts,
        "label_space": config.evaluate.label_space,
        "classes": [[spec.name, spec.imagenet_index] for spec in config.classes],
    }


def models(config: Dataset) -> list[str]:
    """Discovery models, then evaluated ones, each once."""
    return list(dict.fromkeys([*config.group.reference, *config.evaluate.models]))


def intact(route: Route) -> bool:
    """The table is all that later steps need; lost features are made again."""
    return True


def run(route: Route) -> int:
    """Ask every model; returns the rows its table has."""
    verified = _verified(route)
    if verified.is_empty():
        route.finish("predict", empty(OUTPUT))
        return 0
    found = ask(route, examples(route, verified))
    rows = pl.concat([_rows(name, table) for name, table in found.items()])
    failed = rows.filter(pl.col("status") == "failed").height
    table = conform(rows.sort("model", "photo_id").to_arrow(), OUTPUT)
    route.finish("predict", table, failed)
    return rows.height


def examples(route: Route, photos: pl.DataFrame) -> "ExampleSet":
    """Photos as `evaluation` takes them.

    Args:
        route: the route.
        photos: columns photo_id and class_name; optionally background, group, cluster.
    """
    from evaluation.examples import from_table

    return from_table(
        route.config.dataset.name,
        photos.to_arrow(),
        route.shelf.read_photo,
        indices={spec.name: spec.imagenet_index for spec in route.config.classes},
    )


def ask(route: Route, asked: "ExampleSet") -> dict[str, pa.Table]:
    """Predictions of every model, by name; what is known is not computed again."""
    from evaluation.predict import FeatureStore, predict

    def progress(done: int, total: int) -> None:
        route.say(f"predict: {done} of {total} photos")

    store = FeatureStore(route.shelf.folder / "features")
    if route.engine.name != "local":
        from curation.engines import features

        features.fill(
            route.engine,
            store,
            models(route.config),
            asked.table.column("photo_id").to_pylist(),
            blob=route.shelf.blob,
            jobs=route.cores,
            progress=lambda done, total: route.say(
                f"predict: {done} of {total} photos"
            ),
        )
    return predict(
        asked,
        models(route.config),
        store=store,
        prompts=route.config.evaluate.prompts,
        label_space=route.config.evaluate.label_space,
        jobs=route.cores,
        progress=progress,
    )


def _verified(route: Route) -> pl.DataFrame:
    """Kept photos whose background has a verdict, sorted by photo_id."""
    photos = pl.DataFrame(route.whole("photos"))
    labels = pl.DataFrame(route.whole("labels"))
    merged = pl.DataFrame(route.whole("duplicates")).filter(decision="merge")
    verdicts = labels.filter(
        (pl.col("question") == "background")
        & pl.col("verdict").is_not_null()
        & (pl.col("verdict") != CANNOT_TELL)
    )
    return (
        photos.join(verdicts, on="photo_id", how="semi")
        .join(merged, on="photo_id", how="anti")
        .select("photo_id", class_name="class")
        .sort("photo_id")
    )


def _rows(model: str, table: pa.Table) -> pl.DataFrame:
    """One model's predictions as rows of our table."""
    return pl.DataFrame(table).select(
        "photo_id",
        pl.lit(model).alias("model"),
        pl.col("class_name").alias("class"),
        pl.col("predicted_name").alias("predicted"),
        pl.col("probability").cast(pl.Float64),
        pl.col("label_probability").cast(pl.Float64),
        "correct",
        "status",
        "error",
    )
