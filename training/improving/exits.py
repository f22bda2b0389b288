"""Fits early exits: a logistic regression on [CLS] behind each layer, and when a text may leave.

Schwartz et al., "The Right Tool for the Job: Matching Model and Instance Complexities", 2020. The
encoder stays as it is, so a text that does not leave early has the logits it always had.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from stream_app.core.errors import ConfigError
from stream_app.engine.pooled import PooledAlbert
from stream_app.model.artifact import Artifact, ModelCard
from stream_app.model.decision import (
    Lengths,
    albert_shares,
    divisors,
    lengths,
    probabilities,
)
from stream_app.model.exits import Exits
from stream_app.model.ngrams import load_head
from stream_app.model.tokenizer import Tokenizer
from training.data.corpus import Corpus, Example
from training.fitting.finetune import attention, has_bfloat16
from training.fitting.model_files import unsealed
from training.judging.calibrate import temperature
from training.judging.card import write_cards
from training.judging.evaluate import score, true_labels

_log = logging.getLogger(__name__)
Array = NDArray[np.float32]
LOSS = 0.001  # of the validation texts: half of what is allowed on others
_CONFIDENCES = (0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999)
_STRENGTH = 0.1
_BATCH = 32
_MOST_TEXTS = 5_000  # to learn from


@dataclass(frozen=True, slots=True)
class Seen:
    """Texts as the model sees them: `cls` [layers - 1, texts, hidden] behind each layer but the
    last, the model's own `logits` and the n-gram head's `prior` [texts, labels], and the `truth`
    and `lengths` in tokens [texts]."""

    cls: Array
    logits: Array
    prior: Array
    truth: NDArray[np.int64]
    lengths: Lengths


def add_exits(artifact: Artifact, corpus: Corpus, engine: str) -> dict[str, Any]:
    """Give a model early exits, learnt from its training texts; figures of its tests.

    Raises ConfigError for a model of one layer or several labels a text, and without validation
    texts.
    """
    card = artifact.card
    if card.problem != "single_label" or not corpus.validation or not corpus.train:
        raise ConfigError("early exits are for single-label models, and need validation texts")
    train = see(artifact, _some(corpus.train))
    validation = see(artifact, corpus.validation)
    if not len(train.cls):
        raise ConfigError(f"{card.name} has one layer: there is nowhere to leave early")
    exits = fitted(train, validation, card)
    exits.save(artifact.path)
    card = card.model_copy(update={"exit_confidence": exits.confidence})
    figures = _figures(unsealed(artifact.path, card), corpus, engine)
    training = {**card.training, "exits": {"texts": len(train.truth), "test": figures}}
    write_cards(artifact.path, card.model_copy(update={"training": training}))
    return figures


def fitted(train: Seen, validation: Seen, card: ModelCard) -> Exits:
    """Exits whose logits are calibrated when scaled as the card scales the model's own."""
    weights, biases = [], []
    divisor = divisors(card, validation.lengths)[:, None]
    for layer, (cls, held_out) in enumerate(zip(train.cls, validation.cls, strict=True)):
        weight, bias = _regression(cls, train.truth, len(card.labels))
        said = ((held_out @ weight.T + bias) / divisor).astype(np.float32)
        stretch = 1 / temperature(said, validation.truth)
        weights.append(weight * stretch)
        biases.append(bias * stretch)
        right = ((held_out @ weight.T + bias).argmax(axis=1) == validation.truth).mean()
        _log.info("exit %d: %.4f of the validation texts", layer + 1, right)
    weight, bias = (np.stack(part).astype(np.float32) for part in (weights, biases))
    return Exits(weight, bias, _confidence(weight, bias, validation, card))


def leave(
    weight: Array, bias: Array, seen: Seen, divisor: NDArray[np.float64], confidence: float
) -> tuple[NDArray[np.int64], Array]:
    """The layers each text goes through [texts], and the logits it ends with [texts, labels].

    Logits over `divisor` [texts, 1] are calibrated.
    """
    layers = np.full(len(seen.truth), len(seen.cls) + 1)
    logits = seen.logits.copy()
    for layer in reversed(range(len(seen.cls))):  # the earliest that is sure has the last word
        said = seen.cls[layer] @ weight[layer].T + bias[layer]
        crowd = np.exp((said - said.max(axis=1, keepdims=True)) / divisor).sum(axis=1)
        sure = crowd <= 1 / confidence
        layers[sure], logits[sure] = layer + 1, said[sure]
    return layers, logits


def see(artifact: Artifact, examples: Sequence[Example]) -> Seen:
    """Run the model over examples, padded batches of similar lengths."""
    model = PooledAlbert.from_pretrained(
        artifact.path, dtype=torch.float32, attn_implementation=attention()
    )
    torch.nn.Module.eval(model)
    texts = [example.text for example in examples]
    ids, head = Tokenizer(artifact).encode(texts), load_head(artifact)
    truth = true_labels(examples, artifact.card)
    cls = np.zeros((model.config.num_hidden_layers - 1, len(ids), model.config.hidden_size))
    seen = Seen(
        cls.astype(np.float32),
        np.zeros(truth.shape, np.float32),
        head.logits(texts) if head else np.zeros(truth.shape, np.float32),
        truth.argmax(axis=1),
        lengths(ids),
    )
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    for at in range(0, len(order), _BATCH):
        _batch(model, order[at : at + _BATCH], ids, seen)
    return seen


@torch.inference_mode()
def _batch(
    model: PooledAlbert,
    rows: Sequence[int],
    ids: Sequence[Sequence[int]],
    seen: Seen,
) -> None:
    texts = [torch.tensor(ids[row]) for row in rows]
    padded = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)  # [texts, longest]
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(t) for t in texts], batch_first=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
        out = model(input_ids=padded, attention_mask=mask, output_hidden_states=True)
    seen.logits[rows] = out.logits.float().numpy()
    for layer, hidden in enumerate(out.hidden_states[1:-1]):  # the first is the embeddings
        seen.cls[layer, rows] = hidden[:, 0].float().numpy()


def _regression(cls: Array, truth: NDArray[np.int64], labels: int) -> tuple[Array, Array]:
    """[labels, hidden] and [labels]; a label without examples is never sure."""
    regression = LogisticRegression(C=_STRENGTH, max_iter=500).fit(cls, truth)
    columns, shifts = regression.coef_, regression.intercept_
    if len(columns) == 1:  # the second label against the first
        columns, shifts = np.stack([-columns[0], columns[0]]) / 2, np.array([-shifts[0], shifts[0]])
        shifts /= 2
    weight = np.zeros((labels, cls.shape[1]), np.float32)
    bias = np.full(labels, shifts.min() - 10, np.float32)
    weight[regression.classes_], bias[regression.classes_] = columns, shifts
    return weight, bias


def _confidence(weight: Array, bias: Array, seen: Seen, card: ModelCard) -> float:
    """The least confidence that makes next to no validation text wrong that was right, and none
    reach the bar of a label that it does not have.

    What it makes right does not count: on other texts that is luck, and the loss is not.
    """
    divisor = divisors(card, seen.lengths)[:, None]
    share = albert_shares(card.span, seen.lengths)[:, None]
    bars = np.array([card.decide_at.get(label, np.inf) for label in card.labels])

    def summed(logits: Array) -> Array:
        return np.asarray(share * logits + seen.prior)

    def right(logits: Array) -> NDArray[np.bool_]:
        return np.asarray(summed(logits).argmax(axis=1) == seen.truth)

    def acted_on(logits: Array) -> NDArray[np.bool_]:
        scores = probabilities(summed(logits), card, seen.lengths)
        return np.asarray(scores.max(axis=1) >= bars[scores.argmax(axis=1)])

    for confidence in _CONFIDENCES:
        layers, logits = leave(weight, bias, seen, divisor, confidence)
        lost = right(seen.logits) & ~right(logits)
        harm = ~right(logits) & acted_on(logits) & ~acted_on(seen.logits)
        if lost.sum() <= round(LOSS * len(lost)) and not harm.any():
            _log.info("confidence %.3f: %.2f layers a text", confidence, layers.mean())
            return confidence
    return _CONFIDENCES[-1]


def _figures(artifact: Artifact, corpus: Corpus, engine: str) -> dict[str, Any]:
    """For each test set its accuracy and texts/s in full and with early exits, as served."""
    figures: dict[str, Any] = {}
    for name, examples in corpus.test.items():
        ways = {
            way: score(artifact, examples, engine, early_exit=early)
            for way, early in (("full", False), ("early", True))
            if examples
        }
        figures[name] = {
            way: {
                "accuracy": round(float((s.logits.argmax(1) == s.truth.argmax(1)).mean()), 4),
                "texts_per_second": round(len(examples) / s.seconds, 1),
            }
            for way, s in ways.items()
        }
    return figures


def _some(examples: Sequence[Example]) -> list[Example]:
    chosen = np.random.default_rng(0).permutation(len(examples))[:_MOST_TEXTS]
    return [examples[row] for row in sorted(chosen.tolist())]
