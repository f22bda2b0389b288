"""The table of hostile models: how each is made, and what must be said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stream_app.model.artifact import CARD, NGRAMS, TOKENIZER, WEIGHTS
from tests.hostile import (
    CONFIG,
    Change,
    Hostile,
    both,
    card,
    charsmap,
    config,
    head,
    header,
    replace,
    sparse,
    split,
    stranger,
    tokenizer,
    unlinked,
    vocabulary,
    weight,
    written,
)

WORDS = "albert.embeddings.word_embeddings.weight"
DEEP = b"[" * 200_000
DIGEST = "0" * 64
MANY = {f"file-{number}": DIGEST for number in range(10_000)}
HUGE_LAYER = {"hidden_size": 65536, "num_attention_heads": 1, "intermediate_size": 65536}
DOUBLING = {"type": "Sequence", "normalizers": [replace("a", "aa")] * 40}
BOOKS = {"type": "Precompiled", "precompiled_charsmap": charsmap(10**6)}


def model(kind: str, **how: Any) -> Change:
    return tokenizer(model={"type": kind, "unk_token": "0", "vocab": {"0": 0}} | how)


def no_card(folder: Path) -> None:
    (folder / CARD).unlink()


LABELS = {
    "a newline": ["ham", "spam\nforged"],
    "mark-up": ["ham", "<script>alert(1)</script>"],
    "an escape": ["ham", "\x1b[2J"],
    "text that runs backwards": ["ham", "\u202emaps"],
    "nothing": ["ham", ""],
    "a label twice": ["ham", "ham"],
    "10,000 labels": [f"label {number}" for number in range(10_000)],
    "a label of a megabyte": ["ham", "x" * 2**20],
}
CARDS: dict[str, tuple[Change, str]] = {
    **{f"labels: {name}": (card(labels=labels), "labels") for name, labels in LABELS.items()},
    "labels of config.json": (both(config(id2label={0: "a", 1: "b\nc"}), no_card), "labels"),
    **{
        f"a digest of {name}": (card(files={name: DIGEST}), "files names")
        for name in ("../elsewhere", "/etc/passwd", "a/../../b", "..", "a\\b")
    },
    "a digest that is none": (card(files={CONFIG: "../../x"}), "files"),
    "10,000 digests": (card(files=MANY), "files"),
    "a tokenizer elsewhere": (card(tokenizer="../../x"), "tokenizer"),
    "a tokenizer at a path": (card(tokenizer="/etc"), "tokenizer"),
    **{
        f"a link: {name}": (stranger(name), "link that leads out")
        for name in (CONFIG, WEIGHTS, TOKENIZER, CARD)
    },
    "a link to a device": (unlinked(WEIGHTS, "/dev/zero"), "has no model.safetensors"),
    "a link to itself": (unlinked(CONFIG, CONFIG), "has no config.json"),
    "a temperature near zero": (card(temperature=1e-300), "temperature"),
    "a threshold of zero": (card(problem="multi_label", thresholds={"ham": 0}), "thresholds"),
    "a card of a terabyte": (sparse(CARD), "at most"),
    "a deep card": (written(CARD, b'{"data": ' + DEEP), "winnow.json"),
}
CONFIGS: dict[str, tuple[Change, str]] = {
    "a billion layers": (config(num_hidden_layers=10**9), "num_hidden_layers"),
    "a billion groups": (config(num_hidden_groups=10**9), "num_hidden_groups"),
    "a billion inner layers": (config(inner_group_num=10**9), "inner_group_num"),
    "a layer that takes for ever": (config(**HUGE_LAYER), "larger than any ALBERT"),
    "no heads": (config(num_attention_heads=0), "num_attention_heads"),
    "heads that do not divide": (config(num_attention_heads=3), "does not divide"),
    "fewer than no words": (config(vocab_size=-1), "vocab_size"),
    "sizes of text": (config(hidden_size="x" * 10**5), "hidden_size"),
    "no sizes": (written(CONFIG, b'{"model_type": "albert"}'), "Field required"),
    "a config that is a list": (written(CONFIG, b"[1]"), "not a JSON object"),
    "a deep config": (written(CONFIG, b'{"a":' + DEEP), "too deep|not JSON"),
    "a config of a terabyte": (sparse(CONFIG), "at most"),
    "a billion positions": (config(max_position_embeddings=10**9), "max_position_embeddings"),
    "an epsilon that is no number": (config(layer_norm_eps=float("nan")), "layer_norm_eps"),
}
TOKENIZERS: dict[str, tuple[Change, str]] = {
    "too many pieces": (vocabulary(1_200_000), "1200000 pieces"),
    "a tokenizer of a terabyte": (sparse(TOKENIZER), "at most"),
    "a deep tokenizer": (written(TOKENIZER, b'{"model":' + DEEP), "too deep|not JSON"),
    "a tokenizer without a model": (written(TOKENIZER, b"{}"), "no model"),
    **{
        f"the pattern {pattern}": (tokenizer(pre_tokenizer=split(pattern)), "regular expression")
        for pattern in ("(a+)+b", "(a|a)*b", "(?:x*)*y", r"(\w+\s?)+$", "a+b", r"(a)\1+")
    },
    "a text that doubles": (tokenizer(normalizer=DOUBLING), "times as long"),
    "letters that become books": (tokenizer(normalizer=BOOKS), "times as long"),
    "words without end": (model("WordPiece", max_input_chars_per_word=10**9), "max_input_chars"),
    "a piece of a megabyte": (model("Unigram", vocab=[["x" * 2**20, 0.0]]), "a piece of 1048576"),
    "tokens by chance": (model("BPE", dropout=0.5, merges=[]), "dropout"),
}
HEADS: dict[str, tuple[Change, str]] = {
    "n-grams without end": (head(words="1000000000"), "not an n-gram head"),
    "buckets without end": (head(bits="1000000000000"), "not an n-gram head"),
    "a head that is no number": (head(scale=np.nan), "not finite"),
    "a head of a terabyte": (sparse(NGRAMS), "at most"),
    "weights of a terabyte": (sparse(WEIGHTS), "at most"),
}
TENSORS: dict[str, tuple[Change, str]] = {
    "a header without end": (header(2**62), "no header of safetensors"),
    "a header of 90 MB": (header(90 * 2**20, b" " * (90 * 2**20)), "no header of safetensors"),
    "a deep header": (header(len(DEEP), DEEP), "too deep|not JSON"),
    "a header that lies": (header(2, b"[]"), "not a JSON object"),
    "weights of other sizes": (config(intermediate_size=64), "by config.json"),
    "fewer words than promised": (config(vocab_size=4_000_000), "by config.json"),
    **{
        f"a weight of {value} in {name}": (weight(name, value), "not finite")
        for name in ("classifier.bias", WORDS)
        for value in (np.nan, np.inf)
    },
}
HOSTILE = [
    Hostile(name, change, says)
    for table in (CARDS, CONFIGS, TOKENIZERS, HEADS)
    for name, (change, says) in table.items()
]
HOSTILE_WEIGHTS = [Hostile(name, change, says) for name, (change, says) in TENSORS.items()]
