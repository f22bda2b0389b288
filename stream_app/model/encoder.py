"""The encoder: a message to token ids, by the model's own preparation and tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_app.core.errors import RecordError
from stream_app.core.messages import Message
from stream_app.model.familiarity import Familiarity
from stream_app.model.ngrams import NgramHead
from stream_app.model.preparation import Preparation, prepare


class Encodes(Protocol):
    """A tokenizer."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        ...


class Encoder:
    """Texts to token ids. Runs off the event loop."""

    def __init__(
        self,
        tokenizer: Encodes,
        preparation: Preparation,
        head: NgramHead | None = None,
        familiarity: Familiarity | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._preparation = preparation
        self._head = head
        self._familiarity = familiarity

    def text(self, message: Message) -> str:
        """The text the model will see. Raises RecordError when there are no words in it."""
        text = prepare(message.title, message.body, self._preparation)
        if not text:
            raise RecordError("no_text", "the message has no words to label")
        return text

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut at the model's length."""
        return self._tokenizer.encode(texts) if texts else []

    def priors(self, texts: Sequence[str]) -> list[NDArray[np.float32] | None]:
        """The n-gram head's logits of each whole text, `[labels]`; None without a head."""
        return [None] * len(texts) if self._head is None else list(self._head.logits(texts))

    def familiarities(
        self, texts: Sequence[str], tokens: Sequence[Sequence[int]]
    ) -> list[float | None]:
        """How like the training texts each text is, in [0, 1]; None where it is not measured."""
        if self._familiarity is None or not texts:
            return [None] * len(texts)
        return list(self._familiarity.scores(texts, tokens))
