"""An invitation (RFC 5545) -> what a calendar shows of it."""

from __future__ import annotations

import re

_FOLD = re.compile(r"\r?\n[ \t]")
_SHOWN = re.compile(
    r"^(?:SUMMARY|DESCRIPTION|LOCATION|COMMENT)(?:;(?:\"[^\"\n]*+\"|[^\":\n])*+)?:(.*)$",
    re.M | re.I,
)
_ESCAPED = re.compile(r"\\(.)")


def calendar_text(text: str) -> str:
    """Summaries, descriptions, places and comments; all of `text` where it has none."""
    shown = [_ESCAPED.sub(_unescaped, value) for value in _SHOWN.findall(_FOLD.sub("", text))]
    return "\n".join(shown) or text


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] in "nN" else match[1]
