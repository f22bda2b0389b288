"""Layer 2: bytes -> Message, one file a format.

A codec is a function `(value, spec) -> Message`. It raises `RecordError` for input that has no
text to label, with a reason a person can act on, and nothing else whatever the bytes are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream_app.codecs.feed import parse_feed
from stream_app.codecs.json_object import parse_json
from stream_app.codecs.plain_text import parse_text
from stream_app.codecs.rfc822 import parse_rfc822
from stream_app.core.messages import Message, ParseSpec

Codec = Callable[[bytes, ParseSpec], Message]

CODECS: Mapping[str, Codec] = {
    "rfc822": parse_rfc822,
    "json": parse_json,
    "feed": parse_feed,
    "text": parse_text,
}
