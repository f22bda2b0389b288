"""The sample messages, and the label a person gave each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from random import Random

from stream_app.codecs import CODECS
from stream_app.core.errors import SourceError
from stream_app.core.messages import ParseSpec
from stream_app.sources.files import Source
from stream_app.sources.messages import Found

_FORMATS = {"mail": "rfc822", "reviews": "json", "news": "feed"}
_PLACES = {"mail": ["mail"], "reviews": ["reviews.jsonl"], "news": ["news.jsonl", "news/items"]}
_TITLE_CHARS = 60


@dataclass(frozen=True, slots=True)
class Sample:
    """A message for a route. `title` is for the screen: the samples are not private."""

    route: str
    value: bytes
    title: str
    expected: str


def examples_folder() -> Path:
    """Where `examples/` is: inside the package of a wheel, beside it in a source tree."""
    package = Path(str(files("stream_app")))
    for folder in (package / "examples", package.parent / "examples"):
        if folder.is_dir():
            return folder
    raise SourceError(f"{package}: the samples are not installed; install Winnow again")


def load_samples(folder: Path) -> list[Sample]:
    """All samples, mixed, in the same order each time."""
    samples = [sample for route in _PLACES for sample in _of_route(folder, route)]
    Random(0).shuffle(samples)
    return samples


def _of_route(folder: Path, route: str) -> Iterator[Sample]:
    for found in Source([folder / place for place in _PLACES[route]], _FORMATS[route]):
        value, expected = _without_answer(found)
        message = CODECS[found.format](value, ParseSpec())
        title = " ".join((message.title or message.body).split())[:_TITLE_CHARS]
        yield Sample(route, value, title, expected)


def _without_answer(found: Found) -> tuple[bytes, str]:
    """The message, and its label: `expected` of an object, else the start of the file's name."""
    if not found.value.startswith(b"{"):
        return found.value, Path(found.name).name.partition("-")[0]
    fields = json.loads(found.value)
    expected = fields.pop("expected")
    return json.dumps(fields, ensure_ascii=False).encode(), expected
