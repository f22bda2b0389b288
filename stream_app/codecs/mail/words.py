"""A raw header value -> text: RFC 2047's encoded words decoded, broken ones left as they are.

The standard library's `decode_header` gives up on the whole value at one bad word.
"""

from __future__ import annotations

import binascii
import re

from stream_app.codecs.charsets import decode, is_utf8

# a question mark may stand in one, the beginning of the next may not
_ENCODED_WORD = re.compile(
    rb"=\?([^?*\s]++)(?:\*[^?\s]*+)?\?([bBqQ])\?((?>[^?=]++|=(?!\?[^=])|\?(?!=))*+)\?="
)


def header_text(raw: bytes, charset: str | None = None) -> str:
    """A value on one line as text. `charset` is what the mail declares for its body: raw bytes of
    eight bits that are not UTF-8 are read by it."""
    if b"=?" not in raw:
        return _raw_text(raw, charset)
    pieces: list[tuple[bytes, str]] = []  # neighbours of one charset are one text, cut
    end = 0
    for word in _ENCODED_WORD.finditer(raw):
        between, end = raw[end : word.start()], word.end()
        if between and not (between.isspace() and pieces and pieces[-1][1]):
            pieces.append((between, ""))
        data, name = _decoded(word)
        if pieces and name and pieces[-1][1] == name:
            pieces[-1] = (pieces[-1][0] + data, name)
        else:
            pieces.append((data, name))
    pieces.append((raw[end:], ""))
    return "".join(decode(d, name) if name else _raw_text(d, charset) for d, name in pieces)


def _raw_text(data: bytes, charset: str | None) -> str:
    if data.isascii() and b"\x1b$" not in data:  # which begins Japanese or Korean
        return data.decode("ascii")
    return decode(data, "utf-8" if is_utf8(data) else charset)


def _decoded(word: re.Match[bytes]) -> tuple[bytes, str]:
    """The bytes of an encoded word and their charset; '' for a word that is left as it is."""
    charset, encoded = word[1].decode("ascii", "replace").lower(), word[3]
    if word[2] in b"qQ":
        return binascii.a2b_qp(encoded, header=True), charset
    try:
        return binascii.a2b_base64(encoded + b"=="), charset
    except binascii.Error:
        return word[0], ""
