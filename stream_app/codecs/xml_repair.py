"""The XML of feeds as it is in the wild -> XML that a parser takes whole.

Feeds name encodings that they do not use, hold bytes of no encoding, use HTML's entities without
declaring them, and write a bare `&`. Feed readers forgive that; an XML parser stops or, worse, cuts
the text off in silence.
"""

from __future__ import annotations

import re
from html import escape
from html.entities import html5

from stream_app.codecs.charsets import decode, is_utf8

_DECLARED = re.compile(rb"<\?xml\b[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})")
_LITTLE_ENDIAN, _BIG_ENDIAN = re.compile(rb"(?:\s\0)*+<\0"), re.compile(rb"(?:\0\s)*+\0<")
_DECLARATION = re.compile(r"<\?xml\s[^>]*>")
_NOT_IN_XML = bytes({*range(32)} - {*b"\t\n\r"})
_NO_CHARACTERS = (b"\xef\xbf\xbe", b"\xef\xbf\xbf")  # U+FFFE, U+FFFF
_AMPERSAND = re.compile(r"&(?:(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{0,31});)?")
_OF_XML = {"amp", "lt", "gt", "quot", "apos"}
# Numbered references to no characters of XML's: HTML takes them for Windows-1252's.
_ODD_NUMBERS = {code: bytes((code,)).decode("cp1252", "ignore") for code in range(0x80, 0xA0)}
_ODD_NUMBERS |= dict.fromkeys({*range(1, 32)} - {9, 10, 13}, "") | {0: "\ufffd"}
_CDATA, _END_OF_CDATA = "<![CDATA[", "]]>"


def repaired(value: bytes) -> bytes:
    """The document in `value` in UTF-8, without a declaration and without what XML has no character
    for; each `&` in it begins a reference that XML knows, or that the document declares."""
    text = _decoded(value).lstrip("\ufeff \t\r\n")
    if declaration := _DECLARATION.match(text):
        text = text[declaration.end() :].lstrip()
    if "&" in text:
        text = _with_references(text)
    data = text.encode("utf-8", "replace").translate(None, _NOT_IN_XML)
    for character in _NO_CHARACTERS:
        data = data.replace(character, b"")
    return data


def _decoded(value: bytes) -> str:
    """By what it is: UTF-8 whatever the declaration says, UTF-16 by its first character."""
    if _LITTLE_ENDIAN.match(value):
        return decode(value, "utf-16le")
    if _BIG_ENDIAN.match(value):
        return decode(value, "utf-16be")
    value = value.lstrip()
    declared = _DECLARED.match(value)
    if declared is None or is_utf8(value):
        return decode(value, "utf-8")
    return decode(value, declared[1].decode("ascii", "replace"))


def _with_references(text: str) -> str:
    declares = "<!ENTITY" in text

    def reference(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "&amp;"
        if name.startswith("#"):
            code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
            return _ODD_NUMBERS.get(code, found[0])
        if name in _OF_XML or (declares and f"{name};" not in html5):
            return found[0]
        return escape(html5.get(f"{name};", found[0]), False)

    first, *rest = text.split(_CDATA)
    pieces = [_AMPERSAND.sub(reference, first)]
    for piece in rest:
        data, end, after = piece.partition(_END_OF_CDATA)
        pieces += [_CDATA, data, end, _AMPERSAND.sub(reference, after)]
    return "".join(pieces)
