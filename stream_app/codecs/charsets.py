"""Bytes that claim a charset -> text, whatever they really are. Never raises.

Mail and feeds name charsets that do not exist, or another one than they use. The rules are those of
browsers: a declared name means its superset (the WHATWG Encoding Standard reads `iso-8859-1` as
`windows-1252`), and what is silent or western but valid UTF-8 is UTF-8.
"""

from __future__ import annotations

import codecs
import encodings
import pkgutil
from encodings.aliases import aliases

# Only names from this closed list reach `codecs.lookup`: it imports a module for each name it does
# not know and remembers it for ever, which a sender could use to fill the memory.
_NOT_CHARSETS = {"aliases", "charmap", "idna", "punycode", "undefined", "mbcs", "oem"}
_NOT_CHARSETS |= {"unicode_escape", "raw_unicode_escape"}
_CHARSETS = {module.name for module in pkgutil.iter_modules(encodings.__path__)} | set(aliases)
_CHARSETS -= _NOT_CHARSETS

_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}
_UNREGISTERED = {"windows_874": "cp874", "x_sjis": "cp932", "iso_8859_8_i": "iso8859_8"}
_WESTERN = "cp1252"


def decode(data: bytes, charset: str | None) -> str:
    """`data` as text: by its declared charset where that works, else UTF-8, else Windows-1252."""
    codec = _codec(charset)
    for candidate in ("utf-8", codec) if codec == _WESTERN else (codec, "utf-8"):
        try:
            return data.decode(candidate)
        except UnicodeError:
            continue
    return data.decode(codec, "replace")


def _codec(charset: str | None) -> str:
    """Name of the Python codec that reads `charset`; the western one where nothing reads it."""
    name = encodings.normalize_encoding((charset or "").strip(" \t\"'").lower())
    name = _UNREGISTERED.get(name, name)
    if name not in _CHARSETS:
        return _WESTERN
    try:
        codec = codecs.lookup(name).name
        b" ".decode(codec, "replace")  # refuses the codecs between bytes and bytes, such as zlib
    except LookupError:
        return _WESTERN
    return _SUPERSETS.get(codec, codec)
