"""Writes weights, in two bytes each or in one."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AlbertForSequenceClassification

from stream_app.model.artifact import WEIGHTS
from training.recipe import Stored


def save_weights(model: AlbertForSequenceClassification, out: Path, stored: Stored) -> None:
    """`config.json` and `model.safetensors`; the model is float16 afterwards."""
    out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(out)
    store(out / WEIGHTS, stored)


def store(file: Path, stored: Stored) -> None:
    """Rewrite a file of float16 weights as it is to be stored.

    float8 is e4m3, for tables and layers: half the bytes, each weight off by 3 % or less on
    average, which fine-tuned classifiers do not notice (Micikevicius et al., "FP8 Formats for Deep
    Learning", 2022, section 4). `from_pretrained` reads it like any other.
    """
    if stored == "float8":
        weights = {name: _in_a_byte(name, weight) for name, weight in load_file(file).items()}
        save_file(weights, file, metadata={"format": "pt"})
    file.chmod(0o644)  # safetensors writes for its owner only


def _in_a_byte(name: str, weight: torch.Tensor) -> torch.Tensor:
    """Vectors and the classifier stay as they are: few bytes, and every one counts."""
    if weight.ndim < 2 or name.startswith("classifier"):
        return weight
    return weight.to(torch.float8_e4m3fn)
