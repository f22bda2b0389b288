"""What an encoder makes of texts: its mean token, computed by the engine that is to serve.

The engine gives logits; of a classifier that passes its input on, those are the embedding.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from stream_app.engine import load_engine
from stream_app.engine.protocol import TokenIds, scores
from stream_app.model.artifact import WEIGHTS, Artifact, ModelCard
from stream_app.model.checks.config import CONFIG, read_config
from training.fitting.model_files import unsealed

Array = NDArray[np.float32]
_SMALL = 2.0**-3  # of tanh, where it is nearly a straight line
_BATCH_TOKENS = 8_192


def embeddings(encoder: Artifact, ids: Sequence[TokenIds]) -> Array:
    """float32 [texts, hidden]: the mean over each text's last hidden states."""
    hidden = read_config(encoder.path).hidden_size
    found = np.zeros((len(ids), hidden), np.float32)
    identity = np.eye(hidden, dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        labels = tuple(f"dimension {number}" for number in range(hidden))
        write_classifier(encoder, identity, np.zeros(hidden, np.float32), labels, Path(folder))
        card = ModelCard(name="embedding", version="1", labels=labels)
        engine = load_engine("auto", unsealed(Path(folder), card))
        for rows in _batches(ids):
            found[rows] = scores(engine, [ids[row] for row in rows])
        engine.close()
    return found


def write_classifier(
    encoder: Artifact, weight: Array, bias: Array, labels: Sequence[str], out: Path
) -> None:
    """Write `config.json` and weights of the encoder with a linear classifier on its mean token.

    `weight` [labels, hidden] and `bias` [labels]. ALBERT has a tanh before its classifier, which
    does nothing to numbers that are small enough.
    """
    out.mkdir(parents=True, exist_ok=True)
    pooler = np.eye(weight.shape[1], dtype=np.float32) * np.float32(_SMALL)
    tensors = {_named(name): tensor for name, tensor in load_file(encoder.path / WEIGHTS).items()}
    tensors = {name: tensor for name, tensor in tensors.items() if name.startswith("albert.")}
    tensors |= {
        "albert.pooler.weight": pooler.astype(np.float16),
        "albert.pooler.bias": np.zeros(len(pooler), np.float16),
        "classifier.weight": weight / np.float32(_SMALL),
        "classifier.bias": bias,
    }
    save_file(tensors, out / WEIGHTS, metadata={"format": "pt"})
    (out / WEIGHTS).chmod(0o644)  # safetensors writes for its owner only
    config = json.loads((encoder.path / CONFIG).read_text())
    config |= {
        "architectures": ["PooledAlbert"],
        "pooling": "mean",
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
    }
    (out / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def _named(name: str) -> str:
    """As a classifier has it: an encoder alone has its weights without the first part."""
    return name if name.startswith(("albert.", "classifier.", "predictions.")) else f"albert.{name}"


def _batches(ids: Sequence[TokenIds]) -> list[list[int]]:
    batches: list[list[int]] = []
    tokens = _BATCH_TOKENS
    for row in range(len(ids)):
        if tokens + len(ids[row]) > _BATCH_TOKENS:
            batches.append([])
            tokens = 0
        batches[-1].append(row)
        tokens += len(ids[row])
    return batches
