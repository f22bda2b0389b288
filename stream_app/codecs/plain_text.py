"""Bare text -> Message, all of it body."""

from __future__ import annotations

import re

from stream_app.codecs.charsets import decode
from stream_app.codecs.outcome import MAX_TEXT_CHARS, NOT_TEXT, finish
from stream_app.core.errors import RecordError
from stream_app.core.messages import Message, ParseSpec

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # ESC is spared: terminal colours
_MOST_CONTROL = 0.05  # compressed data has twice as much, text next to none


def parse_text(value: bytes, spec: ParseSpec) -> Message:
    """The text in `value`: UTF-8, UTF-16 with a byte order mark, else Windows-1252.

    Bare text has no named fields, so `spec` asks nothing of it. Raises `RecordError`: `not_text`
    for binary data, `no_text` for white space only.
    """
    text = decode(value, None)
    control = sum(1 for _ in _CONTROL.finditer(text[:MAX_TEXT_CHARS]))
    if "\0" in text or control > _MOST_CONTROL * min(len(text), MAX_TEXT_CHARS):
        raise RecordError(NOT_TEXT, "this is binary data, not text")
    return finish("", text, fields={})
