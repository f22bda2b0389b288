"""Hostile records of 10 MiB through every codec: CPU seconds and MiB of each, worst first.

`python bench/hostile.py [CODEC …]`; each runs in a process of its own, so that its memory is seen.
"""

from __future__ import annotations

import base64
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator

from stream_app.codecs import CODECS
from stream_app.core.errors import RecordError
from stream_app.core.messages import ParseSpec

SIZE = 10 * 1024 * 1024
SPEC = ParseSpec({"text": "a.b"}, ("id", "a", "link", "dc:creator", "Content-Type", "Received"))
HTML = {
    "nested blocks": b"<div>",
    "nested inline": b"<b>",
    "misnested": b"<b><p>",
    "tables": b"<table><tr><td>",
    "fostered": b"<table>x<b>",
    "attributes": b" a=1",
    "different attributes": b" %d=1",
    "open tags": b"<a ",
    "comments": b"<!--",
    "entities": b"&amp;&#x41;",
    "select": b"<select><option>",
    "svg": b"<svg><g>",
    "words": b"word ",
}


def fill(piece: bytes, size: int = SIZE) -> bytes:
    """`piece` again and again, with a running number where it asks for one."""
    if b"%d" not in piece:
        return (piece * (size // len(piece) + 1))[:size]
    out, total = [], 0
    while total < size:
        out.append(piece % len(out))
        total += len(out[-1])
    return b"".join(out)[:size]


def html() -> Iterator[tuple[str, bytes]]:
    """Mark-up that is dear to parse."""
    for name, piece in HTML.items():
        start = b"<p" if "attributes" in name else b""
        yield name, start + fill(piece)


def mails() -> Iterator[tuple[str, bytes]]:
    """MIME bombs, headers and bodies."""
    mixed = b'Subject: s\nContent-Type: multipart/mixed; boundary="b"\n\n'
    params = b"Content-Type: text/plain" + b"".join(b"; a*%d*=%%41" % n for n in range(300))
    parts = {
        "parts": mixed + fill(b"--b\n\nx\n"),
        "parts with params": mixed + fill(b"--b\n" + params + b"\n\nx\n"),
        "nested multiparts": b"Subject: s\n"
        + b"".join(
            b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n)
            for n in range(180_000)
        ),
        "nested messages": b"Subject: s\n" + fill(b"Content-Type: message/rfc822\n\n"),
        "almost boundaries": mixed + fill(b"--\n"),
        "long boundary": b"Content-Type: multipart/mixed; boundary=" + b"b" * 3900 + b"\n\n"
        b"--" + fill(b"b" * 3899 + b"\n--"),
        "headers": fill(b"a:\n"),
        "different headers": fill(b"a%d:\n"),
        "folded header": b"Subject: s" + fill(b"\n x"),
        "long header": b"Subject: " + fill(b"x"),
        "encoded words": b"Subject: " + fill(b"=?utf-8?q?a?= "),
        "broken encoded words": b"Subject: " + fill(b"=?u?q?"),
        "short lines": b"Subject: s\n\n" + fill(b"x\n"),
        "empty lines": b"Subject: s\n\n" + fill(b"\n"),
        "carriage returns": b"Subject: s\n\n" + fill(b"x\r"),
        "one line": b"Subject: s\n\n" + fill(b"x"),
        "quoted-printable": b"Subject: s\nContent-Transfer-Encoding: quoted-printable\n\n"
        + fill(b"=41=\n"),
        "uuencode": b"Content-Transfer-Encoding: x-uuencode\n\nbegin 644 a\n" + fill(b"!!!!\n"),
        "base64": b"Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n"
        + base64.encodebytes(fill(b"<b><p>", SIZE * 7 // 10)),
        "base64 junk": b"Subject: s\nContent-Transfer-Encoding: base64\n\n" + fill(b"!Q"),
    }
    yield from parts.items()
    for charset in (b"utf-7", b"hz", b"iso-2022-jp-3", b"iso-2022-kr", b"utf-32", b"gb18030"):
        body = fill(b"+AGE-") if charset == b"utf-7" else fill(b"\x1b$B!!~{")
        head = b"Subject: s\nContent-Type: text/plain; charset=" + charset
        yield f"charset {charset.decode()}", head + b"\n\n" + body
    page = fill(b"<div>", 102_400)
    yield "html parts", mixed + (b"--b\nContent-Type: text/html\n\n" + page + b"\n") * 90
    for name, page in html():
        yield f"html: {name}", b"Subject: s\nContent-Type: text/html\n\n" + page


def objects() -> Iterator[tuple[str, bytes]]:
    """JSON that is small as text and large as values."""
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
        yield (
            name,
            b'{"subject": "s", "a": [' + fill(piece)[: SIZE // len(piece) * len(piece)] + (b"0]}"),
        )
    for name, piece in {"lists": b"[],", "keys": b'{"":0},', "strings": b'"ab",'}.items():
        count = 990_000 // sum(map(piece.count, (b"[", b"{", b",")))
        yield f"fewer {name}", b'{"subject": "s", "a": [' + piece * count + b"0]}"
    yield "different keys", b"{" + b"".join(b'"%d":0,' % n for n in range(1_000_000)) + b'"id":0}'
    yield "nested", fill(b'{"a":')
    yield "nested lists", fill(b"[")
    yield "digits", b'{"text": ' + fill(b"9") + b"}"
    yield "one string", b'{"subject": "' + b"\\u00e9" * (SIZE // 6) + b'"}'
    yield "astral", ('{"subject": "' + "\U0001f600" * (SIZE // 4) + '"}').encode()


def feeds() -> Iterator[tuple[str, bytes]]:
    """XML bombs, and the JSON ones."""
    for name, piece in {
        "elements": b"<a/>",
        "nested elements": b"<a>",
        "prefixes": b"<x:a/>",
        "different prefixes": b"<x%d:a/>",
        "name spaces": b"<a xmlns='%d'/>",
        "entities": b"&a;",
        "references": b"&#65;",
        "comments": b"<!---->",
        "instructions": b"<?a?>",
        "cdata": b"<![CDATA[]]>",
        "categories": b"<category/>",
    }.items():
        yield name, b"<item><title>t</title>" + fill(piece) + b"</item>"
    for name, piece in {"elements": b"<a/>", "entities": b"&a;", "prefixes": b"<x:a/>"}.items():
        yield f"fewer {name}", b"<item><title>t</title>" + piece * 990_000 + b"</item>"
    yield "fewer xhtml", b"<item><content>" + b"<b>x</b>" * 490_000 + b"</content></item>"
    yield "attributes", b"<item" + fill(b" a%d=''") + b"/>"
    yield "declarations", b"<item" + fill(b" xmlns:a%d='a'") + b"/>"
    yield "long text", b"<item><title>" + fill(b"x", SIZE - 100) + b"</title></item>"
    laughs = b"".join(
        b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 20 if n else b"lol") for n in range(12)
    )
    for where in (b"<title>&e11;</title>", b"<title a='&e11;'>t</title>"):
        yield "laughs", b"<!DOCTYPE item [" + laughs + b"]><item>" + where + b"</item>"
    blow = b"<!DOCTYPE item [<!ENTITY a '" + fill(b"x", 100_000) + b"'>]><item><title a='"
    yield "quadratic blow-up", blow + fill(b"&a;") + b"'>t</title></item>"
    yield "dtd", b"<!DOCTYPE item [" + fill(b"<!ENTITY a%d 'x'>") + b"]><item/>"
    for name, page in html():
        body = b"<item><title>t</title><description><![CDATA[" + page[: SIZE - 200]
        yield f"html: {name}", body + b"]]></description></item>"
    page = b"<![CDATA[" + fill(b"<div>", 102_400) + b"]]>"
    texts = b"<title>" + page + b"</title><description>" + page + b"</description>"
    yield "html texts", b"<item>" + texts * 22 + b"</item>"
    page = fill(b"<div>", 102_400).decode()
    keys = ("title", "content_html", "content", "description", "summary")
    yield "html texts as JSON", json.dumps(dict.fromkeys(keys, page)).encode()
    yield "xhtml", b"<item><title>t</title><content>" + fill(b"<b>x</b>") + b"</content></item>"
    yield from objects()


def texts() -> Iterator[tuple[str, bytes]]:
    """Bytes of every kind."""
    yield "zeros", bytes(SIZE)
    yield "control", fill(b"\x01")
    yield "spaces", fill(b" ")
    yield "invalid", fill(b"\xff\xfe\xfd")
    yield "utf-16", b"\xff\xfe" + fill(b"\x3d\xd8\x00\xde")
    yield "words", fill(b"word ")


HOSTILE = {"rfc822": mails, "json": objects, "feed": feeds, "text": texts}


def measure(codec: str, value: bytes) -> tuple[float, float, str]:
    """CPU seconds, MiB beyond those of the record, and what came out. In a process of its own."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    try:
        CODECS[codec](value, SPEC)
        outcome = "message"
    except RecordError as error:
        outcome = error.code
    seconds = time.process_time() - start
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, outcome


def main() -> None:
    """Measure and print."""
    context = multiprocessing.get_context("fork")
    for codec in sys.argv[1:] or HOSTILE:
        rows = []
        for name, value in HOSTILE[codec]():
            with context.Pool(1) as pool:
                rows.append((*pool.apply(measure, (codec, value)), name))
        print(f"{codec}: {len(rows)} hostile records of 10 MiB")
        for seconds, mib, outcome, name in sorted(rows, reverse=True):
            print(f"  {seconds:7.2f} s {mib:7.0f} MiB  {outcome:<10} {name}")


if __name__ == "__main__":
    main()
