"""The tree of parts -> the text that a mail program shows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from stream_app.codecs.charsets import decode, encoding_of
from stream_app.codecs.html import Allowance, html_to_text, without_tags
from stream_app.codecs.mail.alternatives import Form, read_alternatives
from stream_app.codecs.mail.calendar import calendar_text
from stream_app.codecs.mail.inline_files import without_files
from stream_app.codecs.mail.parts import MAX_DEPTH, Left, Part, parts_of, read_mail
from stream_app.codecs.outcome import MAX_TEXT_CHARS
from stream_app.model.visible import fit, is_blank

_HTML = {
    "text/html",
    "text/enriched",
    "text/richtext",
    "text/x-amp-html",
    "text/watch-html",
    "application/xhtml+xml",
}
# Any other text is read as it stands (RFC 2046, section 4.1.4) but these, which nobody is shown.
_NOT_SHOWN = {"text/css", "text/directory", "text/ecmascript", "text/javascript", "text/rtf"}
_NOT_SHOWN |= {"text/rfc822-headers", "text/vcard", "text/x-javascript", "text/x-vcard"}
_CALENDARS = {"text/calendar", "text/x-vcalendar"}
_LOOKS_LIKE_HTML = re.compile(r"\s*<(?:!doctype html|html|head|body)\b", re.IGNORECASE)
_FLOWING_END = re.compile(r"(?<!^--) \r?\n ?", re.MULTILINE)  # of a line that goes on (RFC 3676)
_META_CHARSET = re.compile(
    rb"<(?:meta[^>]{0,200}?charset|\?xml[^>]{0,100}?encoding)\s*=\s*[\"']?\s*([\w.:-]{1,40})",
    re.IGNORECASE,
)
_PRESCANNED = 1024  # bytes, as the HTML Standard has it


@dataclass(slots=True)
class Reading:
    """Reads one mail. `charset` is the first that a part declared; `has_more` says that there is
    something else than text: a picture, an attached file."""

    charset: str = ""
    has_more: bool = False
    _left: Left = field(default_factory=Left)
    _allowance: Allowance = field(default_factory=Allowance)

    def mail(self, data: bytes) -> Part:
        """The mail in `data`."""
        return read_mail(data, 0, len(data), self._left)

    def text(self, part: Part, depth: int = 0) -> str:
        """What a reader sees of a part. Attachments are ignored; a whole mail that calls itself
        one, as some spam does, is shown by mail programs, and read here."""
        within = parts_of(part, self._left)
        if within is None:
            return self._own_text(part)
        if depth == MAX_DEPTH:
            return ""
        is_alternative = part.kind == "multipart/alternative"  # of which no form is a file
        shown = [each for each in within if is_alternative or not each.is_attached]
        self.has_more = self.has_more or len(shown) < len(within)
        texts = [(each.kind, self.text(each, depth + 1)) for each in shown]
        if is_alternative:
            return read_alternatives(texts)
        return "\n".join(text for _, text in texts if text)

    def _own_text(self, part: Part) -> str:
        """The text of a part without parts; '' for all that is not text, or blank."""
        kind = part.kind
        if kind in _NOT_SHOWN or not (kind in _HTML or kind.startswith(("text/", "multipart/"))):
            self.has_more = True
            return ""
        self.charset = self.charset or part.charset
        data = part.body()
        if kind in _HTML:
            text = self._html_text(decode(data, part.charset or _meta_charset(data)))
        else:
            text = decode(data, part.charset)
            if kind in _CALENDARS:
                text = calendar_text(text)
            elif kind == "text/plain":
                text = self._plain_text(part, text)
        return "" if is_blank(text) else fit(text, MAX_TEXT_CHARS).strip()

    def _plain_text(self, part: Part, text: str) -> str:
        if not part.is_declared and _LOOKS_LIKE_HTML.match(text):
            return self._undeclared_text(text)
        if part.says("format", "flowed") and part.says("delsp", "yes"):
            text = _FLOWING_END.sub("", text)
        shown = without_files(text)
        self.has_more = self.has_more or len(shown) < len(text)
        return shown

    def _html_text(self, html: str) -> str:
        text = html_to_text(html, self._allowance)
        if is_blank(text) and "<img" in html.lower():
            self.has_more = True
        return text

    def _undeclared_text(self, html: str) -> str:
        """HTML that does not say so: some programs show it as a page, others as it stands."""
        page = self._html_text(html)
        bare = html[:MAX_TEXT_CHARS].replace("<!--", " ")
        bare = "".join(without_tags(bare, 0, len(bare)))
        return page if Form(page).says_the_same_as(Form(bare)) else f"{page}\n{bare}"


def _meta_charset(html: bytes) -> str | None:
    """The charset that a page declares for itself, in a meta element or as XML. Being readable as
    ASCII it is not UTF-16, whatever it says, nor what the Encoding Standard does not know."""
    found = _META_CHARSET.search(html, 0, _PRESCANNED)
    name = encoding_of(found[1].decode("latin-1"), web_only=True) if found else None
    return "utf-8" if name in ("utf-16le", "utf-16be") else name
