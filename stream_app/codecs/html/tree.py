"""Which texts of a document are seen, where its styles hide some: Lexbor (the `selectolax` package)
knows, as browsers do, where an element ends whose end tag is missing or misplaced.

It gets the tags without their attributes, and no deeper than browsers go: on other mark-up a parser
takes quadratic time, or makes millions of elements of a few kilobytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from selectolax.lexbor import LexborHTMLParser, LexborNode

from stream_app.codecs.html.styles import NO_MARK, Mark

Placed = tuple[int, str, Mark]  # before which text a tag stands, its name (`/p` ends p), its mark

MAX_DEPTH = 256  # of elements; browsers stop at 512
MAX_FORMATTING = 16  # a parser opens these again in each block, until their end tags come
MAX_NODES = 150_000
_VOID_NAMES = "area base br col embed img input link meta param source track wbr"
_VOID = set(_VOID_NAMES.split())
_FORMATTING_NAMES = "a b big code em font i nobr s small strike strong tt u"
_FORMATTING = set(_FORMATTING_NAMES.split())
_SELF_ENDING = {"dd", "dt", "hr", "li", "option", "p", "tbody", "td", "tfoot", "th", "thead", "tr"}
_BARRIERS = {"applet", "marquee", "object", "table", "template"}  # no end tag reaches out of them


def seen(texts: Sequence[str], tags: Iterable[Placed]) -> str:
    """The texts of a document that are seen."""
    body = LexborHTMLParser("".join(_bounded(texts, tags))).body
    return "".join(_texts(body)) if body else ""


def _bounded(texts: Sequence[str], tags: Iterable[Placed]) -> Iterator[str]:
    """Mark-up of the same texts and tags, with marks as ids."""
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
            yield f"<{name}{_id(mark)}>"
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


_LETTERS: Mapping[bool | None, str] = {True: "1", False: "0", None: "-"}


def _id(mark: Mark) -> str:
    if mark == NO_MARK:
        return ""
    return f' id="{mark.gone:d}{_LETTERS[mark.tiny]}{_LETTERS[mark.unseen]}"'


def _texts(body: LexborNode) -> Iterator[str]:
    """The texts of a tree that are seen, in order."""
    todo = [(body, False, False)]
    for _ in range(MAX_NODES):
        if not todo:
            break
        node, tiny, unseen = todo.pop()
        if node.is_text_node:
            if not (tiny or unseen):
                yield node.text_content or ""
            continue
        if node.tag == "table":
            tiny = False  # in a document without a DOCTYPE its text has the usual size again
        if mark := node.id:
            if mark[0] == "1":
                continue
            tiny = tiny if mark[1] == "-" else mark[1] == "1"
            unseen = unseen if mark[2] == "-" else mark[2] == "1"
        within = [(child, tiny, unseen) for child in node.iter(include_text=True)]
        todo.extend(reversed(within))
