"""Text to token ids through the fast tokenizer of the artifact, without importing transformers."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer as FastTokenizer

from stream_app.core.errors import ModelError
from stream_app.model.artifact import TOKENIZER, Artifact


class Tokenizer:
    """Encodes texts to ids with the model's special tokens, cut at the card's `max_tokens`."""

    def __init__(self, artifact: Artifact) -> None:
        file = artifact.tokenizer / TOKENIZER
        try:
            self._tokenizer = FastTokenizer.from_file(str(file))
        except Exception as error:  # the Rust library raises bare Exception
            raise ModelError(f"{file} is not a usable tokenizer: {error}") from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(artifact.card.max_tokens)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, `[CLS] … [SEP]`, each between 2 and `max_tokens` long."""
        return [e.ids for e in self._tokenizer.encode_batch_fast(list(texts))]
