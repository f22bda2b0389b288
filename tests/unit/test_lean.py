"""A head that leans: what it says of a text for having few words."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from stream_app.core.errors import ConfigError, ModelError
from stream_app.model.artifact import load_artifact
from stream_app.model.ngrams import Features, NgramHead, load_head
from tests.tiny_model import save_tiny_albert
from training.data.corpus import Example
from training.fitting.lean import lean_again
from training.fitting.moved_head import Taught, moved
from training.judging.evaluate import score

LEAN = np.array([8.0, -8.0], np.float32)


@pytest.fixture
def head() -> NgramHead:
    """One that knows no word, has no bias, and leans."""
    features = Features(words=1, bits=10)
    nothing = np.zeros((1 << 10, 2), np.int8)
    flat = np.zeros(2, np.float32)
    return NgramHead(features, nothing, flat, flat, lean=LEAN)


def test_the_more_words_a_text_has_the_less_counts_that_it_has_few(head: NgramHead) -> None:
    none, sixteen, many = head.logits(["", "word " * 16, "word " * 784])
    assert none == pytest.approx(LEAN)
    assert sixteen == pytest.approx(LEAN / 2)
    assert many == pytest.approx(LEAN / 50)


def test_it_leans_to_what_short_held_out_texts_mostly_are(head: NgramHead, tmp_path: Path) -> None:
    """How it leant before makes no difference."""
    ham = Example("offer of the meeting on monday with all of the team " * 3, ("ham",))
    spam = Example("offer pills to everybody who buys them now and here " * 3, ("spam",))
    leans = []
    for hams, before in ((1, head.lean), (6, head.lean), (6, None)):
        folder = save_tiny_albert(tmp_path / f"{len(leans)}")
        dataclasses.replace(head, lean=before).save(folder)
        model = load_artifact(folder)
        short = [*[dataclasses.replace(ham, text="offer of")] * hams]
        short.append(dataclasses.replace(spam, text="offer pills"))
        kinds = [[ham, spam] * 10, short * 10]
        scored = lean_again(model, kinds, [score(model, kind, "reference") for kind in kinds])
        again = [score(model, kind, "reference") for kind in kinds]
        for told, anew in zip(scored, again, strict=True):
            assert told.logits == pytest.approx(anew.logits, abs=1e-4)
        fitted = load_head(model)
        assert fitted is not None
        assert fitted.lean is not None
        leans.append(float(fitted.lean[0] - fitted.lean[1]))
    assert leans[1] > max(leans[0], 0)
    assert leans[2] == pytest.approx(leans[1], rel=0.02)


def test_a_model_without_a_head_cannot_lean(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no n-gram head that could lean"):
        lean_again(load_artifact(save_tiny_albert(tmp_path)), [], [])


def test_it_is_kept_by_its_file_and_by_corrections(head: NgramHead, tmp_path: Path) -> None:
    folder = save_tiny_albert(tmp_path)
    head.save(folder)
    loaded = load_head(load_artifact(folder))
    assert loaded is not None
    one = np.ones(1)
    taught = Taught(["word"], np.zeros((1, 2)), one, np.array([[1.0, 0.0]]), one, "single_label")
    for kept in (loaded, moved(loaded, taught, 10)):
        assert (kept.logits([""]) == head.logits([""])).all()


@pytest.mark.parametrize(
    ("lean", "reason"),
    [(np.zeros(3, np.float32), "does not fit"), (np.full(2, np.nan, np.float32), "not finite")],
)
def test_a_file_whose_lean_is_none_is_refused(
    lean: np.ndarray, reason: str, head: NgramHead, tmp_path: Path
) -> None:
    folder = save_tiny_albert(tmp_path)
    dataclasses.replace(head, lean=lean).save(folder)
    with pytest.raises(ModelError, match=reason):
        load_head(load_artifact(folder))
