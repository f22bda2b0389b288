"""The rows of a table that somebody has exported: CSV in any of its forms, JSON, Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stream_app.codecs.charsets import decode
from stream_app.codecs.tables import as_lines, read_header, rows_of
from stream_app.core.errors import SourceError

Row = Mapping[str, Any]
_LONGEST_NAME = 60  # of a column: what is longer is a text


def read_rows(file: Path) -> list[Row]:
    """Every row, by the names of its columns. Raises SourceError, which holds none of the texts."""
    read = _reader(file)
    try:
        found = list(read(file))
    except SourceError:
        raise
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise SourceError(f"{file} cannot be read: {type(error).__name__}") from None
    if not found:
        raise SourceError(f"{file} has no rows")
    return found


def columns(rows: list[Row]) -> list[str]:
    """The names that any of the rows has, in order."""
    return list(dict.fromkeys(name for row in rows for name in row))


def is_table(file: Path) -> bool:
    """Whether the name says that it holds rows."""
    return _ending(file) in _READERS


def _csv(file: Path) -> Iterator[Row]:
    lines = iter(io.BytesIO(as_lines(_bytes(file))))
    header = read_header(lines)
    if header.names:
        _check_names(file, header.names)
    for _, row in rows_of(str(file), header, lines, header.lines, strict=True):
        yield row


def _check_names(file: Path, names: list[str]) -> None:
    if len(names) < 2:
        raise SourceError(
            f"{file} has one column, and a text and its label are two: columns are separated by "
            "comma, semicolon, tab or |"
        )
    if len(set(names)) < len(names) or not all(0 < len(name) <= _LONGEST_NAME for name in names):
        raise SourceError(
            f"{file}: the first line does not name the columns: write one such as text,label"
        )


def _json(file: Path) -> Iterator[Row]:
    text = decode(_bytes(file), None)
    if text.lstrip().startswith("["):
        rows = ((number, row) for number, row in enumerate(json.loads(text), 1))
    else:
        rows = ((number, _loaded(file, number, line)) for number, line in _lines(text))
    for number, row in rows:
        if not isinstance(row, dict):
            raise SourceError(f"{file}: row {number} is no object: write {{…}}, one a line")
        yield row


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """By number, without the empty ones. JSON may hold what str.splitlines takes for a line end."""
    return ((at, line) for at, line in enumerate(text.split("\n"), 1) if line.strip())


def _loaded(file: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else "too deep or too long"
        raise SourceError(f"{file}: line {number} is not JSON ({why})") from None


def _parquet(file: Path) -> Iterator[Row]:
    from pyarrow.parquet import read_table

    yield from read_table(file).to_pylist()


def _bytes(file: Path) -> bytes:
    return gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()


_READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _json,
    ".ndjson": _json,
    ".json": _json,
    ".parquet": _parquet,
}


def _ending(file: Path) -> str:
    return Path(file.name.lower().removesuffix(".gz")).suffix


def _reader(file: Path) -> Callable[[Path], Iterator[Row]]:
    if reader := _READERS.get(_ending(file)):
        return reader
    if _ending(file) in (".xlsx", ".xls", ".ods"):
        raise SourceError(f"{file} is a spreadsheet: save it as CSV")
    raise SourceError(
        f"{file} is none of {', '.join(_READERS)}; mails and texts go into a folder for each label"
    )
