"""Drift: what is far from a reference and what is not, fair windows, and who waits for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stream_app.core.errors import ModelError
from stream_app.core.messages import Prediction
from stream_app.core.metrics import Metrics
from stream_app.core.settings import DriftSettings
from stream_app.model.artifact import Artifact, load_artifact, write_card
from stream_app.model.drift_reference import (
    Drift,
    Histogram,
    Labelled,
    load_drift,
    projected_embeddings,
)
from stream_app.pipeline.work import Work
from stream_app.services.drift import DriftMonitor
from stream_app.serving.models import Models
from stream_app.serving.served import ServedModel
from tests.tiny_model import save_tiny_albert
from training.data.corpus import Example
from training.fitting.drift_reference import reference, write_reference
from training.refreshing.drift_watch import wait_for_drift

ROWS = 2000


def labelled(rows: int, seed: int = 0, spam: float = 0.3, rare: float = 0.0) -> list[Labelled]:
    """Texts of the tiny model's tokens: a share of spam, a share of tokens it does not know."""
    chance = np.random.default_rng(seed)
    made = []
    for _ in range(rows):
        ids = chance.integers(4, 15, chance.integers(3, 20))
        ids[chance.random(len(ids)) < rare] = 1
        label = "spam" if chance.random() < spam else "ham"
        made.append(Labelled(ids.tolist(), (label,), float(chance.beta(8, 1))))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_albert(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def drift(folder: Path) -> Drift:
    artifact = load_artifact(folder)
    known = reference(artifact, labelled(ROWS))
    return Drift(known, projected_embeddings(artifact), "single_label")


def test_texts_of_the_same_kind_are_near(drift: Drift):
    worst = [max(drift.scores(labelled(1000, seed)).values()) for seed in range(1, 50)]
    assert max(worst) < 0.1


@pytest.mark.parametrize(
    ("kind", "statistics"),
    [({"spam": 0.7}, {"label"}), ({"rare": 0.3}, {"unknown", "embedding"})],
)
def test_what_changed_is_told_by_its_statistic(
    drift: Drift, kind: dict[str, float], statistics: set[str]
):
    found = drift.scores(labelled(1000, 1, **kind))
    assert {name for name, score in found.items() if score > 0.25} == statistics


@pytest.fixture(scope="module")
def several(folder: Path) -> Artifact:
    artifact = load_artifact(folder)
    return replace(artifact, card=artifact.card.model_copy(update={"problem": "multi_label"}))


def tagged(rows: int, seed: int, ham: float = 0.5, spam: float = 0.2) -> list[Labelled]:
    """Texts that have each of two labels, or none, by chance."""
    chance = np.random.default_rng(seed)
    shares = {"ham": ham, "spam": spam}
    return [
        text._replace(labels=tuple(x for x, share in shares.items() if chance.random() < share))
        for text in labelled(rows, seed)
    ]


def test_of_several_labels_a_text_the_share_of_each_is_watched(several: Artifact):
    known = reference(several, tagged(ROWS, 0))
    assert len(known.statistics["label"]) == 2
    drift = Drift(known, projected_embeddings(several), "multi_label")
    assert max(drift.scores(tagged(1000, seed))["label"] for seed in range(1, 50)) < 0.05
    assert drift.scores(tagged(1000, 1, spam=0.5))["label"] > 0.25, "that of one moved"
    assert drift.scores(tagged(1000, 1, ham=0.1))["label"] > 0.25


def test_a_reference_of_highest_labels_says_nothing_of_several(several: Artifact, tmp_path: Path):
    folder = save_tiny_albert(tmp_path)
    written = reference(load_artifact(folder), labelled(ROWS))
    (folder / "drift.json").write_text(written.model_dump_json())
    loaded = load_drift(replace(several, path=folder))
    assert loaded is not None
    assert set(loaded.scores(tagged(100, 1))) == set(written.statistics) - {"label"}


def test_chance_is_taken_off_whatever_the_window():
    chance = np.random.default_rng(0)
    histogram = Histogram.of(chance.random(ROWS), np.arange(1, 10) / 10)
    for rows in (50, 500, 5000):
        found = [histogram.distance(chance.random(rows)) for _ in range(200)]
        assert np.mean(found) < 5 / rows + 0.002
    assert histogram.distance(chance.random(50) / 10) > 3


def test_a_reference_is_a_few_kilobytes_and_part_of_the_digest(tmp_path: Path):
    folder = save_tiny_albert(tmp_path)
    before = load_artifact(folder)
    assert load_drift(before) is None
    examples = [Example("a short good text", ("ham",))] * 30
    write_reference(before, examples, np.zeros((30, 2), np.float32))
    write_card(folder, before.card)
    artifact = load_artifact(folder)
    assert artifact.digest != before.digest
    assert (folder / "drift.json").stat().st_size < 4096
    found = load_drift(artifact)
    assert found is not None
    assert found.reference.unknown == 1
    write_reference(artifact, [], np.zeros((0, 2), np.float32))
    assert not (folder / "drift.json").exists()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float8_e4m3fn], ids=str)
def test_embeddings_are_read_in_whatever_they_are_stored(tmp_path: Path, kind: torch.dtype):
    folder = save_tiny_albert(tmp_path)
    exact = projected_embeddings(load_artifact(folder))
    file = folder / "model.safetensors"
    save_file({name: weight.to(kind) for name, weight in load_file(file).items()}, file)
    assert projected_embeddings(load_artifact(folder)) == pytest.approx(exact, rel=0.1, abs=0.1)


def written(statistic: str, **histogram: object) -> str:
    given = {"edges": [0.5], "counts": [1, 1]} | histogram
    statistics = {statistic: [given]}
    return json.dumps({"labels": ["ham", "spam"], "unknown": 1, "statistics": statistics})


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "nonsense",
        '{"labels": ["a", "b"], "unknown": 1, "statistics": {}}',
        written("another"),
        written("embedding"),  # of which there are several
        written("label", counts=[1]),
        written("label", counts=[0, 0]),
        written("label", counts=[-1, 2]),
        written("label", edges=[float("nan")]),
        written("label", edges=[2, 1], counts=[1, 1, 1]),
    ],
)
def test_a_wrong_reference_is_refused(tmp_path: Path, content: str):
    artifact = load_artifact(save_tiny_albert(tmp_path))
    (tmp_path / "drift.json").write_text(content)
    with pytest.raises(ModelError, match=r"drift\.json"):
        load_drift(artifact)


class Counting:
    """A reference that remembers what it was asked about."""

    def __init__(self) -> None:
        self.windows: list[Sequence[Labelled]] = []

    def scores(self, seen: Sequence[Labelled]) -> dict[str, float]:
        self.windows.append(seen)
        return {"label": 0.5}


def model(drift: object) -> ServedModel:
    return cast("ServedModel", SimpleNamespace(drift=drift))


def models(champion: ServedModel) -> Models:
    return cast("Models", SimpleNamespace(champion=champion))


def works(model: ServedModel, numbers: Sequence[int]) -> list[Work]:
    """Labelled works of a model; the tokens tell which they are."""
    made = Prediction("spam", ("spam",), 0.9, {"spam": 0.9}, "spam")
    found = (SimpleNamespace(model=model, prediction=made, tokens=[n]) for n in numbers)
    return [cast("Work", work) for work in found]


async def closed(monitor: DriftMonitor, metrics: Metrics, windows: int) -> None:
    """Return once so many windows were compared."""
    counted = metrics.drift_windows.labels("mail")
    while counted._value.get() < windows:
        await monitor.sleep(0)


async def test_a_window_is_a_fair_sample_of_its_time():
    settings, now = DriftSettings(window_records=100, window_seconds=60), [0.0]
    metrics, drift = Metrics(), Counting()
    champion = model(drift)
    monitor = DriftMonitor(settings, metrics, lambda: now[0])
    async with monitor:
        monitor.observe("mail", models(champion), works(champion, range(5000)))
        assert not drift.windows, "it has its records, but not its seconds"
        now[0] = 61
        monitor.observe("mail", models(champion), works(champion, range(5000, 10_000)))
        await closed(monitor, metrics, 1)
    [seen] = drift.windows
    assert len(seen) == 100
    late = sum(text.tokens[0] >= 5000 for text in seen)
    assert 25 < late < 75
    assert metrics.drift_score.labels("mail", "label")._value.get() == 0.5


async def test_only_the_champion_is_watched_and_a_new_one_begins_a_new_window():
    settings = DriftSettings(window_records=10, window_seconds=0)
    metrics, first, second = Metrics(), Counting(), Counting()
    old, new = model(first), model(second)
    monitor = DriftMonitor(settings, metrics)
    async with monitor:
        monitor.observe("mail", models(old), works(old, range(6)) + works(new, range(9)))
        monitor.observe("mail", models(new), works(old, range(6)) + works(new, range(9)))
        monitor.observe("mail", models(new), works(new, range(1)))
        await closed(monitor, metrics, 1)
    assert (first.windows, len(second.windows)) == ([], 1)


async def test_nothing_is_watched_where_it_is_off_or_there_is_no_reference():
    monitor = DriftMonitor(DriftSettings(window_records=0), Metrics())
    champion, bare = model(Counting()), model(None)
    monitor.observe("mail", models(champion), works(champion, range(10)))
    monitor.observe("mail", models(bare), works(bare, range(10)))
    assert not monitor._open


def page(route: str, windows: int, score: float, process: str = "a") -> str:
    labels = f'instance="{process}",route="{route}"'
    return (
        f"winnow_drift_windows_total{{{labels}}} {windows}\n"
        f'winnow_drift_score{{statistic="label",{labels}}} {score}\n'
    )


def watch(*pages: str | OSError) -> tuple[str, int]:
    """Why it ended, and how many pages were left."""
    left = list(pages)

    def fetch(url: str) -> str:
        found = left.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    return wait_for_drift("url", "mail", 0.25, fetch, lambda _: None), len(left)


def test_two_windows_in_a_row_are_drift():
    far, near = 0.5, 0.1
    reason, left = watch(
        page("mail", 1, far),
        page("mail", 1, far),  # the same window
        OSError(),
        page("mail", 2, near),
        page("mail", 3, far) + page("mail", 1, far, "b"),  # one window each
        page("news", 9, far),
        page("mail", 4, far) + page("mail", 1, far, "b"),
        page("mail", 5, near),
    )
    assert (reason, left) == ("route mail: drift of label 0.50 (threshold 0.25)", 1)
