"""Base64 as mail has it: in several padded blocks, with odd letters, with a list's footer behind.

The standard library stops at the first padding, which hides what follows; mail programs go on.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from contextlib import suppress

MAX_ODD_CHUNKS = (
    2  # that are looked at by the line; beyond, letters that are not base64's are dropped
)

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_OTHERS = bytes(set(range(256)) - set(_ALPHABET))
_WORD = re.compile(rb"[A-Za-z]?[a-z]*|[A-Z]*|[0-9]*")
_CONTROL = bytes({*range(32), 127} - {*b"\t\n\r"})
_LONG_LINE, _SURE = 40, 24
_SLICE = 1 << 18  # letters decoded in one go, a multiple of four
_CHUNK = 1 << 14


def decode_base64(data: bytes) -> bytes:
    """What is base64 in `data` decoded, lines of something else as they are."""
    with suppress(binascii.Error):
        return _plain(data)
    decoded, odd_chunks, at = [], 0, 0
    while at < len(data):
        end = data.find(b"\n", at + _CHUNK, at + 2 * _CHUNK) + 1 or at + _CHUNK
        chunk, at = data[at:end], end
        try:
            decoded.append(_plain(chunk, whole=at < len(data)))
        except binascii.Error:
            odd_chunks += 1
            if odd_chunks > MAX_ODD_CHUNKS:
                decoded.append(_decoded(chunk.translate(None, _OTHERS)))
            else:
                decoded.extend(_blocks(chunk))
    return b"".join(decoded)


def _plain(data: bytes, whole: bool = False) -> bytes:
    """Raises `binascii.Error` for what is not base64 in lines, `whole` for what another block must
    not follow."""
    letters = data.translate(None, b"\t\r\n")
    if b" " in data or (whole and (len(letters) % 4 or letters.endswith(b"="))):
        raise binascii.Error
    return _decoded(letters.rstrip(b"="))


def _decoded(letters: bytes) -> bytes:
    """Raises `binascii.Error` for what is not of the alphabet."""
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    letters += b"=" * (-len(letters) % 4)
    slices = (letters[at : at + _SLICE] for at in range(0, len(letters), _SLICE))
    return b"".join(binascii.a2b_base64(each, strict_mode=True) for each in slices)


def _blocks(data: bytes) -> Iterator[bytes]:
    """Blocks of base64 decoded, and the lines between them."""
    whole = _decoded(data.translate(None, _OTHERS))
    if _is_text_of_utf8(whole):  # which what is no base64 never becomes, however odd its letters
        yield whole
        return
    block: list[bytes] = []
    width = 0  # of the open block's first line; 0 where none is open
    for line in map(bytes.strip, data.split(b"\n")):
        if _is_text(line, width):
            yield _decoded(b"".join(block)) + b"\n" + line + b"\n"
            block, width = [], 0
            continue
        *ended, last = re.split(rb"=+", line)
        for piece in ended:
            yield _decoded(b"".join((*block, piece.translate(None, _OTHERS))))
            block = []
        block.append(last.translate(None, _OTHERS))
        width = 0 if len(line) < width or (ended and not last) else width or len(line)
    yield _decoded(b"".join(block))


def _is_text_of_utf8(data: bytes) -> bool:
    if len(data) < _SURE or data.translate(None, _CONTROL) != data:
        return False
    with suppress(UnicodeDecodeError):
        return bool(data.decode())
    return False


def _is_text(line: bytes, width: int) -> bool:
    """Whether a line is none of base64. In an open block one with an odd letter still is; where no
    block is open only a long one, for a footer's words could be taken for base64."""
    tokens = line.split()
    odd = len(b"".join(tokens).translate(None, _ALPHABET + b"="))
    words = sum(1 for token in tokens if _WORD.fullmatch(token))
    if 2 * words >= len(tokens) and (odd or not width or len(tokens) > 1):
        return True
    if width:
        return odd * (4 if len(line) >= width else 12) > len(line)
    return odd * 16 > len(line) or (odd > 0 and len(line) < _LONG_LINE)
