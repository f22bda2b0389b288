"""What an encoder learns from which texts are of one label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stream_app.engine.protocol import TokenIds
from stream_app.model.artifact import Artifact, ModelCard
from stream_app.model.references import ENCODER, resolve_folder
from stream_app.model.tokenizer import Tokenizer
from tests.tiny_model import save_tiny_albert
from training.examples.contrast import contrasted, loss, shared
from training.examples.embeddings import embeddings

CARD = ModelCard(name="encoder", version="1", labels=("-", "--"))
LEARNT = ("film hotel phone soup", "wonderful excellent good lovely", "dreadful awful bad nasty")
HELD = ("book waiter lamp", "superb delightful great", "terrible horrid poor")


def test_pairs_are_wanted_as_alike_as_their_labels_are() -> None:
    truth = torch.tensor([[1, 0], [1, 0], [0, 1], [1, 1], [0, 0], [0, 0]]) > 0
    assert shared(truth)[0].tolist() == [1, 1, 0, 0.5, 0, 0]
    assert shared(truth)[4].tolist() == [0, 0, 0, 0, 1, 1]  # neither has any


def test_the_few_pairs_that_are_alike_count_as_much_as_all_others() -> None:
    vectors = torch.eye(4)  # each at a right angle to the others
    wanted = shared(torch.tensor([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]) > 0)
    assert loss(vectors, wanted).item() == pytest.approx(1.0)
    assert loss(vectors[2:], wanted[2:, 2:]).item() == 0  # no pair is alike


def test_texts_of_one_label_become_alike_and_others_less(tmp_path: Path) -> None:
    """Told apart by what was said of a thing; all held-back words are others."""
    encoder = Artifact(resolve_folder(ENCODER), CARD, "")
    card = CARD.model_copy(update={"max_tokens": 64})
    tokenizer = Tokenizer(Artifact(encoder.path, card, ""))
    learnt, held = (tokenizer.encode(_said(*words)) for words in (LEARNT, HELD))
    after = contrasted(encoder, learnt, _truth(len(learnt)), tmp_path)
    assert _apart(after, held) > 2 * _apart(encoder, held) > 0


def test_the_same_texts_make_the_same_encoder(tmp_path: Path) -> None:
    encoder = Artifact(save_tiny_albert(tmp_path / "encoder"), CARD, "")
    ids = [[2, 4 + row, 3] for row in range(8)]
    one, two = (
        (
            contrasted(encoder, ids, _truth(8), tmp_path / name).path / "model.safetensors"
        ).read_bytes()
        for name in ("one", "two")
    )
    assert one == two


def _said(things: str, praise: str, blame: str) -> list[str]:
    """Praise and blame by turns."""
    words = [word for pair in zip(praise.split(), blame.split(), strict=True) for word in pair]
    return [f"the {thing} was {word}" for thing in things.split() for word in words]


def _truth(texts: int) -> NDArray[np.bool_]:
    return np.eye(2, dtype=np.bool_)[np.arange(texts) % 2]


def _apart(encoder: Artifact, ids: Sequence[TokenIds]) -> float:
    """How much more alike texts of one label are than texts of two."""
    cosines = np.corrcoef(embeddings(encoder, ids))
    same = shared(torch.from_numpy(_truth(len(ids)))).numpy() == 1
    return float(cosines[same].mean() - cosines[~same].mean())
