"""Encode: Message -> token ids, with the model's own text preparation and tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from stream_app.core.errors import RecordError
from stream_app.core.messages import Message
from stream_app.model.preparation import Preparation, prepare


class Encodes(Protocol):
    """A tokenizer."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        ...


class Encoder:
    """Texts to token ids. Runs off the event loop."""

    def __init__(self, tokenizer: Encodes, preparation: Preparation) -> None:
        self._tokenizer = tokenizer
        self._preparation = preparation

    def text(self, message: Message) -> str:
        """The text the model will see. Raises RecordError when there are no words in it."""
        text = prepare(message.title, message.body, self._preparation)
        if not text:
            raise RecordError("no_text", "the message has no words to label")
        return text

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut at the model's length."""
        return self._tokenizer.encode(texts) if texts else []
