"""Which size of ALBERT a machine can afford, found by running each of them on it.

The weights are random: speed does not depend on what a model knows.
"""

from __future__ import annotations

import logging
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AlbertConfig, AlbertForSequenceClassification

from stream_app.core.errors import ConfigError
from stream_app.engine import load_engine
from stream_app.engine.protocol import Engine, TokenIds
from stream_app.model.artifact import Artifact, ModelCard
from training.fitting.model_files import unsealed

_log = logging.getLogger(__name__)
_PIECES = 30_000  # of the vocabulary of every published ALBERT
_BATCH_TOKENS = 4_096
_SECONDS = 3.0  # of measuring throughput, and latency
_FEWEST = 5  # measurements


@dataclass(frozen=True, slots=True)
class Size:
    """A shape of ALBERT, and what it is expected to reach on SST-2 with which source."""

    name: str
    layers: int
    hidden: int
    heads: int
    accuracy: float | None
    source: str

    embedding: int = 128

    @property
    def feed_forward(self) -> int:
        return 4 * self.hidden

    @property
    def parameters(self) -> int:
        """Of a classifier with two labels. The layers share theirs: depth costs none."""
        embeddings = (_PIECES + 512 + 2) * self.embedding + 2 * self.embedding
        mapping = (self.embedding + 1) * self.hidden
        attention = 4 * (self.hidden + 1) * self.hidden + 2 * self.hidden
        feed_forward = 2 * self.hidden * self.feed_forward + self.feed_forward + 3 * self.hidden
        head = (self.hidden + 1) * self.hidden + 2 * (self.hidden + 1)
        return embeddings + mapping + attention + feed_forward + head

    def flops(self, tokens: int) -> int:
        """Floating-point operations a token in a text of so many, a multiplication and an addition
        counted as two: Kaplan et al., "Scaling Laws for Neural Language Models", 2020, table 1."""
        products = 4 * self.hidden**2 + 2 * self.hidden * self.feed_forward
        attention = 2 * tokens * self.hidden
        return 2 * (self.layers * (products + attention) + self.embedding * self.hidden)


_PAPER = "google-research/albert, version 2"
SIZES = (
    Size("tiny", 4, 312, 12, None, "none published for English"),
    Size("small", 6, 384, 12, 0.829, "albert-small-en fine-tuned here"),
    Size("base", 12, 768, 12, 0.929, _PAPER),
    Size("large", 24, 1024, 16, 0.949, _PAPER),
    Size("xxlarge", 12, 4096, 64, 0.968, _PAPER),
)


@dataclass(frozen=True, slots=True)
class Target:
    """What has to be reached with texts of so many tokens; None asks for nothing."""

    tokens: int = 128
    texts_per_second: float | None = None
    latency_ms: float | None = None  # 95th percentile of one text alone

    def met_by(self, row: dict[str, Any]) -> bool:
        fast = self.texts_per_second is None or row["texts_per_second"] >= self.texts_per_second
        return fast and (self.latency_ms is None or row["latency_ms"] <= self.latency_ms)


def advise(target: Target, engine: str, device: str, precision: str) -> dict[str, Any]:
    """Each size's figures on this machine, from the smallest; the largest that meets the target.

    Sizes beyond the first that misses it are not measured. Raises ConfigError for a text longer
    than ALBERT reads.
    """
    if not 2 <= target.tokens <= 512:
        raise ConfigError("--tokens must be between 2 and 512, what ALBERT reads")
    rows: list[dict[str, Any]] = []
    advised = None
    for size in SIZES:
        _log.info("measuring %s", size.name)
        row = _measured(size, target.tokens, engine, device, precision)
        rows.append(row)
        if not target.met_by(row):
            break
        advised = size.name
    return {"tokens": target.tokens, "sizes": rows, "advised": advised}


def _measured(size: Size, tokens: int, engine: str, device: str, precision: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        artifact = _random_model(size, Path(folder))
        loaded = load_engine(engine, artifact, device, precision)
    loaded.warm_up()
    chance = random.Random(1)
    text = [chance.randrange(5, _PIECES) for _ in range(tokens)]
    latency = float(np.quantile(list(_timed(loaded, [text])), 0.95))
    many = [text] * max(1, min(_BATCH_TOKENS // tokens, int(_SECONDS / latency)))
    rate = len(many) / float(np.median(list(_timed(loaded, many))))
    memory = loaded.memory_bytes
    loaded.close()
    return {
        "name": size.name,
        "parameters": size.parameters,
        "flops_per_token": size.flops(tokens),
        "memory_bytes": memory,
        "texts_per_second": round(rate, 1),
        "latency_ms": round(latency * 1_000, 1),
        "expected_sst2_accuracy": size.accuracy,
        "source": size.source,
    }


def _timed(engine: Engine, batch: Sequence[TokenIds]) -> Iterator[float]:
    """Seconds of each run, for a while."""
    began, runs = time.perf_counter(), 0
    while runs < _FEWEST or time.perf_counter() - began < _SECONDS:
        started = time.perf_counter()
        engine.logits(batch)
        yield time.perf_counter() - started
        runs += 1


def _random_model(size: Size, folder: Path) -> Artifact:
    """int8 counts as kept, as it would be for a model that was calibrated for it."""
    torch.manual_seed(1)
    config = AlbertConfig(
        vocab_size=_PIECES,
        embedding_size=size.embedding,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.feed_forward,
    )
    model = AlbertForSequenceClassification(config)
    with torch.no_grad():  # int8 computes again what is too close to call, as random scores are
        model.classifier.bias.copy_(torch.tensor([5.0, -5.0]))
    model.half().save_pretrained(folder)
    card = ModelCard(name=size.name, version="random", labels=("a", "b"), int8_agreement=1.0)
    return unsealed(folder, card)
