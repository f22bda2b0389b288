"""How familiar a text is: whether it is like those that the model learnt from.

The file `familiarity.safetensors` is optional; a model without it finds every text familiar.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from stream_app.core.errors import ModelError
from stream_app.model.artifact import FAMILIARITY, Artifact


class Familiarity(Protocol):
    """A loaded measure. Several threads may call it."""

    def scores(self, texts: Sequence[str], tokens: Sequence[Sequence[int]]) -> list[float]:
        """In [0, 1], one a text; `tokens` are its ids, as the tokenizer gives them."""
        ...


def load_familiarity(artifact: Artifact) -> Familiarity | None:
    """The artifact's measure, None where it has none. Raises ModelError for one that is wrong."""
    if (file := artifact.path / FAMILIARITY).exists():
        raise ModelError(f"{file} needs a later version of Winnow")
    return None
