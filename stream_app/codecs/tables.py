"""The rows of a CSV file as any program exports it: cells between commas, semicolons, tabs or bars,
in UTF-8, UTF-16 or Windows-1252.

What a model learns from and what it is asked to label is read here, so both are read alike.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stream_app.codecs.charsets import decode
from stream_app.core.errors import SourceError

SUFFIXES = (".csv", ".tsv")
_DELIMITERS = ",;\t|"
_LONGEST = 64 * 1024 * 1024  # characters of a cell; the default is less than some reviews have
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Header:
    """The first line that is not empty: the names of the columns, and how many lines it ends."""

    names: list[str]
    delimiter: str
    lines: int


def as_lines(data: bytes) -> bytes:
    """The same file, so that each line can be read by itself: UTF-16 becomes UTF-8."""
    return decode(data, None).encode() if is_utf16(data) else data


def is_utf16(start: bytes) -> bool:
    """Whether a file that begins so is UTF-16, where the byte of a line end may be half a sign."""
    return start.startswith(_UTF16)


def read_header(lines: Iterator[bytes]) -> Header:
    """The header at the beginning of a file's lines; it has no names where they are all empty."""
    csv.field_size_limit(_LONGEST)
    text, count = decode(next(lines, b""), None), 1
    while text and not text.strip():
        text, count = decode(next(lines, b""), None), count + 1
    delimiter = max(_DELIMITERS, key=lambda each: len(next(csv.reader([text], delimiter=each), [])))
    cells = csv.reader(_chained(text, lines), delimiter=delimiter)
    names = [name.strip() for name in next(cells, [])]
    return Header(names, delimiter, count - 1 + cells.line_num)


def rows_of(
    name: str, header: Header, lines: Iterator[bytes], before: int, strict: bool = False
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The line number that each row ends with, and its cells by column. Rows of empty cells are
    left out.

    `before` lines of the file, which is called `name`, come before `lines`. Raises SourceError for
    a row that has not a cell for each column, and csv.Error: `strict` for any wrong quotation mark.
    """
    texts = (decode(line, None) for line in lines)
    table = csv.reader(texts, delimiter=header.delimiter, strict=strict)
    for cells in table:
        number = before + table.line_num
        if not any(cells):
            continue
        if len(cells) != len(header.names):
            raise SourceError(
                f"{name}:{number}: this row has not as many fields as the header ({len(cells)}, "
                f"not {len(header.names)}): a text with {header.delimiter!r} or a line end in it "
                "needs quotation marks"
            )
        yield number, dict(zip(header.names, cells, strict=True))


def _chained(first: str, lines: Iterator[bytes]) -> Iterator[str]:
    """A name of a column may go on over lines."""
    yield first
    yield from (decode(line, None) for line in lines)
