"""A teacher for `fit --teacher`: any encoder that transformers reads, fine-tuned by a recipe.

It may be many times what can be served, of another kind, and with another vocabulary.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from stream_app.core.errors import ConfigError, ModelError
from training.data.augment import with_copies
from training.data.corpus import Corpus, Example, load_corpus
from training.fitting.build import empty_card
from training.fitting.finetune import FitRun, Tokenized, fine_tune
from training.fitting.teachers import ClassifierTeacher
from training.judging.evaluate import Scored, true_labels
from training.judging.figures import measure
from training.recipe import Recipe

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a teacher is made from, and the folder it goes to."""

    recipe: Recipe
    data: Path
    encoder: Path
    out: Path
    steps: int | None = None  # end early: to try things out
    checkpoints: Path | None = None  # continue from the last one in it, and add to them


def teach(lesson: Lesson) -> dict[str, Any]:
    """Make the teacher `lesson.out`, a transformers folder in float16; figures of its tests.

    Raises ModelError when the folder has no encoder, ConfigError when the recipe has no texts.
    """
    corpus = load_corpus(lesson.recipe, lesson.data)
    if not corpus.train:
        raise ConfigError(f"recipe {lesson.recipe.name} has nothing to train on")
    tokenizer = _tokenizer(lesson.encoder)
    model = _fitted(lesson, tokenizer, corpus)
    torch.nn.Module.half(model).save_pretrained(lesson.out)
    tokenizer.save_pretrained(lesson.out)
    card = empty_card(lesson.recipe)
    teacher = ClassifierTeacher.load(lesson.out, card)
    return {name: measure(_scored(teacher, test), card) for name, test in corpus.test.items()}


def _tokenizer(encoder: Path) -> PreTrainedTokenizerBase:
    try:
        found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            encoder, local_files_only=True
        )
    except (OSError, ValueError) as error:
        why = str(error).partition("\n")[0]
        raise ModelError(f"encoder {encoder} has no tokenizer that can be read: {why}") from None
    return found


def _fitted(lesson: Lesson, tokenizer: PreTrainedTokenizerBase, corpus: Corpus) -> PreTrainedModel:
    recipe = lesson.recipe
    train = with_copies(recipe, corpus.train)
    data = _tokenized(recipe, tokenizer, train)
    data = data.repeated([example.times for example in train])
    _log.info("fitting %d texts, %d tokens", len(data), sum(map(len, data.ids)))
    origin = {"encoder": str(lesson.encoder), "data": corpus.lineage, "steps": lesson.steps}
    with tempfile.TemporaryDirectory() as scratch:
        model: PreTrainedModel = fine_tune(
            recipe,
            lesson.encoder,
            data,
            _tokenized(recipe, tokenizer, corpus.validation),
            FitRun(Path(scratch), lesson.steps, lesson.checkpoints, origin),
            AutoModelForSequenceClassification.from_pretrained,
        )
    return model


def _tokenized(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]
) -> Tokenized:
    most = min(recipe.max_tokens, tokenizer.model_max_length)
    texts = [example.text for example in examples]
    ids = tokenizer(texts, truncation=True, max_length=most)["input_ids"] if texts else []
    return Tokenized(ids, true_labels(examples, empty_card(recipe)).astype(np.float32))


def _scored(teacher: ClassifierTeacher, examples: Sequence[Example]) -> Scored:
    started = time.perf_counter()
    ids = teacher.ids([example.text for example in examples])
    logits = teacher.logits_of(ids)
    seconds = time.perf_counter() - started
    return Scored(
        logits=logits,
        truth=true_labels(examples, teacher.card),
        lengths=np.array([len(text) for text in ids]),
        tokens=sum(map(len, ids)),
        seconds=seconds,
    )
