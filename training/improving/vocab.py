"""A vocabulary of its own for a language or domain, and an encoder that starts out with it.

SentencePiece's unigram model (Kudo, "Subword Regularization", 2018) is what ALBERT uses, WordPiece
(Schuster and Nakajima, 2012) what BERT does.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import AlbertModel, PreTrainedTokenizerFast

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import TOKENIZER
from stream_app.model.checks.config import DEFAULT_MAX_TOKENS
from training.fitting.finetune import quiet

Kind = Literal["sentencepiece", "wordpiece"]
_CONTINUED = "##"  # WordPiece: not the beginning of a word
_SPACE = "▁"  # SentencePiece: the space before a word
_COVERAGE = 0.9995  # of the texts' characters; rarer characters are unknown
_LONGEST = 200_000  # bytes of a text that is read
_THREADS = 4  # however many cores there are: sums of another order are another vocabulary


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
    steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    normalizer = normalizers.Sequence(steps)
    learn = _sentencepiece if kind == "sentencepiece" else _wordpiece
    tokenizer = learn([normalizer.normalize_str(text) for text in texts], _SPECIAL[kind], size)
    special = _SPECIAL[kind]
    tokenizer.normalizer = normalizer
    tokenizer.add_special_tokens(special.names())
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{special.start} $A {special.end}",
        pair=f"{special.start} $A {special.end} $B {special.end}",
        special_tokens=[(name, special.names().index(name)) for name in special.names()[2:4]],
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
    quiet()
    old = _old(encoder)
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
        found["encoder"] = _figures(_old(encoder), texts)
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


def _sentencepiece(texts: Sequence[str], special: Special, size: int) -> Tokenizer:
    pieces = _learnt(texts, special, size, "unigram")
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE)
    tokenizer.decoder = decoders.Metaspace(_SPACE)
    return tokenizer


def _wordpiece(texts: Sequence[str], special: Special, size: int) -> Tokenizer:
    """Pieces learnt by merging the most frequent pairs, matched from the left, longest first."""
    split = pre_tokenizers.BertPreTokenizer()
    words = (" ".join(word for word, _ in split.pre_tokenize_str(text)) for text in texts)
    found = [piece for piece, _ in _learnt(list(words), special, size, "bpe")]
    learnt = [piece for piece in found if piece not in special.names() and piece != _SPACE]
    letters = [piece for piece in learnt if len(piece) == 1]
    whole = [piece for piece in learnt if len(piece) > 1]
    names = [*special.names(), *letters]  # every letter can begin a word and go on with one
    names += [_CONTINUED + letter for letter in letters]
    names += [p[1:] if p[0] == _SPACE else _CONTINUED + p for p in whole]
    names = list(dict.fromkeys(names))[:size]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=special.unknown))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.WordPiece(_CONTINUED)
    return tokenizer


def _learnt(
    texts: Sequence[str], special: Special, size: int, algorithm: str
) -> list[tuple[str, float]]:
    """Pieces and their log-probabilities, the special tokens first.

    By the sentencepiece library, because the trainers of `tokenizers` break ties by chance.
    """
    written = io.BytesIO()
    pad, unknown, start, end, mask = special.names()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=written,
            model_type=algorithm,
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=_COVERAGE,
            normalization_rule_name="identity",
            max_sentence_length=_LONGEST,
            num_threads=_THREADS,
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
            pad_piece=pad,
            unk_piece=unknown,
            bos_piece=start,
            eos_piece=end,
            control_symbols=[mask],
            minloglevel=2,
        )
    except RuntimeError as error:
        said = str(error).rpartition("]")[2].strip()
        raise ConfigError(f"{len(texts)} texts give no vocabulary of {size}: {said}") from None
    model = SentencePieceProcessor(model_proto=written.getvalue())
    return [(model.id_to_piece(n), model.get_score(n)) for n in range(model.get_piece_size())]


def _old(encoder: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(encoder / TOKENIZER))
    tokenizer.no_padding()  # the file may ask for both
    tokenizer.no_truncation()
    return tokenizer


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
