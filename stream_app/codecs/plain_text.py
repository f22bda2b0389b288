"""Bare text -> Message, all of it body."""

from __future__ import annotations

import codecs
import re

from stream_app.codecs.charsets import decode
from stream_app.codecs.outcome import MAX_TEXT_CHARS, NOT_TEXT, finish
from stream_app.core.errors import RecordError
from stream_app.core.messages import Message, ParseSpec

_BYTES_OF_TEXT = MAX_TEXT_CHARS * 4  # the longest a character gets in UTF-8, UTF-16 and UTF-32
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # ESC may come in terminal colours
_MOST_CONTROL = 0.1


def parse_text(value: bytes, spec: ParseSpec) -> Message:
    """The text in `value`: UTF-8, UTF-16 with a byte order mark, else Windows-1252.

    Bare text has no named fields, so `spec` asks nothing of it. Raises `RecordError`: `not_text`
    for binary data, `no_text` for white space only.
    """
    data = value[:_BYTES_OF_TEXT]
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = decode(data, "utf-16") if utf16 else decode(data.removeprefix(codecs.BOM_UTF8), "utf-8")
    control = len(_CONTROL.findall(text))
    if "\0" in text or control > _MOST_CONTROL * len(text):
        raise RecordError(NOT_TEXT, "this is binary data, not text")
    return finish("", text, fields={})
