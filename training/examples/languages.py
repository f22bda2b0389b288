"""Which language a text is in, as far as its commonest words or its letters tell: for a report.

Stop words of the languages that `stop-words` lists; a language of another script by its letters.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache

from stop_words import get_stop_words

_LATIN = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "nb", "fi", "pl", "ro", "cs", "tr")
_SCRIPTS = {
    "CJK": "zh",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "ARABIC": "ar",
    "DEVANAGARI": "hi",
    "CYRILLIC": "ru",
    "GREEK": "el",
    "HEBREW": "he",
    "THAI": "th",
}
UNKNOWN = "unknown"
_READ = 2_000  # characters
_WORD = re.compile(r"[^\W\d_]+")


def language(text: str) -> str:
    """Its ISO 639-1 code, or `unknown`: too short, or of no language that is told apart here."""
    words = _WORD.findall(text[:_READ].lower())
    letters = Counter(_script(word[0]) for word in words)
    script = letters.most_common(1)[0][0] if letters else ""
    if script in _SCRIPTS:
        return "ja" if letters["HIRAGANA"] + letters["KATAKANA"] else _SCRIPTS[script]
    hits = Counter({code: sum(word in _common(code) for word in words) for code in _LATIN})
    (best, most), (_, second) = hits.most_common(2)
    return best if most > second else UNKNOWN


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").split(" ")[0].split("-")[0]


@cache
def _common(code: str) -> frozenset[str]:
    return frozenset(get_stop_words(code))
