"""Writes the files of a model: its weights in two bytes each or in one, and its tokenizer."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AlbertForSequenceClassification

from stream_app.model.artifact import TOKENIZER, WEIGHTS
from training.recipe import Stored

_TOKENIZER_FILES = (TOKENIZER, "tokenizer_config.json")


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


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the tokenizer in folder `source` to another, unless it is that one."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in filter(Path.exists, (source / name for name in _TOKENIZER_FILES)):
        if not (folder / file.name).exists() or not file.samefile(folder / file.name):
            shutil.copyfile(file, folder / file.name)


def _in_a_byte(name: str, weight: torch.Tensor) -> torch.Tensor:
    """Vectors and the classifier stay as they are: few bytes, and every one counts."""
    if weight.ndim < 2 or name.startswith("classifier"):
        return weight
    return weight.to(torch.float8_e4m3fn)
