"""The shown text of a document: its tokens put together."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape, unescape

from stream_app.codecs.html.styles import Styles
from stream_app.codecs.html.tags import BLOCKS, attributes, texts, tokens, without_tags
from stream_app.codecs.html.tree import seen
from stream_app.model.visible import fit, squeeze

MAX_SHOWN = 100_000  # characters

_RAW_BUT_SHOWN = {"textarea", "xmp", "plaintext"}  # their content is text, but no mark-up
_SAYS_MORE = {"bdo", "/bdo", "input"}
_WITH_A_VALUE = {"", "button", "email", "reset", "search", "submit", "tel", "text", "url"}
_RIGHT_TO_LEFT, _AS_BEFORE = "\u202e", "\u202c"
_ENTITIES_A_TOKEN, _CHARS_A_TOKEN = 6, 64  # by the time they take
_TOKENS_A_TAG, _TOKENS_A_RULE = 6, 2  # of different attributes; of a style sheet
_SHORT, _MUCH = 8, 1 << 15  # characters, among which there may be padding


@dataclass(slots=True)
class Allowance:
    """How much of HTML is still read: so many tokens, behind them so many characters the fast way,
    and so many characters of text, shown or hidden: more than anything reads, for hidden ones must
    not push the others out."""

    tokens: int = 20_000
    rest: int = 300_000
    chars: int = 500_000


def html_to_text(html: str, allowance: Allowance | None = None) -> str:
    """What a reader sees of an HTML document or fragment: no scripts, styles, comments or head,
    nothing that its styles hide; entities decoded; block elements apart.

    Broken mark-up is read as browsers read it. Padding and mark-up do not count as characters.
    """
    document = _Document(allowance or Allowance())
    document.read(html)
    return fit(document.shown(), MAX_SHOWN)


class _Document:
    """A document as far as it is read."""

    def __init__(self, left: Allowance) -> None:
        self._left = left
        self._texts: list[str] = []
        self._tags: list[tuple[int, str, str]] = []  # before which text, name, attributes
        self._different: set[tuple[str, str]] = set()  # names and attributes
        self._styles = Styles()
        self._rest: list[str] = []
        self._counted = 0  # of the texts
        self._uncounted = 0  # characters

    def read(self, html: str) -> None:
        """Take in as much as is allowed."""
        left, place = self._left, 0
        for text, name, written, content, foreign, at in tokens(html):
            place = at
            if text:
                self._text(text)
            if name in BLOCKS:
                self._texts.append("\n")
            if content is not None:
                self._element(name, written, content)
            elif name:
                self._tag(name, "" if foreign else written)
            left.tokens -= 1 + len(written) // _CHARS_A_TOKEN
            if left.tokens <= 0 or left.chars <= 0:
                break
        if left.tokens <= 0:
            self._count()
            self._read_rest(html, place, min(len(html), place + left.rest))

    def _tag(self, name: str, written: str) -> None:
        self._tags.append((len(self._texts), name, written))
        if written and (name, written) not in self._different:
            self._different.add((name, written))
            self._left.tokens -= _TOKENS_A_TAG
        if name in _SAYS_MORE:
            self._text(_own_text(name, written))

    def _read_rest(self, html: str, at: int, end: int) -> None:
        self._left.rest -= end - at
        for text in without_tags(html, at, end):
            self._rest.append(squeeze(text, max(0, self._left.chars)))
            self._left.chars -= len(self._rest[-1])

    def _text(self, text: str) -> None:
        if "&" in text:
            self._left.tokens -= text.count("&") // _ENTITIES_A_TOKEN
            text = unescape(text)
        self._texts.append(text)
        self._uncounted += len(text)
        if self._uncounted > _MUCH:
            self._count()

    def _element(self, name: str, written: str, content: str) -> None:
        """An element whose content is no mark-up."""
        if name == "style":
            self._left.tokens -= _TOKENS_A_RULE * self._styles.add(written, content)
        elif name in _RAW_BUT_SHOWN:
            self._tags.append((len(self._texts), "span", written))
            for text in texts(content, 0, len(content)):
                self._text(text if name == "textarea" else escape(text, False))
            self._tags.append((len(self._texts), "/span", ""))

    def _count(self) -> None:
        """Take white space in a row as one, and what is left from the allowance."""
        for index in range(self._counted, len(self._texts)):
            text = self._texts[index]
            if text.isspace():
                text = self._texts[index] = text[0]
            elif len(text) > _SHORT:
                text = self._texts[index] = squeeze(text, max(0, self._left.chars))
            self._left.chars -= len(text)
        self._uncounted, self._counted = 0, len(self._texts)

    def shown(self) -> str:
        """The texts that are seen."""
        names = {name for _, name, _ in self._tags}
        implied = [(0, name, "") for name in ("html", "body") if name not in names]
        mark = self._styles.mark
        tags = [(at, name, mark(name, written)) for at, name, written in implied + self._tags]
        return seen(self._texts, tags) + "".join(self._rest)


def _own_text(name: str, written: str) -> str:
    """What an element shows by itself: the value of an input; the end of text written backwards."""
    if name == "/bdo":
        return _AS_BEFORE
    found = attributes(written)
    if name == "bdo":
        return _RIGHT_TO_LEFT if found.get("dir", "").lower() == "rtl" else ""
    shown = found.get("type", "").lower() in _WITH_A_VALUE
    return f" {escape(found.get('value', ''), False)} " if shown else ""
