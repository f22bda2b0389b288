"""Messages in files, read one at a time, whatever holds them.

| path                             | messages                                               |
|----------------------------------|--------------------------------------------------------|
| a folder (a Maildir: `cur, new`) | each file below it                                     |
| a tar archive                    | each file in it                                        |
| format rfc822                    | the file; of an mbox, each mail                        |
| format json                      | each line; of a `.csv`, each row as an object          |
| format feed                      | the file where it is XML, else each line               |
| format text                      | each line                                              |
| any other format                 | the file, or each line where its row in `CODECS` says  |

Compressed files (`.gz .bz2 .xz`) are read through. Hidden files and empty lines are no messages,
nor is a file or a mail of white space alone: `Source.empty` counts those.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import json
import lzma
import os
import re
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Protocol, cast

from stream_app.codecs import CODECS
from stream_app.core.errors import ConfigError, SourceError

STDIN = Path("-")
MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # what is longer is cut there: no broker would take it


class Stream(Protocol):
    """What is read of a file, an archive's member or what a compressed file holds."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self, size: int, /) -> bytes: ...


_OPENERS: Mapping[str, Callable[[IO[bytes]], Stream]] = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
_SHORT = {".tgz": ".gz", ".tbz2": ".bz2", ".txz": ".xz"}
# A mail in an mbox starts with `From SENDER DATE`; prose may start a line with "From " too.
_MBOX_FROM = re.compile(rb"From .*\b\w{3} +\w{3} +\d{1,2} +\d{1,2}:\d\d")
_DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, csv.Error, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class Found:
    """A message as it was found. `name` says where: `file`, `archive:member`, `file:3`."""

    name: str
    value: bytes
    format: str


def format_of(path: Path) -> str:
    """The format that the name of a file speaks of; raw mail where it speaks of none."""
    if path == STDIN:
        return "text"
    held = _suffixes(path.name)[0]
    return next((name for name, codec in CODECS.items() if held in codec.suffixes), "rfc822")


def _suffixes(name: str) -> tuple[str, str]:
    """What a file's name says it holds, and how that is compressed; `""` where it says nothing."""
    bare, last = os.path.splitext(name.lower())
    if last in _SHORT:
        return ".tar", _SHORT[last]
    return (os.path.splitext(bare)[1], last) if last in _OPENERS else (last, "")


class Source:
    """The messages of some paths, in order; folders by name. Nothing is read ahead.

    Without a `message_format` the name of each path decides (see `format_of`). Raises ConfigError
    for a format that does not exist, SourceError for a path that does not, and while iterating for
    one that is damaged or unreadable.
    """

    def __init__(self, paths: Sequence[Path], message_format: str | None) -> None:
        if message_format is not None and message_format not in CODECS:
            raise ConfigError(
                f"format {message_format!r} does not exist; there are: {', '.join(CODECS)}"
            )
        for path in paths:
            if path != STDIN and not path.exists():
                raise SourceError(f"{path}: there is no such file or folder")
        self._paths = paths
        self._format = message_format
        self.empty = 0  # files and mails that were left out so far: nothing is in them
        self._done = 0  # bytes of the files that are read
        self._file: IO[bytes] | None = None

    def __iter__(self) -> Iterator[Found]:
        for path in self._paths:
            for file in _files(path):
                yield from self._messages(file, self._format or format_of(path), file != path)

    @property
    def formats(self) -> set[str]:
        """Those that its messages may have."""
        return {self._format or format_of(path) for path in self._paths}

    @property
    def size(self) -> int:
        """Bytes on disk of all files."""
        return sum(_size(file) for path in self._paths for file in _files(path))

    @property
    def position(self) -> int:
        """How many of those bytes have been read."""
        tell = self._file.tell() if self._file and self._file.seekable() else 0
        return self._done + tell

    def _messages(self, file: Path, kind: str, one_of_many: bool) -> Iterator[Found]:
        name = "stdin" if file == STDIN else str(file)
        try:
            with _open_stdin() if file == STDIN else file.open("rb") as stream:
                self._file = stream
                for found in _split(name, stream, kind, one_of_many):
                    if not found.value or found.value.isspace():
                        self.empty += 1
                    else:
                        yield found
                self._file = None
            self._done += _size(file)
        except OSError as error:
            raise SourceError(f"{name}: {error.strerror or error}") from error
        except _DAMAGE as error:
            raise SourceError(f"{name} is damaged or misnamed: {error}") from error


def _open_stdin() -> IO[bytes]:
    """Standard input, apart from `sys.stdin`: a thread that still reads that one at the end of the
    interpreter makes it abort."""
    return open(sys.stdin.fileno(), "rb", closefd=False)


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    maildir = (path / "cur").is_dir() and (path / "new").is_dir()
    for top in (path / "cur", path / "new") if maildir else (path,):
        for folder, folders, names in os.walk(top):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _size(file: Path) -> int:
    return 0 if file == STDIN else file.stat().st_size


def _archive(name: str, stream: Stream, kind: str) -> Iterator[Found]:
    # tarfile's own decompression takes an archive that was cut off for a whole one
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined] # it would remember every file
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None and not Path(member.name).name.startswith("."):
                yield from _split(f"{name}:{member.name}", content, kind, one_of_many=True)


def _split(name: str, packed: IO[bytes], kind: str, one_of_many: bool) -> Iterator[Found]:
    """The messages of one file. A mail among many files is never an mbox: it may look like one."""
    held, compression = _suffixes(name)
    stream: Stream = _OPENERS[compression](packed) if compression else packed
    if held == ".tar":
        yield from _archive(name, stream, kind)
        return
    if held == ".csv" and kind == "json":
        yield from _rows(name, stream)
        return
    lines = iter(lambda: stream.readline(MAX_MESSAGE_BYTES), b"")
    first = next(lines, b"")
    if kind == "rfc822" and first.startswith(b"From ") and not one_of_many:
        yield from _mbox(name, lines)
    elif CODECS[kind].by_line(first):
        yield from _lines(name, chain([first], lines), kind)
    else:
        yield Found(name, first + stream.read(MAX_MESSAGE_BYTES - len(first)), kind)


def _mbox(name: str, lines: Iterator[bytes]) -> Iterator[Found]:
    """The mails between the `From ` lines, as they are (`>From ` included)."""
    mail: list[bytes] = []
    number, after_empty = 1, False
    for line in lines:
        if after_empty and _MBOX_FROM.match(line):
            yield Found(f"{name}:{number}", b"".join(mail[:-1]), "rfc822")
            number, mail = number + 1, []
        else:
            mail.append(line)
        after_empty = not line.strip()
    yield Found(f"{name}:{number}", b"".join(mail), "rfc822")


def _lines(name: str, lines: Iterator[bytes], kind: str) -> Iterator[Found]:
    for number, line in enumerate(lines, 1):
        if len(line) == MAX_MESSAGE_BYTES:
            raise SourceError(f"{name}:{number}: this line is too long to be a message")
        if line.strip():
            yield Found(f"{name}:{number}", line.rstrip(b"\r\n"), kind)


def _rows(name: str, stream: Stream) -> Iterator[Found]:
    csv.field_size_limit(MAX_MESSAGE_BYTES)  # 128 KiB is less than some reviews have
    lines = iter(lambda: stream.readline(MAX_MESSAGE_BYTES), b"")
    header, above = next(lines, b"").removeprefix(codecs.BOM_UTF8), 0
    while header and not header.strip():
        header, above = next(lines, b""), above + 1
    rows = csv.DictReader(line.decode() for line in chain([header], lines))
    for row in rows:
        where = f"{name}:{above + rows.line_num}"
        if None in row or None in row.values():
            raise SourceError(f"{where}: this row has not as many fields as the header")
        yield Found(where, json.dumps(row, ensure_ascii=False).encode(), "json")
