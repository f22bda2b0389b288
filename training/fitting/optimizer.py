"""How fast each part of a model may move."""

from __future__ import annotations

import re
from typing import Any

import torch
from transformers import PreTrainedModel

from stream_app.core.errors import ConfigError
from training.recipe import Hyper

_LAYER = re.compile(r"\.(?:albert_layer_groups|layers?)\.(\d+)\.")


def optimizer(model: PreTrainedModel, hyper: Hyper) -> torch.optim.AdamW:
    """AdamW over the parameters of a model, each at its own rate; the frozen ones are left out.

    Raises ConfigError when the model has no more layers than are to be frozen.
    """
    _freeze(model, hyper.frozen_layers)
    return torch.optim.AdamW(parameter_groups(model, hyper), lr=hyper.learning_rate)


def parameter_groups(model: PreTrainedModel, hyper: Hyper) -> list[dict[str, Any]]:
    """Parameters by learning rate and weight decay; biases and norms do not decay.

    The classifier and pooler learn at the full rate, each layer group below at `layer_decay` times
    the rate of the one above, the embeddings slowest. ALBERT shares one group between all layers,
    so it has three rates, head, encoder and embeddings; a model that shares nothing has one a layer
    (Howard and Ruder, "Universal Language Model Fine-tuning", 2018, section 3.2).
    """
    groups = _groups(model)
    sets: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = hyper.learning_rate * hyper.layer_decay ** _depth(name, groups)
        decay = 0.0 if parameter.ndim < 2 else hyper.weight_decay
        sets.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": found, "lr": rate, "weight_decay": decay}
        for (rate, decay), found in sets.items()
    ]


def _freeze(model: PreTrainedModel, layers: int) -> None:
    """Let the embeddings and so many layers learn nothing."""
    if not layers:
        return
    groups = _groups(model)
    if layers > groups:
        raise ConfigError(f"frozen_layers is {layers}, but the encoder has {groups} of its own")
    for name, parameter in model.named_parameters():
        if _depth(name, groups) > groups - layers:
            parameter.requires_grad_(False)


def _groups(model: PreTrainedModel) -> int:
    """How many layers have weights of their own; in ALBERT those of a group share them."""
    found = (_LAYER.search(name) for name, _ in model.named_parameters())
    return 1 + max((int(layer[1]) for layer in found if layer), default=0)


def _depth(name: str, groups: int) -> int:
    """Layer groups between a parameter and the head: 0 for the head itself."""
    if "embedding" in name:  # the map from embedding to hidden size among them
        return groups + 1
    layer = _LAYER.search(name)
    return groups - int(layer[1]) if layer else 0
