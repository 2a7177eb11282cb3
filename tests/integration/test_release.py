"""A release is opened as users open it: by `load_dataset`, in a process of its own."""

import csv
import hashlib
import io
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from PIL import Image

from curation import config as configuration
from curation import release, schemas
from curation.errors import InputError, WorkFolderError
from curation.release import swap
from evaluation.images import decode

ORIGINALS = Path(__file__).parents[2] / "curation/demo/assets/originals"
CLASSES = ("zebra, striped", "ostrich", "otter")
BACKGROUNDS = ("grass", "water", "road")
HOSTILE = 'O\'Brien | "quoted",\n\n# heading\r\n<script>alert(1)</script> ---\t=1+1 \\'
SERIAL = "SERIAL-0042-XYZ"


def with_place(path):
    """A real photo with a place and a serial number in its EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA431] = SERIAL
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    file = io.BytesIO()
    with Image.open(path) as image:
        image.save(file, "JPEG", exif=exif, quality=92)
    return file.getvalue()


def settings(**changes):
    sections = {
        "dataset": {
            "name": "small",
            "title": "A small dataset",
            "contact": "takedown@example.org",
        },
        "classes": [
            {"name": name, "imagenet_index": index}
            for name, index in zip(CLASSES, (340, 9, 360), strict=True)
        ]
        + [{"name": "never kept"}],
        "backgrounds": [
            {"name": name, "prompts": [f"a {{}} on {name}"]} for name in BACKGROUNDS
        ],
        "sources": [{"kind": "folder", "path": "/somewhere/private/photos"}],
        "embed": {"model": "open_clip:ViT-B-32//somewhere/private/weights.pt"},
        "release": {"shard_bytes": 1_000_000},
    }
    return configuration.parse(
        sections | changes, base=Path("/somewhere"), name="dataset.toml"
    )


class World:
    """A dozen real photos with everything the route would know of them, two unused."""

    def __init__(self):
        paths = sorted(ORIGINALS.glob("*.jpg"))[:14]
        self.blobs, self.rows, self.spare, self.taken = {}, [], [], []
        for place, path in enumerate(paths):
            planted = place % 3 == 0 and place < 12
            data = with_place(path) if planted else path.read_bytes()
            photo_id = hashlib.sha256(data).hexdigest()
            self.blobs[photo_id] = data
            kind = place // 4 % 3
            (self.rows if place < 12 else self.spare).append(
                {
                    "photo_id": photo_id,
                    "candidate_id": f"candidate-{place}",
                    "class": CLASSES[kind],
                    "imagenet_index": (340, 9, 360)[kind],
                    "group": ("common", "counter")[place % 2],
                    "background": BACKGROUNDS[place % 2],
                    "licence": ("CC0-1.0", "CC-BY-4.0")[place % 2],
                    "author": HOSTILE if place == 1 else f"Author {place}",
                    "title": HOSTILE if place == 2 else None,
                    "composed": place == 5,
                    "bytes": len(data),
                }
            )
        whys = ("clarity", "neither best nor worst")
        for row, why in zip(self.spare, whys, strict=True):
            row |= {"group": "unused", "background": "road", "licence": "CC0-1.0"}
            row |= {"reason": why}

    def tables(self):
        rows = [
            {
                "source": "folder", "key": "k", "revision": "1", "url": "u",
                "place": 0, "order": n,
                "observation_id": f"observation-{n // 2}", "cluster": f"cluster-{n}",
                "classes": [row["class"]], "format": "JPEG", "width": 1, "height": 1,
                "source_url": f"https://example.org/{n}", "licence_text": None,
                "note": "resized by the source" if n == 3 else None,
                "question": "background", "verdict": row["background"],
                "status": "resolved", "agreement": 2 / 3, "n_answers": 3,
                "annotators": ["ann", "bob", "cyd"], "margin": 0.5, "second": "road",
                "probability": 0.75, "abstained": n == 4, "probabilities": [1.0],
                "temperature": 1.0, "calibrated_on": 5,
                **row,
            }
            for n, row in enumerate([*self.rows, *self.spare])
        ]  # fmt: skip
        open_ = dict(
            rows[0], photo_id="f" * 64, group="unused", background=None,
            reason="no verdict: tie",
        )  # fmt: skip
        duplicate = {
            "photo_id": "e" * 64, "keeper": rows[0]["photo_id"], "decision": "merge",
            "reason": "perceptual", "distance": 2.0,
        }  # fmt: skip
        tables = {
            name: schemas.from_rows(rows, name)
            for name in ("candidates", "photos", "proposals", "labels")
        }
        return tables | {
            "groups": schemas.from_rows([*rows, open_], "groups"),
            "duplicates": schemas.from_rows([duplicate], "duplicates"),
            "evidence": schemas.from_rows(self.evidence(), "evidence"),
            "takedowns": schemas.from_rows(self.taken, "takedowns"),
        }

    def evidence(self):
        drops = {
            "naive_drop": 31.0, "naive_low": 12.5, "naive_high": 44.0,
            "cross_drop": 17.0, "cross_low": -3.0, "cross_high": 31.0,
            "models": ["demo:clip"],
        }  # fmt: skip
        rows = [{"level": "dataset", "n": 12, "n_clusters": 6, **drops}]
        for name in CLASSES:
            mine = {"class": name, "n": 4, "n_clusters": 2, **drops}
            rows.append(
                {"level": "class", "kept": True, "p_value": 0.01, "q_value": 0.02}
                | mine
            )
            rows += [
                {
                    "level": "background", "background": b, "accuracy": a,
                    "accuracy_low": a - 5, "accuracy_high": a + 5, **mine,
                }
                for b, a in (("grass", 81.0), ("water", 50.0))
            ]  # fmt: skip
        return rows

    def write(self, folder, *, config=None, **options):
        return release.write(
            folder,
            config=config or settings(),
            tables=self.tables(),
            read=self.blobs.__getitem__,
            provenance={"versions": {"counterset": "0.1.0"}},
            **options,
        )


@pytest.fixture
def world():
    return World()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A release, written once, and what was counted of it."""
    folder = tmp_path_factory.mktemp("written") / "release"
    return folder, World().write(folder)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def differing(one, other):
    """Files that are not the same in two folders' contents."""
    return sorted(n for n in one.keys() | other.keys() if one.get(n) != other.get(n))


def read(folder, split):
    return pl.concat(
        pl.from_arrow(pq.read_table(path))
        for path in sorted((folder / "data").glob(f"{split}-*"))
    )


LOAD = """
import json, sys
import numpy as np
from datasets import ClassLabel, Image, load_dataset, load_dataset_builder

folder, streaming = sys.argv[1], sys.argv[2] == "streaming"
told = load_dataset_builder(folder).info.features
photos = load_dataset(folder, streaming=streaming)
pairs = load_dataset(folder, "pairs", streaming=streaming)
whole = load_dataset(folder, "all", streaming=streaming)
assert list(whole) == ["photos"], whole
result = {"splits": list(photos), "pairs": list(pairs["test"])}
for name, split in [*photos.items(), *whole.items()]:
    features = split.features
    assert isinstance(features["image"], Image), features
    assert isinstance(features["label"], ClassLabel), features
    assert isinstance(features["group"], ClassLabel), features
    assert features == told, (features, told)
    rows = []
    for row in split:  # to the end: half-read Parquet streams abort at exit
        pixels = np.asarray(row.pop("image").convert("RGB"))
        row["shape"], row["mean"] = pixels.shape, float(pixels.mean())
        row["class"] = features["label"].int2str(row["label"])
        row["side"] = features["group"].int2str(row["group"])
        rows.append(row)
    result[name] = rows
    result["classes"] = features["label"].names
print(json.dumps(result))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["whole", "streaming"])
def test_load_dataset_opens_it_in_a_fresh_process(written, world, how, tmp_path):
    folder, facts = written
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), how],
        env=os.environ | {"HF_HOME": str(tmp_path), "HF_DATASETS_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # a reader of streams may abort at exit when all was said; whole, it may not
    assert done.returncode == 0 or (how == "streaming" and done.stdout), done.stderr
    result = json.loads(done.stdout)
    assert result["splits"] == ["common", "counter"]
    assert result["classes"] == [*CLASSES, "never kept"]
    assert len(result["common"]) == facts.common == 6
    assert len(result["counter"]) == facts.counter == 6
    known = {row["photo_id"]: row for row in world.rows}
    for split in ("common", "counter"):
        for row in result[split]:
            expected = known[row["photo_id"]]
            assert row["side"] == split == expected["group"]
            for name in ("class", "imagenet_index", "background", "licence", "author"):
                assert row[name] == expected[name]
            assert (row["title"], row["composed"]) == (
                expected["title"],
                expected["composed"],
            )
            assert row["proposal"] == expected["background"]
            assert row["agreement"] == pytest.approx(2 / 3)
            assert row["annotators"] == 3
            pixels = np.asarray(decode(world.blobs[row["photo_id"]]))
            assert tuple(row["shape"]) == pixels.shape  # upright too
            assert row["mean"] == pytest.approx(pixels.mean())
    assert [pair["label"] for pair in result["pairs"]] == [0, 1, 2]
    # in `all` a photo is the same row, and there are those in neither group
    rows = {row["photo_id"]: row for row in result["photos"]}
    assert len(result["photos"]) == len(rows) == 14
    for split in ("common", "counter"):
        assert all(rows.pop(row["photo_id"]) == row for row in result[split])
        assert all(row["reason"] is None for row in result[split])
    assert sorted((r["photo_id"], r["side"], r["reason"]) for r in rows.values()) == (
        sorted((row["photo_id"], "unused", row["reason"]) for row in world.spare)
    )
    assert {row["background"] for row in rows.values()} == {"road"}
    pair = result["pairs"][0]
    assert (pair["common_background"], pair["counter_background"]) == ("grass", "water")
    assert (pair["n_common"], pair["n_counter"]) == (2, 2)
    assert (pair["common_accuracy"], pair["cross_drop"]) == (81.0, 17.0)
    assert (pair["counter_accuracy_low"], pair["counter_accuracy_high"]) == (45.0, 55.0)
    assert (pair["common_clusters"], pair["models"]) == (2, ["demo:clip"])
    for split in ("common", "counter"):
        mine = [row["photo_id"] for row in result[split] if row["label"] == 0]
        assert pair[f"{split}_photos"] == mine == sorted(mine)


def everything(folder, cache, config, *, streaming=False):
    """Columns of every row that `datasets` gives of a config, in a fresh process."""
    code = (
        "import json, sys; from datasets import load_dataset\n"
        "folder, config, streaming = sys.argv[1:]\n"
        "found = load_dataset(folder, config, streaming=streaming == 'True')\n"
        "print(json.dumps({name: [{k: v for k, v in row.items() if k != 'image'}\n"
        "    for row in split] for name, split in found.items()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), config, str(streaming)],
        env=os.environ | {"HF_HOME": str(cache), "HF_DATASETS_CACHE": str(cache)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0 or (streaming and done.stdout), done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("streaming", [False, True])
def test_without_unused_photos_all_is_both_groups(world, tmp_path, streaming):
    world.spare.clear()
    world.write(tmp_path / "release")
    files = {path.name for path in (tmp_path / "release/data").iterdir()}
    assert not any(name.startswith("unused") for name in files)
    place = tmp_path / "release", tmp_path / "cache"
    whole = everything(*place, "all", streaming=streaming)
    assert list(whole) == ["photos"]
    both = everything(*place, "default", streaming=streaming)
    assert whole["photos"] == both["common"] + both["counter"]


def test_features_are_those_datasets_would_write(written):
    """Ours are written by hand, to spare the import: they must not drift apart."""
    from datasets import ClassLabel, Features, Value
    from datasets import Image as Photo

    folder, _ = written
    schema = pq.read_schema(next((folder / "data").glob("common-*")))
    features = Features.from_arrow_schema(schema)
    assert features["label"] == ClassLabel(names=[*CLASSES, "never kept"])
    assert features["group"] == ClassLabel(names=["common", "counter", "unused"])
    assert features["image"] == Photo()
    assert features["imagenet_index"] == Value("int64")
    assert schema.equals(features.arrow_schema, check_metadata=False)
    told = json.loads(schema.metadata[b"huggingface"])
    assert told == json.loads(features.arrow_schema.metadata[b"huggingface"])
    card = DatasetCard.load(folder / "README.md").data.to_dict()
    infos = {info["config_name"]: info for info in card["dataset_info"]}
    assert infos["default"]["features"] == features._to_yaml_list()
    assert infos["all"]["features"] == infos["default"]["features"]
    assert "&id" not in (folder / "README.md").read_text()  # no YAML references
    schemas = {pq.read_schema(path) for path in (folder / "data").iterdir()}
    assert len({one.metadata[b"huggingface"] for one in schemas}) == 1
    assert all(one.equals(schema) for one in schemas)
    pairs = pq.read_schema(folder / "pairs/test-00000-of-00001.parquet")
    expected = Features.from_arrow_schema(pairs)._to_yaml_list()
    assert infos["pairs"]["features"] == expected


def test_counts_in_the_card_are_true(written):
    folder, facts = written
    card = DatasetCard.load(folder / "README.md")
    info = card.data.to_dict()["dataset_info"][0]
    for split in info["splits"]:
        files = sorted((folder / "data").glob(f"{split['name']}-*"))
        tables = [pq.read_table(path) for path in files]
        assert split["num_examples"] == sum(t.num_rows for t in tables) == 6
    sizes = {path.name: path.stat().st_size for path in (folder / "data").iterdir()}
    grouped = sum(n for name, n in sizes.items() if not name.startswith("unused"))
    assert info["download_size"] == grouped < sum(sizes.values())
    whole = card.data.to_dict()["dataset_info"][1]
    assert whole["download_size"] == sum(sizes.values())
    assert [(s["name"], s["num_examples"]) for s in whole["splits"]] == [("photos", 14)]
    assert card.data.size_categories == ["n<1K"]
    assert card.data.license == "other"
    for text in (
        "| common | 6 |",
        "| zebra, striped | 340 | grass | 2 | water | 2 |",
        "| grass | 6 | 0 |",
        "merged into a duplicate that was kept: 1 (perceptual: 1)",
        "abstained on 1 of them",
        "calibrated on 5 labelled photos",
        "3 annotators gave 42 answers",
        "66.7 % of a photo's answers",
        "the verdict equals it for 13 of 13 photos",
        "clarity (1), neither best nor worst (1), no verdict: tie (1)",
        "naive 31.0 (12.5 to 44.0), cross-fitted 17.0 (-3.0 to 31.0)",
        "| ostrich | grass 81.0 | water 50.0 | 31.0 (12.5 to 44.0) |",
        "| CC-BY-4.0 | 6 | https://creativecommons.org/licenses/by/4.0/ |",
        "Composed photos: 1 of 12.",
        "removed from 4 photos",
        "takedown@example.org",
        "`demo:clip`",
    ):
        assert text in card.text, text
    assert (facts.photos, facts.composed, facts.rewritten) == (12, 1, 4)
    assert facts.more == 2
    assert {one.name: one.photos for one in facts.licences} == {
        "CC0-1.0": 8, "CC-BY-4.0": 6,
    }  # fmt: skip
    assert facts.backgrounds == {"grass": (6, 0), "water": (0, 6)}


def test_written_again_it_is_the_same_bytes(world, tmp_path):
    world.write(tmp_path / "one")
    first = contents(tmp_path / "one")
    # tables in another order, another folder, over an older release
    for table, order in (("groups", -1), ("photos", 1)):
        tables = world.tables()
        mixed = tables[table].take(list(range(tables[table].num_rows))[::order])
        release.write(
            tmp_path / "one",
            config=settings(),
            tables=tables | {table: mixed},
            read=world.blobs.__getitem__,
            provenance={"versions": {"counterset": "0.1.0"}},
        )
        assert contents(tmp_path / "one") == first
    world.write(tmp_path / "two")
    assert contents(tmp_path / "two") == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_nothing_private_is_published(written):
    folder, facts = written
    everything = b"".join(contents(folder).values())
    for secret in (SERIAL, "/somewhere", "private"):
        assert secret.encode() not in everything, secret
    assert facts.rewritten == 4
    for split in ("common", "counter"):
        for photo in read(folder, split)["image"]:
            with Image.open(io.BytesIO(photo["bytes"])) as image:
                exif = image.getexif()
                assert not exif.get_ifd(0x8825)
                assert set(exif) <= {0x0112}


def test_photos_without_metadata_keep_their_bytes(written, world):
    folder, _ = written
    kept = 0
    for split in ("common", "counter"):
        for row in read(folder, split).iter_rows(named=True):
            data = row["image"]["bytes"]
            assert row["image"]["path"] == f"{row['photo_id'][:16]}.jpg"
            original = world.blobs[row["photo_id"]]
            assert np.array_equal(
                np.asarray(decode(data)), np.asarray(decode(original))
            )
            kept += hashlib.sha256(data).hexdigest() == row["photo_id"]
    assert kept == 8


def test_licences_name_everyone(written, world):
    folder, _ = written
    with (folder / "LICENSES.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["photo_id"]: row for row in csv.DictReader(file)}
    assert len(rows) == 14
    for place, expected in enumerate([*world.rows, *world.spare]):
        row = rows[expected["photo_id"]]
        assert row["author"] == expected["author"]  # hostile text and all
        assert row["title"] == (expected["title"] or "")
        assert row["licence"] == expected["licence"]
        assert row["changes"] == (
            "metadata removed" if place % 3 == 0 and place < 12 else ""
        )
        assert row["source_url"] == f"https://example.org/{place}"
        assert row["note"] == ("resized by the source" if place == 3 else "")


def test_hostile_text_stays_text(world, tmp_path):
    """In names and licences that reach the card, too."""
    name = 'a | b "c" <img src=x> `d` [e](f)'
    for row in world.rows:
        row["licence"] = "My | own\n<b>licence</b>"
        if row["class"] == CLASSES[0]:
            row["class"] = name
    classes = [{"name": n} for n in (name, *CLASSES[1:])]
    config = settings(
        classes=classes,
        dataset={"name": "small", "title": 'T: "x" <i> #1', "contact": "a|b <c>"},
        release={"licences": ["My | own\n<b>licence</b>"]},
    )
    world.write(tmp_path / "release", config=config)
    card = DatasetCard.load(tmp_path / "release/README.md")
    assert card.data.pretty_name == 'T: "x" <i> #1'
    info = card.data.to_dict()["dataset_info"][0]["features"][1]
    assert info["dtype"]["class_label"]["names"]["0"] == name
    for tag in ("<b>", "<img", "<script", "<c>", "a | b"):
        assert tag not in card.text
    tables = [line for line in card.text.splitlines() if line.startswith("| a ")]
    assert tables
    for line in tables:
        assert line.replace(r"\|", "").count("|") in (7,)


def test_checksums_are_sha256sums(written, tmp_path):
    folder, _ = written
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", "checksums.sha256"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(": OK") == len(contents(folder)) - 1
    assert release.verify(folder) == []


def test_verify_finds_what_is_wrong(world, tmp_path):
    folder = tmp_path / "release"
    world.write(folder)
    card = folder / "README.md"
    card.write_bytes(card.read_bytes() + b" ")
    (folder / "LICENSES.csv").unlink()
    (folder / "data/new.parquet").write_bytes(b"")
    assert release.verify(folder) == ["LICENSES.csv", "README.md", "data/new.parquet"]
    world.write(folder)  # and a damaged release is replaced
    assert release.verify(folder) == []
    (folder / "checksums.sha256").unlink()
    world.write(folder)
    assert release.verify(folder) == []
    with pytest.raises(InputError, match="no release"):
        release.verify(tmp_path)


def test_provenance_has_no_times_and_no_places(written):
    folder, _ = written
    record = json.loads((folder / "provenance.json").read_text())
    assert record["versions"] == {"counterset": "0.1.0"}
    assert record["config"]["sources"][0]["path"] == "photos"
    assert record["config"]["embed"]["model"] == "open_clip:ViT-B-32/weights.pt"
    assert not {"run", "evaluate", "report"} & set(record["config"])


def test_shards_and_row_groups_stay_small(world, tmp_path, monkeypatch):
    from curation.release import shards

    monkeypatch.setattr(shards, "GROUP_ROWS", 2)
    config = settings()
    tight = config.release.model_copy(update={"shard_bytes": 60_000})
    world.write(
        tmp_path / "release", config=config.model_copy(update={"release": tight})
    )
    files = sorted((tmp_path / "release/data").glob("common-*"))
    assert len(files) > 2
    assert files[0].name == f"common-00000-of-{len(files):05d}.parquet"
    ids = []
    for path in files:
        with pq.ParquetFile(path) as file:
            groups = range(file.metadata.num_row_groups)
            assert all(file.metadata.row_group(g).num_rows <= 2 for g in groups)
            ids += file.read(["photo_id"])["photo_id"].to_pylist()
            size = sum(len(world.blobs[i]) for i in file.read()["photo_id"].to_pylist())
            assert size <= 60_000 or file.metadata.num_rows == 1
    assert ids == sorted(ids)
    assert len(ids) == 6


def test_a_row_taken_out_moves_no_other_row_group():
    from curation.release.shards import GROUP_BYTES, GROUP_ROWS, _groups

    def groups(rows):
        found = [group["photo_id"].to_list() for group in _groups(rows)]
        assert [photo for group in found for photo in group] == rows[
            "photo_id"
        ].to_list()
        assert max(map(len, found)) <= GROUP_ROWS
        return {tuple(group) for group in found}

    ids = [hashlib.sha256(b"%d" % place).hexdigest() for place in range(3000)]
    rows = pl.DataFrame({"photo_id": ids, "bytes": [100_000] * len(ids)})
    whole = groups(rows)
    assert 90 < len(ids) / len(whole) < 140
    for gone in (0, 1, 777, 2999):
        rest = groups(rows.filter(pl.col("photo_id") != ids[gone]))
        assert len(rest - whole) <= 3
    large = rows.with_columns(bytes=pl.lit(GROUP_BYTES // 10 + 1))
    assert max(len(group) for group in groups(large)) == 9


@pytest.mark.parametrize(
    ("licence", "text", "allowed", "reason"),
    [
        (None, None, [], "no licence is stated"),
        (None, "  ", [], "no licence is stated"),
        (None, "all rights\nreserved", [], "not recognised: all rights reserved"),
        ("CC-BY-NC-4.0", None, ["CC-BY"], "not among release.licences: CC-BY-NC-4.0"),
        ("CC-BY-SA-4.0", None, ["CC-BY-4.0"], "not among release.licences"),
    ],
)
def test_a_photo_that_may_not_be_published_is_left_out(
    world, tmp_path, licence, text, allowed, reason
):
    refused = world.rows[0]["photo_id"]
    tables = world.tables()
    records = tables["candidates"].to_pylist()
    records[0] |= {"licence": licence, "licence_text": text}
    tables["candidates"] = schemas.from_rows(records, "candidates")
    config = settings(release={"licences": [*allowed, "CC0"] if allowed else []})
    facts = release.write(
        tmp_path / "release",
        config=config,
        tables=tables,
        read=world.blobs.__getitem__,
        provenance={},
    )
    assert [photo for photo, _ in facts.excluded] == [refused]
    assert reason in facts.excluded[0][1]
    assert facts.photos == 11
    for split in ("common", "counter"):
        assert refused not in read(tmp_path / "release", split)["photo_id"].to_list()
    assert refused not in (tmp_path / "release/LICENSES.csv").read_text()
    shown = [
        line
        for line in (tmp_path / "release/README.md").read_text().splitlines()
        if reason.split(":")[0] in line
    ]
    assert shown
    assert shown[0].endswith("| 1 |")


def test_a_class_left_with_one_group_goes(world, tmp_path):
    for row in world.rows:
        if row["class"] == CLASSES[0] and row["group"] == "counter":
            row["licence"] = None
    facts = world.write(tmp_path / "release")
    assert [pair.name for pair in facts.pairs] == list(CLASSES[1:])
    assert facts.photos == 8
    assert facts.excluded_reasons == {
        "its class has no counter photo with a usable licence": 2,
        "no licence is stated": 2,
    }


def test_nothing_to_publish_says_what_to_do(world, tmp_path):
    for row in world.rows:
        row["licence"] = None
    with pytest.raises(InputError, match="12 × no licence is stated"):
        world.write(tmp_path / "release")
    for row in world.rows:
        row["group"] = "unused"
    with pytest.raises(InputError, match="min_photos"):
        world.write(tmp_path / "release")
    assert list(tmp_path.iterdir()) == []


def test_a_photo_that_is_gone_leaves_the_old_release(world, tmp_path):
    world.write(tmp_path / "release")
    before = contents(tmp_path / "release")
    broken = world.rows[-1]["photo_id"]
    world.blobs[broken] = b"no longer a picture"
    with pytest.raises(InputError, match=broken):
        world.write(tmp_path / "release")
    assert contents(tmp_path / "release") == before
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_someone_elses_folder_is_not_replaced(world, tmp_path):
    (tmp_path / "release").mkdir()
    (tmp_path / "release/thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not a release"):
        world.write(tmp_path / "release")
    assert (tmp_path / "release/thesis.tex").read_text() == "years of work"


def test_missing_tables_and_unknown_classes_are_named(world, tmp_path):
    tables = world.tables()
    with pytest.raises(InputError, match="table groups"):
        release.write(
            tmp_path / "release",
            config=settings(),
            tables={k: v for k, v in tables.items() if k != "groups"},
            read=world.blobs.__getitem__,
            provenance={},
        )
    with pytest.raises(InputError, match="'ostrich' has grouped photos"):
        world.write(tmp_path / "release", config=settings(classes=[{"name": "otters"}]))
    world.rows[0]["candidate_id"] = "other"
    photos = world.tables()["photos"]
    with pytest.raises(InputError, match="know 13 of them"):
        release.write(
            tmp_path / "release",
            config=settings(),
            tables=tables | {"photos": photos},
            read=world.blobs.__getitem__,
            provenance={},
        )


def test_only_the_needed_tables(world, tmp_path):
    tables = world.tables()
    facts = release.write(
        tmp_path / "release",
        config=settings(),
        tables={name: tables[name] for name in ("candidates", "photos", "groups")},
        read=world.blobs.__getitem__,
        provenance={},
    )
    assert facts.labelling is None
    common = read(tmp_path / "release", "common")
    assert common["proposal"].null_count() == common.height
    assert common["annotators"].to_list() == [0] * common.height
    DatasetCard.load(tmp_path / "release/README.md")


def test_own_text_and_alpha_are_in_the_card(world, tmp_path):
    release.write(
        tmp_path / "release",
        config=settings(),
        tables=world.tables(),
        read=world.blobs.__getitem__,
        provenance={
            "agreement": [
                {"question": "background", "alpha": 0.71, "ci": [0.5, 0.9]},
                {"question": "clarity", "alpha": math.nan, "ci": [math.nan] * 2},
            ]
        },
        text="## About these photos\n\nAll annotators are simulated.\n",
    )
    card = (tmp_path / "release/README.md").read_text()
    assert "## About these photos\n\nAll annotators are simulated.\n" in card
    assert "question clarity: –" in card
    record = (tmp_path / "release/provenance.json").read_text()
    assert json.loads(record)["agreement"][1]["alpha"] is None
    assert "NaN" not in record
    assert "background: 0.710 (95 % interval 0.500 to 0.900)" in card


def test_a_full_disk_leaves_the_old_release(world, tmp_path):
    """Files may not grow past 30 kB: the system refuses as it does on a full disk."""
    folder = tmp_path / "release"
    world.write(folder)
    before, limits = contents(folder), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(WorkFolderError, match="cannot be written"):
            world.write(folder, text="new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_a_file_where_the_folder_should_be(world, tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(WorkFolderError, match="cannot be written"):
        world.write(tmp_path / "a/release")


KILLED = """
import importlib.util, sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("world", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
world, folder = module.World(), Path(sys.argv[2])
world.write(folder, text="zero")
print("ready", flush=True)
for turn in range(10**6):
    world.write(folder, text=("one", "two")[turn % 2])
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_is_whole(world, tmp_path):
    """The release is old or new, never half; what the kill left is cleared later."""
    folder, random = tmp_path / "release", np.random.default_rng(7)
    allowed = []
    for text in ("zero", "one", "two"):
        world.write(folder, text=text)
        allowed.append(contents(folder))
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, __file__, str(folder)],
            stdout=subprocess.PIPE,
        ) as process:
            process.stdout.readline()
            time.sleep(random.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        assert release.verify(folder) == []
        found = contents(folder)
        assert min((differing(found, one) for one in allowed), key=len) == []
    world.write(folder, text="zero")
    assert differing(contents(folder), allowed[0]) == []
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_without_exchange_a_kill_between_the_renames_is_mended(
    world, tmp_path, monkeypatch
):
    """Where folders cannot change places at once, the old one comes back."""
    monkeypatch.setattr(swap, "_exchange", lambda one, other: False)
    folder = tmp_path / "release"
    world.write(folder, text="old")
    before = contents(folder)
    world.write(folder, text="new")
    assert contents(folder) != before
    folder.rename(tmp_path / ".release.old")  # where the process was killed
    swap.settle(folder)
    assert release.verify(folder) == []
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_folders_as_the_paper_has_them(written, world, tmp_path):
    folder, _ = written
    assert release.export_folders(folder, tmp_path / "out") == 12
    plain = sorted(
        path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.jpg")
    )
    assert len(plain) == 12
    for row in world.rows:
        place = Path(row["class"]) / f"{row['group']}-{row['background']}"
        assert place / f"{row['photo_id'][:16]}.jpg" in plain
    copied = (tmp_path / "out/LICENSES.csv").read_bytes()
    assert copied == (folder / "LICENSES.csv").read_bytes()
    release.export_folders(folder, tmp_path / "indexed", index=True)
    assert (tmp_path / "indexed/9 ostrich/common-grass").is_dir()
    assert (tmp_path / "indexed/340 zebra, striped/counter-water").is_dir()
    with pytest.raises(InputError, match="not empty"):
        release.export_folders(folder, tmp_path / "out")
    with pytest.raises(InputError, match="no release"):
        release.export_folders(tmp_path, tmp_path / "more")


def test_folders_do_not_leave_their_folder(world, tmp_path):
    for row in world.rows:
        if row["class"] == CLASSES[0]:
            row["class"] = ".."
    config = settings(classes=[{"name": n} for n in ("..", *CLASSES[1:])])
    world.write(tmp_path / "in/release", config=config)
    release.export_folders(tmp_path / "in/release", tmp_path / "in/out")
    assert sorted(p.name for p in (tmp_path / "in").iterdir()) == ["out", "release"]
    assert len(list((tmp_path / "in/out").rglob("*.jpg"))) == 12
    assert (tmp_path / "in/out/_").is_dir()


def test_a_foreign_parquet_is_not_a_release(tmp_path):
    (tmp_path / "data").mkdir()
    table = pa.table(
        {
            n: [0]
            for n in (
                "image",
                "label",
                "imagenet_index",
                "group",
                "background",
                "photo_id",
            )
        }
    )
    for side in ("common", "counter"):
        pq.write_table(table, tmp_path / f"data/{side}-0.parquet")
    with pytest.raises(InputError, match="not a release"):
        release.export_folders(tmp_path, tmp_path / "out")
