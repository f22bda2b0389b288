"""One item of a news feed -> Message: an RSS `<item>`, an Atom `<entry>`, or a JSON Feed item.

A whole feed is fine when it holds exactly one item. XML is read without fetching or expanding
anything, and as feeds are in the wild: an item cut out of its feed has lost the declarations of
its name space prefixes, and HTML entities are used undeclared.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from html import escape
from itertools import islice
from typing import Any

from lxml import etree

from stream_app.codecs.charsets import decode
from stream_app.codecs.confluent import is_framed
from stream_app.codecs.html import Allowance, html_to_text
from stream_app.codecs.json_object import load_object, passed_fields, text_at
from stream_app.codecs.mail.base64 import decode_base64
from stream_app.codecs.outcome import MALFORMED, MAX_TEXT_CHARS, field_text, finish
from stream_app.codecs.xml_repair import repaired
from stream_app.core.errors import RecordError
from stream_app.core.messages import Message, ParseSpec
from stream_app.model.visible import is_blank

# Where the words and the identity are, best first.
_XML_BODY = (
    *("content:encoded", "content", "description", "summary", "media:description"),
    *("itunes:summary", "dc:description"),
)
_XML_ID = ("guid", "id", "link")
_JSON_BODY = ("content_text", "content_html", "content", "description", "summary")
_JSON_ID = ("id", "guid", "url", "link")

# A real item has some twenty children; what lies beyond is left unread.
MAX_CHILDREN = 1_000
# Of several without words so many are tried: HTML is the dearest part of an item.
MAX_TITLES = 2
MAX_BODIES = 4
# Tags, references and attributes: each becomes a node of some 200 bytes, even where it has three.
MAX_MARK_UP = 100_000

_BLANKS, _PEEKED = b" \t\r\n\0" + codecs.BOM_UTF8 + codecs.BOM_UTF16, 1 << 16

_ITEMS = {"item", "entry"}
_FEEDS = {"rss", "RDF", "feed"}
# The usual prefixes, whichever the feed has.
_PREFIXES = {
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://purl.org/rss/1.0/modules/content/": "content",
    "http://search.yahoo.com/mrss/": "media",
    "http://www.itunes.com/dtds/podcast-1.0.dtd": "itunes",
}
_PLAIN = {"text", "text/plain", "plain"}
_PREFIX_OF_TAG = re.compile(r"(?:(?<=<)|(?<=</))[a-zA-Z][\w.-]*+:(?=[a-zA-Z])")
_MARK_UP = re.compile(r"<[a-zA-Z/!?]|&#?\w{1,32};")
_WINDOW, _LONGEST_MARK = 1 << 18, 40  # characters searched in one go, for the lock's sake
# What the parser repairs without losing words. Any other fault may have cut the item short.
_REPAIRABLE = {
    etree.ErrorTypes.NS_ERR_UNDEFINED_NAMESPACE,
    etree.ErrorTypes.ERR_UNDECLARED_ENTITY,
    etree.ErrorTypes.ERR_INVALID_ENCODING,
    etree.ErrorTypes.ERR_INVALID_CHAR,
}


def parse_feed(value: bytes, spec: ParseSpec) -> Message:
    """The item in `value`: title, the fullest text it has as body, guid, id or link as message_id.

    HTML becomes text. `spec.pass_fields` names child elements (`category`, `author`, `dc:creator`;
    the first of several counts; a link without text gives its address) or JSON fields by path.
    Raises `RecordError`: `malformed` for anything but one item, `bad_field` for a JSON field that
    should be text and is not, `no_text` for an item without words.
    """
    try:
        if value[:_PEEKED].lstrip(_BLANKS).startswith(b"{") or is_framed(value):
            return _from_json(load_object(value.removeprefix(codecs.BOM_UTF8)), spec)
        return _from_xml(_read(value), spec)
    except RecursionError:
        raise RecordError(MALFORMED, "this JSON is nested too deeply") from None
    except UnicodeDecodeError:  # lxml lets references to surrogates (&#xD800;) into its tree
        raise RecordError(MALFORMED, "this XML holds a character that does not exist") from None


def _from_json(found: dict[str, Any], spec: ParseSpec) -> Message:
    if isinstance(items := found.get("items"), list):
        found = _only(items)
        if not isinstance(found, dict):
            raise RecordError(MALFORMED, "the item of this JSON feed is not an object")
    title, body = (partial(without_html, Allowance()) for _ in range(2))
    bodies = (
        text_at(found, key) if key == "content_text" else body(text_at(found, key))
        for key in _JSON_BODY
    )
    return finish(
        title(text_at(found, "title")),
        _first(bodies),
        message_id=_first(text_at(found, key) for key in _JSON_ID),
        fields=passed_fields(found, spec),
    )


def _from_xml(item: etree._Element, spec: ParseSpec) -> Message:
    if _name(item)[1] in _FEEDS:
        item = _only([node for node in item.iter("*") if _name(node)[1] in _ITEMS])
    elif _name(item)[1] not in _ITEMS:
        raise RecordError(MALFORMED, "this XML is neither an RSS item nor an Atom entry")
    fields = {name: _first(map(_value, _children(item, name))) for name in spec.pass_fields}
    title, body = (partial(read, Allowance()) for read in (_title, _text))
    return finish(
        _first(map(title, islice(_written(item, "title"), MAX_TITLES))),
        _first(map(body, islice(_written(item, *_XML_BODY), MAX_BODIES))),
        message_id=_first(_value(node) for name in _XML_ID for node in _children(item, name)),
        fields={name: field_text(text) for name, text in fields.items() if text},
    )


def _read(value: bytes) -> etree._Element:
    """The root of the XML in `value`. Limits on depth, sizes and entities are libxml2's own."""
    if sum(map(value.count, (b"<", b"&", b"="))) > MAX_MARK_UP:
        raise RecordError(MALFORMED, "this XML has more mark-up than any item")
    parser = etree.XMLParser(
        encoding="utf-8",
        recover=True,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    root: etree._Element | None = None
    with suppress(etree.XMLSyntaxError):
        root = etree.fromstring(repaired(value), parser)
    if root is None:
        raise RecordError(MALFORMED, "this is neither XML that can be read nor a JSON object")
    for error in parser.error_log.filter_from_errors():
        if error.type not in _REPAIRABLE:
            where = f"line {error.line}, column {error.column}"
            raise RecordError(MALFORMED, f"this is not valid XML: {error.type_name} at {where}")
    return root


def _only(items: list[Any]) -> Any:
    if len(items) != 1:
        raise RecordError(
            MALFORMED, f"this feed holds {len(items)} items: send one item in each record"
        )
    return items[0]


def _name(node: etree._Element) -> tuple[str, str]:
    """Prefix and local name; the parser leaves an undeclared prefix in the tag."""
    space, _, name = str(node.tag).rpartition("}")
    prefix, _, local = name.rpartition(":")
    return _PREFIXES.get(space[1:]) or node.prefix or prefix, local


def _children(item: etree._Element, name: str) -> Iterator[etree._Element]:
    """The children called `name`, which has a prefix (`dc:creator`) or is of the item's own
    vocabulary. Of Atom's links only those to the item itself."""
    prefix, _, local = name.rpartition(":")
    wanted = (prefix or _name(item)[0], local)
    for node in islice(item.iterchildren("*"), MAX_CHILDREN):
        if _name(node) == wanted and node.get("rel", "alternate") == "alternate":
            yield node


def _written(item: etree._Element, *names: str) -> Iterator[etree._Element]:
    """The children of these names, in their order, that hold anything."""
    nodes = (node for name in names for node in _found(item, name))
    return (node for node in nodes if len(node) or node.text)


def _found(item: etree._Element, name: str) -> Iterator[etree._Element]:
    yield from _children(item, name)
    if name.startswith("media:"):
        groups = list(_children(item, "media:group"))
        files = [each for node in (item, *groups) for each in _children(node, "media:content")]
        for node in (*groups, *files):
            yield from _children(node, name)


def _value(node: etree._Element) -> str:
    """A short value: the text of an element, else what Atom's `link` or `category` point at."""
    pieces = islice(node.itertext(), MAX_CHILDREN)
    text = " ".join(" ".join(piece[:MAX_TEXT_CHARS] for piece in pieces)[:MAX_TEXT_CHARS].split())
    return text or node.get("href") or node.get("term") or ""


def _title(left: Allowance, node: etree._Element) -> str:
    """The words in a title: Atom's is plain text unless it says otherwise, RSS's may be HTML."""
    if _name(node.getparent())[1] == "entry" and not len(node) and "type" not in node.attrib:
        return node.text or ""
    return _text(left, node)


def _text(left: Allowance, node: etree._Element) -> str:
    """The words in an element: text, escaped HTML or XHTML."""
    kind, text = node.get("type", ""), node.text or ""
    if len(node):
        inner = (etree.tostring(child, encoding="unicode", method="html") for child in node)
        html = _PREFIX_OF_TAG.sub("", "".join(inner))
        return html_to_text(escape(text) + html, left)
    if node.get("mode") == "base64":  # of Atom 0.3
        text = decode(decode_base64(text.encode()), None)
    if "/" in kind and not (kind.startswith("text/") or kind.endswith("xml")):
        return ""  # a file
    return text if kind in _PLAIN else without_html(left, text)


def without_html(left: Allowance, text: str) -> str:
    if "<" not in text and "&" not in text:
        return text
    has_mark_up = (
        _MARK_UP.search(text, at, at + _WINDOW + _LONGEST_MARK)
        for at in range(0, len(text), _WINDOW)
    )
    return html_to_text(text, left) if any(has_mark_up) else text


def _first(texts: Iterable[str]) -> str:
    """The first text that has words, '' without one."""
    return next((text for text in texts if not is_blank(text)), "")
