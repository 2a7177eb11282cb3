"""What screen, propose and tasks say of photos whose truth is known.

Embeddings are made from the model's own text embeddings, so the model knows the truth.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation import config, embeddings
from curation.errors import ConfigError
from curation.schemas import empty, from_rows
from curation.stages import propose, screen, tasks

CLASSES = ("cat", "dog", "fish")
BACKGROUNDS = ("grass", "snow", "water")


def _config(model: str, **sections: Any) -> config.Dataset:
    return config.parse(
        {
            "dataset": {"name": "scores"},
            "classes": [{"name": name} for name in CLASSES],
            "backgrounds": [
                {"name": name, "prompts": [f"a {{}} on {name}", f"{name} everywhere"]}
                for name in BACKGROUNDS
            ],
            "sources": [{"kind": "folder", "path": "."}],
            "embed": {"model": model},
            "group": {"min_photos": 4},
        }
        | sections,
        base=Path(),
        name="scores",
    )


def _id(place: int) -> str:
    return hashlib.sha256(str(place).encode()).hexdigest()


def _photos(of: list[str], **columns: list[Any]) -> pa.Table:
    rows = [
        {
            "photo_id": _id(place), "candidate_id": "c", "class": name,
            "classes": [name], "observation_id": str(place), "composed": False,
            "bytes": 1, "format": "JPEG", "width": 1, "height": 1, "order": place,
        }
        | {key: values[place] for key, values in columns.items()}
        for place, name in enumerate(of)
    ]  # fmt: skip
    return from_rows(rows, "photos")


def _embedded(vectors: np.ndarray) -> pa.Table:
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [
        {"photo_id": _id(place), "status": "ok", "embedding": vector.tolist()}
        for place, vector in enumerate(vectors)
    ]
    return from_rows(rows, "embeddings")


def _hashes(count: int, **columns: Any) -> pa.Table:
    usual: dict[str, Any] = {"sharpness": 1000.0, "brightness": 0.5, "noise": 1.0}
    rows = [
        {"photo_id": _id(place), "status": "ok", "path": "test"}
        | usual
        | {key: values[place] for key, values in columns.items()}
        for place in range(count)
    ]
    return from_rows(rows, "hashes")


def _event(
    place: int, answer: str, annotator: str = "ann", **more: Any
) -> dict[str, Any]:
    question = more.pop("question", "background")
    return {
        "event_id": f"{place}{answer}{annotator}{question}", "photo_id": _id(place),
        "question": question, "answer": answer, "annotator": annotator,
        "origin": "chosen", "created_at": "2026-01-01T00:00:00+00:00",
    } | more  # fmt: skip


def _directions(model: str, class_: str) -> np.ndarray:
    tower = embeddings.text_model(model)
    assert tower is not None
    return np.stack(
        [
            embeddings.mean_direction(
                embeddings.texts(tower, [f"a {class_} on {name}", f"{name} everywhere"])
            )
            for name in BACKGROUNDS
        ]
    )


class TestPropose:
    def _run(self, model: str, vectors: np.ndarray, events: Any = (), **sections: Any):
        settings = propose.settings(_config(model, **sections))
        inputs = {
            "photos": _photos(["cat"] * len(vectors)),
            "embeddings": _embedded(vectors),
            "label_events": from_rows(list(events), "label_events"),
            "duplicates": empty("duplicates"),
        }
        rows = propose.run(inputs, settings).to_pylist()
        place = {_id(i): i for i in range(len(vectors))}
        return sorted(rows, key=lambda row: place[row["photo_id"]])

    def test_finds_the_background_of_its_own_prompts(self, tiny_clip: str) -> None:
        directions = _directions(tiny_clip, "cat")

        rows = self._run(tiny_clip, directions)

        assert [row["background"] for row in rows] == list(BACKGROUNDS)
        for row in rows:
            first, second = sorted(row["probabilities"], reverse=True)[:2]
            assert sum(row["probabilities"]) == pytest.approx(1)
            assert row["probability"] == pytest.approx(first)
            assert row["margin"] == pytest.approx(first - second)
            assert row["abstained"] == (first < 0.5)
            assert row["second"] != row["background"]
            assert (row["temperature"], row["calibrated_on"]) == (1.0, 0)

    def test_probabilities_are_the_formula(self, tiny_clip: str) -> None:
        directions = _directions(tiny_clip, "cat")
        vectors = np.random.default_rng(0).normal(size=(5, directions.shape[1]))
        stored = _embedded(vectors)
        _, matrix = embeddings.matrix(stored)
        scale = embeddings.text_model(tiny_clip).logit_scale
        expected = embeddings.softmax(scale * (matrix @ directions.T) / 2.5)

        rows = self._run(tiny_clip, vectors, propose={"temperature": 2.5})

        by_id = sorted(rows, key=lambda row: row["photo_id"])
        found = np.array([row["probabilities"] for row in by_id])
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_temperature_makes_answers_most_probable(self, tiny_clip: str) -> None:
        """Answers drawn at temperature 0.7 are fitted by about 0.7."""
        directions = _directions(tiny_clip, "cat")
        rng = np.random.default_rng(0)
        vectors = rng.normal(size=(3000, directions.shape[1]))
        raw = self._run(tiny_clip, vectors, propose={"temperature": 0.7})
        answers = [rng.choice(3, p=row["probabilities"]) for row in raw]
        events = [_event(i, BACKGROUNDS[a]) for i, a in enumerate(answers)]

        (row, *_) = self._run(tiny_clip, vectors, events)

        assert row["temperature"] == pytest.approx(0.7, rel=0.2)
        assert row["calibrated_on"] == 3000

    @pytest.mark.parametrize(("labelled", "used"), [(19, 0), (20, 20)])
    def test_few_answers_fit_nothing(
        self, tiny_clip: str, labelled: int, used: int
    ) -> None:
        vectors = np.random.default_rng(0).normal(size=(30, 32))
        events = [_event(i, BACKGROUNDS[i % 3]) for i in range(labelled)]
        unusable = [_event(i, "cannot_tell") for i in range(20, 30)]

        (row, *_) = self._run(tiny_clip, vectors, events + unusable)

        assert row["calibrated_on"] == used
        assert (row["temperature"] == 1.0) == (used == 0)

    def test_merged_photos_get_none(self, tiny_clip: str) -> None:
        merge = {
            "photo_id": _id(1), "keeper": _id(0), "decision": "merge",
            "reason": "pixels", "distance": 0.0,
        }  # fmt: skip
        inputs = {
            "photos": _photos(["cat", "cat"]),
            "embeddings": _embedded(np.eye(32)[:2]),
            "label_events": empty("label_events"),
            "duplicates": from_rows([merge], "duplicates"),
        }

        table = propose.run(inputs, propose.settings(_config(tiny_clip)))

        assert table["photo_id"].to_pylist() == [_id(0)]


@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0, 7.0, 60.0])
def test_fit_is_the_minimum_on_a_grid(temperature: float) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(400, 5)) * 3 * temperature
    answers = np.array(
        [rng.choice(5, p=p) for p in embeddings.softmax(scores / temperature)]
    )

    def loss(t: float) -> float:
        p = embeddings.softmax(scores / t)[np.arange(400), answers]
        return float(-np.log(np.maximum(p, 1e-300)).mean())

    found = propose.fit_temperature(scores, answers)

    grid = np.exp(np.linspace(*np.log(propose.TEMPERATURES), 2000))
    assert loss(found) <= min(loss(t) for t in grid) + 1e-9
    assert found == pytest.approx(temperature, rel=0.3)


class TestScreen:
    def _run(self, model: str, vectors: np.ndarray, classes: list[str], **more: Any):
        photos = {"classes": more.pop("filed")} if "filed" in more else {}
        inputs = {
            "photos": _photos(classes, **photos),
            "hashes": _hashes(len(classes), **more),
            "embeddings": _embedded(vectors),
            "duplicates": empty("duplicates"),
        }
        table = screen.run(inputs, screen.settings(_config(model)))
        rows = {row["photo_id"]: row for row in table.to_pylist()}
        return [rows[_id(place)] for place in range(len(classes))]

    def _world(self, model: str) -> tuple[np.ndarray, list[str]]:
        """10 photos a class, each near its class's prompt."""
        tower = embeddings.text_model(model)
        assert tower is not None
        prompts = [screen.PROMPT.format(name) for name in CLASSES]
        centres = embeddings.texts(tower, prompts).repeat(10, axis=0)
        rng = np.random.default_rng(0)
        vectors = centres + rng.normal(size=centres.shape) * 0.01
        return vectors, [name for name in CLASSES for _ in range(10)]

    def test_wrong_class_scores_highest(self, tiny_clip: str) -> None:
        vectors, classes = self._world(tiny_clip)
        classes[0], classes[12] = "dog", "fish"

        scores = [row["label_noise"] for row in self._run(tiny_clip, vectors, classes)]

        assert sorted(np.argsort(scores)[-2:]) == [0, 12]
        assert min(scores[0], scores[12]) > 0.6
        assert np.median(scores) < 0.4

    def test_between_two_classes_is_ambiguous(self, tiny_clip: str) -> None:
        vectors, classes = self._world(tiny_clip)
        vectors[0] = vectors[5] + vectors[15]

        scores = [row["ambiguity"] for row in self._run(tiny_clip, vectors, classes)]

        assert scores[0] > np.median(scores)

    def test_outlier_of_its_class(self, tiny_clip: str) -> None:
        vectors, classes = self._world(tiny_clip)
        vectors[3] = -vectors[3]

        rows = self._run(tiny_clip, vectors, classes)

        assert rows[3]["feature_noise"] > 0.99
        assert np.median([row["feature_noise"] for row in rows]) < 0.1

    def test_two_classes_of_the_sources_contradict(self, tiny_clip: str) -> None:
        vectors, classes = self._world(tiny_clip)
        filed = [[name] for name in classes]
        filed[7] = ["cat", "fish"]

        rows = self._run(tiny_clip, vectors, classes, filed=filed)

        assert rows[7]["label_noise"] == 1
        assert max(row["label_noise"] for i, row in enumerate(rows) if i != 7) < 1

    def test_copies_of_two_classes_contradict(self, tiny_clip: str) -> None:
        vectors, classes = self._world(tiny_clip)
        merge = {
            "photo_id": _id(0), "keeper": _id(15), "decision": "merge",
            "reason": "pixels", "distance": 0.0,
        }  # fmt: skip
        inputs = {
            "photos": _photos(classes),
            "hashes": _hashes(len(classes)),
            "embeddings": _embedded(vectors),
            "duplicates": from_rows([merge], "duplicates"),
        }

        table = screen.run(inputs, screen.settings(_config(tiny_clip)))

        noisy = [r["photo_id"] for r in table.to_pylist() if r["label_noise"] == 1]
        assert sorted(noisy) == sorted([_id(0), _id(15)])

    @pytest.mark.parametrize(
        ("column", "values", "criterion"),
        [
            ("sharpness", [0.0, 7.0, 70.0, 1500.0], "clarity"),
            ("brightness", [0.01, 0.05, 0.12, 0.5], "clarity"),
            ("noise", [30.0, 16.0, 8.0, 1.0], "feature_noise"),
        ],
    )
    def test_worse_pixels_score_higher(
        self, tiny_clip: str, column: str, values: list[float], criterion: str
    ) -> None:
        rows = self._run(tiny_clip, np.eye(32)[:4], ["cat"] * 4, **{column: values})

        scores = [row[criterion] for row in rows]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] > 0.9
        assert scores[-1] < 0.1

    def test_what_the_fast_path_does_not_measure_is_no_fault(
        self, tiny_clip: str
    ) -> None:
        unknown = {"sharpness": [None] * 4, "noise": [None] * 4}
        known = self._run(tiny_clip, np.eye(32)[:4], ["cat"] * 4)

        rows = self._run(tiny_clip, np.eye(32)[:4], ["cat"] * 4, **unknown)

        for row, other in zip(rows, known, strict=True):
            assert row["clarity"] <= other["clarity"]
            assert row["feature_noise"] <= other["feature_noise"]
        dark = self._run(
            tiny_clip, np.eye(32)[:4], ["cat"] * 4, brightness=[0.01] * 4, **unknown
        )
        assert min(row["clarity"] for row in dark) > 0.9

    def test_without_embeddings_pixels_still_count(self, tiny_clip: str) -> None:
        inputs = {
            "photos": _photos(["cat"]),
            "hashes": _hashes(1, sharpness=[1.0]),
            "embeddings": empty("embeddings"),
            "duplicates": empty("duplicates"),
        }

        (row,) = screen.run(inputs, screen.settings(_config(tiny_clip))).to_pylist()

        assert row["clarity"] > 0.9
        assert (row["label_noise"], row["ambiguity"]) == (0, 0)


def test_one_observation_is_one_witness() -> None:
    """Burst photos do not vouch for each other."""
    vectors = np.eye(4)[[0, 0, 0, 1]].astype(np.float32)
    classes = np.array([0, 0, 0, 1])
    witness = np.ones(4, bool)
    apart = np.stack([np.arange(4), np.arange(4)], axis=1)
    burst = np.stack([np.array([0, 0, 0, 1]), np.arange(4)], axis=1)

    alone = screen._neighbour_opinion(vectors, classes, witness, apart, 2)
    together = screen._neighbour_opinion(vectors, classes, witness, burst, 2)

    assert alone[0, 0] > 0.5
    assert together[0, 0] < 0.5


class TestTasks:
    def _run(self, events: Any = (), *, flags: Any = (), **sections: Any):
        settings = tasks.settings(_config("demo:lite0", **sections))
        proposals = [
            {
                "photo_id": _id(place), "background": "snow", "probability": p,
                "margin": margin, "second": "grass", "abstained": p < 0.5,
                "probabilities": [0.1, p, 0.9 - p], "temperature": 1.0,
                "calibrated_on": 0,
            }
            for place, (p, margin) in enumerate([(0.9, 0.85), (0.55, 0.2), (0.4, 0.1)])
        ]  # fmt: skip
        inputs = {
            "photos": _photos(["cat"] * 4),
            "duplicates": empty("duplicates"),
            "proposals": from_rows(proposals, "proposals"),
            "flags": from_rows(list(flags), "flags"),
            "embeddings": empty("embeddings"),
            "label_events": from_rows(list(events), "label_events"),
        }
        place = {_id(i): i for i in range(4)}
        rows = tasks.run(inputs, settings).to_pylist()
        assert [row["rank"] for row in rows] == list(range(len(rows)))
        return [row | {"place": place[row["photo_id"]]} for row in rows]

    def test_least_certain_first(self) -> None:
        rows = self._run()

        assert [row["place"] for row in rows if row["place"] != 3] == [2, 1, 0]
        (abstained,) = [row for row in rows if row["place"] == 2]
        assert "abstained" in abstained["why"]
        assert abstained["proposal"] is None
        assert {row["place"]: row["proposal"] for row in rows} == {
            0: "snow", 1: "snow", 2: None, 3: None,
        }  # fmt: skip

    def test_answered_questions_leave(self) -> None:
        one = [_event(1, "snow")]
        two = [*one, _event(1, "snow", "bob")]
        tie = [*one, _event(1, "grass", "bob")]

        answers = {row["place"]: row["answers"] for row in self._run(one)}
        assert answers == {0: 0, 1: 1, 2: 0, 3: 0}
        assert 1 not in [row["place"] for row in self._run(two)]
        (tied,) = [row for row in self._run(tie) if row["place"] == 1]
        assert tied["answers"] == 2
        assert "people disagree" in tied["why"]

    def test_an_adjudicator_closes_a_question(self) -> None:
        events = [_event(1, "snow", "judge")]

        rows = self._run(events, resolve={"adjudicators": ["judge"]})

        assert 1 not in [row["place"] for row in rows]

    def test_enough_photos_make_it_less_urgent(self) -> None:
        before = {row["place"]: row["priority"] for row in self._run()}
        events = [_event(0, "snow", who) for who in ("ann", "bob")]
        after = {row["place"]: row["priority"] for row in self._run(events)}

        # its proposal: 0.55 on snow, where one photo in four wanted is verified now
        assert after[1] == pytest.approx(before[1] - 0.55 * (1 - 4 / 5))

    def test_high_scores_become_questions(self) -> None:
        scores = {"label_noise": 0.95, "feature_noise": 0.1, "ambiguity": 0.8}
        flags = [{"photo_id": _id(0), "clarity": 0.79} | scores]

        asked = {r["question"]: r["why"] for r in self._run(flags=flags)}

        assert set(asked) == {"background", "label_noise", "ambiguity"}
        assert "another class" in asked["label_noise"]
        answered = [
            _event(0, "no", who, question="label_noise") for who in ("ann", "bob")
        ]
        rest = {row["question"] for row in self._run(answered, flags=flags)}
        assert rest == {"background", "ambiguity"}

    def test_blind_hides_the_proposal(self) -> None:
        rows = self._run(tasks={"blind": True})

        assert {row["proposal"] for row in rows} == {None}
        assert {row["probability"] for row in rows} == {None}
        assert not any("snow" in row["why"] or "grass" in row["why"] for row in rows)


def test_a_model_that_reads_no_text_cannot_propose(
    tiny_clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings.model(tiny_clip), "kind", "classifier")
    inputs = {
        "photos": _photos(["cat"]),
        "embeddings": _embedded(np.eye(32)[:1]),
        "label_events": empty("label_events"),
        "duplicates": empty("duplicates"),
    }

    with pytest.raises(ConfigError, match="reads no text"):
        propose.run(inputs, propose.settings(_config(tiny_clip)))
