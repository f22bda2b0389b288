"""Checks of a `tokenizer.json` before the library loads it, so that every text takes bounded time.

The library runs anything: a regular expression that backtracks without end, a piece of 20 MB, or
forty replacements that each double the text would block a worker.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

MOST_PIECES = 2**20
LONGEST_PIECE = 1000
MOST_CHARACTERS = 2**23  # of all pieces: each may become a node of a tree
LONGEST_WORD = 1000  # WordPiece takes time quadratic in it
MOST_GROWTH = 32  # of a text, by normalizer and pre-tokenizer

_QUANTIFIER = re.compile(r"\*|\+|\?|\{\d*,?\d*\}")
_ATOM = re.compile(
    r"\\[pP]\{\^?\w+\}|\\[wWdDsSnrt]|\\[^\w]"  # a class by name, or a character that is escaped
    r"|\[\^?(?:\\[pP]\{\^?\w+\}|\\[wWdDsSnrt]|\\[^\w]|[^\[\]\\])+\]"  # a class in brackets
    r"|[^\\\[\](){}*+?|]"
)
_MOST_OPTIONAL = 8


def why_not(tokenizer: dict[str, Any]) -> str:
    """Why a parsed `tokenizer.json` is refused; "" if it is not."""
    model = tokenizer.get("model")
    if not isinstance(model, dict):
        return "it has no model"
    return _vocabulary(model, tokenizer.get("added_tokens")) or _steps(tokenizer)


def _vocabulary(model: dict[str, Any], added: Any) -> str:
    pieces = [*_pieces(model.get("vocab")), *_pieces(added)]
    lengths = list(map(len, pieces))
    if len(lengths) > MOST_PIECES or sum(lengths) > MOST_CHARACTERS:
        return f"it has {len(lengths)} pieces of {sum(lengths)} characters, more than any model's"
    if max(lengths, default=0) > LONGEST_PIECE:
        return f"it has a piece of {max(lengths)} characters"
    word = model.get("max_input_chars_per_word", 100)
    if not isinstance(word, int) or word > LONGEST_WORD:
        return f"max_input_chars_per_word is more than {LONGEST_WORD}"
    return "its dropout gives a text other tokens each time" if model.get("dropout") else ""


def _pieces(vocabulary: Any) -> Iterator[str]:
    """Of {piece: id}, of [[piece, score], …] or of [{"content": piece}, …]."""
    for entry in vocabulary if isinstance(vocabulary, dict | list) else ():
        piece = entry.get("content") if isinstance(entry, dict) else entry
        if isinstance(piece, list) and piece:
            piece = piece[0]
        yield piece if isinstance(piece, str) else ""


def _steps(tokenizer: dict[str, Any]) -> str:
    growth = 1
    for name in ("normalizer", "pre_tokenizer"):
        for step in _objects(tokenizer.get(name)):
            pattern = step.get("Regex", "")
            if not isinstance(pattern, str) or not linear(pattern):
                return (
                    f"its {name} has the regular expression {str(pattern)[:40]!a}, which may not "
                    "end: only alternatives without groups are allowed, each with at most one "
                    "repetition, at its end"
                )
            growth *= _growth(step)
            if growth > MOST_GROWTH:
                return f"its {name} may make a text {MOST_GROWTH} times as long"
    return ""


def _objects(found: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in it."""
    waiting = [found]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def _growth(step: dict[str, Any]) -> int:
    """How many times as long a text may become by one step, at most."""
    if "precompiled_charsmap" in step:
        return _longest_mapping(step["precompiled_charsmap"])
    added = step.get("content", step.get("prepend", ""))
    if not isinstance(added, str):
        return MOST_GROWTH + 1
    pattern = step.get("pattern")
    replaced = pattern.get("String", "") if isinstance(pattern, dict) else ""
    shortest = len(replaced) if isinstance(replaced, str) else 0
    # an empty match inserts between all characters
    return max(1, -(-len(added) // shortest) if shortest else 1 + len(added))


def _longest_mapping(encoded: Any) -> int:
    """Of SentencePiece's map: 4 bytes of size, a trie of this size, and what characters become."""
    try:
        data = base64.b64decode(encoded or "", validate=True)
    except (binascii.Error, TypeError, ValueError):
        return MOST_GROWTH + 1
    texts = data[4 + int.from_bytes(data[:4], "little") :]
    longest = max(map(len, texts.decode(errors="replace").split("\0")), default=0)
    return MOST_GROWTH + 1 if longest > MOST_GROWTH else 1  # a few rare characters become many


def linear(pattern: str) -> bool:
    """Whether a matcher that backtracks needs time in proportion to its text; False if unsure."""
    at, optional, ended = 0, 0, False
    while at < len(pattern):
        if pattern[at] == "|":
            at, optional, ended = at + 1, 0, False
            continue
        atom = None if ended else _ATOM.match(pattern, at)
        if atom is None:
            return False
        at = atom.end()
        if (quantifier := _QUANTIFIER.match(pattern, at)) is None:
            continue
        at = quantifier.end()
        optional += quantifier[0] == "?"
        exact = re.fullmatch(r"\{\d{1,3}\}", quantifier[0])
        ended = quantifier[0] != "?" and exact is None
        if optional > _MOST_OPTIONAL or (exact and pattern[at : at + 1] in "*+?{"):
            return False
    return True
