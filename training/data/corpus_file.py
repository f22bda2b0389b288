"""A corpus as files: read once from its sources, it is there at once and stays as it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from training.data.corpus import Corpus, Example

_EXAMPLES, _LINEAGE = "examples.parquet", "lineage.json"
_COLUMNS = pa.schema(
    [
        ("part", pa.string()),
        ("test", pa.string()),  # the source, of a test part
        ("text", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("language", pa.string()),
        ("source", pa.string()),
        ("times", pa.int32()),
        ("belief", pa.list_(pa.float32())),
    ]
)


def write_corpus(corpus: Corpus, folder: Path) -> None:
    """Make `folder`, whole or not at all."""
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    table = pa.Table.from_pylist(list(_rows(corpus)), _COLUMNS)
    pq.write_table(table, unfinished / _EXAMPLES)
    (unfinished / _LINEAGE).write_text(json.dumps(corpus.lineage, indent=2))
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(unfinished, folder)


def read_corpus(folder: Path) -> Corpus:
    """What `write_corpus` wrote."""
    corpus = Corpus(lineage=json.loads((folder / _LINEAGE).read_text()))
    parts = _parts(corpus)
    for row in pq.read_table(folder / _EXAMPLES).to_pylist():
        part, test = row.pop("part"), row.pop("test")
        example = Example(**row | {name: tuple(row[name]) for name in ("labels", "belief")})
        (corpus.test.setdefault(test, []) if part == "test" else parts[part]).append(example)
    return corpus


def _parts(corpus: Corpus) -> dict[str, list[Example]]:
    """All but the tests."""
    return {
        "train": corpus.train,
        "more": corpus.more,
        "unlabelled": corpus.unlabelled,
        "validation": corpus.validation,
    }


def _rows(corpus: Corpus) -> Iterator[dict[str, object]]:
    for part, examples in _parts(corpus).items():
        yield from ({"part": part, "test": "", **asdict(example)} for example in examples)
    for test, examples in corpus.test.items():
        yield from ({"part": "test", "test": test, **asdict(example)} for example in examples)
