"""Codecs raise nothing but RecordError whatever the bytes are, and give back the words put in."""

import json
from email.message import EmailMessage
from html import escape

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from lxml import etree

from stream_app.codecs import CODECS
from stream_app.codecs.charsets import is_utf8
from stream_app.core.messages import Message, ParseSpec
from stream_app.model.visible import is_blank
from tests.codec_cases import JUNK, SEEDS, check


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A valid value with pieces inserted, removed and repeated."""
    value = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(value)))
        until = draw(st.integers(at, min(at + 40, len(value))))
        piece = draw(st.sampled_from([*JUNK, value[at:until] * 2, b""]) | st.binary(max_size=8))
        value = value[:at] + piece + value[until:]
    return value


@pytest.mark.parametrize("name", CODECS)
@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_any_bytes_give_a_message_or_a_record_error(name: str, data: st.DataObject):
    check(name, data.draw(st.binary(max_size=200) | damaged(SEEDS[name])))


# Every character but controls, surrogates and, as XML has none, noncharacters.
WORDS = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=80
)


def parse(name: str, value: bytes, **names: str) -> Message:
    return CODECS[name](value, ParseSpec(names, ("kept",)))


def words(text: str) -> list[str]:
    """None of a text that shows nothing."""
    return [] if is_blank(text) else text.split()


def assert_words(message: Message, title: str, body: str) -> None:
    assert words(message.title) == words(title)
    assert words(message.body) == words(body)


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS, st.booleans(), st.booleans(), st.sampled_from(["utf-8", "gb18030"]))
@example("x" * 300, "line\n" * 50, True, True, "utf-8")
@example("s", "\u200b", True, False, "utf-8")
@example("s", "<html><!-- a -->", False, False, "utf-8")
def test_mail(subject: str, body: str, with_html: bool, with_attachment: bool, charset: str):
    assume(not is_blank(subject + body))
    mail = EmailMessage()
    mail["Subject"] = subject.strip()
    mail.set_content(body, charset=charset)
    if with_html:
        mail.add_alternative(f"<p>{escape(body) or 'marked up'}</p>", subtype="html")
    if with_attachment:
        mail.add_attachment("not to be read", filename="a.txt")
        mail.add_attachment(b"\0\1", maintype="application", subtype="octet-stream")
    seen = "" if is_blank(body) else body
    if with_html and body == "":
        seen = "marked up"
    assert_words(parse("rfc822", mail.as_bytes()), subject, seen)


@settings(max_examples=200, deadline=None)
@given(
    WORDS,
    WORDS,
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"]),
    st.booleans(),
)
def test_json(title: str, body: str, kept: object, encoding: str, ascii_only: bool):
    assume(not is_blank(title + body))
    found = {"headline": title, "review": {"text": body}, "kept": kept}
    raw = json.dumps(found, ensure_ascii=ascii_only).encode(encoding)
    message = parse("json", raw, title="headline", body="review.text")
    assert_words(message, title, body)
    assert message.fields == ({} if kept is None else {"kept": kept})


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS, WORDS, st.sampled_from(["utf-8", "utf-16", "ascii", "iso-8859-1"]))
def test_feed_as_xml(title: str, body: str, kept: str, encoding: str):
    assume(not is_blank(title + body))
    item = etree.Element("item")
    etree.SubElement(item, "title").text = escape(title)
    etree.SubElement(item, "description").text = f"<p>{escape(body)}</p>"
    etree.SubElement(item, "kept").text = kept
    raw = etree.tostring(item, encoding=encoding, xml_declaration=True)
    # bytes that are UTF-8 are read as that, whatever the declaration says
    assume(encoding != "iso-8859-1" or not is_utf8(raw))
    message = parse("feed", raw)
    assert_words(message, title, body)
    assert words(str(message.fields.get("kept", ""))) == words(kept)


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS, st.booleans())
def test_feed_as_json(title: str, body: str, as_html: bool):
    assume(not is_blank(title + body))
    content = {"content_html": f"<p>{escape(body)}</p>"} if as_html else {"content_text": body}
    raw = json.dumps({"title": escape(title), "kept": body, **content}).encode()
    message = parse("feed", raw)
    assert_words(message, title, body)


@settings(max_examples=200, deadline=None)
@given(WORDS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_text(body: str, encoding: str):
    assume(not is_blank(body))
    assert_words(parse("text", body.encode(encoding)), "", body)
