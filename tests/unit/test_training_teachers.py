"""TF-IDF and models as teachers, alone and together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import load_artifact
from tests.tiny_model import save_tiny_albert
from tests.training_data import words
from training.data.corpus import Example
from training.fitting.soft_targets import TFIDF, soft_targets
from training.fitting.teachers import TfidfTeacher

LABELS = ("ham", "spam")
EXAMPLES = [Example(text, (label,)) for label, text in map(words, range(200))]
TEXTS = ["a good short text good", "zyzzyva zyzzyva any model"]


def test_tfidf_learns_and_says_how_sure_it_is() -> None:
    logits = TfidfTeacher.fit(EXAMPLES, LABELS).logits(TEXTS)
    assert logits.argmax(axis=1).tolist() == [0, 1]
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, atol=1e-4)
    with pytest.raises(ConfigError, match="texts of each of the labels"):
        TfidfTeacher.fit(EXAMPLES, ("ham", "spam", "eggs"))


def test_tfidf_does_not_repeat_the_label_of_a_text_that_comes_twice(tmp_path: Path) -> None:
    card = load_artifact(save_tiny_albert(tmp_path)).card
    chance = np.random.default_rng(1)
    rows = [
        Example(" ".join(map(str, chance.integers(0, 500, 20))), (str(chance.choice(LABELS)),))
        for _ in range(301)
    ]
    targets = soft_targets([*rows, *rows], [], [TFIDF], card, share=1.0)
    truth = np.array([LABELS.index(row.label) for row in [*rows, *rows]])
    right = (targets.argmax(axis=1) == truth).mean()
    assert right < 0.65  # the labels are chance: whoever knows them has seen them
