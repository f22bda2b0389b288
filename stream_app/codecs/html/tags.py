"""Mark-up -> tags and the text between them, as the HTML Standard's tokenizer cuts it.

In linear time whatever the mark-up is: comments, scripts and attributes are skipped by search,
however long they are. What a browser never shows as text is left out: comments, the content of
elements such as `script` and `title`, and all behind a tag that does not end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

_VALUE = r"\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s>\"'][^\s>]*+|(?=>))"
_ATTRIBUTE = re.compile(rf"[\s/]*+([^\s/>][^\s/>=]*+)(?>({_VALUE})|(?!\s*+=))")
_START_OF_TAG = re.compile(r"<(/?[a-zA-Z][^\s/>]*+)")
_END_OF_TAG = re.compile(r"[\s/]*+>")
_TEXT_AND_TAG = re.compile(
    rf"([^<]*+){_START_OF_TAG.pattern}((?>[\s/]*+[^\s/>][^\s/>=]*+(?>{_VALUE}|(?!\s*+=)))*+[\s/]*+)>"
)
_USUAL_CHARS = 10_000  # of a tag; longer ones, with an image in them, are read by the attribute
_USUAL_ATTRIBUTES, MAX_ATTRIBUTES = 100, 1_000

# The content of these is no mark-up.
_RAW = ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes")
_END_OF_RAW = {name: re.compile(rf"</(?i:{name})(?=[\s/>])") for name in _RAW}
# Within these elements content is mark-up again; and the next ones end them.
_FOREIGN = {"svg", "math"}
_HTML_NAMES = """
    b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li
    listing menu meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var
"""
_BREAKS_OUT = set(_HTML_NAMES.split())
_END_OF_COMMENT = re.compile("--!?>")
# White space before these tags, opening or closing, keeps the words of neighbouring blocks apart;
# inline tags get none, so that "V<b>i</b>agra" stays one word.
_BLOCK_NAMES = """
    address article aside blockquote body br caption center dd div dl dt fieldset figcaption figure
    footer form h1 h2 h3 h4 h5 h6 hr header legend li main nav ol option p pre section select table
    tbody td tfoot th thead tr ul
"""
BLOCKS = {prefix + name for name in _BLOCK_NAMES.split() for prefix in ("", "/")}
_INLINE = re.compile(
    r"</?(?:[abiqu]|em|font|s(?:mall|pan|trong|u[bp])?|tt|wbr)(?=[\s/>])[^<>]*+>", re.IGNORECASE
)
_COMMENT = re.compile("--!?>")
# White space before these tags, opening or closing, keeps the words of neighbouring blocks apart;
# inline tags get none, so that "V<b>i</b>agra" stays one word.
_BLOCK_NAMES = """
    address article aside blockquote body br caption center dd div dl dt fieldset figcaption figure
    footer form h1 h2 h3 h4 h5 h6 hr header legend li main nav ol option p pre section select table
    tbody td tfoot th thead tr ul
"""
BLOCKS = {prefix + name for name in _BLOCK_NAMES.split() for prefix in ("", "/")}
_BLOCK = re.compile(rf"</?(?:{'|'.join(_BLOCK_NAMES.split())})(?![^\s/>])[^<>]*+>", re.IGNORECASE)
_COMMENT = re.compile(r"<!--(?>[^-]++|-(?!->))*+-->")
_MARK_UP = re.compile(
    r"<(style|script)\b(?>[^<]++|<(?!/\1))*+(?:</\1|\Z)|<!--|-->|<[!?/]?\w[^<>]*+>", re.IGNORECASE
)
_PIECE, _LONGEST_ENTITY = 1 << 15, 40
_WINDOW = 1 << 20  # characters searched in one go: others get the interpreter lock in between


# Text as written, with its entities, and the tag behind it: its name in lower case (an end tag's
# with a slash before it; '' where no tag follows), its attributes as written, the content of an
# element whose content is no mark-up (then its end tag is not told), whether it is in SVG, and the
# place behind it.
Token = tuple[str, str, str, str | None, bool, int]


def tokens(html: str) -> Iterator[Token]:
    """The tokens of a document, in order. What is skipped gives an empty one, so that whoever
    counts them counts the work."""
    at, foreign = 0, False
    while at < len(html):
        if usual := _TEXT_AND_TAG.match(html, at, at + _USUAL_CHARS):
            text, name, written = usual.groups()
            at = usual.end()
        else:
            found = html.find("<", at)
            for text in texts(html, at, found if found >= 0 else len(html)):
                yield text, "", "", None, False, at
            if found < 0:
                return
            text, start = "", _START_OF_TAG.match(html, found)
            if start is None:
                at = _after_no_tag(html, found)
                yield "<" if at == found + 1 else "", "", "", None, False, at
                continue
            name = start[1]
            at, written = _long_tag(html, start.end())
            if at < 0:
                return
        name = name.lower()
        if foreign or name in _FOREIGN:
            foreign = _is_foreign(name, written)
        content = None
        if name in _END_OF_RAW and not (foreign and _has_tags(html, name, at)):
            end = _search(_END_OF_RAW[name], html, at)
            content = html[at : end.start() if end else len(html)]
            at = (html.find(">", end.end()) + 1 if end else 0) or len(html)
        elif name == "plaintext":
            content, at = html[at:], len(html)
        yield text, name, written, content, foreign, at


def without_tags(html: str, at: int, end: int) -> Iterator[str]:
    """The text in a stretch of a document without its mark-up, however much that is, in pieces: the
    fast way, blind to where elements end and what hides them."""
    while at < end:
        cut = min(end, at + _PIECE)
        if cut < end and (tag := max(html.rfind("<", at, cut), html.rfind("&", at, cut))) > at:
            cut = tag
        piece = html[at:cut]
        last = piece.rfind("-->") + 1  # behind it every search for a comment's end would be in vain
        piece = _INLINE.sub("", _COMMENT.sub("", piece[: last + 2]) + piece[last + 2 :])
        yield unescape(_MARK_UP.sub("\n", piece))
        at = cut


def texts(html: str, at: int, end: int) -> Iterator[str]:
    """The text in a stretch of mark-up without tags, in pieces that cut no entity."""
    while at < end:
        cut = min(end, at + _PIECE)
        if cut < end and (entity := html.rfind("&", cut - _LONGEST_ENTITY, cut)) > at:
            cut = entity
        yield html[at:cut]
        at = cut


def attributes(written: str) -> dict[str, str]:
    """Attributes by name in lower case; of two of a name the first counts."""
    found: dict[str, str] = {}
    for name, value in _ATTRIBUTE.findall(written + ">"):
        found.setdefault(name.lower(), unescape(value.strip()[1:].strip().strip("\"'")))
    return found


def _is_foreign(name: str, written: str) -> bool:
    """Whether what follows a tag, in SVG or MathML or a tag of theirs, is theirs as well."""
    if name in _FOREIGN:
        return not written.endswith("/")
    return name not in _BREAKS_OUT and name.lstrip("/") not in _FOREIGN


def _has_tags(html: str, name: str, at: int) -> bool:
    """Whether the content of an element that begins at `at` has tags before its end tag."""
    found = html.find("<", at)
    return found >= 0 and not _END_OF_RAW[name].match(html, found)


def _long_tag(html: str, at: int) -> tuple[int, str]:
    """The place behind a tag whose name ends at `at`, -1 where it does not end, and its attributes
    without the long ones."""
    written: list[str] = []
    for _ in range(MAX_ATTRIBUTES):
        attribute = _ATTRIBUTE.match(html, at)
        if attribute is None:
            end = _END_OF_TAG.match(html, at)
            return (end.end() if end else -1), "".join(written)
        at = attribute.end()
        if at - attribute.start() < _USUAL_CHARS:
            written.append(attribute[0])
    return html.find(">", at) + 1 or -1, "".join(written[:_USUAL_ATTRIBUTES])


def _after_no_tag(html: str, at: int) -> int:
    """Behind what starts with `<` and is no tag: a comment, a declaration, or that sign alone."""
    if html.startswith("<!--", at):
        if html.startswith((">", "->"), at + 4):  # a browser takes these for the comment's end
            return html.index(">", at) + 1
        end = _search(_END_OF_COMMENT, html, at + 4)
        return end.end() if end else len(html)
    if html.startswith(("<!", "<?", "</"), at) and at + 2 < len(html):
        return (html.find(">", at + 2) + 1) or len(html)
    return at + 1


def _search(pattern: re.Pattern[str], html: str, at: int) -> re.Match[str] | None:
    while at < len(html):
        if found := pattern.search(html, at, at + _WINDOW):
            return found
        at += _WINDOW - 100  # what lies across the windows is found in the next
    return None
