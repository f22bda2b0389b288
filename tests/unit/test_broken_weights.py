"""Weights that are no numbers, in every backend a CPU can run: an error, never a label."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from stream_app.core.errors import EngineSick
from stream_app.core.messages import Partition, Record
from stream_app.engine import compiled, packed_cpu, packed_cuda
from stream_app.engine.protocol import Engine
from stream_app.engine.reference import ReferenceEngine
from stream_app.model.albert import read_weights
from stream_app.model.artifact import Artifact
from stream_app.pipeline.work import Work
from stream_app.serving.classifier import Classifier
from tests.unit.test_engines import BACKENDS, random_model

CANARY, POISON = [4, 5, 6], 7
WORDS = "albert.embeddings.word_embeddings.weight"
Build = Callable[..., Engine]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return random_model(tmp_path_factory.mktemp("model"), num_hidden_layers=2)


@pytest.fixture(params=[*BACKENDS, "reference"])
def build(
    request: pytest.FixtureRequest, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> Build:
    """Makes the backend, with one value of one weight changed after it was read."""

    def build(name: str, index: tuple[int, ...], value: float) -> Engine:
        def changed(artifact: Artifact):
            weights = read_weights(artifact)
            weights[name] = weights[name].copy()
            weights[name][index] = value
            return weights

        if request.param == "reference":
            engine = ReferenceEngine(artifact, "cpu")
            with torch.no_grad():
                dict(engine._model.named_parameters())[name][index] = value
            return engine
        for module in (compiled, packed_cpu, packed_cuda):
            monkeypatch.setattr(module, "read_weights", changed)
        return BACKENDS[request.param](artifact)

    return build


def classified(engine: Engine, artifact: Artifact, *texts: list[int]) -> list[Work]:
    works = [
        Work(Record(Partition("mail", 0), offset, None, b""), None, tokens=tokens)
        for offset, tokens in enumerate(texts)
    ]
    Classifier(engine, artifact.card, CANARY, lambda _: None)(works)
    return works


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_every_text_meets_makes_the_engine_sick(
    build: Build, artifact: Artifact, value: float
):
    engine = build("classifier.weight", (1, 3), value)
    with pytest.raises(EngineSick, match="not one finite number a label"):
        classified(engine, artifact, [8, 9], [10] * 30)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_one_word_meets_is_that_records_fault(
    build: Build, artifact: Artifact, value: float, request: pytest.FixtureRequest
):
    if "int8" in request.node.name:
        pytest.skip("int8 rounds what is no number to one; read_weights refuses such weights")
    engine = build(WORDS, (POISON, 3), value)
    works = classified(engine, artifact, [8, 9], [10, POISON, 11], [12] * 30, [13])
    assert [work.error.code if work.error else None for work in works] == [
        None,
        "engine_error",
        None,
        None,
    ]
    assert [work.prediction is None for work in works] == [False, True, False, False]
