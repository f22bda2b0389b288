"""Ways to learn words from few examples, tried out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_app.model.artifact import Artifact, ModelCard
from stream_app.model.ngrams import NgramHead
from tests.tiny_model import save_tiny_albert
from training.examples import probe
from training.examples.probe import CHARACTERS, Learnable, fit_probe
from training.examples.validation import best_settings, cross_validated
from training.fitting.ngrams import fit_head
from training.recipe import Ngrams

CARD = ModelCard(name="encoder", version="1", labels=("-", "--"))


def test_a_way_to_learn_words_is_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def by_letters(texts: Sequence[str], truth: NDArray[np.bool_], how: Ngrams) -> NgramHead:
        return fit_head(texts, truth, CHARACTERS)

    monkeypatch.setitem(probe.HEADS, "by letters", by_letters)
    draw = np.random.default_rng(1)
    truth = np.eye(2, dtype=bool)[np.arange(40) % 2]
    # no word comes twice, so that only letters tell one label from the other
    texts = ["".join(draw.choice(list("abcd" if of_a else "efgh"), 12)) for of_a in truth[:, 0]]
    noise = draw.normal(size=(40, 8)).astype(np.float32)
    encoder = Artifact(save_tiny_albert(tmp_path), CARD, "")
    ids = [[2, 4 + row % 8, 3] for row in range(40)]
    learnt = Learnable(texts, ids, noise, truth, ("a", "e"), "single_label")
    judged = cross_validated(learnt, np.arange(len(texts)), lambda *_: encoder, print)
    chosen = best_settings(judged, truth, "single_label")
    assert chosen.head == "by letters"
    found = fit_probe(learnt, chosen).logits(["dcba", "hgfe"], np.zeros((2, 8), np.float32))
    assert found.argmax(axis=1).tolist() == [0, 1]
