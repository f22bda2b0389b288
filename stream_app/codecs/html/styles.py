"""What the styles of a tag hide: by CSS 2.1 and the HTML Standard's own style sheet.

Of style sheets the rules for one element, class or id count, outside of media queries: those of a
phone or a printer are not what most readers see. What is not understood hides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from stream_app.codecs.html.tags import attributes

MAX_STYLE_CHARS = 100_000  # of all style sheets
MAX_RULES = 2_000

Hidden = dict[str, bool]  # property -> whether it hides; of those that are set and say


class Mark(NamedTuple):
    """How a tag changes what is seen within it; None leaves it as it is."""

    gone: bool = False  # with all that is in it
    tiny: bool | None = None  # a font of size 0, until another size is set
    unseen: bool | None = None  # visibility: hidden, until it is visible


NO_MARK = Mark()
_GONE = Mark(gone=True)
_HIDDEN_ELEMENTS = {"datalist", "rp", "template"}
MARKED = {*_HIDDEN_ELEMENTS, "dialog"}  # elements that may be hidden without an attribute

_SAYS_SOMETHING = re.compile(r"display|visib|opacity|font|overflow", re.IGNORECASE)
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|<!--|-->", re.DOTALL)
_NOT_DECLARED = re.compile(rf"{_COMMENT.pattern}|\([^)]*\)?|\"[^\"]*\"?|'[^']*'?", re.DOTALL)
_DECLARATION = re.compile(r"(?:^|;)\s*+([a-z-]++)\s*+:([^;]*+)")
_BRACE = re.compile(r"([^{}]*+)([{}])")
_EVERYWHERE = re.compile(r"@media\s+(?:only\s+)?(?:all|screen)", re.IGNORECASE)
_SELECTOR = re.compile(r"(?=[a-z.#])[a-z0-9]*(?:[.#][\w-]+)?", re.IGNORECASE)
_SIZE = re.compile(r"(\d+\.?\d*|\.\d+)([a-z]*|%)")
_SIZES = {"medium", "small", "large", "x-small", "x-large", "xx-small", "xx-large", "initial"}
_RELATIVE = {"em", "ex", "ch", "%", "lh"}  # of what is around


class Styles:
    """The style sheets of a document so far, and what they and its own attributes make of a tag."""

    def __init__(self) -> None:
        self.hide = False  # whether any tag hides anything
        self.rules: dict[str, Hidden] = {}  # by selector
        self.analysed = 0  # different tags, and style sheets ten times
        self._shrink = False  # whether any makes a font of size 0
        self._chars_left = MAX_STYLE_CHARS
        self._marks: dict[tuple[str, str], Mark] = {}

    def add(self, sheet: str) -> None:
        """Take in a style sheet."""
        sheet = sheet[: self._chars_left]
        self._chars_left -= len(sheet)
        if not _SAYS_SOMETHING.search(sheet):
            return
        self.analysed += 10
        self._marks.clear()
        for selectors, declarations in _rules(sheet):
            hidden = _hidden(declarations)
            for selector in map(str.strip, selectors.split(",") if hidden else []):
                if _SELECTOR.fullmatch(selector) and len(self.rules) < MAX_RULES:
                    self.rules[selector] = self.rules.get(selector, {}) | hidden

    def mark(self, name: str, written: str) -> Mark:
        """What a tag with these attributes hides or shows again."""
        mark = self._marks.get((name, written))
        if mark is None:
            self.analysed += 1
            mark = self._marks[name, written] = self._mark(name, written)
            self.hide = self.hide or mark.gone or bool(mark.tiny or mark.unseen)
            if mark.tiny and not self._shrink:
                self._shrink = True
                self._marks.clear()
        return mark

    def _mark(self, name: str, written: str) -> Mark:
        if name in _HIDDEN_ELEMENTS:
            return _GONE
        if not (self.rules or name == "dialog" or (self._shrink and name == "font")):
            small = written.lower()
            if "style" not in small and "hidden" not in small:
                return NO_MARK
        found = attributes(written)
        hidden: Hidden = {"font-size": False} if name == "font" and "size" in found else {}
        if "hidden" in found or (name == "dialog" and "open" not in found):
            hidden["display"] = True
        for key in _keys(name, found) if self.rules else []:
            hidden |= self.rules.get(key, {})
        if "style" in found:
            hidden |= _hidden(found["style"])
        gone = any(hidden.get(each, False) for each in ("display", "opacity", "box"))
        return Mark(gone, hidden.get("font-size", hidden.get("font")), hidden.get("visibility"))


def _keys(name: str, found: dict[str, str]) -> list[str]:
    """The selectors that fit a tag, the weakest first."""
    classes = found.get("class", "").split()
    keys = [name, *(f".{each}" for each in classes), *(f"{name}.{each}" for each in classes)]
    if own := found.get("id"):
        keys += [f"#{own}", f"{name}#{own}"]
    return keys


def _rules(sheet: str) -> Iterator[tuple[str, str]]:
    """Selectors and declarations of a sheet's rules, without those in other at-rules than plain
    `@media screen`."""
    opened: list[str] = []
    for text, brace in _BRACE.findall(_COMMENT.sub("", sheet)):
        if brace == "{":
            opened.append(text.rpartition(";")[2].strip())
        elif opened:
            selectors = opened.pop()
            if all(map(_EVERYWHERE.fullmatch, opened)):
                yield selectors, text


def _hidden(declarations: str) -> Hidden:
    """What a block of declarations hides; the last of a property counts, or the important one."""
    if not _SAYS_SOMETHING.search(declarations):
        return {}
    usual: dict[str, str] = {}
    important: dict[str, str] = {}
    for name, value in _DECLARATION.findall(_NOT_DECLARED.sub(" ", declarations.lower())):
        value, mark, _ = value.partition("!")
        (important if mark else usual)[name] = value.strip()
    found = usual | important
    said = {name: says(found[name]) for name, says in _SAYS.items() if name in found}
    hidden = {name: hides for name, hides in said.items() if hides is not None}
    if found.get("overflow") in ("hidden", "clip"):
        hidden["box"] = any(_is_zero(found.get(side, "")) for side in _BOXES)
    return hidden


def _is_zero(size: str) -> bool | None:
    """Whether a size is nothing; None where that depends on the size around it."""
    if size in _SIZES:
        return False
    if (found := _SIZE.fullmatch(size)) is None:
        return None
    number, unit = float(found[1]), found[2]
    if number and unit in _RELATIVE:
        return None
    return number < 1 if unit in ("px", "pt") else number == 0


def _tiny(font: str) -> bool | None:
    """Of the shorthand `font`, whose size stands before a line height or the family."""
    sizes = [_is_zero(word.partition("/")[0]) for word in font.split() if not word.isdigit()]
    return next((size for size in sizes if size is not None), None)


_SAYS: Mapping[str, Callable[[str], bool | None]] = {
    "display": lambda value: value == "none",
    "visibility": {"hidden": True, "collapse": True, "visible": False}.get,
    "opacity": _is_zero,
    "font-size": _is_zero,
    "font": _tiny,
}
_BOXES = ("height", "max-height", "width", "max-width")
