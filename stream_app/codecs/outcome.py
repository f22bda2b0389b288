"""What every codec ends with: a `Message` with clean text, or a `RecordError` with a known code.

| code        | the record                                                              |
|-------------|-------------------------------------------------------------------------|
| `malformed` | is not of the route's format: no headers, invalid JSON or XML           |
| `bad_field` | is of that format, but a named field holds something else than text     |
| `no_text`   | is of that format, but holds no words: nothing to label                 |
| `not_text`  | is binary data where text was expected                                  |

The pipeline adds `null_value` and `too_large`, found before a codec runs, and `codec_failed`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from stream_app.core.errors import RecordError
from stream_app.core.messages import Message, Scalar
from stream_app.model.visible import fit, is_blank

MALFORMED: Final = "malformed"
BAD_FIELD: Final = "bad_field"
NO_TEXT: Final = "no_text"
NOT_TEXT: Final = "not_text"

# Far above what any model reads (`Preparation.max_chars`), low enough that a message stays small
# while it waits for its batch.
MAX_TEXT_CHARS = 100_000
MAX_FIELD_CHARS = 1_000

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1a\x7f-\x84\x86-\x9f]")
_BREAKS = re.compile(r"[\x0b\x1b-\x1f\x85]")


def finish(title: str, body: str, *, message_id: str = "", fields: Mapping[str, Scalar]) -> Message:
    """The message, its text clean and bounded. Raises `RecordError` (`no_text`) without words."""
    message = Message(_bounded(title), _bounded(body), field_text(message_id) or None, fields)
    if is_blank(message.title) and is_blank(message.body):
        raise RecordError(NO_TEXT, "there is nothing to label: the message holds no text")
    return message


def _bounded(text: str) -> str:
    """What no reader sees does not count."""
    return clean(fit(text, MAX_TEXT_CHARS))


def field_text(value: str) -> str:
    """Text of a field that is passed on: clean and short enough for a label record."""
    return clean(value[:MAX_FIELD_CHARS])


def clean(text: str) -> str:
    """`text` without control characters and outer white space, and with `?` for lone surrogates,
    which no encoder accepts."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return _BREAKS.sub(" ", _UNPRINTABLE.sub("", text)).strip()
