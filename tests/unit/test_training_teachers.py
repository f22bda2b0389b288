"""TF-IDF and models as teachers, alone and together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import load_artifact
from stream_app.model.decision import probabilities
from tests.tiny_model import save_tiny_albert
from tests.training_data import words
from training.data import Example
from training.teachers import Averaged, ModelTeacher, TfidfTeacher

LABELS = ("ham", "spam")
EXAMPLES = [Example(text, (label,)) for label, text in map(words, range(200))]
TEXTS = ["a good short text good", "zyzzyva zyzzyva any model"]


def test_tfidf_learns_and_says_how_sure_it_is() -> None:
    logits = TfidfTeacher.fit(EXAMPLES, LABELS).logits(TEXTS)
    assert logits.argmax(axis=1).tolist() == [0, 1]
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, atol=1e-4)
    with pytest.raises(ConfigError, match="texts of each of the labels"):
        TfidfTeacher.fit(EXAMPLES, ("ham", "spam", "eggs"))


def test_teachers_are_averaged_by_weight(tmp_path: Path) -> None:
    artifact = load_artifact(save_tiny_albert(tmp_path))
    tfidf, model = TfidfTeacher.fit(EXAMPLES, LABELS), ModelTeacher(artifact, "reference")
    both = Averaged([(tfidf, 3.0), (model, 1.0)]).logits(TEXTS)
    expected = tfidf.logits(TEXTS) * 0.75 + model.logits(TEXTS) * 0.25
    np.testing.assert_allclose(both, expected, atol=1e-5)
    assert probabilities(both, artifact.card).shape == (2, 2)


def test_teachers_with_other_labels_are_refused() -> None:
    one = TfidfTeacher.fit(EXAMPLES, LABELS)
    other = TfidfTeacher.fit(EXAMPLES, LABELS[::-1])
    with pytest.raises(ConfigError, match="the same labels"):
        Averaged([(one, 1.0), (other, 1.0)])
