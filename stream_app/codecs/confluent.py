"""The wire format of Confluent's serializers: a zero byte and a schema's id before the payload.

What follows is JSON where the schema is a JSON Schema; Avro and Protobuf cannot be read without the
schema, which lies in a registry.
"""

from __future__ import annotations

import codecs

from stream_app.codecs.outcome import MALFORMED
from stream_app.core.errors import RecordError

_FRAME = 5  # bytes


def is_framed(value: bytes) -> bool:
    """Whether `value` begins with a zero byte and an id, and is no JSON or XML in UTF-16 or 32."""
    if len(value) <= _FRAME or value[0] or not any(value[1:_FRAME]):
        return False
    is_utf16, is_utf32 = value[1] and not value[2], not any(value[4:7])
    return not (is_utf16 or is_utf32)


def json_payload(value: bytes) -> bytes:
    """`value` without the frame, if it has one. Raises `RecordError` for what is not JSON in it."""
    if not is_framed(value):
        return value
    payload = value[_FRAME:].removeprefix(codecs.BOM_UTF8)
    if not payload.lstrip().startswith(b"{"):
        schema = int.from_bytes(value[1:_FRAME], "big")
        raise RecordError(
            MALFORMED,
            f"this is in Confluent's wire format (schema {schema}), but no JSON object follows: "
            "Avro and Protobuf cannot be read, send JSON Schema",
        )
    return payload
