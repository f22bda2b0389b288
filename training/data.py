"""Labelled examples from data files, read exactly as the service reads its records.

Two kinds of file: `.jsonl.gz`, an object with `text` and `label` a line, and `.tar.gz` of raw
e-mail, `<label>/<file>`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stream_app.codecs import CODECS
from stream_app.core.errors import RecordError, SourceError
from stream_app.core.messages import ParseSpec
from stream_app.model.artifact import sha256
from stream_app.model.preparation import Preparation, prepare
from training.recipe import Recipe, Source
from training.split import Part, development_parts, like_any, parts


@dataclass(frozen=True, slots=True)
class Raw:
    """A labelled message as it lies in its file; `name` is a tar member's, or the row's `id`."""

    name: str
    label: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Example:
    """A prepared text and its label."""

    text: str
    label: str


@dataclass(slots=True)
class Corpus:
    """What a recipe reads. `test` is by file; `lineage` goes into the model card."""

    train: list[Example] = field(default_factory=list)
    validation: list[Example] = field(default_factory=list)
    test: dict[str, list[Example]] = field(default_factory=dict)
    lineage: list[dict[str, Any]] = field(default_factory=list)


def load_corpus(recipe: Recipe, folder: Path) -> Corpus:
    """Every part of a recipe's data. Near-duplicates of test texts are dropped from the others.

    Raises SourceError when a file is missing, damaged or has a label the recipe does not name.
    """
    corpus = Corpus()
    for source in recipe.sources:
        _add(corpus, source, recipe, folder)
    held_out = [example.text for examples in corpus.test.values() for example in examples]
    kept = {
        part: _unlike(examples, held_out)
        for part, examples in (("train", corpus.train), ("validation", corpus.validation))
    }
    dropped = len(corpus.train) + len(corpus.validation) - sum(map(len, kept.values()))
    corpus.train, corpus.validation = kept["train"], kept["validation"]
    corpus.lineage.append({"dropped_as_near_duplicates_of_test": dropped})
    return corpus


def held_out_messages(recipe: Recipe, folder: Path) -> Mapping[str, Mapping[str, str]]:
    """The test part: file -> name of each message in it -> label.

    For a tar archive the names are its members', for `.jsonl.gz` the rows' `id`.
    """
    return {
        file: {raw.name: raw.label for raw in raws} for file, raws in _test_raws(recipe, folder)
    }


def read_test(recipe: Recipe, folder: Path, how: Preparation) -> dict[str, list[Example]]:
    """The examples of the test part, by file, prepared for a model that asks for `how`."""
    return {
        file: read_examples(raws, folder / file, how)[0]
        for file, raws in _test_raws(recipe, folder)
    }


def read_file(file: Path, how: Preparation) -> list[Example]:
    """Every example of one file. Raises SourceError when there is none."""
    examples, _ = read_examples(list(read_raw(file)), file, how)
    if not examples:
        raise SourceError(f"{file} holds no message that can be labelled")
    return examples


def read_raw(file: Path) -> Iterator[Raw]:
    """The labelled messages of a file, in its order. Raises SourceError."""
    readers = {".jsonl.gz": _read_rows, ".tar.gz": _read_mail}
    read = next((r for ending, r in readers.items() if file.name.endswith(ending)), None)
    if read is None:
        raise SourceError(f"{file} is neither .jsonl.gz nor .tar.gz of mail")
    try:
        yield from read(file)
    except FileNotFoundError:
        raise SourceError(f"data file {file} does not exist: check --data") from None
    except (OSError, EOFError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{file} cannot be read: {type(error).__name__}") from None


def read_examples(raws: Sequence[Raw], file: Path, how: Preparation) -> tuple[list[Example], int]:
    """The examples the service would label, and how many messages it would refuse."""
    parse = CODECS["rfc822" if file.name.endswith(".tar.gz") else "json"]
    examples = []
    for raw in raws:
        try:
            message = parse(raw.value, ParseSpec())
        except RecordError:
            continue
        examples.append(Example(prepare(message.title, message.body, how), raw.label))
    return examples, len(raws) - len(examples)


def _read_rows(file: Path) -> Iterator[Raw]:
    with gzip.open(file) as lines:
        for line in lines:
            row = json.loads(line)
            yield Raw(str(row["id"]), row["label"], line)


def _read_mail(file: Path) -> Iterator[Raw]:
    with tarfile.open(file) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                yield Raw(member.name, member.name.split("/")[0], content.read())


def _test_raws(recipe: Recipe, folder: Path) -> Iterator[tuple[str, list[Raw]]]:
    for source in recipe.sources:
        if source.use in ("split", "test"):
            placed = _placed(source, folder)
            yield source.file, [raw for raw, part in placed if part == "test"]


def _placed(source: Source, folder: Path) -> list[tuple[Raw, Part]]:
    """A source's messages, the wanted number of them, each with its part."""
    raws = list(read_raw(folder / source.file))
    if source.rows is not None:
        raws = sorted(raws, key=lambda raw: hashlib.sha256(raw.value).digest())[: source.rows]
    values = [raw.value for raw in raws]
    if source.use == "split":
        return list(zip(raws, parts(values), strict=True))
    if source.use == "develop":
        return list(zip(raws, development_parts(values), strict=True))
    return [(raw, source.use) for raw in raws]


def _add(corpus: Corpus, source: Source, recipe: Recipe, folder: Path) -> None:
    file = folder / source.file
    placed = _placed(source, folder)
    unknown = sorted({raw.label for raw, _ in placed} - set(recipe.labels))
    if unknown:
        raise SourceError(f"{file} has labels that recipe {recipe.name} does not: {unknown}")
    by_part: dict[Part, list[Raw]] = {}
    for raw, part in placed:
        by_part.setdefault(part, []).append(raw)
    read: Counter[str] = Counter()
    for part, raws in by_part.items():
        examples, unreadable = read_examples(raws, file, recipe.preparation)
        read.update({part: len(examples), "unreadable": unreadable})
        if part == "test":
            corpus.test[source.file] = examples
        else:
            (corpus.train if part == "train" else corpus.validation).extend(examples)
    corpus.lineage.append(
        {
            "file": source.file,
            "sha256": sha256(file),
            "use": source.use,
            "rows": dict(read),
            "terms": source.terms,
        }
    )


def _unlike(examples: list[Example], held_out: Sequence[str]) -> list[Example]:
    similar = like_any([example.text for example in examples], held_out)
    return [example for example, leaks in zip(examples, similar, strict=True) if not leaks]
