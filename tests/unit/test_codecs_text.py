"""Bare text, and binary data that is none."""

import zlib

import pytest

from stream_app.codecs import CODECS
from stream_app.core.errors import RecordError
from stream_app.core.messages import Message, ParseSpec

BINARY = zlib.compress(" ".join(map(str, range(999))).encode())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings(encoding: str):
    message = CODECS["text"](" naïve\nsecond line\n".encode(encoding), ParseSpec())
    assert message == Message("", "naïve\nsecond line", None, {})


def test_terminal_colours_are_still_text():
    assert "red" in CODECS["text"](b"\x1b[31mred\x1b[0m", ParseSpec()).body


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"", "no_text"),
        (b" \r\n\t", "no_text"),
        (b"\xef\xbb\xbf", "no_text"),
        (b"word\0word", "not_text"),
        (BINARY, "not_text"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not_text"),
    ],
)
def test_what_holds_no_text(value: bytes, code: str):
    with pytest.raises(RecordError) as caught:
        CODECS["text"](value, ParseSpec())
    assert caught.value.code == code
