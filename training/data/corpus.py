"""Labelled examples, read exactly as the service reads its records, and what each is for."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stream_app.codecs import CODECS
from stream_app.core.errors import RecordError, SourceError
from stream_app.core.messages import ParseSpec
from stream_app.model.artifact import sha256
from stream_app.model.preparation import Preparation, prepare
from training.data.readers import Raw, codec_of, read_source
from training.data.split import (
    Part,
    development_parts,
    folds,
    hash_number,
    like_any,
    parts,
    stratified,
)
from training.recipe import Recipe, Source

_log = logging.getLogger(__name__)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|<[^<>]*>")
_LEAST_WORDS = 4  # of a sentence

Use = Part | Literal["unlabelled"]


@dataclass(frozen=True, slots=True)
class Example:
    """A prepared text and its labels: one, or where the problem is multi-label any number."""

    text: str
    labels: tuple[str, ...]
    language: str = ""
    source: str = ""
    times: int = 1  # that it counts in training
    # a model's scores of it, by which it is learnt, not by a label; NaN where none is to be learnt
    belief: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """Its only label."""
        (label,) = self.labels
        return label


@dataclass(slots=True)
class Corpus:
    """What a recipe reads. `test` is by source; `lineage` goes into the model card.

    `more` are training texts beyond what the encoder has time for: the n-gram head's. `unlabelled`
    ones have no labels, and are for teachers.
    """

    train: list[Example] = field(default_factory=list)
    more: list[Example] = field(default_factory=list)
    unlabelled: list[Example] = field(default_factory=list)
    validation: list[Example] = field(default_factory=list)
    test: dict[str, list[Example]] = field(default_factory=dict)
    lineage: list[dict[str, Any]] = field(default_factory=list)


def load_corpus(recipe: Recipe, folder: Path) -> Corpus:
    """Every part of a recipe's data.

    Near-duplicates of test texts are dropped from the other parts, those of validation texts from
    the training part. Raises SourceError when a file is missing, damaged or has a label the recipe
    does not name.
    """
    corpus = Corpus()
    for source in recipe.sources:
        _add(corpus, source, recipe, folder)
    tested = [example.text for examples in corpus.test.values() for example in examples]
    validation = _unlike(corpus.validation, tested)
    held_out = [*tested, *(example.text for example in validation)]
    train, more = _unlike(corpus.train, held_out), _unlike(corpus.more, held_out)
    dropped = {
        "train": len(corpus.train) + len(corpus.more) - len(train) - len(more),
        "validation": len(corpus.validation) - len(validation),
    }
    corpus.train, corpus.more, corpus.validation = train, more, validation
    corpus.unlabelled = _unlike(corpus.unlabelled, held_out)
    corpus.lineage.append({"dropped_as_near_duplicates": dropped})
    return corpus


def load_folds(recipe: Recipe, folder: Path, count: int) -> list[list[Example]]:
    """Every message a recipe may learn from, in `count` folds by hash; near-duplicates together."""
    found: list[tuple[Raw, Example]] = []
    for source in recipe.sources:
        if source.use not in ("test", "unlabelled"):
            found.extend(_pairs(_taken(source, folder), source, recipe.preparation))
    placed = folds([raw.value for raw, _ in found], count)
    result: list[list[Example]] = [[] for _ in range(count)]
    for (_, example), fold in zip(found, placed, strict=True):
        result[fold].append(example)
    return result


def held_out_messages(
    recipe: Recipe, folder: Path
) -> Mapping[str, Mapping[str, str | tuple[str, ...]]]:
    """The test part: source -> name of each message in it -> its label, or labels.

    For a tar archive the names are its members', for rows their `id`.
    """
    single = recipe.problem == "single_label"
    return {
        source.name: {raw.name: raw.labels[0] if single else raw.labels for raw in raws}
        for source, raws in _test_raws(recipe, folder)
    }


def read_test(recipe: Recipe, folder: Path, how: Preparation) -> dict[str, list[Example]]:
    """The examples of the test part, by source, prepared for a model that asks for `how`."""
    return {
        source.name: [example for _, example in _pairs(raws, source, how)]
        for source, raws in _test_raws(recipe, folder)
    }


def read_file(file: Path, how: Preparation) -> list[Example]:
    """Every example of one file. Raises SourceError without any."""
    source = Source(file=file.name, use="test", terms="")
    examples = [ex for _, ex in _pairs(list(read_source(source, file.parent)), source, how)]
    if not examples:
        raise SourceError(f"{file} holds no message that can be labelled")
    return examples


def _pairs(raws: Sequence[Raw], source: Source, how: Preparation) -> list[tuple[Raw, Example]]:
    """The messages the service would label, each with what a model sees of it."""
    parse = CODECS[codec_of(source)]
    found = []
    for raw in raws:
        try:
            message = parse(raw.value, ParseSpec())
        except RecordError:
            continue
        text = prepare(message.title, message.body, how)
        for part in _sentences(text) if source.sentences else [text]:
            example = Example(part, raw.labels, raw.language, source.name, source.times)
            found.append((raw, example))
    return found


def _sentences(text: str) -> list[str]:
    """Those with enough words to be labelled. Mark-up such as <br /> ends one, too."""
    parts = (part.strip() for part in _SENTENCE_END.split(text))
    return [part for part in parts if len(part.split()) >= _LEAST_WORDS]


def _test_raws(recipe: Recipe, folder: Path) -> Iterator[tuple[Source, list[Raw]]]:
    for source in recipe.sources:
        if source.use not in ("split", "test"):
            continue
        if source.how_made and not source.path(folder).exists():
            _log.warning("without %s: %s tells how to make it", source.name, source.how_made)
            continue
        yield source, [raw for raw, part in _placed(source, folder) if part == "test"]


def _taken(source: Source, folder: Path) -> list[Raw]:
    """A source's messages, or the wanted number of them: each label keeps its share."""
    raws = list(read_source(source, folder))
    if source.rows is None or source.rows >= len(raws):
        return raws
    return stratified(raws, source.rows, lambda raw: raw.labels, lambda raw: raw.value)


def _placed(source: Source, folder: Path) -> list[tuple[Raw, Use]]:
    raws = _taken(source, folder)
    values = [raw.value for raw in raws]
    if source.use == "split":
        return list(zip(raws, parts(values), strict=True))
    if source.use == "develop":
        return list(zip(raws, development_parts(values), strict=True))
    return [(raw, source.use) for raw in raws]


def _add(corpus: Corpus, source: Source, recipe: Recipe, folder: Path) -> None:
    placed = _placed(source, folder)
    _check_labels(placed, source, recipe)
    part_of = {id(raw): part for raw, part in placed}
    by_part: defaultdict[Use, list[Example]] = defaultdict(list)
    raws = [raw for raw, _ in placed]
    if source.encoder_rows is not None:
        raws.sort(key=lambda raw: hash_number(raw.value))
    pairs = _pairs(raws, source, recipe.preparation)
    for raw, example in pairs:
        by_part[part_of[id(raw)]].append(example)
    if source.use in ("split", "test"):
        corpus.test[source.name] = by_part.get("test", [])
    train = by_part.get("train", [])
    corpus.train.extend(train[: source.encoder_rows])
    if source.encoder_rows is not None:
        corpus.more.extend(train[source.encoder_rows :])
    corpus.validation.extend(by_part.get("validation", []))
    corpus.unlabelled.extend(by_part.get("unlabelled", []))
    read = {part: len(examples) for part, examples in sorted(by_part.items())}
    unreadable = len(placed) - len({id(raw) for raw, _ in pairs})
    corpus.lineage.append(
        {
            "file": source.name,
            "sha256": _digest(source, folder, [raw for raw, _ in placed]),
            "use": source.use,
            "encoder_rows": source.encoder_rows,
            "times": source.times,
            "rows": {**read, "unreadable": unreadable},
            "labels": {part: _counts(examples) for part, examples in sorted(by_part.items())},
            "targets": source.targets,
            "unseen_targets": source.unseen_targets,
            "terms": source.terms,
        }
    )


def _check_labels(placed: Sequence[tuple[Raw, Use]], source: Source, recipe: Recipe) -> None:
    """Every label is known, and there is one where there can only be one."""
    if source.use == "unlabelled":
        return
    found = {label for raw, _ in placed for label in raw.labels}
    unknown = sorted(found - set(recipe.labels))
    if unknown:
        raise SourceError(
            f"{source.name} has labels that recipe {recipe.name} does not: {unknown[:5]}; "
            "`rename` in the source gives a label another name"
        )
    if recipe.problem == "single_label" and any(len(raw.labels) != 1 for raw, _ in placed):
        raise SourceError(f"{source.name} has a row without one label: is it multi_label?")


def _counts(examples: Sequence[Example]) -> dict[str, int]:
    return dict(sorted(Counter(label for ex in examples for label in ex.labels).items()))


def _digest(source: Source, folder: Path, raws: Sequence[Raw]) -> str:
    """Of the file; of a dataset, which has none, of the rows that were read."""
    if source.file:
        return sha256(source.path(folder))
    digest = hashlib.sha256()
    for raw in raws:
        digest.update(hashlib.sha256(raw.value + "|".join(raw.labels).encode()).digest())
    return digest.hexdigest()


def _unlike(examples: list[Example], held_out: Sequence[str]) -> list[Example]:
    similar = like_any([example.text for example in examples], held_out)
    return [example for example, leaks in zip(examples, similar, strict=True) if not leaks]
