"""The header section of a mail or part: its fields by name, whatever else stands among them.

Lenient as mail programs are (RFC 5322, section 4): white space before the colon is fine, a lone
carriage return is white space, and a line that is no field ends the field before it and nothing
else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice

MAX_FIELDS = 2_000  # of one section; real mail has less than a hundred
MAX_FIELD_BYTES = 65_536  # of one field; a long list of recipients is larger
_MAX_SECTION = (
    1 << 18
)  # mail servers take less; what lies beyond is not looked at, but skipped all the same

_FIELD = re.compile(rb"^([\w.-]+)[ \t]*:(.*(?:\n[ \t].*)*)", re.MULTILINE)
_BLANK_LINE = re.compile(rb"\n\r*+\n")
_BEGINS_BLANK = re.compile(rb"\r*+\n")
_WINDOW = 1 << 18  # bytes searched in one go: others get the interpreter lock in between
# Where a line is no field, the section goes on if one of these still follows; else the blank line
# before the body is missing, and the body begins there.
_KNOWN = {b"subject", b"from", b"to", b"cc", b"date", b"message-id", b"received", b"return-path"}
_KNOWN |= {b"reply-to", b"sender", b"mime-version", b"delivered-to", b"references", b"in-reply-to"}
_KNOWN_BEGINNINGS = (
    b"content-",
    b"x-",
    b"list-",
    b"dkim-",
    b"arc-",
    b"resent-",
    b"authentication-",
)


@dataclass(slots=True)
class Header:
    """Raw values by name in lower case, in their order; and where the body begins."""

    body: int = 0
    count: int = 0
    fields: dict[bytes, list[bytes]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether there is a field of a name, in any case."""
        return name.lower().encode() in self.fields

    def first(self, name: str) -> bytes:
        """The first value of a name, on one line; empty where there is none."""
        return next(iter(self.all(name)), b"")

    def all(self, name: str) -> list[bytes]:
        """All values of a name, each on one line."""
        return list(map(unfolded, self.fields.get(name.lower().encode(), [])))


def read_header(data: bytes, start: int, end: int, most: int = MAX_FIELDS) -> Header:
    """The header section that begins at `start`, in a mail or part that ends at `end`; at most so
    many of its fields."""
    if begins := _BEGINS_BLANK.match(data, start, end):
        return Header(begins.end())
    section_end, body = _blank_line(data, start, end)
    looked_at = min(section_end, start + _MAX_SECTION)
    fields: list[tuple[bytes, bytes]] = []
    sure, behind = 0, start  # fields that are none of the body's lines; the place behind the last
    gap: int | None = None  # where lines that are no fields begin
    for found in islice(_FIELD.finditer(data, start, looked_at), most):
        if gap is None and found.start() > behind:
            gap = behind
        name, behind = found[1].lower(), found.end() + 1
        fields.append((name, found[2][:MAX_FIELD_BYTES]))
        if gap is None or name in _KNOWN or name.startswith(_KNOWN_BEGINNINGS):
            sure, gap = len(fields), None
    if gap is None and len(fields) < most and behind < looked_at:
        gap = behind
    header = Header(body if gap is None else gap, len(fields))
    for name, value in fields[:sure]:
        header.fields.setdefault(name, []).append(value)
    return header


def unfolded(raw: bytes) -> bytes:
    """A raw value on one line."""
    return raw.replace(b"\r\n", b"").replace(b"\n", b"").replace(b"\r", b" ").strip()


def _blank_line(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the section ends, and where the body begins."""
    for at in range(start, end, _WINDOW):
        if found := _BLANK_LINE.search(data, at, min(end, at + _WINDOW + 2)):
            return found.start() + 1, found.end()
    return end, end
