"""A small ALBERT in numpy, and random ones: what the kernels are compared with, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_app.model.albert import AlbertShape, Weights

Array = NDArray[np.float32]
Exact = NDArray[np.float64]


@dataclass(frozen=True)
class Classifier:
    """One model; its arithmetic is in float64."""

    shape: AlbertShape
    weights: Weights[Array]

    def logits(self, ids: NDArray[np.int32]) -> Exact:
        """[labels] of one text."""
        embeddings = "albert.embeddings."
        x = self._get(f"{embeddings}word_embeddings.weight")[ids]
        x = x + self._get(f"{embeddings}position_embeddings.weight")[: len(ids)]
        x = x + self._get(f"{embeddings}token_type_embeddings.weight")[0]
        x = self._norm(x, f"{embeddings}LayerNorm")
        x = self._linear(x, "albert.encoder.embedding_hidden_mapping_in")
        for group, inner in self.shape.sequence():
            name = f"albert.encoder.albert_layer_groups.{group}.albert_layers.{inner}."
            attended = self._linear(self._attend(x, f"{name}attention."), f"{name}attention.dense")
            x = self._norm(x + attended, f"{name}attention.LayerNorm")
            wide = gelu(self._linear(x, f"{name}ffn"), self.shape.gelu)
            x = self._norm(
                x + self._linear(wide, f"{name}ffn_output"), f"{name}full_layer_layer_norm"
            )
        read = x.mean(axis=0) if self.shape.mean else x[0]
        return self._linear(np.tanh(self._linear(read, "albert.pooler")), "classifier")

    def _attend(self, x: Exact, name: str) -> Exact:
        split = (len(x), self.shape.heads, self.shape.head_size)
        query, key, value = (
            self._linear(x, f"{name}{part}").reshape(split).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(1, 2) / math.sqrt(self.shape.head_size)
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        context = weights / weights.sum(axis=2, keepdims=True) @ value
        return np.asarray(context.swapaxes(0, 1).reshape(len(x), -1))

    def _linear(self, x: Exact, name: str) -> Exact:
        return x @ self._get(f"{name}.weight").T + self._get(f"{name}.bias")

    def _norm(self, x: Exact, name: str) -> Exact:
        x = x - x.mean(axis=1, keepdims=True)
        x = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + self.shape.eps)
        return x * self._get(f"{name}.weight") + self._get(f"{name}.bias")

    def _get(self, name: str) -> Exact:
        return self.weights[name].astype(np.float64)


def gelu(x: Exact, approximation: str) -> Exact:
    """Exact, or in its tanh form."""
    if approximation == "tanh":
        return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
    return np.asarray(0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))))


def random_classifier(rng: np.random.Generator) -> Classifier:
    """Any shape whose sizes are below a few hundred, most of them no multiple of anything."""

    def size(least: int, most: int) -> int:
        return int(rng.integers(least, most + 1))

    heads, groups = size(1, 5), size(1, 2)
    shape = AlbertShape(
        layers=size(groups, 3),
        groups=groups,
        inner=size(1, 2),
        heads=heads,
        # fewer numbers in a row, and a LayerNorm makes rounding errors large
        hidden=heads * size(-(-16 // heads), 70),
        eps=float(rng.choice([1e-12, 1e-5])),
        gelu=str(rng.choice(["none", "tanh"])),
        mean=bool(rng.integers(2)),
    )
    sizes = {"embedding": size(16, 150), "wide": size(1, 300), "labels": size(1, 70)}
    return Classifier(shape, _weights(rng, shape, **sizes))


def _weights(
    rng: np.random.Generator, shape: AlbertShape, embedding: int, wide: int, labels: int
) -> Weights[Array]:
    weights = Weights[Array](Path("random.safetensors"), {})

    def normal(*sizes: int) -> Array:
        return rng.standard_normal(sizes).astype(np.float32)

    def linear(name: str, outputs: int, inputs: int) -> None:
        weights[f"{name}.weight"] = normal(outputs, inputs) / np.float32(math.sqrt(inputs))
        weights[f"{name}.bias"] = normal(outputs) / 2

    def norm(name: str, width: int) -> None:
        weights[f"{name}.weight"] = 1 + normal(width) / 4
        weights[f"{name}.bias"] = normal(width) / 4

    rows = {"word": rng.integers(1, 60), "position": rng.integers(1, 141), "token_type": 2}
    for name, count in rows.items():
        weights[f"albert.embeddings.{name}_embeddings.weight"] = normal(int(count), embedding)
    norm("albert.embeddings.LayerNorm", embedding)
    linear("albert.encoder.embedding_hidden_mapping_in", shape.hidden, embedding)
    for group, inner in set(shape.sequence()):
        name = f"albert.encoder.albert_layer_groups.{group}.albert_layers.{inner}."
        for part in ("query", "key", "value", "dense"):
            linear(f"{name}attention.{part}", shape.hidden, shape.hidden)
        linear(f"{name}ffn", wide, shape.hidden)
        linear(f"{name}ffn_output", shape.hidden, wide)
        norm(f"{name}attention.LayerNorm", shape.hidden)
        norm(f"{name}full_layer_layer_norm", shape.hidden)
    linear("albert.pooler", shape.hidden, shape.hidden)
    linear("classifier", labels, shape.hidden)
    return weights
