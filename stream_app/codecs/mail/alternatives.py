"""Which of several forms of one text are read.

A mail program shows the last form that it can (RFC 2046, section 5.1.4), mostly HTML; filters have
always read the first, the plain one. In most good mail they say the same. Where they do not, a
spammer may have put something harmless, or nothing, into the form that nobody sees: then both are
read, the shown one first. How often that is: docs/adr/0016-alternatives.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from stream_app.model.visible import visible

MOST_UNSHOWN = 0.3  # share of a plain text's words that its other form may lack

# A word, or a letter of a script that puts no space between words. Addresses are left out: HTML has
# them behind its links.
_WORD = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]|[^\W_]+")
_ADDRESS = re.compile(r"(?:https?://|www\.|mailto:)\S+|\S+@\S+", re.IGNORECASE)


def read_alternatives(forms: Sequence[tuple[str, str]]) -> str:
    """Of (media type, text) in the order of the mail: the plain text, and before it each form that
    says something else, the last first."""
    texts = [text for _, text in forms if text]
    plain = [text for kind, text in forms if text and kind == "text/plain"]
    if not texts:
        return ""
    read = [plain[0] if plain else texts[-1]]
    for text in reversed(texts):
        if not any(map(agree, [text] * len(read), read)):
            read.insert(-1, text)
    return "\n".join(read)


def agree(shown: str, plain: str) -> bool:
    """Whether a plain text holds every word that is shown, and few that are not."""
    if shown == plain:
        return True
    words, others = set(_words(shown)), _words(plain)
    if not words.issubset(others):
        return False
    return sum(1 for word in others if word not in words) <= MOST_UNSHOWN * len(others)


def _words(text: str) -> list[str]:
    return _WORD.findall(_ADDRESS.sub(" ", visible(text)).lower())
