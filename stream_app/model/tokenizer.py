"""Text to token ids through the fast tokenizer of the artifact, without importing transformers."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer as FastTokenizer

from stream_app.core.errors import ModelError
from stream_app.model.artifact import TOKENIZER, Artifact
from stream_app.model.checks.files import TOKENIZER_BYTES, parse_object, read_file
from stream_app.model.checks.tokenizer import why_not


class Tokenizer:
    """Encodes texts to ids with the model's special tokens, cut at the card's `max_tokens`.

    A text cut by `head_tail` keeps its first quarter and its last three, the split that Sun et al.,
    "How to Fine-Tune BERT for Text Classification?", 2019, section 5.3.1, found best.
    """

    def __init__(self, artifact: Artifact) -> None:
        file, card = artifact.tokenizer / TOKENIZER, artifact.card
        data = read_file(artifact.tokenizer, TOKENIZER, TOKENIZER_BYTES)
        if why := why_not(parse_object(data, str(file))):
            raise ModelError(f"{file} is not a usable tokenizer: {why}")
        try:
            self._tokenizer = FastTokenizer.from_buffer(data)
        except Exception as error:  # the Rust library raises bare Exception
            raise ModelError(f"{file} is not a usable tokenizer: {error}") from None
        self._tokenizer.no_padding()
        self._head = self._tail = 0
        if card.truncation == "head_tail":
            self._head = card.max_tokens // 4
            self._tail = card.max_tokens - self._head
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(card.max_tokens)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, `[CLS] … [SEP]`, each between 2 and `max_tokens` long.

        Raises ModelError for a tokenizer that fails.
        """
        try:
            encoded = self._tokenizer.encode_batch_fast(list(texts))
        except Exception as error:  # the Rust library raises bare Exception
            raise ModelError(f"the tokenizer fails on a text ({type(error).__name__})") from None
        ids = (each.ids for each in encoded)
        return [self._cut(text) for text in ids] if self._tail else list(ids)

    def _cut(self, ids: list[int]) -> list[int]:
        if len(ids) <= self._head + self._tail:
            return ids
        return ids[: self._head] + ids[-self._tail :]
