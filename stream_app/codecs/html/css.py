"""Style sheets and `style` attributes -> declarations (CSS 2.1, section 4), as far as they matter.

A rule that not every program applies, or that broken CSS around it may undo, is uncertain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_SAYS_SOMETHING = re.compile(
    r"display|visib|opacity|font|overflow|height|width|padding|color|background|position|left|top"
    r"|right|bottom|indent|margin|transform|clip|animat|shadow|all|\\",
    re.IGNORECASE,
)
_COMMENT, _URL = r"/\*(?:[^*]++|\*(?!/))*+(?:\*/)?", r"url\(\s*+(?![\"'\s])[^)]*+\)?"
_STRING = r"\"(?:[^\"\\\n]++|\\.)*+\"?|'(?:[^'\\\n]++|\\.)*+'?"
_OPAQUE = re.compile(f"{_COMMENT}|{_URL}|{_STRING}", re.IGNORECASE | re.DOTALL)
# an escaped letter or hyphen; other escapes stay, for they make no name or value that is known
_ESCAPE = re.compile(r"\\(?:0{0,4}([46][1-9a-f]|[57][0-9a]|2d)\s?|([g-z]))", re.IGNORECASE)
_BRACKET = re.compile(r"([()\[\];])")
_SWALLOWED = re.compile(r"[(\[][^()\[\]]*[{}]|\\[{}()\[\]\"'/]")
_DECLARATION = re.compile(r"(?:^|;)\s*+([a-z-]++)\s*+:([^;]*+)")
_BRACE = re.compile(r"([^{}]*+)([{}])")
_MARKS_OF_HTML = re.compile(r"<!--|-->")
_EVERYWHERE = re.compile(r"@media\s+(?:only\s+)?(?:all|screen)", re.IGNORECASE)
_KEY = r"(?:[a-zA-Z][a-zA-Z0-9]*+|[.#][\w-]++)"
_SELECTOR = re.compile(rf"(?:(?:html|body|\*)[\s>]++)*+(?:\*|\*?({_KEY}++))", re.IGNORECASE)
_LAST = re.compile(rf"{_KEY}*+(?=(?:[:\[][^\s>+~]*)?\Z)")
_PIECE = re.compile(_KEY)
_USUAL_CHARS = 200  # of a selector
_KNOWN_NAMES = """
    all animation animation-name background background-color background-image bottom clip clip-path
    color content-visibility display filter font font-size height left margin margin-left max-height
    max-width min-height min-width opacity overflow overflow-x overflow-y padding padding-bottom
    padding-left padding-right padding-top position right text-indent text-shadow top transform
    visibility width -webkit-text-fill-color -webkit-text-stroke
"""
_KNOWN = set(_KNOWN_NAMES.split())

Declarations = dict[str, str]  # property -> value, both in lower case


class Block(NamedTuple):
    """The declarations of one block that may hide or show, those that are `!important` apart."""

    usual: Declarations
    important: Declarations


class Rule(NamedTuple):
    """A rule for tags that have all these keys (`p`, `.class`, `#id`)."""

    keys: tuple[str, ...]
    block: Block
    certain: bool


_NOTHING = Block({}, {})


def declared(text: str) -> Block:
    """The declarations of a block; the last of a property counts."""
    return _declared(_OPAQUE.sub(_shortened, text)) if _SAYS_SOMETHING.search(text) else _NOTHING


def rules(sheet: str) -> Iterator[Rule]:
    """The rules of a sheet, in their order."""
    text = _OPAQUE.sub(_shortened, _MARKS_OF_HTML.sub(" ", sheet))
    sound = not _SWALLOWED.search(text) and text.count("(") == text.count(")")
    opened: list[str] = []
    for piece, brace in _BRACE.findall(text):
        if brace == "{":
            before, _, selectors = piece.rpartition(";")
            sound = sound and (bool(opened) or not before.strip() or "@" in before)
            opened.append(selectors.strip())
        elif not opened:
            sound = False  # a brace too many is part of the next selector, and spoils it
        else:
            selectors = opened.pop()
            certain = sound and all(map(_EVERYWHERE.fullmatch, opened))
            block = _NOTHING if selectors.startswith("@") else _declared(piece)
            if block is not _NOTHING:
                yield from (_rule(each.strip(), block, certain) for each in selectors.split(","))


def _declared(text: str) -> Block:
    text = _ESCAPE.sub(_unescaped, text).lower()
    if "(" in text or "[" in text:
        text = _without_inner_ends(text)
    block = Block({}, {})
    for name, value in _DECLARATION.findall(text):
        if name in _KNOWN:
            value, mark, _ = value.partition("!")
            (block.important if mark else block.usual)[name] = value.strip()
    return block if block.usual or block.important else _NOTHING


def _without_inner_ends(text: str) -> str:
    """A semicolon within brackets ends nothing."""
    depth, pieces = 0, _BRACKET.split(text)
    for at, piece in enumerate(pieces):
        if piece == ";":
            pieces[at] = " " if depth else piece
        elif piece:
            depth = max(0, depth + (piece in "([") - (piece in ")]"))
    return "".join(pieces)


def _rule(selector: str, block: Block, certain: bool) -> Rule:
    if len(selector) <= _USUAL_CHARS and (found := _SELECTOR.fullmatch(selector)):
        return Rule(_keys(found[1] or ""), block, certain)
    last = _LAST.search(selector[-_USUAL_CHARS:])
    return Rule(_keys(last[0] if last else ""), block, False)


def _keys(compound: str) -> tuple[str, ...]:
    """The keys of `p.class#id`; none for `*`."""
    pieces = _PIECE.findall(compound)
    return tuple(piece if piece[0] in ".#" else piece.lower() for piece in pieces)


def _shortened(opaque: re.Match[str]) -> str:
    if opaque[0].startswith("/"):
        return ""
    return '""' if opaque[0][0] in "\"'" else "url()"


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else escape[2]
