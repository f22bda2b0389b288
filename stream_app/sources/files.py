"""Messages in files and folders, read one at a time; `messages.py` has what a file holds.

Of a folder each file below it is read, of a Maildir those in `new` and `cur`. Hidden files are left
out, and so is a file or a mail of white space alone: `Source.empty` counts those.
"""

from __future__ import annotations

import csv
import lzma
import os
import sys
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from stream_app.codecs import CODECS
from stream_app.core.errors import ConfigError, SourceError
from stream_app.sources.messages import START, Found, Place, split, suffixes

STDIN = Path("-")
_DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, csv.Error, UnicodeDecodeError)


def format_of(path: Path) -> str:
    """The format that the name of a file speaks of; raw mail where it speaks of none."""
    if path == STDIN:
        return "text"
    held = suffixes(path.name)[0]
    return next((name for name, codec in CODECS.items() if held in codec.suffixes), "rfc822")


@dataclass(frozen=True, slots=True)
class File:
    """A file to read, and how."""

    path: Path
    format: str
    one_of_many: bool  # of a folder: a mail there is never an mbox, though it may look like one


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
        for file in self.files():
            yield from self.messages(file)

    def files(self) -> Iterator[File]:
        """The files, as they are there now."""
        for path in self._paths:
            kind = self._format or format_of(path)
            for file in _files(path):
                yield File(file, kind, file != path)

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

    def messages(self, file: File, start: Place = START) -> Iterator[Found]:
        """The messages of one file, from a place on. Raises SourceError."""
        name = "stdin" if file.path == STDIN else str(file.path)
        try:
            with _open_stdin() if file.path == STDIN else file.path.open("rb") as stream:
                self._file = stream
                for found in split(name, stream, file.format, file.one_of_many, start):
                    if not found.value or found.value.isspace():
                        self.empty += 1
                    else:
                        yield found
                self._file = None
            self._done += _size(file.path)
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
    # a mail moves from new to cur: read in this order it is found in one of them
    for top in (path / "new", path / "cur") if maildir else (path,):
        for folder, folders, names in os.walk(top):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _size(file: Path) -> int:
    return 0 if file == STDIN else file.stat().st_size
