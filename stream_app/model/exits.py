"""Early exits: a linear classifier on [CLS] behind each layer but the last.

A text whose label is clear after a few layers needs no more of them. Schwartz et al., "The Right
Tool for the Job", 2020: the exits' confidence is calibrated, and one threshold serves all layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from stream_app.core.errors import ModelError
from stream_app.model.artifact import EXITS, Artifact
from stream_app.model.checks.files import MIB, read_header

Array = NDArray[np.float32]
EXITS_BYTES = 256 * MIB


@dataclass(frozen=True, slots=True)
class Exits:
    """float32 `weight` [layers - 1, labels, hidden] and `bias` [layers - 1, labels].

    Their logits are calibrated as the model's own. A text leaves where its best label then has at
    least `confidence`.
    """

    weight: Array
    bias: Array
    confidence: float

    def save(self, folder: Path) -> None:
        """Write the file beside the weights of the model in `folder`."""
        save_file({"weight": self.weight, "bias": self.bias}, folder / EXITS)
        (folder / EXITS).chmod(0o644)  # safetensors writes for its owner only


def load_exits(artifact: Artifact) -> Exits | None:
    """The artifact's exits, None where it has none. Raises ModelError for ones that do not fit."""
    file, card = artifact.path / EXITS, artifact.card
    if card.exit_confidence is None:
        return None
    read_header(file, EXITS_BYTES, "holds no early exits")
    try:
        tensors = load_file(file)
        weight, bias = tensors["weight"], tensors["bias"]
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(f"{file} holds no early exits: {type(error).__name__}") from None
    fits = weight.ndim == 3 and weight.shape[:2] == bias.shape
    if not fits or weight.shape[1] != len(card.labels):
        raise ModelError(f"{file} does not fit the {len(card.labels)} labels of {card.name}")
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ModelError(f"{file} has values that are not finite: fit the exits again")
    return Exits(weight, bias, card.exit_confidence)
