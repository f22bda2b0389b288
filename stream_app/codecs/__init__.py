"""Bytes -> Message, one file a format.

A new format is one file here and one row in `CODECS`: routes, `winnow classify` and `winnow
produce` take it by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stream_app.codecs.feed import parse_feed
from stream_app.codecs.json_object import parse_json
from stream_app.codecs.plain_text import parse_text
from stream_app.codecs.rfc822 import parse_rfc822
from stream_app.core.messages import Message, ParseSpec


@dataclass(frozen=True, slots=True)
class Codec:
    """A format: how a message of it is read, and how files hold such messages.

    `parse` raises `RecordError` for input that has no text to label, with a reason a person can act
    on, and nothing else whatever the bytes are.
    """

    parse: Callable[[bytes, ParseSpec], Message]
    suffixes: tuple[str, ...] = ()  # of names of files that hold it
    # whether a file that begins with this line holds a message a line; else it is one message
    by_line: Callable[[bytes], bool] = lambda first: False
    media_types: tuple[str, ...] = ("application/octet-stream",)  # of one message over HTTP

    def __call__(self, value: bytes, spec: ParseSpec) -> Message:
        """The message in `value`. Raises RecordError."""
        return self.parse(value, spec)


CODECS: Mapping[str, Codec] = {
    "rfc822": Codec(parse_rfc822, media_types=("message/rfc822",)),
    "json": Codec(
        parse_json,
        (".jsonl", ".ndjson", ".json", ".csv", ".tsv"),
        lambda first: True,
        ("application/json",),
    ),
    "feed": Codec(
        parse_feed,
        (".xml", ".rss", ".atom"),
        lambda first: not first.lstrip().startswith(b"<"),
        ("application/xml", "application/rss+xml", "application/atom+xml", "text/xml"),
    ),
    "text": Codec(parse_text, (".txt",), lambda first: True, ("text/plain",)),
}
