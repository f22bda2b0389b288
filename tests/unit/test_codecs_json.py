"""JSON objects: roles, paths, passed fields, and reasons that name the field."""

import json
from typing import Any

import pytest

from stream_app.codecs import CODECS
from stream_app.codecs.json_object import MAX_VALUES
from stream_app.core.errors import RecordError
from stream_app.core.messages import Message, ParseSpec


def parse(value: Any, *pass_fields: str, **names: str) -> Message:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return CODECS["json"](raw, ParseSpec(names, pass_fields))


def error_of(value: Any, **names: str) -> RecordError:
    with pytest.raises(RecordError) as caught:
        parse(value, **names)
    return caught.value


def test_default_roles():
    found = {"title": "T", "subject": "S", "body": "B", "text": "X", "rating": 5, "id": 7}
    assert parse(found) == Message("T\nS", "B\nX", "7", {})


def test_the_rating_is_passed_on_when_asked_for_and_never_read():
    message = parse({"text": "fine", "rating": 5}, "rating")
    assert message == Message("", "fine", None, {"rating": 5})


def test_roles_map_to_dotted_paths_and_may_be_passed_by_role():
    found = {"review": {"text": "fine", "stars": 4.5}, "meta": {"key": "k1"}}
    message = parse(
        found, "rating", "meta.key", text="review.text", rating="review.stars", id="meta.key"
    )
    assert message == Message("", "fine", "k1", {"rating": 4.5, "meta.key": "k1"})


def test_a_key_with_a_dot_in_it_wins_over_a_path():
    assert parse({"a.b": "literal", "a": {"b": "path"}}, text="a.b").body == "literal"


def test_numbers_are_text_and_null_is_absence():
    assert parse({"text": 12.5, "title": None}).body == "12.5"


def test_passed_fields_keep_their_type_and_others_become_compact_json():
    found = {"text": "x", "yes": True, "n": 3, "s": "é", "l": [1, {"a": "é"}], "nil": None}
    fields = parse(found, "yes", "n", "s", "l", "nil", "absent").fields
    assert fields == {"yes": True, "n": 3, "s": "é", "l": '[1,{"a":"é"}]'}


def test_passed_fields_are_bounded():
    fields = parse({"text": "x", "s": "y" * 9_000, "l": list(range(9_000))}, "s", "l").fields
    assert all(len(str(value)) <= 1_000 for value in fields.values())


def test_what_json_does_not_have_is_null():
    raw = b'{"text": "x", "a": NaN, "b": 1e999, "c": -Infinity}'
    assert parse(raw, "a", "b", "c").fields == {}


def test_lone_surrogates_are_replaced_and_pairs_are_not():
    raw = rb'{"text": "a\ud800b", "s": "\ud83d\ude00\udfff"}'
    assert parse(raw, "s") == Message("", "a?b", None, {"s": "😀?"})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings(encoding: str):
    assert parse('{"text": "naïve 😀"}'.encode(encoding)).body == "naïve 😀"


def test_the_last_of_equal_keys_wins():
    assert parse(b'{"text": "a", "text": "b"}').body == "b"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "not valid JSON"),
        (b'{"text": "a"} {"text": "b"}', "Extra data at line 1, column 15"),
        (b'{"text": "a"', "not valid JSON"),
        (b'{"text": "caf\xe9"}', "not UTF-8"),
        (b"\0\1\2", "not"),
        (b'["text"]', "not an object"),
        (b'"text"', "not an object"),
        (b"NaN", "not an object"),
        (b'{"text": 1' + b"0" * 9_999 + b"}", "too many digits"),
        (b'{"text": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"text":' * 100_000, "nested too deeply"),
    ],
)
def test_malformed(value: bytes, reason: str):
    error = error_of(value)
    assert error.code == "malformed"
    assert reason in str(error)


@pytest.mark.parametrize(
    ("held", "what"), [(["x"], "a list"), ({"x": "y"}, "an object"), (True, "true or false")]
)
def test_something_else_than_text_is_refused_naming_the_field(held: Any, what: str):
    error = error_of({"review": {"text": held}}, text="review.text")
    assert error.code == "bad_field"
    assert str(error) == f"the field 'review.text' holds {what}, not text"


@pytest.mark.parametrize("found", [{}, {"comment": "x"}, {"text": ""}, {"text": " \n\t"}])
def test_without_text_the_reason_names_the_fields_looked_for(found: dict[str, str]):
    error = error_of(found, body="message")
    assert error.code == "no_text"
    assert "title, subject, message, text" in str(error)


def test_control_characters_alone_are_no_text():
    assert error_of({"text": "\0\1"}).code == "no_text"


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"0,"])
def test_more_values_than_any_record_has_are_refused(piece: bytes):
    """An empty list takes thirty times its bytes of memory."""
    error = error_of(b'{"text": "x", "a": [' + piece * MAX_VALUES + b"0]}")
    assert error.code == "malformed"
    assert "more lists, objects or values" in str(error)


@pytest.mark.parametrize("schema", [1, 255, 256, 100_000, 31_488, 2**24 - 1])
@pytest.mark.parametrize("payload", [b'{"text": "fine", "id": 7}', b' \n{"text": "fine", "id": 7}'])
def test_json_framed_by_a_confluent_serializer(schema: int, payload: bytes):
    framed = b"\0" + schema.to_bytes(4, "big") + payload
    assert parse(framed) == Message("", "fine", "7", {})


@pytest.mark.parametrize(
    "payload",
    [b"\x08fine\x02", b"\0\x0a\x04fine", b'["fine"]', b'"fine"', b"\xff", b"{"[:0] + b"x"],
)
def test_other_payloads_are_refused_with_that_reason(payload: bytes):
    error = error_of(b"\0\0\0\0\x07" + payload)
    assert error.code == "malformed"
    assert "Confluent's wire format (schema 7)" in str(error)
    assert "Avro" in str(error)


def test_commas_in_a_text_are_no_values():
    long = "one, two, {three} [four], " * 100_000
    assert parse({"text": long, "id": '\\"'}).body.startswith("one, two, {three}")
