"""Kinds of hostile records: floods, bombs and towers, each in a number of sizes and mixtures."""

from __future__ import annotations

import base64
import json
import quopri
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SIZE = 10 * 1024 * 1024  # the default max_record_bytes

Wrap = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Kind:
    """`start`, then a share of the size of the first piece again and again, the rest of the second,
    then `end`; the bytes between start and end are wrapped. `%d` in a piece is a running number."""

    name: str
    start: bytes
    pieces: tuple[bytes, ...]
    end: bytes = b""
    wrap: Wrap = bytes

    def record(self, size: int, share: float) -> bytes:
        """One record of this kind, of at most SIZE bytes."""
        shares = (share, 1 - share) if len(self.pieces) > 1 else (1.0,)
        room = max(0, size - len(self.start) - len(self.end))
        inner = b"".join(
            fill(piece, int(room * part)) for piece, part in zip(self.pieces, shares, strict=True)
        )
        return (self.start + self.wrap(inner) + self.end)[:SIZE]


def fill(piece: bytes, size: int) -> bytes:
    """`piece` again and again, with a running number where it asks for one."""
    count = max(1, size // len(piece))
    if b"%d" not in piece:
        return piece * count
    return b"".join(piece.replace(b"%d", b"%d" % number) for number in range(count))


MARK_UP = {
    "blocks": (b"<div>",),
    "inlines": (b"<b>",),
    "misnested": (b"<b><p>",),
    "tables": (b"<table><tr><td>",),
    "fostered": (b"<table>x<b>",),
    "attributes": (b"<p" + b" a=1" * 100 + b">",),
    "attributes of one tag": (b" a%d=1",),
    "open tags": (b"<a ",),
    "open quotes": (b"<a b='",),
    "comments": (b"<!---->",),
    "open comments": (b"<!--",),
    "entities": (b"&amp;&#x41;",),
    "invisible entities": (b"&zwnj;&#8203; ",),
    "options": (b"<select><option>",),
    "svg": (b"<svg><style><g>",),
    "scripts": (b"<script></scrip</script>",),
    "an open script": (b"</scrip",),
    "words": (b"word ",),
    "signs": (b"< ",),
    "rows": (b"<td>x",),
    "hidden blocks": (b"<div hidden>x</div>",),
    "hidden, then blocks": (b"<p hidden>", b"<div>x"),
    "hidden, then end tags": (b"<div hidden><x>", b"</y>"),
    "hidden formatting": (b"<b hidden><i hidden></b></i>x",),
    "formatting, then paragraphs": (b"<b style='opacity:0%d'><i><u><a>", b"<p>x"),
    "barriers": (b"<div hidden><object></div></object>", b"<p>x"),
    "sizes": (b"<div style='font-size:0'><p style='font-size:%dpx'>x",),
    "different styles": (b"<p style='display:none;color:#%d'>x</p>",),
    "style sheets": (b"<style>.a%d{display:none}</style><p class=a%d>",),
    "rules": (b"a,.b,#c{display:none}",),
    "classes": (b"<p class='" + b"a b c d " * 100 + b"'>x",),
    "pages of spaces": (b"<p>" + b" " * 500,),
}

SUBJECT = b"Subject: s\n"
MIXED = SUBJECT + b'Content-Type: multipart/mixed; boundary="b"\n\n'
HTML = SUBJECT + b"Content-Type: text/html; charset=utf-8\n\n"


def html_kinds() -> Iterator[Kind]:
    """Mark-up that is dear to read, as the body of a mail."""
    for name, pieces in MARK_UP.items():
        start = {"attributes of one tag": b"<p", "an open script": b"<script>"}.get(name, b"")
        start = b"<style>" if name == "rules" else start
        yield Kind(f"html: {name}", HTML + start, pieces)
    deep = b"<div>" * 5_000
    page = b"--b\nContent-Type: text/html\n\n" + deep + b"<p hidden>x\n"
    yield Kind("html parts", MIXED, (page,))


def mail_kinds() -> Iterator[Kind]:
    """MIME bombs, headers, transfer encodings and charsets."""
    plain = SUBJECT + b"\n"
    encoded = SUBJECT + b"Content-Transfer-Encoding: %s\n\n"
    params = b"Content-Type: text/plain" + b"".join(b"; a*%d*=%%41" % n for n in range(300))
    yield Kind("parts", MIXED, (b"--b\n\nx\n",))
    yield Kind("parts with params", MIXED, (b"--b\n" + params + b"\n\nx\n",))
    nested = b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n"
    yield Kind("parts in parts", SUBJECT, (nested,))
    forms = MIXED.replace(b"mixed", b"alternative")
    form = b"--b\nContent-Type: text/x%d\n\n" + b"words%d and more " * 20 + b"\n"
    yield Kind("alternatives", forms, (form,))
    yield Kind("two alternatives", forms, (b"a%d ", b"b%d "), wrap=_two_forms)
    yield Kind("messages in messages", SUBJECT, (b"Content-Type: message/rfc822\n\n",))
    yield Kind("almost boundaries", MIXED, (b"--\n",))
    yield Kind("false boundaries", MIXED, (b"--bx\n", b"--b\n\n"))
    kind = SUBJECT + b"Content-Type: multipart/mixed"
    long = kind + b"; boundary=" + b"b" * 60_000 + b"\n\n"
    yield Kind("long boundary", long, (b"--" + b"b" * 59_999 + b"\n",))
    several = b"".join(b"; boundary=x%d" % number for number in range(5_000))
    yield Kind("boundaries", kind + several + b"\n\n", (b"\n--x\n",))
    for name, piece in {
        "fields": b"a:\n",
        "different fields": b"a%d:\n",
        "known fields": b"x-a:\n\xff\n",
        "no fields": b"\xff\n",
        "folded field": b" x\n",
    }.items():
        yield Kind(name, SUBJECT, (piece,))
    yield Kind("fields of parts", MIXED, (b"--b\n" + b"a:\n" * 3_000 + b"\nx\n",))
    for name, piece in {
        "subject": b"x",
        "spaces in a subject": b" ",
        "encoded words": b"=?utf-8?q?a?= ",
        "broken encoded words": b"=?u?q?",
        "raw subject": b"\xe9\xc0",
    }.items():
        yield Kind(name, b"Subject: ", (piece,))
    for name, piece in {
        "parameters": b"; a%d=b",
        "open quotes": b'; a="',
        "blanks": b" ",
        "stars": b";a*%d*=%41",
    }.items():
        yield Kind(f"content type of {name}", SUBJECT + b"Content-Type: text/plain", (piece,))
    for name, piece in {
        "lines": b"x\n",
        "empty lines": b"\n",
        "carriage returns": b"x\r",
        "one line": b"x",
    }.items():
        yield Kind(name, plain, (piece,))
    for encoding, pieces in {
        b"quoted-printable": (b"=41=\n", b"= \n", b"= ", b"=41"),
        b"x-uuencode": (b"!!!!\n", b"\xff\n"),
        b"base64": (
            b"!Q",
            b"!Q\n",
            b"QQ==\n",
            b"QQ==",
            b"QUFB ",
            b"= ",
            b"=",
            b"list mailing list\n",
        ),
    }.items():
        begin = b"begin 644 a\n" if b"uu" in encoding else b""
        for piece in pieces:
            yield Kind(f"{encoding.decode()}: {piece!r}", encoded % encoding + begin, (piece,))
    yield Kind(
        "html in base64",
        HTML.replace(b"\n\n", b"\nContent-Transfer-Encoding: base64\n\n"),
        (b"<b><p>",),
        wrap=base64.encodebytes,
    )
    yield Kind(
        "html in quoted-printable",
        HTML.replace(b"\n\n", b"\nContent-Transfer-Encoding: quoted-printable\n\n"),
        (b"<p>=<p>",),
        wrap=lambda html: quopri.encodestring(html),
    )
    yield Kind("html without a type", plain + b"<html>", (b"<p>word%d</p>", b"<!-- x"))
    for charset, pieces in CHARSETS.items():
        head = SUBJECT + b"Content-Type: text/plain; charset=" + charset
        for piece in pieces:
            yield Kind(f"{charset.decode()}: {piece!r}", head + b"\n\n", (piece,))


CHARSETS = {
    b"utf-8": (b"\xff", "é".encode(), "\U0001f600".encode()),
    b"us-ascii": (b"\xe9", "é".encode()),
    b"gb18030": (b"\xff", b"\x81\x30", b"\xb0\xa1"),
    b"big5": (b"\xff", b"\xa4\xa4"),
    b"euc-kr": (b"\xff", b"\xb0\xa1"),
    b"shift_jis": (b"\x81", b"\x88\x9f"),
    b"euc-jp": (b"\xad\xa1", b"\xad\xa1a", b"\xff"),
    b"iso-2022-jp": (b"\x1b$B-!\x1b(B", b"\x1b$B-!", b"\xff\x1b$A", b"\x1b$B\x1b(B"),
    b"iso-8859-6": (b"\xff", b"\xc7"),
    b"utf-7": (b"+AGE-", b"+", b"\xff"),
    b"hz-gb-2312": (b"~{VP~}", b"\xff"),
    b"iso-2022-kr": (b"\x0e0!\x0f", b"\xff"),
    b"utf-16": (b"\xd8\xd8", b"\x3d\xd8\x00\xde"),
    b"utf-32": (b"\xff\xff\xff\xff", b"\x01\0\0\0"),
}


def _two_forms(inner: bytes) -> bytes:
    """A plain part and one of HTML, of the first and the second half."""
    half = len(inner) // 2
    return b"--b\n\n" + inner[:half] + b"\n--b\nContent-Type: text/html\n\n" + inner[half:]


TEXTS = {
    "zeros": b"\0",
    "control": b"\x01",
    "spaces": b" ",
    "invalid": b"\xff\xfe\xfd",
    "words": b"word ",
    "numbers": b"%d ",
    "one word": b"abcdefghij",
    "marks": "\u0301".encode(),
    "towers": "a\u0345\u0334".encode(),
    "towers of 30": ("a" + "\u0345\u0334" * 15).encode(),
    "half-width marks": "\u0345\uff9e".encode(),
    "marks of several": "\u1f82\u0345\u0334".encode(),
    "ligatures": "\ufdfa".encode(),
    "squares": "\u3300".encode(),
    "zero width": "\u200b".encode(),
    "joiners": "\u0628\u200d".encode(),
    "latin joiners": "x\u200d".encode(),
    "fillers and spaces": "\u034f\u00a0".encode(),
    "word and fillers": "x\u200b\u00a0".encode(),
    "punctuation": b"!?",
    "han": "漢".encode(),
    "hangul": "한글 ".encode(),
    "emoji": "👩\u200d👧".encode(),
    "capitals": "İ".encode(),
}


def text_kinds() -> Iterator[Kind]:
    """Text of every kind, by itself."""
    for name, piece in TEXTS.items():
        yield Kind(name, b"words ", (piece,))
    yield Kind("utf-16", b"\xff\xfe", (b"\x3d\xd8\x00\xde",))
    yield Kind("letters, then marks", b"", (b"a ", "\u0345\u0334".encode()))
    yield Kind("spaces, then words", b"x", (b" ", b"a%d "))


def json_kinds() -> Iterator[Kind]:
    """JSON that is small as text and large as values."""
    start, end = b'{"text": "s", "a": [', b"0]}"
    for name, piece in {
        "lists": b"[],",
        "objects": b"{},",
        "keys": b'{"":0},',
        "numbers": b"0,",
        "floats": b"1.5,",
        "exponents": b"1e9,",
        "strings": b'"ab",',
        "escapes": b'"\\u00e9\\ud83d",',
    }.items():
        yield Kind(name, start, (piece,), end)
    yield Kind("different keys", b"{", (b'"%d":0,',), b'"text":"x"}')
    yield Kind("different long keys", b"{", (b'"%d' + b"x" * 80 + b'":0,',), b'"text":"x"}')
    yield Kind("nested", b"", (b'{"a":',))
    yield Kind("nested lists", b"", (b"[",))
    yield Kind("digits", b'{"text": ', (b"9",), b"}")
    for name, piece in {
        "escapes": b"\\u00e9",
        "line ends": b"\\n",
        "commas": b",{",
        "quotes": b'\\"',
        "é": "é".encode(),
        "astral": "😀".encode(),
        "surrogates": b"\\ud800",
    }.items():
        yield Kind(f"text of {name}", b'{"text": "', (piece,), b'"}')
    yield Kind("framed", b"\0\0\0\0\x01" + start, (b"[],",), end)


def feed_kinds() -> Iterator[Kind]:
    """XML bombs, and mark-up in items."""
    item, end = b"<item><title>t</title>", b"</item>"
    for name, piece in {
        "elements": b"<a/>",
        "nested elements": b"<a>",
        "prefixes": b"<x:a/>",
        "different prefixes": b"<x%d:a/>",
        "name spaces": b"<a xmlns='%d'/>",
        "entities": b"&a;",
        "known entities": b"&nbsp;",
        "ampersands": b"& ",
        "references": b"&#65;",
        "odd references": b"&#150;",
        "comments": b"<!---->",
        "instructions": b"<?a?>",
        "cdata": b"<![CDATA[]]>",
        "control": b"\x01",
        "invalid": b"\xff",
        "titles": b"<title>&lt;p></title>",
        "bodies": b"<description>&lt;div></description>",
        "media": b"<media:group><media:description/></media:group>",
    }.items():
        yield Kind(name, item, (piece,), end)
    yield Kind("xhtml", b"<item><content>", (b"<b>x</b>",), b"</content></item>")
    yield Kind("attributes", b"<item", (b" a%d=''",), b"/>")
    yield Kind("declarations", b"<item", (b" xmlns:a%d='a'",), b"/>")
    yield Kind("long title", b"<item><title>", (b"x",), b"</title></item>")
    yield Kind("spaces, then an item", b"", (b" ",), b"<item><title>t</title></item>")
    laughs = b"".join(
        b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 20 if n else b"lol") for n in range(12)
    )
    bomb = b"<!DOCTYPE item [" + laughs + b"]><item>"
    yield Kind("laughs", bomb, (b"<title>&e11;</title>",), end)
    yield Kind("laughs in attributes", bomb, (b"<title a='&e11;'>t</title>",), end)
    blow = b"<!DOCTYPE item [<!ENTITY a '" + fill(b"x", 100_000) + b"'>]><item><title a='"
    yield Kind("quadratic blow-up", blow, (b"&a;",), b"'>t</title></item>")
    yield Kind("dtd", b"<!DOCTYPE item [", (b"<!ENTITY a%d 'x'>",), b"]><item/>")
    for name, pieces in MARK_UP.items():
        start = item + b"<description><![CDATA["
        yield Kind(f"html: {name}", start, pieces, b"]]></description></item>")
    keys = ("title", "content_html", "content", "description", "summary")
    yield Kind(
        "html texts as JSON",
        b"",
        (b"<div hidden>",),
        wrap=lambda html: json.dumps(dict.fromkeys(keys, html[: SIZE // 6].decode())).encode(),
    )


KINDS: dict[str, Callable[[], Iterator[Kind]]] = {
    "rfc822": lambda: (kind for kinds in (mail_kinds(), html_kinds()) for kind in kinds),
    "json": json_kinds,
    "feed": feed_kinds,
    "text": text_kinds,
}
