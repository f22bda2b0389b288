"""Reads an ALBERT encoder to be taught."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AlbertModel

from training.fitting.finetune import attention


def read_encoder(folder: Path) -> AlbertModel:
    """In float32, on the CPU."""
    encoder: AlbertModel = AlbertModel.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, attn_implementation=attention()
    )
    return encoder
