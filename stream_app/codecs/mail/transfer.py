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
_MAX_BLANKS = 1 << 20  # bytes looked through for them
_BLANKS_BEFORE_END = re.compile(rb"=[ \t]++(?=\r?\n)")
_UU_BEGINS = re.compile(rb"^begin [0-7]{3,4} .*\n", re.MULTILINE)
_UU_LINES = 20_000
_SLICE = 1 << 18  # bytes decoded in one go: others get the interpreter lock in between


Decoder = Callable[[bytes], bytes]


def decoder_of(fields: Iterable[bytes]) -> Decoder | None:
    """What undoes the first transfer encoding that `Content-Transfer-Encoding` names; None where
    the body stands as it is."""
    tokens = (token for value in fields for token in _TOKEN.findall(value.lower()))
    return next(filter(None, map(_DECODERS.get, tokens)), None)


def _decode_quoted_printable(data: bytes) -> bytes:
    data = _BLANKS_BEFORE_END.sub(b"=", data[:_MAX_BLANKS]) + data[_MAX_BLANKS:]
    decoded, at = [], 0
    while at < len(data):
        end = data.rfind(b"\n", at, at + _SLICE) + 1 or at + _SLICE
        decoded.append(binascii.a2b_qp(data[at:end]))
        at = end
    return b"".join(decoded)


def _decode_uu(data: bytes) -> bytes:
    """What stands between `begin` and `end`; other data is left as it is."""
    begin = _UU_BEGINS.search(data, 0, _SLICE)
    if begin is None:
        return data
    decoded = []
    for line in islice(data[begin.end() :].split(b"\n"), _UU_LINES):
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
