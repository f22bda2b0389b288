"""A part's body -> its bytes, by its transfer encoding (RFC 2045, section 6), read leniently.

What can be decoded is, and what cannot is left as it is: mail programs show it.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from stream_app.codecs.mail.base64 import decode_base64

_TOKEN = re.compile(rb"[\w-]+")
_COMMENT = re.compile(rb"\([^()]*+\)")
_MAX_COMMENTS = 8
_MAX_ODD = 1 << 20  # bytes looked through for odd ends of lines
# of a line that goes on; a carriage return alone ends one as well
_SOFT_END = re.compile(rb"=[ \t]*+(?:\r+\n?|\n)")
_UU_BEGINS = re.compile(rb"^begin [0-7]{3,4} .*\n", re.MULTILINE)
_UU_LINES, _MAX_UU = 20_000, 1 << 20
_SLICE = 1 << 18  # bytes decoded in one go: others get the interpreter lock in between


Decoder = Callable[[bytes], bytes]


def decoder_of(fields: Iterable[bytes]) -> Decoder | None:
    """What undoes the first transfer encoding that `Content-Transfer-Encoding` names; None where
    the body stands as it is."""
    named = (token for value in fields for token in _TOKEN.findall(_without_comments(value)))
    return next(filter(None, map(_DECODERS.get, named)), None)


def _without_comments(value: bytes) -> bytes:
    value = value.lower()
    for _ in range(_MAX_COMMENTS):
        value, found = _COMMENT.subn(b" ", value)
        if not found:
            break
    return value


def _decode_quoted_printable(data: bytes) -> bytes:
    decoded, at = [], 0
    while at < len(data):
        end = _end_of_slice(data, at, at + _SLICE)
        piece = data[at:end]
        if at < _MAX_ODD and _has_odd_ends(piece):
            piece = _SOFT_END.sub(b"=\n", piece)
        decoded.append(binascii.a2b_qp(piece))
        at = end
    return b"".join(decoded)


def _end_of_slice(data: bytes, at: int, end: int) -> int:
    """A place at or before `end` that cuts no escape."""
    if end < len(data):
        escape = data.find(b"=", end - 2, end)
        return data.rfind(b"\n", at, end) + 1 or (end if escape < 0 else escape)
    return end


def _has_odd_ends(piece: bytes) -> bool:
    """Whether lines may end as `binascii` does not know."""
    lone = piece.count(b"\r") != piece.count(b"\r\n")
    return lone or b"= " in piece or b"=\t" in piece


def _decode_uu(data: bytes) -> bytes:
    """What stands between `begin` and `end`; other data is left as it is."""
    begin = _UU_BEGINS.search(data, 0, _SLICE)
    if begin is None:
        return data
    decoded = []
    lines = data[begin.end() : begin.end() + _MAX_UU].split(b"\n")
    for line in islice(lines, _UU_LINES):
        if line.strip() in (b"end", b"`", b""):
            break
        decoded.append(_uu_line(line.rstrip(b"\r")))
    return b"".join(decoded)


def _uu_line(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:  # some encoders pad a line too long
        size = (((line[0] - 32) & 63) * 4 + 5) // 3
        try:
            return binascii.a2b_uu(line[:size])
        except binascii.Error:
            return b""


_DECODERS: Mapping[bytes, Decoder] = {
    b"base64": decode_base64,
    b"base-64": decode_base64,
    b"quoted-printable": _decode_quoted_printable,
    **dict.fromkeys((b"x-uuencode", b"uuencode", b"x-uue", b"uue"), _decode_uu),
}
