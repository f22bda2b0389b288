"""The messages in one file, whatever it is. Reading may begin behind any of them.

| the file         | its messages                                            |
|------------------|---------------------------------------------------------|
| a tar archive    | each file in it                                         |
| format rfc822    | the file; of an mbox, each mail                         |
| format json      | each line; of a `.csv` or `.tsv`, each row as an object |
| format feed      | the file where it is XML, else each line                |
| format text      | each line                                               |
| any other format | the file, or each line where its row in `CODECS` says   |

Compressed files (`.gz .bz2 .xz`) are read through. Empty lines are no messages.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Protocol, cast

from stream_app.codecs import CODECS
from stream_app.codecs.tables import SUFFIXES, as_lines, is_utf16, read_header, rows_of
from stream_app.core.errors import SourceError

MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # what is longer is cut there: no broker would take it


class Stream(Protocol):
    """What is read of a file, an archive's member or what a compressed file holds."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, place: int, /) -> int: ...
    def readline(self, size: int, /) -> bytes: ...


_OPENERS: Mapping[str, Callable[[IO[bytes]], Stream]] = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
_SHORT = {".tgz": ".gz", ".tbz2": ".bz2", ".txz": ".xz"}
# A mail in an mbox starts with `From SENDER DATE`; prose may start a line with "From " too.
_MBOX_FROM = re.compile(rb"From .*\b\w{3} +\w{3} +\d{1,2} +\d{1,2}:\d\d")


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two messages of a file.

    `at` counts bytes of what the file holds, of an archive its messages; `number` counts lines, or
    mails, for names.
    """

    at: int = 0
    number: int = 0


START = Place()


@dataclass(frozen=True, slots=True)
class Found:
    """A message as it was found. `name` says where: `file`, `archive:member`, `file:3`.

    `after` is the place behind it; START where the message is the file. `whole` is false where the
    file ends with it and may not be written to its end yet.
    """

    name: str
    value: bytes
    format: str
    after: Place = START
    whole: bool = True


def suffixes(name: str) -> tuple[str, str]:
    """What a file's name says it holds, and how that is compressed; `""` where it says nothing."""
    bare, last = os.path.splitext(name.lower())
    if last in _SHORT:
        return ".tar", _SHORT[last]
    return (os.path.splitext(bare)[1], last) if last in _OPENERS else (last, "")


def _archive(name: str, stream: Stream, kind: str, start: Place) -> Iterator[Found]:
    # tarfile's own decompression takes an archive that was cut off for a whole one
    count = 0
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined] # it would remember every file
            content = archive.extractfile(member) if member.isfile() else None
            if content is None or Path(member.name).name.startswith("."):
                continue
            for found in split(f"{name}:{member.name}", content, kind, one_of_many=True):
                count += 1
                if count > start.at:
                    yield replace(found, after=Place(count), whole=True)


def split(
    name: str, packed: IO[bytes], kind: str, one_of_many: bool, start: Place = START
) -> Iterator[Found]:
    """The messages of one file, from a place on."""
    held, compression = suffixes(name)
    stream: Stream = _OPENERS[compression](packed) if compression else packed
    if held == ".tar":
        yield from _archive(name, stream, kind, start)
        return
    first = stream.readline(MAX_MESSAGE_BYTES)
    lines = _Lines(stream, first)
    if held in SUFFIXES and kind == "json":
        yield from _rows(name, _of_utf16(name, first, stream) if is_utf16(first) else lines, start)
    elif kind == "rfc822" and first.startswith(b"From ") and not one_of_many:
        yield from _mbox(name, lines, start)
    elif CODECS[kind].by_line(first):
        yield from _lines(name, lines, kind, start)
    else:
        value = first + stream.read(MAX_MESSAGE_BYTES - len(first))
        yield Found(name, value, kind, whole=False)


def _of_utf16(name: str, first: bytes, stream: Stream) -> _Lines:
    """Lines of a file that has none before it is read whole."""
    whole = first + stream.read(MAX_MESSAGE_BYTES)
    if len(whole) > MAX_MESSAGE_BYTES:
        raise SourceError(f"{name} is a long table in UTF-16: save it as UTF-8")
    utf8 = io.BytesIO(as_lines(whole))
    return _Lines(utf8, utf8.readline())


class _Lines(Iterator[bytes]):
    """The lines of a stream whose first is read already.

    `at` is where the next one begins; `whole` is false where the last one has no end, or more were
    asked for than there are.
    """

    def __init__(self, stream: Stream, first: bytes) -> None:
        self._stream = stream
        self._first = first
        self.at = 0
        self.whole = True

    def __next__(self) -> bytes:
        line = self._first or self._stream.readline(MAX_MESSAGE_BYTES)
        self._first = b""
        if not line:
            self.whole = False  # a row that was to go on over lines ends here
            raise StopIteration
        self.at += len(line)
        self.whole = line.endswith(b"\n")
        return line

    def go_to(self, at: int) -> None:
        """Go on from a place."""
        if at != self.at:
            self._first, self.at = b"", at
            self._stream.seek(at)


def _mbox(name: str, lines: _Lines, start: Place) -> Iterator[Found]:
    """The mails between the `From ` lines, as they are (`>From ` included)."""
    lines.go_to(start.at)
    if not any(line.startswith(b"From ") for line in lines):
        return
    mail: list[bytes] = []
    number, before, after_empty = start.number + 1, lines.at, False
    for line in lines:
        if after_empty and _MBOX_FROM.match(line):
            after = Place(before, number)
            yield Found(f"{name}:{number}", b"".join(mail[:-1]), "rfc822", after)
            number, mail = number + 1, []
        else:
            mail.append(line)
        after_empty, before = not line.strip(), lines.at
    after = Place(lines.at, number)
    yield Found(f"{name}:{number}", b"".join(mail), "rfc822", after, whole=False)


def _lines(name: str, lines: _Lines, kind: str, start: Place) -> Iterator[Found]:
    lines.go_to(start.at)
    for number, line in enumerate(lines, start.number + 1):
        if len(line) == MAX_MESSAGE_BYTES:
            raise SourceError(f"{name}:{number}: this line is too long to be a message")
        if line.strip():
            after = Place(lines.at, number)
            yield Found(f"{name}:{number}", line.rstrip(b"\r\n"), kind, after, lines.whole)


def _rows(name: str, lines: _Lines, start: Place) -> Iterator[Found]:
    header = read_header(lines)
    lines.go_to(start.at or lines.at)
    for number, row in rows_of(name, header, lines, start.number or header.lines):
        value = json.dumps(row, ensure_ascii=False).encode()
        after = Place(lines.at, number)
        yield Found(f"{name}:{number}", value, "json", after, lines.whole)
