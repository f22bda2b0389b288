"""Ways to learn words from few examples, tried out of fold."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_app.model.ngrams import NgramHead
from training.examples import probe
from training.examples.probe import CHARACTERS, Learnable, fit_probe
from training.examples.validation import best_settings, cross_validated
from training.fitting.ngrams import fit_head
from training.recipe import Ngrams


def test_a_way_to_learn_words_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_letters(texts: list[str], truth: NDArray[np.bool_], how: Ngrams) -> NgramHead:
        return fit_head(texts, truth, CHARACTERS)

    monkeypatch.setitem(probe.HEADS, "by letters", by_letters)  # type: ignore[arg-type] # the row
    draw = np.random.default_rng(1)
    truth = np.eye(2, dtype=bool)[np.arange(40) % 2]
    # no word comes twice, so that only letters tell one label from the other
    texts = ["".join(draw.choice(list("abcd" if of_a else "efgh"), 12)) for of_a in truth[:, 0]]
    noise = draw.normal(size=(40, 8)).astype(np.float32)
    learnt = Learnable(texts, noise, truth, ("a", "e"), "single_label")
    judged = cross_validated(learnt, np.arange(len(texts)), print)
    chosen = best_settings(judged, truth, "single_label")
    assert chosen.head == "by letters"
    found = fit_probe(learnt, chosen).logits(["dcba", "hgfe"], np.zeros((2, 8), np.float32))
    assert found.argmax(axis=1).tolist() == [0, 1]
