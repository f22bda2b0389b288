"""Bytes that claim a charset -> text, whatever they really are. Never raises.

Mail and feeds name charsets that do not exist, or another one than they use. The rules are those of
browsers: the WHATWG Encoding Standard says what a label means (`iso-8859-1` is `windows-1252`), a
byte order mark wins, and what is silent or western but UTF-8 is UTF-8. One bad byte costs one
character.
"""

from __future__ import annotations

import codecs
import encodings
import pkgutil
import re
from contextlib import suppress
from encodings.aliases import aliases
from functools import cache

from webencodings import PYTHON_NAMES
from webencodings.labels import LABELS

from stream_app.codecs.japanese import decode_euc_jp, decode_iso_2022_jp

_WESTERN = "windows-1252"
_OF_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16le"),
    (codecs.BOM_UTF16_BE, "utf-16be"),
)
_SUPERSETS = {"gbk": "gb18030", "x-user-defined": _WESTERN, "latin_1": _WESTERN}
_SUPERSETS |= dict.fromkeys(("iso2022_jp", "iso2022_jp_1", "iso2022_jp_2"), "iso-2022-jp")
_BY_HAND = {"iso-2022-jp": decode_iso_2022_jp, "euc-jp": decode_euc_jp}
_STANDARD = set(LABELS.values())

# What mail has beyond the standard, which is for the web: Python's codecs. Only names from this
# closed list reach `codecs.lookup`: it imports a module for each name it does not know and
# remembers it for ever, which a sender could use to fill the memory.
_NOT_CHARSETS = {"aliases", "charmap", "idna", "punycode", "undefined", "mbcs", "oem"}
_NOT_CHARSETS |= {"unicode_escape", "raw_unicode_escape", "base64_codec", "bz2_codec", "hex_codec"}
_NOT_CHARSETS |= {"quopri_codec", "rot_13", "uu_codec", "zlib_codec"}
_EBCDIC = {"cp037", "cp1026", "cp1140", "cp273", "cp424", "cp500", "cp875"}  # nobody mails in it
_MODULES = {module.name for module in pkgutil.iter_modules(encodings.__path__)}
_MODULES -= _NOT_CHARSETS | _EBCDIC
_BEYOND = {alias: name for alias, name in aliases.items() if name in _MODULES}
_BEYOND |= {name: name for name in _MODULES}
_BEYOND |= dict.fromkeys(("iso_2022_jp_ms", "cp50220", "cp50221", "cp50222"), "iso-2022-jp")
_BEYOND |= dict.fromkeys(("eucjp_ms", "eucjp_win", "euc_jp_ms", "eucjpms"), "euc-jp")
_BEYOND |= {"sjis_win": "shift_jis", "windows_936": "gb18030", "windows_950": "big5"}
_BEYOND |= {"koi8r": "koi8-r", "koi8u": "koi8-u", "utf8mb4": "utf-8"}
_OF_WINDOWS = re.compile(r"(?:win|windows|cp)[-_ ]?(125\d|874)")

# The slow ones: what vendors added to Japanese, and UTF-7 and others that the standard leaves out.
MAX_SLOW_BYTES = 1 << 17
MAX_BAD = 100_000  # characters that cannot be read, each of which is slow; the rest is left unread
_WIDE = ("utf-16", "utf_16", "utf-32", "utf_32")  # whose letters all have zero bytes
_BEGINS_KANJI = re.compile(
    rb"\x1b\$[@B](?:[!-~]{2})"
)  # of ISO-2022-JP, which often goes undeclared
_SLICE, _SHORT_SLICE = (
    1 << 18,
    MAX_SLOW_BYTES,
)  # bytes decoded in one go, for the interpreter lock's sake


def decode(data: bytes, charset: str | None) -> str:
    """`data` as text: by its byte order mark, else its declared charset where that works, else
    UTF-8 where it is that, else by the declared one (or Windows-1252) as well as it goes."""
    for mark, encoding in _OF_BOMS:
        if data.startswith(mark):
            return _decode(data[len(mark) :], encoding)
    encoding = encoding_of(charset) or _WESTERN
    if encoding.startswith(_WIDE) and data.isascii() and b"\0" not in data:
        encoding = _WESTERN
    if encoding == _WESTERN:
        encoding = "iso-2022-jp" if _BEGINS_KANJI.search(data[:_SLICE]) else encoding
        return _decode(data, "utf-8" if is_utf8(data) else encoding)
    text = _decode(data, encoding)
    return _decode(data, "utf-8") if "\ufffd" in text and is_utf8(data) else text


def encoding_of(label: str | None, *, web_only: bool = False) -> str | None:
    """The name of the encoding that a label means, None where it means none.

    `web_only` leaves it at the labels of the standard, which has no UTF-7 on purpose.
    """
    label = (label or "").lower().removeprefix("3d")  # from `=3D`, quoted-printable where none is
    label = label.strip(" \t\r\n\f\"',")
    if windows := _OF_WINDOWS.fullmatch(label):
        label = f"windows-{windows[1]}"
    name = LABELS.get(label) or LABELS.get(label.replace("_", "-"))
    if name in (None, "replacement") and not web_only:
        name = _BEYOND.get(encodings.normalize_encoding(label), "")
        name = LABELS.get(name.replace("_", "-"), name) or None
    return _SUPERSETS.get(name, name) if name else None


def is_utf8(data: bytes) -> bool:
    """Whether `data` is UTF-8 and not plain ASCII: it has more characters of several bytes than
    bytes that fit nowhere. Its beginning tells."""
    if data.isascii():
        return False
    text = data[:_SLICE].decode("utf-8", "replace")
    several = len(text) - len(text.encode("ascii", "ignore"))
    return several > 2 * text.count("\ufffd")


def _decode(data: bytes, encoding: str) -> str:
    """By one encoding, with U+FFFD for what it cannot read."""
    if encoding in _BY_HAND:
        with suppress(UnicodeDecodeError):
            return _in_slices(data, encoding, "strict")
        return _BY_HAND[encoding](data[:MAX_SLOW_BYTES])
    seldom = encoding not in _STANDARD
    return _in_slices(data[:MAX_SLOW_BYTES] if seldom else data, encoding, "replace")


def _in_slices(data: bytes, encoding: str, errors: str) -> str:
    python_name = PYTHON_NAMES.get(encoding, encoding)
    if table := _table(python_name):
        slices = (data[at : at + _SLICE] for at in range(0, len(data), _SLICE))
        return "".join(codecs.charmap_decode(piece, "strict", table)[0] for piece in slices)
    if len(data) <= _SHORT_SLICE:
        return data.decode(python_name, errors)
    decoder = codecs.getincrementaldecoder(python_name)(errors)
    text, bad = [], 0
    for at in range(0, len(data), _SHORT_SLICE):
        end = at + _SHORT_SLICE
        text.append(decoder.decode(data[at:end], end >= len(data)))
        bad += text[-1].count("\ufffd")
        if bad > MAX_BAD:
            break
    return "".join(text)


@cache
def _table(python_name: str) -> str | None:
    """The 256 characters of an encoding of one byte each, None for the others.

    With U+FFFD where it has none: to replace them one by one takes a hundred times as long.
    """
    singly = "".join(bytes((byte,)).decode(python_name, "replace") for byte in range(256))
    together = bytes(range(256)).decode(python_name, "replace")
    one_each = singly == together and singly.count("\ufffd") < 64  # UTF-8 has none for 128 of them
    return singly if one_each else None
