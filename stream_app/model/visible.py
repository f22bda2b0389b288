"""What a reader sees of a text: without invisible characters and without towers of marks.

Spam hides by characters that have no glyph: between the letters of a word they cut it, in masses
they push words beyond what a model reads. Combining marks in masses cost quadratic time to
normalise. Sources: `Default_Ignorable_Code_Point` of the Unicode Character Database, and the
stream-safe text format of UAX 15, section 13.
"""

from __future__ import annotations

import re
import unicodedata

MAX_MARKS = 30  # on one character (UAX 15); no language has more than a few

# Format characters that some script needs between its letters, and fillers of its blocks.
_NEEDED = (
    "\u200c\u200d"  # joiners: Arabic, the scripts of India, emoji
    "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2"  # Arabic and Syriac signs around numbers
    "\u115f\u1160"  # Hangul fillers, in old syllables
    "\u180b-\u180f"  # Mongolian variants and vowel separator
    "\U000110bd\U000110cd"  # Kaithi number signs
    "\U00013430-\U0001343f"  # Egyptian hieroglyphs in groups
    "\U0001bca0-\U0001bca3"  # shorthand
)
# The letters of these scripts, and emoji, without the characters above.
_JOINED = (
    "\u0606-\u061b\u061d-\u06dc\u06de-\u070e\u0710-\u088f\u0892-\u08e1\u08e3-\u0dff"
    "\u1000-\u109f\u1100-\u115e\u1161-\u11ff\u1780-\u17b3\u17b6-\u180a\u1810-\u18af\u1a20-\u1c4f"
    "\u2190-\u27bf\u2b00-\u2bff\ua800-\ua8ff\ua980-\uaaff\uabc0-\uabff\ufb50-\ufdff\ufe70-\ufefc"
    "\U00010a00-\U000110bc\U000110be-\U000110cc\U000110ce-\U00011fff\U00013000-\U0001342f"
    "\U0001bc00-\U0001bc9f\U0001e900-\U0001e95f\U0001f000-\U0001faff"
)
# The rest of `Cf`, and all else that is never seen: fillers, variation selectors, tags.
_UNNEEDED = (
    "\u00ad\u034f\u061c\u17b4\u17b5\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_UNSEEN = re.compile(f"[{_UNNEEDED}]+")
_OUT_OF_PLACE = re.compile(f"[{_NEEDED}](?:(?![{_JOINED}])|(?<![{_JOINED}][{_NEEDED}]))")
_BACKWARDS = re.compile("\u202e([^\u202a-\u202e\u2066-\u2069\n]*)")  # until another direction
_BLANK = "\u2800"  # a Braille pattern of no dots looks like a space

# A run that may hold too many marks: no mark is a letter to Python but those of half-width Katakana
_LONG_RUN = re.compile(rf"[^\x00-\x7f]{{{MAX_MARKS + 1}}}")
_MAY_TOWER = re.compile(rf"(?:[^\w\s\x00-\x7f]|[\uff9e\uff9f]){{{MAX_MARKS + 1},}}")

_SPACE = re.compile(rf"[\s{_BLANK}]")
_MORE_SPACES = re.compile(r"(?<=\s)\s+")
_PADDING = re.compile(rf"[\s{_UNNEEDED}{_NEEDED}{_BLANK}]{{3,}}")
_SPECIAL = re.compile(f"[{_UNNEEDED}{_NEEDED}{_BLANK}]")
_SEEN = re.compile(rf"[^\s{_UNNEEDED}{_NEEDED}{_BLANK}]")
_SLICE = 1 << 16  # characters looked at in one go: others get the interpreter lock in between


def visible(text: str) -> str:
    """`text` without what has no glyph. A joiner stays between two letters of a script that has
    it, and between emoji; between Latin letters it goes. What is written backwards is turned."""
    if text.isascii() or not _SPECIAL.search(text):
        return text
    if "\u202e" in text:
        text = _BACKWARDS.sub(_turned, text)
    return _OUT_OF_PLACE.sub("", _UNSEEN.sub("", text)).replace(_BLANK, " ")


def stream_safe(text: str) -> str:
    """`text` with at most MAX_MARKS combining marks in a row: normalising it is linear.

    UAX 15 puts a joiner behind every thirty marks; here the rest are dropped, for no reader can
    tell them apart.
    """
    return _MAY_TOWER.sub(_lowered, text) if _LONG_RUN.search(text) else text


def fit(text: str, limit: int) -> str:
    """`text`, or where it is longer than `limit` what is seen of it so far."""
    return text if len(text) <= limit else squeeze(text, limit)


def squeeze(text: str, limit: int) -> str:
    """The first `limit` characters of `text` that are seen, of a run of white space one.

    Reads no more of it than they take, a slice at a time.
    """
    kept, room, after_space = [], limit, False
    for start in range(0, len(text), _SLICE):
        part = _PADDING.sub(_as_space, text[start : start + _SLICE])
        part = _MORE_SPACES.sub("", visible(part))
        if after_space and part[:1].isspace():
            part = part[1:]
        if part:
            kept.append(part[:room])
            room -= len(kept[-1])
            after_space = part[-1].isspace()
        if not room:
            break
    return "".join(kept)


def is_blank(text: str) -> bool:
    """Whether a reader sees nothing of `text`."""
    return not any(_SEEN.search(text, at, at + _SLICE) for at in range(0, len(text), _SLICE))


def _as_space(run: re.Match[str]) -> str:
    return " " if _SPACE.search(run[0]) else ""


def _turned(backwards: re.Match[str]) -> str:
    """Letters of a script that is written from the right stay in their order."""
    written = backwards[1]
    from_right = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in written)
    return written if from_right else written[::-1]


def _lowered(run: re.Match[str]) -> str:
    kept, marks = [], 0
    for character in run[0]:
        first = unicodedata.normalize("NFKD", character)[0]
        marks = marks + 1 if unicodedata.combining(first) else 0
        if marks <= MAX_MARKS:
            kept.append(character)
    return "".join(kept)
