"""Raw e-mail (RFC 5322 and MIME) -> Message. Written for mail as it is, not as it should be.

The text is the subject and the readable parts of the body; no other header enters it. Of
alternatives the plain one is read unless it is empty; HTML becomes text; attachments are ignored;
an enclosed message is read like any part.

Input without a single header line is refused as `malformed`, be it binary or prose: every mail
that has passed a server has headers, so this is another kind of data on the topic, and a label
would hide that. Format `text` is for bare text.
"""

from __future__ import annotations

import binascii
import codecs
import re
from dataclasses import dataclass
from email.feedparser import BytesFeedParser
from email.message import Message as Mail
from email.policy import Compat32
from itertools import islice
from typing import Any, cast

from stream_app.codecs.charsets import decode
from stream_app.codecs.html import html_to_text
from stream_app.codecs.outcome import MALFORMED, field_text, finish
from stream_app.core.errors import RecordError
from stream_app.core.messages import Message, ParseSpec

# Real mail has a few parts, nested a few levels; what lies beyond these bounds is left unread.
# Each level costs the standard library's parser a recursion, and a comparison for every line.
MAX_PARTS = 100
MAX_DEPTH = 20
# The standard library takes quadratic time on some long parameters of a header.
MAX_HEADER_CHARS = 4_000
# A line is an object of its own to the parser, fifty times as large as an empty one is in the mail.
# The lines of 15 MB of base64; any more are left unread.
MAX_LINES = 200_000
MAX_BODY_CHARS = 400_000  # of text parts, before HTML becomes text; HTML is mostly mark-up

_HEADER_NAME = re.compile(r"[\w.-]+", re.ASCII)  # the parser takes '{"text": 1}' for a header too
_LINE_END = re.compile(rb"\r\n|\r|\n")
_HTML_TYPES = {"text/html", "text/enriched", "text/richtext", "application/xhtml+xml"}
_LOOKS_LIKE_HTML = re.compile(r"\s*<(?:!doctype html|html|head|body)\b", re.IGNORECASE)
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset=[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_ENCODED_WORD = re.compile(r"=\?([^?*\s]+)(?:\*[^?\s]*)?\?([bq])\?(.*?)\?=", re.IGNORECASE)


def parse_rfc822(value: bytes, spec: ParseSpec) -> Message:
    """The mail in `value`: title = subject, body = readable text, message_id = Message-ID.

    `spec.pass_fields` names headers, in any case; the first of several is taken. An mbox `From `
    line before the headers is fine. Raises `RecordError`: `malformed` for what has no headers,
    `no_text` for a mail without a word in subject and body.
    """
    mail = _read(value)
    if not any(map(_HEADER_NAME.fullmatch, mail.keys())):
        raise RecordError(
            MALFORMED, "this is not an e-mail: it does not start with a header such as 'Subject:'"
        )
    headers = {name.lower(): text for name, text in reversed(list(mail.raw_items()))}
    wanted = {name: headers[name.lower()] for name in spec.pass_fields if name.lower() in headers}
    return finish(
        header_text(headers.get("subject", "")),
        _Reader().text(mail),
        message_id=header_text(headers.get("message-id", "")),
        fields={name: field_text(header_text(text)) for name, text in wanted.items()},
    )


class _TooMuch(Exception):
    """The mail has too many parts, or too deeply nested ones."""


class _Part(Mail):
    """A part that knows how deep it lies."""

    depth = 0

    def attach(self, payload: Any) -> None:
        super().attach(payload)
        payload.depth = self.depth + 1
        if payload.depth > MAX_DEPTH:
            raise _TooMuch

    def get_param(
        self, param: str, failobj: Any = None, header: str = "content-type", unquote: bool = True
    ) -> Any:
        """As ever, but parameters that contradict each other (`x*=a; x*1=b`) are none: the standard
        library raises, and the mail would be lost."""
        try:
            return super().get_param(param, failobj, header, unquote)
        except TypeError:
            return failobj

    def get_boundary(self, failobj: Any = None) -> Any:
        """As ever, but a boundary in a charset that is none (RFC 2231 allows one) is no boundary:
        the parser lets that error out, and the mail would be lost."""
        try:
            return super().get_boundary(failobj)
        except (ValueError, LookupError):
            return failobj


class _Bounded(Compat32):
    """The parser policy that keeps raw headers (compat32), each cut to MAX_HEADER_CHARS."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:MAX_HEADER_CHARS]


def _read(value: bytes) -> Mail:
    """The tree of parts, as far as MAX_PARTS and MAX_DEPTH let it be read."""
    parts: list[Mail] = []

    def new_part(policy: Any) -> Mail:
        if len(parts) == MAX_PARTS:
            raise _TooMuch
        parts.append(_Part(policy))
        return parts[-1]

    start = _bounded(value.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n"))
    parser = BytesFeedParser(policy=_Bounded(message_factory=new_part))
    try:
        parser.feed(start[1:] if start.startswith(b">From ") else start)
        parser.close()
    except _TooMuch:
        if not parts[-1].is_multipart():
            parts[-1].set_payload("")  # it was cut short, and has none
    return parts[0]


def _bounded(value: bytes) -> bytes:
    """The first MAX_LINES lines, as the parser counts them."""
    if value.count(b"\n") + value.count(b"\r") <= MAX_LINES:
        return value
    beyond = next(islice(_LINE_END.finditer(value), MAX_LINES - 1, None), None)
    return value[: beyond.end()] if beyond else value


@dataclass
class _Reader:
    """Reads the text of one mail's parts: at most MAX_BODY_CHARS of them together."""

    chars_left: int = MAX_BODY_CHARS

    def text(self, part: Mail) -> str:
        """What a reader sees of a part. Enclosed attachments are ignored; a whole mail that calls
        itself an attachment, as some spam does, is shown by mail programs, and read here."""
        if not part.is_multipart():
            return self._own_text(part).strip()
        children = cast(list[Mail], part.get_payload())
        shown = [child for child in children if child.get_content_disposition() != "attachment"]
        if part.get_content_subtype() == "alternative":
            shown.sort(key=lambda child: child.get_content_type() != "text/plain")
            return next(filter(None, map(self.text, shown)), "")
        return "\n".join(filter(None, map(self.text, shown)))

    def _own_text(self, part: Mail) -> str:
        """The text of a part without children; '' for all that is not text."""
        kind = part.get_content_type().split()[0]  # some write "text/plain charset=…": no semicolon
        is_html = kind in _HTML_TYPES
        if not (is_html or kind == "text/plain" or kind.startswith("multipart/")):
            return ""
        data = cast(bytes, part.get_payload(decode=True))
        declared = part.get_param("charset")
        charset = declared[2] if isinstance(declared, tuple) else declared
        if is_html and not charset and (meta := _META_CHARSET.search(data, 0, 1024)):
            charset = meta[1].decode("ascii", "replace")
        text = decode(data, charset)[: self.chars_left]
        self.chars_left -= len(text)
        return html_to_text(text) if is_html or _LOOKS_LIKE_HTML.match(text) else text


def header_text(raw: str) -> str:
    """A raw header as text: RFC 2047 words decoded, broken ones left as they are, folds undone.

    The standard library's `decode_header` gives up on the whole header at one bad word.
    """
    line = re.sub(r"[\r\n]+", "", raw)
    pieces: list[tuple[bytes, str | None]] = []  # neighbours of one charset are one text, cut
    end = 0
    for word in _ENCODED_WORD.finditer(line):
        between, end = line[end : word.start()], word.end()
        if between and not (between.isspace() and pieces and pieces[-1][1]):
            pieces.append((_as_bytes(between), None))
        data, charset = _decode_word(word)
        if pieces and pieces[-1][1] == charset:
            pieces[-1] = (pieces[-1][0] + data, charset)
        else:
            pieces.append((data, charset))
    pieces.append((_as_bytes(line[end:]), None))
    return "".join(decode(data, charset) for data, charset in pieces)


def _decode_word(word: re.Match[str]) -> tuple[bytes, str | None]:
    charset, encoding, encoded = word[1].lower(), word[2].lower(), _as_bytes(word[3])
    if encoding == "q":
        return binascii.a2b_qp(encoded, header=True), charset
    try:
        return binascii.a2b_base64(encoded + b"=="), charset
    except binascii.Error:
        return _as_bytes(word[0]), None


def _as_bytes(raw: str) -> bytes:
    """The bytes the parser read: it keeps those that are not ASCII as surrogates."""
    return raw.encode("utf-8", "surrogateescape")
