"""HTML -> the text a reader would see, through Lexbor (the `selectolax` package)."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser

# Lexbor takes quadratic time on some hostile mark-up (nested blocks, thousands of attributes); at
# this size the worst is under a second. Gmail shows no more of a mail than this either.
MAX_HTML_CHARS = 102_400

_INVISIBLE = ["script", "style", "head", "title", "template", "noframes"]
# White space before these tags, opening or closing, keeps the words of neighbouring blocks apart;
# inline tags get none, so that "V<b>i</b>agra" stays one word.
_BLOCK_TAG = re.compile(
    r"</?(?:address|article|aside|blockquote|body|br|caption|center|dd|div|dl|dt|fieldset|"
    r"figcaption|figure|footer|form|h[1-6r]|header|legend|li|main|nav|ol|option|p|pre|section|"
    r"select|table|tbody|td|tfoot|th|thead|tr|ul)(?=[\s/>])",
    re.IGNORECASE,
)


def html_to_text(html: str) -> str:
    """Text of an HTML document or fragment: no scripts, styles, comments or head; entities
    decoded; block elements apart. Broken mark-up is read as browsers read it."""
    tree = LexborHTMLParser(_BLOCK_TAG.sub(r"\n\g<0>", html[:MAX_HTML_CHARS]))
    tree.strip_tags(_INVISIBLE)
    return tree.body.text(separator="") if tree.body else ""
