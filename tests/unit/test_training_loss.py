"""The loss and the learning rates of a fine-tuning run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot
from transformers import AlbertConfig, AlbertForSequenceClassification

from training.fitting.loss import Loss, class_weights
from training.fitting.optimizer import parameter_groups
from training.recipe import Hyper

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.3, 0.2, 0.1]])
LABELS = torch.tensor([0, 2])
TARGETS = one_hot(LABELS, 3).float()


def test_the_default_is_cross_entropy() -> None:
    found = Loss("single_label")({"logits": LOGITS}, TARGETS)
    torch.testing.assert_close(found, cross_entropy(LOGITS, LABELS))


def test_smoothing_and_weights_count_in_training_and_not_in_evaluation() -> None:
    weights = torch.tensor([1.0, 1.0, 4.0])
    loss = Loss("single_label", 0.1, weights)
    torch.testing.assert_close(
        loss({"logits": LOGITS}, TARGETS),
        cross_entropy(LOGITS, TARGETS, weights, label_smoothing=0.1),
    )
    with torch.no_grad():
        torch.testing.assert_close(loss({"logits": LOGITS}, TARGETS), cross_entropy(LOGITS, LABELS))


def test_several_labels_are_as_many_questions() -> None:
    targets = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    found = Loss("multi_label")({"logits": LOGITS}, targets)
    torch.testing.assert_close(found, binary_cross_entropy_with_logits(LOGITS, targets))


def test_batches_that_make_one_step_count_as_one() -> None:
    loss = Loss("single_label")
    whole = loss({"logits": LOGITS}, TARGETS)
    halves = [
        loss({"logits": LOGITS[row : row + 1]}, TARGETS[row : row + 1], TARGETS.numel())
        for row in (0, 1)
    ]
    torch.testing.assert_close(sum(halves), whole)


def test_weights_make_every_label_count_the_same() -> None:
    targets = np.eye(3, dtype=np.float32)[[0, 0, 0, 1]]
    weights = class_weights(targets)
    assert (targets.sum(axis=0) * weights.numpy())[:2].tolist() == pytest.approx([4 / 3, 4 / 3])
    assert weights[2] == 1


def rates(groups: int) -> dict[str, float]:
    config = AlbertConfig(
        vocab_size=10,
        embedding_size=4,
        hidden_size=8,
        num_hidden_layers=2,
        num_hidden_groups=groups,
        num_attention_heads=2,
        intermediate_size=8,
    )
    model = AlbertForSequenceClassification(config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    hyper = Hyper(epochs=1, batch_size=1, learning_rate=1.0, layer_decay=0.5, weight_decay=0.1)
    found = parameter_groups(model, hyper)
    assert all(p.ndim >= 2 for group in found if group["weight_decay"] for p in group["params"])
    return {names[id(p)]: group["lr"] for group in found for p in group["params"]}


def test_a_shared_layer_has_one_rate_between_head_and_embeddings() -> None:
    found = rates(groups=1)
    assert found["classifier.weight"] == found["albert.pooler.weight"] == 1.0
    assert {rate for name, rate in found.items() if "layer_groups" in name} == {0.5}
    assert found["albert.embeddings.word_embeddings.weight"] == 0.25
    assert found["albert.encoder.embedding_hidden_mapping_in.weight"] == 0.25


def test_layers_that_share_nothing_have_a_rate_each() -> None:
    found = rates(groups=2)
    by_group = [
        {rate for name, rate in found.items() if f"layer_groups.{group}." in name}
        for group in (0, 1)
    ]
    assert by_group == [{0.25}, {0.5}]
    assert found["albert.embeddings.word_embeddings.weight"] == 0.125
