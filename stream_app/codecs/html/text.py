"""The shown text of a document: its tokens put together."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape, unescape

from stream_app.codecs.html.styles import MARKED, NO_MARK, Styles
from stream_app.codecs.html.tags import texts, tokens
from stream_app.codecs.html.tree import Placed, seen
from stream_app.model.visible import squeeze

# White space before these tags, opening or closing, keeps the words of neighbouring blocks apart;
# inline tags get none, so that "V<b>i</b>agra" stays one word.
_BLOCK_NAMES = """
    address article aside blockquote body br caption center dd div dl dt fieldset figcaption figure
    footer form h1 h2 h3 h4 h5 h6 hr header legend li main nav ol option p pre section select table
    tbody td tfoot th thead tr ul
"""
_BLOCKS = {prefix + name for name in _BLOCK_NAMES.split() for prefix in ("", "/")}
_SHOWN = {"textarea", "xmp", "plaintext"}  # though their content is no mark-up
_ENTITIES_A_TOKEN, _COST_OF_ANALYSIS = 4, 3  # by the time they take
_SHORT, _MUCH = 8, 1 << 15  # characters, among which there may be padding


@dataclass(slots=True)
class Allowance:
    """How much of HTML is still read: so many tokens, and so many shown characters."""

    tokens: int = 40_000
    chars: int = 100_000


def html_to_text(html: str, allowance: Allowance | None = None) -> str:
    """What a reader sees of an HTML document or fragment: no scripts, styles, comments or head,
    nothing that its styles hide; entities decoded; block elements apart.

    Broken mark-up is read as browsers read it. Padding and mark-up do not count as characters.
    """
    document = _Document(allowance or Allowance())
    document.read(html)
    return document.shown()


class _Document:
    """A document as far as it is read."""

    def __init__(self, left: Allowance) -> None:
        self._left = left
        self._texts: list[str] = []
        self._tags: list[Placed] = []
        self._styles = Styles()
        self._counted = 0  # of the texts
        self._uncounted = 0  # characters

    def read(self, html: str) -> None:
        """Take in as much as is allowed."""
        left, texts, tags, styles = self._left, self._texts, self._tags, self._styles
        for text, name, written, content, foreign in tokens(html):
            if text:
                self._text(text)
            if name:
                if name in _BLOCKS:
                    texts.append("\n")
                if content is not None:
                    self._element(name, written, content)
                elif (written or name in MARKED or styles.rules) and not foreign:
                    tags.append((len(texts), name, styles.mark(name, written)))
                else:
                    tags.append((len(texts), name, NO_MARK))
            left.tokens -= 1
            if left.tokens <= _COST_OF_ANALYSIS * styles.analysed or left.chars <= 0:
                break
        left.tokens -= _COST_OF_ANALYSIS * styles.analysed

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
            self._styles.add(content)
        elif name in _SHOWN and not self._styles.mark(name, written).gone:
            for text in texts(content, 0, len(content)):
                self._text(text if name == "textarea" else escape(text, False))

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
        return seen(self._texts, self._tags) if self._styles.hide else "".join(self._texts)
