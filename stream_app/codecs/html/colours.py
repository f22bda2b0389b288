"""Colours of CSS and HTML, and whether they can be told apart."""

from __future__ import annotations

import re
from collections.abc import Mapping

# beside six digits such as `ffffff`, and '' for the colour of what is around
UNKNOWN, CLEAR = "?", "clear"
ALIKE = 16  # of 255: colours that differ by no more look the same
_MOST_CLEAR = 0.1
_CLEAR = {"transparent", "none", "initial", "unset"}

_HEX = re.compile(r"#?([0-9a-f]{3}|[0-9a-f]{6})")
_RGB = re.compile(
    r"rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})(?:[\s,/]+([01]?\.?\d*))?\s*\)"
)
_WORD = re.compile(r"[^\s(),]+(?:\([^()]*\))?")
_PICTURE = re.compile(r"url|gradient|image|var\(|element")
# HTML's own, and those that look like white.
_NAMED = """
    aqua 00ffff azure f0ffff black 000000 blue 0000ff cyan 00ffff floralwhite fffaf0 fuchsia ff00ff
    ghostwhite f8f8ff gray 808080 green 008000 grey 808080 ivory fffff0 lime 00ff00 magenta ff00ff
    maroon 800000 mintcream f5fffa navy 000080 olive 808000 orange ffa500 purple 800080 red ff0000
    seashell fff5ee silver c0c0c0 snow fffafa teal 008080 white ffffff whitesmoke f5f5f5
    yellow ffff00
"""
_NAMES = dict(zip(_NAMED.split()[::2], _NAMED.split()[1::2], strict=True))


def colour(value: str) -> str:
    """Six digits, CLEAR for none, '' for that of what is around, else UNKNOWN."""
    if value in ("", "inherit", "currentcolor"):
        return ""
    if found := _HEX.fullmatch(value):
        return found[1] if len(found[1]) == 6 else "".join(digit * 2 for digit in found[1])
    if found := _RGB.fullmatch(value):
        opacity = float(found[4]) if (found[4] or "").strip(".") else 1.0
        if opacity < 1:
            return CLEAR if opacity <= _MOST_CLEAR else UNKNOWN
        return "".join(f"{min(255, int(number)):02x}" for number in found.groups()[:3])
    return CLEAR if value in _CLEAR else _NAMES.get(value, UNKNOWN)


def background(found: Mapping[str, str]) -> str:
    """The colour behind an element's text, by its declarations; UNKNOWN behind a picture."""
    papers = set()
    for name, value in found.items():
        if not name.startswith("background"):
            continue
        if _PICTURE.search(value):
            return UNKNOWN
        if name in ("background", "background-color"):
            known = (colour(word) for word in _WORD.findall(value) if not word[0].isdigit())
            papers.add(next((each for each in known if each != UNKNOWN), UNKNOWN))
    if papers <= {CLEAR}:
        return ""
    return papers.pop() if len(papers) == 1 else UNKNOWN


def alike(one: str, other: str) -> bool:
    """Whether two colours are known and look the same."""
    if len(one) != 6 or len(other) != 6:
        return False
    pairs = zip(bytes.fromhex(one), bytes.fromhex(other), strict=True)
    return all(abs(a - b) <= ALIKE for a, b in pairs)
