"""A JSON object -> Message, by the names of its fields.

Roles say what a field is for: `title` and `subject` become the title, `body` and `text` the body,
`id` the message id, `rating` is never shown to a model. A role is played by the field of the same
name unless the route maps it to another; a dotted path such as `review.text` reaches into objects.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from stream_app.codecs.confluent import json_payload
from stream_app.codecs.outcome import (
    BAD_FIELD,
    MALFORMED,
    NO_TEXT,
    field_text,
    finish,
)
from stream_app.core.errors import RecordError
from stream_app.core.messages import Message, ParseSpec, Scalar

# Each becomes an object of some 60 bytes, even of three bytes of JSON; and the interpreter lock is
# held until all are read. What is nested without a comma is bounded by the depth.
MAX_VALUES = 40_000
MAX_ESCAPES = 2_000_000

_TITLE_ROLES = ("title", "subject")
_BODY_ROLES = ("body", "text")
_NAMES_OF_TYPES = {dict: "an object", list: "a list", bool: "true or false"}


def parse_json(value: bytes, spec: ParseSpec) -> Message:
    """The object in `value`; numbers count as text, null as absent, the last of equal keys wins.

    `spec.pass_fields` names roles or paths: numbers and booleans are copied as they are, texts and
    (as compact JSON) lists and objects up to MAX_FIELD_CHARS. Raises `RecordError`: `malformed`
    for what is not one JSON object in UTF-8 or UTF-16, `bad_field` for a list, object or boolean
    where text belongs, `no_text` where no field holds any.
    """
    try:
        return _message(load_object(value), spec)
    except RecursionError:
        raise RecordError(MALFORMED, "this JSON is nested too deeply") from None


def load_object(value: bytes) -> dict[str, Any]:
    """The JSON object in `value`, also where a Confluent serializer framed it. Raises
    `RecordError`, and `RecursionError` for deep nesting."""
    value = json_payload(value)
    if value.count(b",") > MAX_VALUES and _without_strings(value).count(b",") > MAX_VALUES:
        raise RecordError(
            MALFORMED, "this JSON holds more lists, objects or values than any record"
        )
    if value.count(b"\\") > MAX_ESCAPES:
        raise RecordError(MALFORMED, "this JSON holds more escapes than any record")
    try:
        found = json.loads(value, parse_float=_finite, parse_constant=lambda _: None)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise RecordError(MALFORMED, f"this is not valid JSON: {error.msg} at {where}") from None
    except UnicodeDecodeError:
        raise RecordError(MALFORMED, "this is not JSON: it is not UTF-8 or UTF-16") from None
    except ValueError:
        raise RecordError(MALFORMED, "this JSON holds an integer of too many digits") from None
    if not isinstance(found, dict):
        raise RecordError(MALFORMED, "this is valid JSON, but not an object: send {…}")
    return found


def _without_strings(value: bytes) -> bytes:
    """What stands outside of strings; all of it where there are too many to look at."""
    bare = value.replace(b"\\\\", b"").replace(b'\\"', b"")
    if bare.count(b'"') > 4 * MAX_VALUES:
        return value
    return b"".join(bare.split(b'"')[::2])


def passed_fields(found: Mapping[str, Any], spec: ParseSpec) -> dict[str, Scalar]:
    """The fields `spec.pass_fields` asks for, without those that are absent or null."""
    values = {name: find(found, spec.names.get(name, name)) for name in spec.pass_fields}
    return {name: _scalar(value) for name, value in values.items() if value is not None}


def find(found: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, None where there is none. A key that has the dots wins."""
    if path in found:
        return found[path]
    key, _, rest = path.partition(".")
    inner = found.get(key)
    return find(inner, rest) if rest and isinstance(inner, dict) else None


def text_at(found: Mapping[str, Any], path: str) -> str:
    """The text or number at a path, '' where there is none. Raises `RecordError` (`bad_field`)."""
    value = find(found, path)
    if isinstance(value, bool | list | dict):
        what = _NAMES_OF_TYPES[type(value)]
        raise RecordError(BAD_FIELD, f"the field {path!r} holds {what}, not text")
    return "" if value is None else str(value)


def _message(found: dict[str, Any], spec: ParseSpec) -> Message:
    title, body = (
        [spec.names.get(role, role) for role in roles] for roles in (_TITLE_ROLES, _BODY_ROLES)
    )
    texts = {path: text_at(found, path) for path in (*title, *body)}
    if not any(text.strip() for text in texts.values()):
        raise RecordError(NO_TEXT, f"there is no text in any of the fields {', '.join(texts)}")
    message_id = find(found, spec.names.get("id", "id"))
    return finish(
        "\n".join(filter(None, (texts[path] for path in title))),
        "\n".join(filter(None, (texts[path] for path in body))),
        message_id="" if message_id is None else str(_scalar(message_id)),
        fields=passed_fields(found, spec),
    )


def _scalar(value: Any) -> Scalar:
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return field_text(value) if isinstance(value, str) else value


def _finite(digits: str) -> float | None:
    """A float; null for one beyond all bounds (1e999), which no JSON could carry on."""
    number = float(digits)
    return number if math.isfinite(number) else None
