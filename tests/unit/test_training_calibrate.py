"""Temperature scaling and the calibration error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_app.model.artifact import load_artifact
from tests.tiny_model import save_tiny_albert
from training.data.augment import cuts
from training.data.corpus import Corpus, Example
from training.fitting import seal
from training.judging.calibrate import (
    Outcomes,
    calibration_error,
    error_by_chance,
    temperature,
    temperature_and_evidence,
)
from training.recipe import Decide
from training.recipes import load_recipe


def drawn(rows: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `scale` times as sure as the labels drawn from them."""
    chance = np.random.default_rng(1)
    logits = chance.normal(size=(rows, 3)) * 2
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([chance.choice(3, p=row) for row in scores])
    return (logits * scale).astype(np.float32), truth


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_too_much_or_too_little_confidence(scale: float) -> None:
    assert temperature(*drawn(6_000, scale)) == pytest.approx(scale, rel=0.08)


@pytest.mark.parametrize("evidence", [0.0, 4.0, 16.0])
def test_the_evidence_undoes_the_confidence_of_short_texts(evidence: float) -> None:
    """Logits that are right times 1 + evidence / length, where it is scaled by that at all."""
    logits, truth = drawn(12_000, 1)
    lengths = np.random.default_rng(2).choice([1, 2, 4, 8, 16, 128], 12_000)
    too_sure = (logits * (1 + evidence / lengths)[:, None] * 2).astype(np.float32)
    every = Outcomes(too_sure, lengths, truth)
    short = lengths < 100
    whole = Outcomes(every.logits[~short], lengths[~short], truth[~short])
    cut = Outcomes(every.logits[short], lengths[short], truth[short])
    divisor, found = temperature_and_evidence([whole, cut])
    assert found == pytest.approx(evidence, rel=0.5)
    assert divisor == pytest.approx(2, rel=0.15)


def test_a_small_source_counts_as_much_as_a_large_one() -> None:
    logits, truth = drawn(12_000, 1)
    lengths = np.full(12_000, 4)
    sure = Outcomes(logits, lengths, truth)
    wrong = Outcomes(np.full((100, 3), [5, 0, 0], np.float32), lengths[:100], truth[:100])
    whole = Outcomes(logits, np.full(12_000, 1_000), truth)
    assert temperature_and_evidence([whole, sure])[1] == 0
    assert temperature_and_evidence([whole, sure, wrong])[1] > 0


def test_short_texts_that_are_too_sure_at_any_evidence_raise_the_temperature() -> None:
    """Else it is what fits whole texts alone, and a text of ten words is too sure with it."""
    logits, truth = drawn(4_000, 2)
    over, wrong = drawn(4_000, 4)
    whole = Outcomes(logits, np.full(4_000, 40), truth)
    cut = Outcomes(over, np.full(4_000, 40), wrong)
    assert temperature_and_evidence([whole])[0] < 2.2 < temperature_and_evidence([whole, cut])[0]


def test_without_texts_nothing_is_calibrated() -> None:
    assert temperature_and_evidence([]) == (1.0, 0.0)


def test_without_rows_nothing_is_scaled() -> None:
    assert temperature(np.zeros((0, 2), np.float32), np.zeros(0, np.int64)) == 1.0


def test_calibration_error_is_the_gap_between_confidence_and_truth() -> None:
    sure = np.full(10, 0.95, np.float32)
    assert calibration_error(sure, np.arange(10) < 5) == pytest.approx(0.45)
    half = np.concatenate([sure, np.full(10, 0.5, np.float32)])
    truth = np.concatenate([np.arange(10) < 5, np.arange(10) < 5])
    assert calibration_error(half, truth) == pytest.approx(0.225)
    assert calibration_error(np.ones(4, np.float32), np.ones(4, bool)) == 0


@pytest.mark.parametrize("rows", [50, 500, 5_000])
def test_scores_that_are_right_have_the_error_of_chance(rows: int) -> None:
    """Few texts show an error that is not the model's: how much is told beforehand."""
    chance = np.random.default_rng(3)
    sure = chance.uniform(0.5, 1, rows).astype(np.float32)
    errors = [calibration_error(sure, chance.random(rows) < sure) for _ in range(200)]
    assert error_by_chance(sure) == pytest.approx(np.mean(errors), rel=0.1)


def test_without_texts_or_doubt_there_is_no_chance() -> None:
    assert error_by_chance(np.zeros(0, np.float32)) == 0
    assert error_by_chance(np.ones(9, np.float32)) == 0


@pytest.mark.parametrize("first_words", [True, False])
def test_copies_cut_short_count_where_first_words_have_the_label(
    first_words: bool, tmp_path: Path
) -> None:
    recipe = load_recipe("reviews").model_copy(update={"decide": Decide(first_words=first_words)})
    model = load_artifact(save_tiny_albert(tmp_path))
    texts = ["a good model", "any text that a working model can score is a good text " * 3]
    examples = [Example(text, ("spam",), source="a") for text in texts]
    whole, short = seal.held_out(model, Corpus(validation=examples), recipe)
    assert len(whole.truth) == 2
    if first_words:
        assert len(short.truth) == len(cuts(examples))
    else:
        assert short.lengths.tolist() == [3]
