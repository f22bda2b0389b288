"""Which texts of a document are seen, where its styles hide some: Lexbor (the `selectolax` package)
knows, as browsers do, where an element ends whose end tag is missing or misplaced.

It gets the tags without their attributes, and no deeper than browsers go: on other mark-up a parser
takes quadratic time, or makes millions of elements of a few kilobytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape

from selectolax.lexbor import LexborHTMLParser, LexborNode

from stream_app.codecs.html.colours import UNKNOWN
from stream_app.codecs.html.hiding import ALL, NO_MARK, SMALL, Mark, blends
from stream_app.codecs.html.lengths import USUAL

Placed = tuple[int, str, Mark]  # before which text a tag stands, its name (`/p` ends p), its mark

MAX_DEPTH = 256  # of elements; browsers stop at 512
MAX_FORMATTING = 16  # a parser opens these again in each block, until their end tags come
MAX_NODES = 150_000
_NESTED = 4  # elements whose fonts are each smaller than the one around
_BLACK, _WHITE = "000000", "ffffff"
_VOID_NAMES = "area base br col embed img input link meta param source track wbr"
_VOID = set(_VOID_NAMES.split())
_FORMATTING_NAMES = "a b big code em font i nobr s small strike strong tt u"
_FORMATTING = set(_FORMATTING_NAMES.split())
_SELF_ENDING = {"dd", "dt", "hr", "li", "option", "p", "tbody", "td", "tfoot", "th", "thead", "tr"}
_BARRIERS = {"applet", "marquee", "object", "table", "template"}  # no end tag reaches out of them


def seen(texts: Sequence[str], tags: Sequence[Placed]) -> str:
    """The texts of a document that are seen."""
    marks = list(dict.fromkeys(mark for *_, mark in tags))
    if not _may_hide(marks):
        return "".join(texts)
    try:
        tree = LexborHTMLParser("".join(_bounded(texts, tags, marks)))
    except _TooDeepError:
        return "".join(texts)
    return "".join(_texts(tree, marks))


def _may_hide(marks: Sequence[Mark]) -> bool:
    """Whether any elements with these marks, in any order, may hide a text."""
    if any(mark.gone or mark.unseen or mark.away for mark in marks):
        return True
    sizes = [mark.size for mark in marks if mark.size is not None]
    smallest = min((size.number for size in sizes if not size.is_relative), default=USUAL)
    shrunk = min((size.number for size in sizes if size.is_relative), default=1.0)
    if min(smallest, USUAL) * min(shrunk, 1.0) ** _NESTED <= SMALL:
        return True
    inks, papers = {_BLACK, *(mark.ink for mark in marks)}, {_WHITE, *(m.paper for m in marks)}
    return any(blends(ink, paper) for ink in inks for paper in papers)


class _TooDeepError(Exception):
    """An element that may show what is hidden around it lies too deep to be looked at."""


def _bounded(texts: Sequence[str], tags: Iterable[Placed], marks: Sequence[Mark]) -> Iterator[str]:
    """Mark-up of the same texts and tags, with the numbers of their marks as ids."""
    ids = {mark: f' id="{number}"' if mark != NO_MARK else "" for number, mark in enumerate(marks)}
    depth, done = _Depth(), 0
    for place, written, mark in tags:
        if place > done:
            yield escape("".join(texts[done:place]), False)
            done = place
        name = written.lstrip("/")
        if name in _VOID:
            continue
        if name != written:
            if name in _SELF_ENDING or depth.close(name):
                yield f"</{name}>"
        elif name in _SELF_ENDING or depth.open(name):
            yield f"<{name}{ids[mark]}>"
        elif not mark.gone and mark != NO_MARK:
            raise _TooDeepError
    yield escape("".join(texts[done:]), False)


class _Depth:
    """How deep the elements nest, or less: unlike a parser it counts those that others close."""

    def __init__(self) -> None:
        self._depth = self._formatting = 0
        self._scopes = [("", Counter[str]())]  # a barrier, and the elements open within
        self._left_out = Counter[str]()

    def open(self, name: str) -> bool:
        """Whether a start tag may be kept."""
        formats = name in _FORMATTING
        if self._depth >= MAX_DEPTH or (formats and self._formatting >= MAX_FORMATTING):
            self._left_out[name] += 1
            return False
        self._depth += 1
        self._formatting += formats
        self._scopes[-1][1][name] += 1
        if name in _BARRIERS:
            self._scopes.append((name, Counter()))
        return True

    def close(self, name: str) -> bool:
        """Whether an end tag is kept: it is where its start tag was."""
        if self._left_out[name]:
            self._left_out[name] -= 1
            return False
        if name == self._scopes[-1][0] or (name == "table" and self._in_table()):
            while self._scopes[-1][0] != name:
                self._leave()
            self._leave()
        if self._scopes[-1][1][name]:
            self._scopes[-1][1][name] -= 1
            self._depth -= 1
            self._formatting -= name in _FORMATTING
        return True

    def _in_table(self) -> bool:
        return any(barrier == "table" for barrier, _ in self._scopes)

    def _leave(self) -> None:
        self._depth -= self._scopes.pop()[1].total()


@dataclass(frozen=True, slots=True)
class _Look:
    """How text looks in an element."""

    size: float = USUAL  # of the font, in pixels
    unseen: bool = False
    away: bool = False
    ink: str = _BLACK
    paper: str = _WHITE
    blended: bool = False

    @property
    def is_seen(self) -> bool:
        """Whether a reader sees it."""
        return not (self.unseen or self.away or self.blended or self.size <= SMALL)

    def within(self, node: LexborNode, mark: Mark) -> _Look:
        """How it looks in an element in this one."""
        look = self
        if node.tag == "table":  # has the usual size again in a document without a DOCTYPE
            ink = look.ink if look.ink == _BLACK else UNKNOWN
            look = replace(look, size=USUAL, ink=ink, blended=blends(ink, look.paper))
        if mark == NO_MARK:
            return look
        size, away = look.size, look.away
        if mark.size:
            size = mark.size.number * (size if mark.size.is_relative else 1.0)
        if mark.away is not None:
            away = mark.away >= ALL or (mark.away > 0 and len(node.text()) <= mark.away)
        unseen = look.unseen if mark.unseen is None else mark.unseen
        ink, paper, blended = mark.ink or look.ink, mark.paper or look.paper, look.blended
        if mark.ink or mark.paper:
            blended = blends(ink, paper)
        return _Look(size, unseen, away, ink, paper, blended)


def _texts(tree: LexborHTMLParser, marks: Sequence[Mark]) -> Iterator[str]:
    """The texts of a tree that are seen, in order."""

    def look_of(node: LexborNode, around: _Look) -> _Look | None:
        mark = marks[int(node.id)] if node.id else NO_MARK
        return None if mark.gone else around.within(node, mark)

    page = look_of(tree.root, _Look()) if tree.root else None
    todo = [(tree.body, page)] if tree.body and page else []
    for _ in range(MAX_NODES):
        if not todo:
            break
        node, around = todo.pop()
        if node.is_text_node:
            text = node.text_content or ""
            if around.is_seen or (around.blended and text.isspace()):
                yield text
        elif look := look_of(node, around):
            within = [(child, look) for child in node.iter(include_text=True)]
            todo.extend(reversed(within))
