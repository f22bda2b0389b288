"""The tree of parts of a mail (RFC 2046), each a stretch of its bytes.

Real mail has a few parts, nested a few levels; what lies beyond the bounds is left unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from stream_app.codecs.mail.headers import MAX_FIELDS, Header, read_header
from stream_app.codecs.mail.parameters import Value, read_value
from stream_app.codecs.mail.signed import signed_content
from stream_app.codecs.mail.transfer import Decoder, decoder_of

MAX_PARTS = 1_000
MAX_DEPTH = 20
MAX_BOUNDARIES = 4  # of one multipart
MAX_TYPE_BYTES = 1 << 17  # of all `Content-Type` fields
MAX_PART_FIELDS, FEW_FIELDS = 20_000, 20  # of all parts; of one when there were so many

_LONGEST_TYPE = 200  # bytes, without a parameter
_MULTIPART = "multipart/"
_ENCLOSED = {"message/rfc822", "message/global", "message/news"}
_SIGNED = {"application/pkcs7-mime", "application/x-pkcs7-mime"}
_MEDIA_TYPE = re.compile(r"[^\s/]+/[^\s/]+")
_REST_OF_DELIMITER = re.compile(rb"(--)?[ \t]*+\r*+(?:\n|\Z)")
_MBOX_LINE = (b"From ", b">From ")
_FALSE_FINDS = 64  # lines that only begin like a delimiter, before those are searched for exactly
_WINDOW = 1 << 20  # bytes searched in one go: others get the interpreter lock in between


@dataclass(frozen=True, slots=True)
class Part:
    """A mail, or a part of one: its header, and the bytes from `header.body` to `end`."""

    data: bytes
    header: Header
    end: int
    types: list[Value]  # of each `Content-Type` that names one
    default: str  # the media type where none does

    @property
    def kind(self) -> str:
        """The media type. Of several the first that says how to read the part."""
        names = [value.name for value in self.types]
        several = (name for name in names if name.startswith(_MULTIPART))
        text = (name for name in names if name.startswith("text/"))
        return next(chain(several, text, names), self.default)

    @property
    def is_declared(self) -> bool:
        """Whether the part says what it is."""
        return bool(self.types)

    @property
    def charset(self) -> str:
        """The declared charset; '' without one."""
        found = (value.parameter("charset") for value in self.types)
        return next(filter(None, found), "").partition(" ")[0]

    def says(self, name: str, value: str) -> bool:
        """Whether the type has a parameter of that value."""
        return any(each.parameter(name).lower() == value for each in self.types)

    @property
    def is_attached(self) -> bool:
        """Whether the part is an attached file; what is signed is a mail, whatever it says."""
        disposition = read_value(self.header.first("content-disposition")).name
        return disposition == "attachment" and self.kind not in _SIGNED

    @property
    def decoder(self) -> Decoder | None:
        """What undoes the transfer encoding; None where there is none."""
        return decoder_of(self.header.fields.get(b"content-transfer-encoding", []))

    def body(self) -> bytes:
        """The body, its transfer encoding undone."""
        body = self.data[self.header.body : self.end]
        return decoder(body) if (decoder := self.decoder) else body


@dataclass(slots=True)
class Left:
    """How much of a mail is still looked at."""

    parts: int = MAX_PARTS - 1  # the mail is one itself
    type_bytes: int = MAX_TYPE_BYTES
    fields: int = MAX_PART_FIELDS


def read_mail(data: bytes, start: int, end: int, left: Left) -> Part:
    """The mail in a stretch of `data`; an mbox line before its header is fine."""
    if data.startswith(_MBOX_LINE, start):
        start = data.find(b"\n", start, end) + 1 or end
    return _read_part(data, start, end, "text/plain", left)


def parts_of(part: Part, left: Left) -> list[Part] | None:
    """The parts within a part, as far as they are looked at; None where it has none, as a text or a
    file."""
    found = _parts_of(part, left)
    left.parts -= len(found or [])
    return found


def _parts_of(part: Part, left: Left) -> list[Part] | None:
    if part.kind in _ENCLOSED:
        return [read_mail(*_stretch(part, part.decoder), left)]
    if part.kind in _SIGNED:
        content = signed_content(part.body())
        return (
            None if content is None else [_read_part(content, 0, len(content), "text/plain", left)]
        )
    if not part.kind.startswith(_MULTIPART):
        return None
    default = "message/rfc822" if part.kind == "multipart/digest" else "text/plain"
    for decoder in dict.fromkeys((None, part.decoder)):  # none should have one, but some do
        data, start, end = _stretch(part, decoder)
        for boundary in _boundaries(part):
            if found := _stretches(data, start, end, boundary, left.parts):
                return [_read_part(data, *stretch, default, left) for stretch in found]
    return None


def _read_part(data: bytes, start: int, end: int, default: str, left: Left) -> Part:
    header = read_header(data, start, end, max(FEW_FIELDS, min(MAX_FIELDS, left.fields)))
    left.fields -= header.count
    types = []
    for raw in header.all("content-type"):
        types.append(read_value(raw[: left.type_bytes + _LONGEST_TYPE]))
        left.type_bytes = max(0, left.type_bytes - len(raw))
    types = [value for value in types if _MEDIA_TYPE.fullmatch(value.name)]
    return Part(data, header, end, types, default)


def _stretch(part: Part, decoder: Decoder | None) -> tuple[bytes, int, int]:
    """The body of a part: bytes, and where in them it lies."""
    if decoder is None:
        return part.data, part.header.body, part.end
    body = b"\n" + decoder(part.data[part.header.body : part.end])
    return body, 1, len(body)


def _boundaries(part: Part) -> list[bytes]:
    """What may stand between the parts: a boundary with a blank in it should be in quotes."""
    given = [text for value in part.types for text in value.parameters.get("boundary", [])]
    words = [word for text in given for word in (text.rstrip(), text.split(" ")[0])]
    different = [word.encode("latin-1", "replace") for word in dict.fromkeys(words) if word]
    return different[:MAX_BOUNDARIES]


def _stretches(
    data: bytes, start: int, end: int, boundary: bytes, limit: int
) -> list[tuple[int, int]]:
    """Where the parts lie between the delimiter lines of a multipart."""
    found: list[tuple[int, int]] = []
    begin = 0
    for line, after, is_last in _delimiters(data, start, end, boundary):
        if begin:
            found.append((begin, line - data.startswith(b"\r", line - 1)))
        begin = 0 if is_last else after
        if is_last or len(found) == limit:
            return found
    return [*found, (begin, end)] if begin else found


def _delimiters(
    data: bytes, start: int, end: int, boundary: bytes
) -> Iterator[tuple[int, int, bool]]:
    """Each delimiter line: where the line end before it is, where the next line begins, and whether
    it is the last one."""
    needle, false_finds = b"\n--" + boundary, 0
    at = data.find(needle, start - 1, end)
    while at >= 0 and false_finds < _FALSE_FINDS:
        if rest := _REST_OF_DELIMITER.match(data, at + len(needle), end):
            yield at, rest.end(), bool(rest[1])
        else:
            false_finds += 1
        at = data.find(needle, rest.end() - 1 if rest else at + 1, end)
    if at >= 0:
        exact = re.compile(re.escape(needle) + rb"(--)?[ \t]*+\r*+\n")
        while at < end:
            if found := exact.search(data, at, min(end, at + _WINDOW)):
                yield found.start(), found.end(), bool(found[1])
            at = found.end() - 1 if found else at + _WINDOW - len(needle) - 100
