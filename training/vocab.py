"""A vocabulary of its own for a language or domain, and an encoder that starts out with it.

SentencePiece's unigram model (Kudo, "Subword Regularization", 2018) is what ALBERT uses, WordPiece
(Schuster and Nakajima, 2012) what BERT does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AlbertModel, PreTrainedTokenizerFast

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import DEFAULT_MAX_TOKENS, TOKENIZER

Kind = Literal["sentencepiece", "wordpiece"]
_CONTINUED = "##"  # WordPiece: not the beginning of a word
_SPACE = "▁"  # SentencePiece: the space before a word


@dataclass(frozen=True, slots=True)
class Special:
    """Names of the special tokens, in the order of their ids."""

    pad: str
    unknown: str
    start: str = "[CLS]"
    end: str = "[SEP]"
    mask: str = "[MASK]"

    def names(self) -> list[str]:
        return [self.pad, self.unknown, self.start, self.end, self.mask]


_SPECIAL: dict[Kind, Special] = {
    "sentencepiece": Special("<pad>", "<unk>"),
    "wordpiece": Special("[PAD]", "[UNK]"),
}


def build(texts: Sequence[str], kind: Kind, size: int, lowercase: bool) -> Tokenizer:
    """A tokenizer of at most `size` pieces, learnt from texts; the same for the same texts.

    Raises ConfigError when the texts hold too little for so many pieces.
    """
    special = _SPECIAL[kind]
    tokenizer = _sentencepiece() if kind == "sentencepiece" else _wordpiece(special)
    steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    tokenizer.normalizer = normalizers.Sequence(steps)
    try:
        tokenizer.train_from_iterator(sorted(texts), trainer=_trainer(kind, special, size))
    except Exception as error:  # the Rust library raises bare Exception
        raise ConfigError(f"{len(texts)} texts give no vocabulary: {error}") from None
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{special.start} $A {special.end}",
        pair=f"{special.start} $A {special.end} $B {special.end}",
        special_tokens=[
            (name, tokenizer.token_to_id(name)) for name in (special.start, special.end)
        ],
    )
    return tokenizer


def save(tokenizer: Tokenizer, kind: Kind, out: Path) -> None:
    """Write `tokenizer.json`, and `tokenizer_config.json` for transformers."""
    special = _SPECIAL[kind]
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=DEFAULT_MAX_TOKENS,
        pad_token=special.pad,
        unk_token=special.unknown,
        cls_token=special.start,
        sep_token=special.end,
        mask_token=special.mask,
    ).save_pretrained(out)


def transplant(encoder: Path, tokenizer: Tokenizer, out: Path) -> None:
    """Write the encoder of folder `encoder` to `out`, as float16, for the new vocabulary.

    A piece starts as the mean of what the old tokenizer makes of it: Gee et al., "Fast Vocabulary
    Transfer for Language Model Compression", 2022. It still has to be distilled or fine-tuned.
    """
    old = Tokenizer.from_file(str(encoder / TOKENIZER))
    model = AlbertModel.from_pretrained(encoder, dtype=torch.float32, use_safetensors=True)
    table = model.embeddings.word_embeddings.weight.detach()  # [old pieces, embedding]
    ids = tokenizer.get_vocab()
    pieces = sorted(ids, key=ids.__getitem__)
    rows = [_old_ids(piece, old, model.config) for piece in pieces]
    model.resize_token_embeddings(len(pieces), mean_resizing=False)
    with torch.no_grad():
        for number, row in enumerate(rows):
            model.embeddings.word_embeddings.weight[number] = table[row].mean(0)
    # the ids of the special tokens: `build` gives them in this order
    model.config.pad_token_id, model.config.bos_token_id, model.config.eos_token_id = 0, 2, 3
    model.half().save_pretrained(out)


def figures(
    tokenizer: Tokenizer, texts: Sequence[str], encoder: Path | None = None
) -> dict[str, Any]:
    """Pieces, tokens a word and the share of unknown tokens over texts; the encoder's own too."""
    found = {"new": _figures(tokenizer, texts)}
    if encoder is not None:
        found["encoder"] = _figures(Tokenizer.from_file(str(encoder / TOKENIZER)), texts)
    return found


def _figures(tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, float]:
    encoded = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    tokens = sum(len(text.ids) for text in encoded)
    unknown = [tokenizer.token_to_id(special.unknown) for special in _SPECIAL.values()]
    missed = sum(token in unknown for text in encoded for token in text.ids)
    return {
        "pieces": tokenizer.get_vocab_size(),
        "tokens_per_word": round(tokens / max(1, sum(len(text.split()) for text in texts)), 3),
        "unknown_share": round(missed / max(1, tokens), 5),
    }


def _sentencepiece() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE)
    tokenizer.decoder = decoders.Metaspace(_SPACE)
    return tokenizer


def _wordpiece(special: Special) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token=special.unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(_CONTINUED)
    return tokenizer


def _trainer(kind: Kind, special: Special, size: int) -> Any:
    names = special.names()
    if kind == "wordpiece":
        return trainers.WordPieceTrainer(vocab_size=size, special_tokens=names, show_progress=False)
    return trainers.UnigramTrainer(
        vocab_size=size, special_tokens=names, unk_token=special.unknown, show_progress=False
    )


def _old_ids(piece: str, old: Tokenizer, config: Any) -> list[int]:
    """What the old tokenizer makes of a piece's text; of a special token its namesake."""
    for special in _SPECIAL.values():
        if piece in special.names():
            role = special.names().index(piece)
            namesakes = [kind.names()[role] for kind in _SPECIAL.values()]
            found = [old.token_to_id(name) for name in namesakes]
            return [next((id_ for id_ in found if id_ is not None), int(config.pad_token_id))]
    text = piece.removeprefix(_CONTINUED).replace(_SPACE, " ").strip()
    ids: list[int] = old.encode(text, add_special_tokens=False).ids
    return ids or [int(config.pad_token_id)]
