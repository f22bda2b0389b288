"""What an ALBERT classifier computes: its shape and its weights, read without transformers.

Lan et al., "ALBERT: A Lite BERT for Self-supervised Learning of Language Representations", 2020:
factorised embeddings (section 3.1) and layers that share one group's weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from stream_app.core.errors import ModelError
from stream_app.model.artifact import WEIGHTS, Artifact

ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}


@dataclass(frozen=True, slots=True)
class AlbertShape:
    """The sizes in `config.json` that the arithmetic depends on."""

    layers: int
    groups: int
    inner: int  # layers in a group
    heads: int
    hidden: int
    eps: float
    gelu: str  # approximation: none or tanh

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    def sequence(self) -> list[tuple[int, int]]:
        """(group, inner layer) of every layer, in the order they run."""
        steps = [int(layer / (self.layers / self.groups)) for layer in range(self.layers)]
        return [(group, inner) for group in steps for inner in range(self.inner)]


def supported(artifact: Artifact) -> bool:
    """Whether `AlbertShape` says all there is to say about the artifact's model."""
    return _config(artifact).get("hidden_act", "gelu_new") in ACTIVATIONS


def read_shape(artifact: Artifact) -> AlbertShape:
    """The shape of an artifact's model. Raises ModelError for what is not supported."""
    config = _config(artifact)
    if not supported(artifact):
        raise ModelError(
            f"{artifact.path}: hidden_act {config['hidden_act']!r} is not supported by this "
            f"engine; there are: {', '.join(ACTIVATIONS)}. The reference engine runs any"
        )
    return AlbertShape(
        layers=config["num_hidden_layers"],
        groups=config.get("num_hidden_groups", 1),
        inner=config.get("inner_group_num", 1),
        heads=config["num_attention_heads"],
        hidden=config["hidden_size"],
        eps=config.get("layer_norm_eps", 1e-12),
        gelu=ACTIVATIONS[config.get("hidden_act", "gelu_new")],
    )


def _config(artifact: Artifact) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((artifact.path / "config.json").read_bytes())
    return config


def read_weights(path: Path) -> Mapping[str, torch.Tensor]:
    """All weights in float32, by their Hugging Face names. Raises ModelError when unreadable."""
    try:
        return {name: weight.float() for name, weight in load_file(path / WEIGHTS).items()}
    except Exception as error:  # the Rust library raises its own kinds
        raise ModelError(f"{path / WEIGHTS} cannot be read ({type(error).__name__})") from error
