"""Labelled messages from files and Hugging Face datasets: a function and a row of READERS a format.

A tar archive of raw e-mail is `<label>/<file>`. In every other format a message is a row with a
text, and a label or a list of labels; `id`, `title` and `language` are read where they are there.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from stream_app.core.errors import ConfigError, SourceError
from training.data.templates import draw
from training.recipe import Source

LABEL_SEPARATOR = "|"  # between the labels of one cell, where a format has no lists


@dataclass(frozen=True, slots=True)
class Raw:
    """A labelled message as it lies in its source; `name` is a tar member's, or the row's `id`.

    `value` is what decides its part of a split: the line, the mail, or a row as sorted JSON.
    """

    name: str
    labels: tuple[str, ...]
    value: bytes
    language: str = ""


@dataclass(frozen=True, slots=True)
class Reader:
    """How the messages of a file are read, and the codec that the service reads one of them by."""

    read: Callable[[Path, Source], Iterator[Raw]]
    codec: str = "json"


def codec_of(source: Source) -> str:
    """The name of the codec for a message of a source. Raises SourceError."""
    return "json" if source.dataset else _reader(source).codec


def read_source(source: Source, folder: Path) -> Iterator[Raw]:
    """The labelled messages of a source, in its order. Raises SourceError."""
    if source.dataset:
        yield from _read_dataset(source, folder)
        return
    file = source.path(folder)
    reader = _reader(source)
    try:
        yield from reader.read(file, source)
    except FileNotFoundError:
        cure = f"{source.how_made} tells how to make it" if source.how_made else "check --data"
        raise SourceError(f"data file {file} does not exist: {cure}") from None
    except (OSError, EOFError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{file} cannot be read: {type(error).__name__}") from None


def _read_mail(file: Path, source: Source) -> Iterator[Raw]:
    with tarfile.open(file) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                labels = _labels(member.name.split("/")[0], source)
                yield Raw(member.name, labels, content.read(), source.language)


def _read_lines(file: Path, source: Source) -> Iterator[Raw]:
    with _open(file) as lines:
        for number, line in enumerate(lines):
            if line.strip():
                yield _raw(number, json.loads(line), source, line)


def _read_csv(file: Path, source: Source) -> Iterator[Raw]:
    csv.field_size_limit(sys.maxsize)  # a review may be longer than the 128 KiB of the default
    with _open(file) as content, io.TextIOWrapper(content, "utf-8-sig", newline="") as text:
        for number, row in enumerate(csv.DictReader(text, strict=True)):
            yield _raw(number, row, source)


def _read_parquet(file: Path, source: Source) -> Iterator[Raw]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file) as table:
        batches = table.iter_batches()
        rows = (row for batch in batches for row in batch.to_pylist())
        for number, row in enumerate(rows):
            yield _raw(number, row, source)


def _read_templates(file: Path, source: Source) -> Iterator[Raw]:
    for number, row in enumerate(draw(file)):
        yield _raw(number, row, source)


READERS: Mapping[str, Reader] = {  # by the ending of a file's name
    ".tar.gz": Reader(_read_mail, "rfc822"),
    ".jsonl": Reader(_read_lines),
    ".jsonl.gz": Reader(_read_lines),
    ".csv": Reader(_read_csv),
    ".csv.gz": Reader(_read_csv),
    ".parquet": Reader(_read_parquet),
    ".templates.toml": Reader(_read_templates),
}


def _reader(source: Source) -> Reader:
    for ending, reader in READERS.items():
        if source.file.endswith(ending):
            return reader
    raise SourceError(f"{source.file} is none of {', '.join(READERS)}")


def _read_dataset(source: Source, folder: Path) -> Iterator[Raw]:
    """A split of a dataset; class numbers become their names."""
    from datasets import ClassLabel, load_dataset

    name, _, configuration = source.dataset.partition("#")
    unlabelled = source.use == "unlabelled"
    place = folder / name if (folder / name).is_dir() else name
    try:
        rows = load_dataset(str(place), configuration or None, split=source.dataset_split)
    except Exception as error:  # the library raises many unrelated types
        raise SourceError(
            f"dataset {source.dataset}, split {source.dataset_split}, could not be loaded "
            f"({type(error).__name__}): check the names and the network, or put it in {folder}"
        ) from error
    needed = {source.text_field} if unlabelled else {source.text_field, source.label_field}
    missing = needed - set(rows.column_names)
    if missing:
        raise ConfigError(f"dataset {source.dataset} has no column {', '.join(sorted(missing))}")
    kind = None if unlabelled else rows.features[source.label_field]
    for number, row in enumerate(rows):
        if isinstance(kind, ClassLabel):
            row = {**row, source.label_field: kind.int2str(row[source.label_field])}
        yield _raw(number, row, source)


def _open(file: Path) -> IO[bytes]:
    return gzip.open(file) if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]


def _raw(number: int, row: Mapping[str, Any], source: Source, line: bytes = b"") -> Raw:
    """A row as a message. A line of JSON stays as it is if it has the names the service reads."""
    if not line or source.text_field != "text":
        message = {"text": row[source.text_field], "title": row.get("title") or ""}
        line = json.dumps(message, sort_keys=True, default=str).encode()
    name = str(row.get("id", number))
    labels = _labels(row.get(source.label_field), source)
    return Raw(name, labels, line, str(row.get("language") or source.language))


def _labels(label: Any, source: Source) -> tuple[str, ...]:
    """One label or a list of them -> the model's names; in a string `|` separates."""
    if source.use == "unlabelled":
        return ()
    if label is None:
        raise KeyError(source.label_field)
    several = label if isinstance(label, list) else str(label).split(LABEL_SEPARATOR)
    return tuple(source.rename.get(str(each), str(each)) for each in several if str(each))
