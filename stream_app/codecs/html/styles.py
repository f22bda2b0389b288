"""What hides the text of a tag: the HTML Standard's own style sheet, those of the document and the
tag's attributes, in the order of CSS 2.1, section 6.4.

Of style sheets the rules for elements, classes and ids count. Others (`div .x`, `.x:hover`, those
for phones or printers) hide nothing, for many readers see it; what they may show counts as shown.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from stream_app.codecs.html.colours import UNKNOWN
from stream_app.codecs.html.css import Declarations, Rule, declared, rules
from stream_app.codecs.html.hiding import NO_MARK, SHOWN, Mark, either, mark_of
from stream_app.codecs.html.tags import attributes

MAX_STYLE_CHARS = 100_000  # of all style sheets
MAX_RULES, MAX_COMPOUND = 2_000, 50  # of those for several keys at once
MAX_KEYS = 50  # of a tag: its name, its classes and its id

_MARKED = {"datalist", "dialog", "rp", "template"}  # elements that are hidden without attributes
_PAINTED = {"a", "button", "input", "mark", "select", "textarea"}  # in a program's own colours
_PAINTED_MARK = Mark(ink=UNKNOWN, paper=UNKNOWN)
_UNKNOWN = "unknown"  # a value like none that hides
_SAYS_SOMETHING = re.compile(r"style|hidden|color|background|size|text", re.IGNORECASE)

_Rank = tuple[bool, int, int]  # importance, weight of the selector, place
_Ranked = dict[str, tuple[_Rank, str]]  # property -> value, and how much it weighs


class Styles:
    """The style sheets of a document, and what they and its own attributes make of a tag."""

    def __init__(self) -> None:
        self.count = 0  # of rules
        self._rules: defaultdict[str, _Ranked] = defaultdict(dict)  # by key
        self._compound: list[tuple[set[str], _Ranked]] = []
        self._uncertain: defaultdict[str, Declarations] = defaultdict(dict)
        self._chars_left = MAX_STYLE_CHARS
        self._marks: dict[tuple[str, str], Mark] = {}

    def add(self, written: str, sheet: str) -> int:
        """Take in a style sheet, of a `style` element with these attributes; how many rules."""
        before = self.count
        found = attributes(written)
        media, kind = (found.get(name, "").strip().lower() for name in ("media", "type"))
        is_heeded = media in ("", "all", "screen") and kind in ("", "text/css")
        for rule in rules(sheet[: self._chars_left]):
            if self.count == MAX_RULES:
                break
            self.count += 1
            self._add(rule if is_heeded else rule._replace(certain=False))
        self._chars_left -= min(len(sheet), self._chars_left)
        return self.count - before

    def _add(self, rule: Rule) -> None:
        last = rule.keys[-1] if rule.keys else ""
        several = len(rule.keys) > 1
        if not rule.certain or (several and len(self._compound) == MAX_COMPOUND):
            maybe = self._uncertain[last]
            for block in rule.block:
                for name, value in block.items():
                    maybe[name] = value if maybe.get(name, value) == value else _UNKNOWN
            return
        ranked: _Ranked = {} if several else self._rules[last]
        if several:
            self._compound.append((set(rule.keys), ranked))
        _rank(ranked, rule, (sum(map(_weight, rule.keys)), self.count))

    def mark(self, name: str, written: str) -> Mark:
        """What a tag with these attributes hides or shows again."""
        if not (self.count or name in _MARKED or _SAYS_SOMETHING.search(written)):
            return _PAINTED_MARK if name in _PAINTED else NO_MARK
        mark = self._marks.get((name, written))
        if mark is None:
            mark = self._marks[name, written] = self._mark(name, written)
        return mark

    def _mark(self, name: str, written: str) -> Mark:
        if name == "template":
            return Mark(gone=True)
        found = attributes(written)
        classes = found.get("class", "").split()
        if len(classes) > MAX_KEYS:
            return SHOWN
        keys = {"", name, *(f".{each}" for each in classes), f"#{found.get('id', '')}"}
        own = declared(found.get("style", ""))
        ranked = self._ranked(keys)
        usual = {each: value for each, (rank, value) in ranked.items() if not rank[0]}
        final = _built_in(name, found) | usual | own.usual
        final |= {each: value for each, (rank, value) in ranked.items() if rank[0]} | own.important
        mark = mark_of(name, final)
        for each, value in self._maybe(keys):
            if final.get(each) != value:
                mark = either(mark, mark_of(name, final | {each: value}))
        return mark

    def _ranked(self, keys: set[str]) -> _Ranked:
        """The declarations of all rules that apply."""
        merged: _Ranked = {}
        applied = [self._rules[key] for key in keys & self._rules.keys()]
        for ranked in (*applied, *(each for needed, each in self._compound if needed <= keys)):
            for name, value in ranked.items():
                merged[name] = max(value, merged.get(name, value))
        return merged

    def _maybe(self, keys: set[str]) -> Iterator[tuple[str, str]]:
        for key in keys & self._uncertain.keys():
            yield from self._uncertain[key].items()


def _rank(ranked: _Ranked, rule: Rule, weight: tuple[int, int]) -> None:
    for is_important, block in enumerate(rule.block):
        for name, value in block.items():
            new = (bool(is_important), *weight), value
            ranked[name] = max(new, ranked.get(name, new))


def _weight(key: str) -> int:
    return {"#": 10_000, ".": 100}.get(key[0], 1)


def _built_in(name: str, found: Declarations) -> Declarations:
    """What a program's own style sheet and attributes that are older than CSS declare."""
    block: Declarations = {}
    if (
        "hidden" in found
        or name in ("datalist", "rp")
        or (name == "dialog" and "open" not in found)
    ):
        block["display"] = "none"
    if name in _PAINTED:
        block["color"] = block["background"] = _UNKNOWN
    if name == "font":
        if "size" in found:
            block["font-size"] = "medium"
        if "color" in found:
            block["color"] = found["color"].strip().lower()
    if name == "body" and "text" in found:
        block["color"] = found["text"].strip().lower()
    if "bgcolor" in found:
        block["background"] = found["bgcolor"].strip().lower()
    if "background" in found:
        block["background"] = "url()"
    return block
