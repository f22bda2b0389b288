"""Early exits: a text leaves with the logits of the first exit that is sure, whoever else stays."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AlbertForSequenceClassification

from stream_app.core.errors import ModelError
from stream_app.engine import load_engine
from stream_app.engine.compiled import CompiledEngine
from stream_app.engine.native_library import PRECISIONS
from stream_app.model.artifact import EXITS, Artifact, load_artifact, write_card
from stream_app.model.decision import lengths, probabilities
from stream_app.model.exits import Exits, load_exits
from tests.kernels import needs_kernels
from tests.unit.test_engines import KERNELS, MIXED, random_model, texts, tolerance

LAYERS, LABELS, HIDDEN = 4, 3, 24
NEAR = 0.02  # of the confidence asked for: rounding may decide
Array = NDArray[np.float32]


def with_exits(folder: Path, confidence: float, evidence: float = 0) -> tuple[Artifact, Exits]:
    artifact = random_model(folder, num_hidden_layers=LAYERS, num_labels=LABELS)
    rng = np.random.default_rng(7)
    weight = rng.standard_normal((LAYERS - 1, LABELS, HIDDEN)).astype(np.float32) / 2
    bias = rng.standard_normal((LAYERS - 1, LABELS)).astype(np.float32)
    exits = Exits(weight, bias, confidence)
    exits.save(folder)
    how = {"exit_confidence": confidence, "temperature": 1.5, "evidence": evidence}
    card = artifact.card.model_copy(update=how)
    write_card(folder, card)
    return load_artifact(folder), exits


def expected(artifact: Artifact, exits: Exits, batch: list[list[int]]) -> list[list[Array]]:
    """For each text the logits it may leave with: one where no confidence is near the bar."""
    model = AlbertForSequenceClassification.from_pretrained(artifact.path).eval()
    return [_leaves(model, artifact, exits, ids) for ids in batch]


def _leaves(
    model: AlbertForSequenceClassification, artifact: Artifact, exits: Exits, ids: list[int]
) -> list[Array]:
    with torch.inference_mode():
        out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
    may: list[Array] = []
    for step in range(LAYERS - 1):
        cls = out.hidden_states[step + 1][0, 0].numpy()
        logits = exits.weight[step] @ cls + exits.bias[step]
        scores = probabilities(logits[None, :], artifact.card, lengths([ids]))
        confidence = scores.max()
        if confidence > exits.confidence - NEAR:
            may.append(logits)
        if confidence > exits.confidence + NEAR:
            return may
    return [*may, out.logits[0].numpy()]


@needs_kernels
@pytest.mark.parametrize("confidence", [0.34, 0.6, 0.8, 0.999999])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("evidence", [0.0, 5.0])
def test_a_text_leaves_with_the_first_exit_that_is_sure(
    tmp_path: Path, evidence: float, precision: str, confidence: float
):
    artifact, exits = with_exits(tmp_path, confidence, evidence)
    batch = texts(MIXED)
    may = expected(artifact, exits, batch)
    for kernels in KERNELS.values():
        if not kernels.kernel(precision):
            continue
        engine = CompiledEngine(artifact, kernels, precision, threads=2)
        engine.leave_early(exits)
        logits = engine.logits(batch)
        for row, allowed, ids in zip(logits, may, batch, strict=True):
            apart = min(np.abs(row - a).max() / max(1.0, np.abs(a).max()) for a in allowed)
            assert apart <= tolerance(precision, trained=False)
            assert (engine.logits([ids])[0] == row).all()  # to the last bit, in any batch


@needs_kernels
def test_early_exits_are_an_option(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    artifact, exits = with_exits(tmp_path / "with", 0.34)
    batch = texts(MIXED)
    full = load_engine("compiled", artifact, "cpu", "float32").logits(batch)
    early = load_engine("compiled", artifact, "cpu", "float32", early_exit=True).logits(batch)
    assert np.abs(full - early).max() > 0.01  # nearly every text leaves behind the first layer
    plain = random_model(tmp_path / "plain", num_hidden_layers=2)
    load_engine("compiled", plain, "cpu", early_exit=True)
    assert "no early exits" in caplog.text
    load_engine("packed", artifact, "cpu", early_exit=True)
    assert "only the compiled engine" in caplog.text
    assert load_exits(artifact).confidence == exits.confidence


@needs_kernels
def test_exits_of_another_model_are_refused(tmp_path: Path):
    artifact, exits = with_exits(tmp_path, 0.9)
    engine = load_engine("compiled", artifact, "cpu")
    assert isinstance(engine, CompiledEngine)
    with pytest.raises(ModelError, match="not this model's"):
        engine.leave_early(dataclasses.replace(exits, weight=exits.weight[:1], bias=exits.bias[:1]))
    (tmp_path / EXITS).write_bytes(b"no safetensors")
    write_card(tmp_path, artifact.card)
    with pytest.raises(ModelError, match="holds no early exits"):
        load_exits(load_artifact(tmp_path))
