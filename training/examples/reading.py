"""Labelled messages of a file or folder, each read as the service reads its records.

A table has a column for the text and one for the label; `title` or `subject` beside it is read too.
A folder has one for each label, of mails or texts (`urgent/1.eml`, `other/2.txt`), or an mbox for
each label (`urgent.mbox`).
"""

from __future__ import annotations

import json
import mailbox
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream_app.codecs import CODECS
from stream_app.core.errors import ConfigError, RecordError, SourceError
from stream_app.core.messages import Message, ParseSpec
from stream_app.model.artifact import Problem
from training.data.readers import LABEL_SEPARATOR
from training.examples.tables import Row, columns, is_table, read_rows

_TEXTS = ("text", "body", "message", "content", "review", "comment", "sentence", "description")
_LABELS = ("label", "labels", "class", "category", "categories", "topic", "tag", "tags")
_TITLES = {"title", "subject"}  # which the service reads beside the text
_OF_TEXT = (".txt", ".md")


@dataclass(frozen=True, slots=True)
class Fields:
    """The columns that hold text and label, where it must be told."""

    text: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Labelled:
    """A message, and its labels as they were written."""

    message: Message
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a path holds. `format` and `field_names` are those of a route that reads the like;
    `unreadable` counts messages without a text, `unlabelled` those without a label."""

    found: Sequence[Labelled]
    format: str
    field_names: dict[str, str]
    unreadable: int = 0
    unlabelled: int = 0
    lists: bool = False  # whether any message has several labels, or a list of none

    @property
    def problem(self) -> Problem:
        """What they teach a model: to give a text one label, or any number."""
        return "multi_label" if self.lists else "single_label"


def read(path: Path, fields: Fields) -> Reading:
    """Raises SourceError for what cannot be read, ConfigError where columns must be told."""
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise SourceError(f"{path}: there is no such file or folder")
    return _read_table(path, fields)


def _read_table(file: Path, fields: Fields) -> Reading:
    rows = read_rows(file)
    text, label = _chosen(file, columns(rows), fields)
    spec = ParseSpec({} if text in ("text", "body") else {"text": text})
    found, unreadable, unlabelled = [], 0, 0
    for row in rows:
        cell = row.get(label)
        labels = _labels(cell)
        if not labels and not isinstance(cell, list):
            unlabelled += 1
        elif message := _message(row, {text, *_TITLES} - {label}, spec):
            found.append(Labelled(message, labels))
        else:
            unreadable += 1
    lists = any(len(each.labels) != 1 for each in found)
    return Reading(found, "json", dict(spec.names), unreadable, unlabelled, lists)


def _message(row: Row, names: Collection[str], spec: ParseSpec) -> Message | None:
    """What the service reads of these columns, which the label is none of; None without text."""
    kept = {name: row.get(name) for name in names if row.get(name) is not None}
    try:
        return CODECS["json"](json.dumps(kept, default=str).encode(), spec)
    except RecordError:
        return None


def _labels(cell: Any) -> tuple[str, ...]:
    """A list of labels, or a cell with `|` between them. An empty list says that the text has no
    label; an empty cell says nothing."""
    several = (
        cell if isinstance(cell, list) else str("" if cell is None else cell).split(LABEL_SEPARATOR)
    )
    return tuple(dict.fromkeys(name for each in several if (name := " ".join(str(each).split()))))


def _chosen(file: Path, names: Sequence[str], fields: Fields) -> tuple[str, str]:
    """The columns of text and label: as told, else by their names, else of two the other one."""
    text = _named(file, names, fields.text, _TEXTS, "--text-field")
    label = _named(file, names, fields.label, _LABELS, "--label-field")
    if len(names) == 2:
        text = text or next((name for name in names if label and name != label), None)
        label = label or next((name for name in names if text and name != text), None)
    if text is None or label is None:
        missing = "--text-field" if text is None else "--label-field"
        raise ConfigError(
            f"{file} has the columns {', '.join(names)}: say with {missing} which it is"
        )
    if text == label:
        raise ConfigError(f"{file}: the column {text} cannot be both the text and its label")
    return text, label


def _named(
    file: Path, names: Sequence[str], told: str | None, usual: Sequence[str], option: str
) -> str | None:
    if told is not None and told not in names:
        raise ConfigError(f"{file} has no column {told}: {option} is one of {', '.join(names)}")
    lower = {name.lower(): name for name in reversed(names)}
    return told or next((lower[name] for name in usual if name in lower), None)


def _read_folder(folder: Path) -> Reading:
    found, unreadable, formats = [], 0, set()
    for label, format_, value in _messages(folder):
        message = _parsed(format_, value)
        if message is None and format_ == "rfc822":  # a text whose file has no ending
            format_, message = "text", _parsed("text", value)
        formats.add(format_)
        if message is None:
            unreadable += 1
        else:
            found.append(Labelled(message, (label,)))
    if not found:
        raise SourceError(
            f"{folder} holds no labelled message: make a folder in it for each label, with its "
            "mails or texts, or an mbox for each label"
        )
    return Reading(found, "rfc822" if "rfc822" in formats else "text", {}, unreadable)


def _messages(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Label, format and bytes of each message below a folder."""
    for place in sorted(folder.iterdir()):
        if place.name.startswith("."):
            continue
        if place.is_dir():
            for file in sorted(path for path in place.rglob("*") if path.is_file()):
                if not any(part.startswith(".") for part in file.relative_to(folder).parts):
                    yield place.name, _format(file), file.read_bytes()
        elif place.suffix == ".mbox":
            for mail in mailbox.mbox(place, create=False):
                yield place.stem, "rfc822", mail.as_bytes()
        else:
            raise SourceError(
                f"{place} is in no folder that names its label"
                + (": give the file itself to --examples" if is_table(place) else "")
            )


def _format(file: Path) -> str:
    return "text" if file.suffix in _OF_TEXT else "rfc822"


def _parsed(format_: str, value: bytes) -> Message | None:
    try:
        return CODECS[format_](value, ParseSpec())
    except RecordError:
        return None
