"""Random ALBERTs, small and tiny: real code paths, no meaning."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AlbertConfig, AlbertForSequenceClassification

from stream_app.model.artifact import load_artifact, write_card
from stream_app.model.ngrams import Features, NgramHead

WORDS = ["a", "short", "text", "that", "any", "working", "model", "can", "score", "the", "good"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
RARE = "zyzzyva"  # the last word of the vocabulary


def save_tiny_albert(
    folder: Path,
    labels: tuple[str, ...] = ("ham", "spam"),
    problem: str = "single_label_classification",
    known: int | None = None,
    seed: int = 0,
    positions: int = 64,
) -> Path:
    """Write config.json, model.safetensors and a word-level tokenizer.json; the folder.

    `known` shrinks the model's vocabulary below the tokenizer's: words past it break the model,
    which is a real poison record.
    """
    words = [*SPECIAL, *WORDS, RARE]
    torch.manual_seed(seed)
    config = AlbertConfig(
        vocab_size=known or len(words),
        embedding_size=8,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=positions,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        problem_type=problem,
    )
    AlbertForSequenceClassification(config).save_pretrained(folder)
    tokenizer = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def save_small_albert(folder: Path) -> Path:
    """An ALBERT of random weights with the built-in models' tokenizer; its labels vary."""
    import stream_app.model

    torch.manual_seed(0)
    tokenizer = Path(stream_app.model.__file__).parent / "builtin" / "tokenizer"
    shutil.copytree(tokenizer, folder)
    config = AlbertConfig(
        vocab_size=Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size(),
        embedding_size=64,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=512,
        id2label={0: "ham", 1: "spam"},
        label2id={"ham": 0, "spam": 1},
        initializer_range=0.2,
    )
    AlbertForSequenceClassification(config).save_pretrained(folder)
    return folder


def add_tiny_head(folder: Path, word: str, column: int) -> Path:
    """Give the model in `folder` an n-gram head in which `word` decides for one label."""
    features, card = Features(words=1, bits=12), load_artifact(folder).card
    labels = len(card.labels)
    weights = np.zeros((1 << features.bits, labels), np.int8)
    weights[features.buckets(word), column] = 127
    scale, bias = np.full(labels, 10, np.float32), np.zeros(labels, np.float32)
    NgramHead(features, weights, scale, bias).save(folder)
    write_card(folder, card)
    return folder
