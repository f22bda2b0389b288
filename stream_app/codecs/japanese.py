"""ISO-2022-JP and EUC-JP as mail uses them: with the characters that vendors added.

For texts that Python's codecs of these names refuse: they lack NEC's row 13 (①, ㈱, ℡) and NEC's
and IBM's kanji (髙), which mail programs write. The WHATWG Encoding Standard's index has them, and
so has code page 932.
"""

from __future__ import annotations

import re
from functools import cache

_ESCAPE = re.compile(rb"\x1b(\$\([@-E]|\$[@AB]|\([A-J]|\.[AF])")
_KANJI = {b"$@", b"$B", b"$(@", b"$(B"}
_KATAKANA = b"(I"
_LATIN = {b"(B", b"(J", b"(H"}
_PAIRS = re.compile(rb"(?<!\x8f)(?:[\xa1-\xfe]{2})+")
_SEVEN_BITS = bytes(byte & 0x7F for byte in range(256))
_EIGHT_BITS = bytes(byte | 0x80 for byte in range(256))


def decode_iso_2022_jp(data: bytes) -> str:
    """Text in ISO-2022-JP or one of its kin; bytes of eight bits in it are Shift JIS."""
    start, *rest = _ESCAPE.split(data)
    text = [start.decode("cp932", "replace")]
    for escape, piece in zip(rest[::2], rest[1::2], strict=True):
        if escape in _LATIN:
            text.append(piece.decode("cp932", "replace"))
        elif escape in _KANJI:
            text.append("\n".join(map(_kanji, piece.replace(b"\r", b"").split(b"\n"))))
        elif escape == _KATAKANA:
            text.append(piece.translate(_EIGHT_BITS).decode("cp932", "replace"))
        else:  # Greek, Chinese or Korean letters among the Japanese
            text.append((b"\x1b" + escape + piece).decode("iso2022_jp_2", "replace"))
    return "".join(text)


def decode_euc_jp(data: bytes) -> str:
    """Text in EUC-JP."""
    text, end = [], 0
    for run in _PAIRS.finditer(data):
        text.append(data[end : run.start()].decode("euc_jp", "replace"))
        text.append(_kanji(run[0].translate(_SEVEN_BITS)))
        end = run.end()
    return "".join(text) + data[end:].decode("euc_jp", "replace")


class _Index(dict[int, str]):
    """Row and column of JIS X 0208, each with 0x20 added -> character, vendors' ones included."""

    def __missing__(self, code: int) -> str:
        return "\ufffd"


@cache
def _index() -> _Index:
    index = _Index()
    for row in range(0x21, 0x7F):
        lead = (row + 1) // 2 + (0x70 if row < 0x5F else 0xB0)
        for column in range(0x21, 0x7F):
            trail = column + (0x1F + (column >= 0x60) if row % 2 else 0x7E)
            if character := bytes((lead, trail)).decode("cp932", "ignore"):
                index[row << 8 | column] = character
    return index


def _kanji(data: bytes) -> str:
    """Characters of two bytes of seven bits."""
    return data.decode("utf-16-be", "replace").translate(_index())
