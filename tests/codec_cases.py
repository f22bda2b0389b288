"""What the codecs are tried with, and what must hold of their answer whatever the bytes are."""

from __future__ import annotations

import json

from stream_app.codecs import CODECS
from stream_app.codecs.outcome import MAX_FIELD_CHARS, MAX_TEXT_CHARS
from stream_app.core.errors import RecordError
from stream_app.core.messages import Message, ParseSpec
from stream_app.model.preparation import Preparation, prepare

CODES = {"malformed", "bad_field", "no_text", "not_text"}
SPEC = ParseSpec({"text": "a.b"}, ("id", "a", "link", "dc:creator", "Content-Type"))

# What is hidden in mails made for the tests, and what a good one says.
SPAM = (
    "Congratulations winner! Claim your FREE cash prize of $5,000 now.\n"
    "Cheap meds online, no prescription required, 100% money back guarantee.\n"
    "Click here to order today and save 80% - limited time offer, act now!\n"
)
GOOD = (
    "Hi Anna,\n\nthe minutes of Monday's meeting are on the wiki. Could you check the part\n"
    "about the parser before Thursday? The tests on the old kernel still fail.\n\nThanks,\nTom\n"
)

SEEDS = {
    "rfc822": [
        b"Subject: =?utf-8?b?w6k=?= x\nContent-Type: multipart/alternative; boundary=b\n\n"
        b"--b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
        b"SGVsbG8=\n--b\nContent-Type: text/html\n\n<p>Hello<br>you</p>\n--b--\n",
        b"From a@b Mon\nMessage-ID: <1@x>\nContent-Type: message/rfc822\n\nSubject: in\n\nwords",
        b'Subject: a\n b\nTo: x\nContent-Type: multipart/mixed; boundary="b"\n\npre\n--b\n'
        b"Content-Type: multipart/related; boundary=c\n\n--c\nContent-Type: text/html; charset="
        b"koi8-r\nContent-Transfer-Encoding: quoted-printable\n\n<table><tr><td>=F0=D2<br>x&nbsp;"
        b"<style>p{}</style><a href=3D'u'>y</a></table>\n--c--\n--b\nContent-Disposition: "
        b"attachment; filename*0*=utf-8''a%20; filename*1=b.txt\n\nno\n--b\n"
        b"Content-Transfer-Encoding: x-uuencode\n\nbegin 644 a\n#0V%T\n`\nend\n--b--\npost",
        b"Subject: s\nContent-Type: multipart/digest; boundary*=utf-8''b\n\n--b\n\nA: b\n\nc",
        b"Subject : s\nContent-Type: text/html\nContent-Type: text/plain\n"
        b"Content-Transfer-Encoding: base64;\n\nPGRpdiBzdHlsZT0iZGlzcGxheTpub25lIj5hPC9kaXY+\n"
        b"PGI+YjwvYj4=\n____\nlist\n",
        b"Subject: s\nContent-Type: text/html\n\n<style>.x{display:none}"
        b"@media print{p{a:b}}</style><p class=x>a<b hidden>b<p style='font-size:0'>c"
        b"<span style='font-size:9px'>d</span><svg><title>e</title></svg><textarea>&lt;f</textarea>"
        b"<table hidden><tr><td>g</table>h",
        b"Subject: a\nSubject: b\nContent-Type: application/pkcs7-mime\n\n0\x80\x06\t*\x86H\x86\xf7"
        b"\r\x01\x07\x02\xa0\x800\x80\x02\x01\x011\x000\x80\x06\t*\x86H\x86\xf7\r\x01\x07\x01\xa0\x80$\x80\x04"
        b"\x06\nwords\0\0\0\0\0\0\0\0\0\0",
        b"Content-Type: text/plain; format=flowed; delsp=yes\nContent-Transfer-Encoding: "
        b"(a) quoted-printable\n\nVia=\r \ngra\nbegin 644 a\n#0V%T\n`\nend\nb",
        b"Subject: s\nContent-Type: text/html\n\n<style media=screen>p.a,b .c:hover{color:#fff"
        b"!important}</style><body bgcolor=black text=red><p class=a style='position:absolute;left:"
        b"-999px;background:url(a)'>a<td style='max-height:0;overflow:hidden'>b<bdo dir=rtl>c</bdo>"
        b"<input value=d><span style='font:0/1 a;text-indent:-9999px;transform:scale(0)'>e",
        b"Content-Type: text/calendar; charset=iso-2022-jp\n\nSUMMARY:a\\, \x1b$B-!\x1b(B\n  b\n",
    ],
    "json": [
        b'{"title": "t", "text": "x", "a": {"b": [1, 2.5, {"c": null}]}, "id": 7}',
        '{"subject": "é"}'.encode("utf-16"),
        b'\0\0\0\0\x07{"text": "x"}',
    ],
    "feed": [
        b"<?xml version='1.0' encoding='iso-8859-1'?><item xmlns:dc='d'><title>t &amp; u</title>"
        b"<description><![CDATA[<p>x</p>]]></description><dc:creator>c</dc:creator></item>",
        b'<entry xmlns="http://www.w3.org/2005/Atom"><title type="html">t</title><link href="u"/>'
        b'<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">x</div></content></entry>',
        b'{"title": "t", "content_html": "<p>x</p>", "id": [1]}',
        b"<rss><channel><item><title>t</title></item></channel></rss>",
        b"<entry xmlns='http://purl.org/atom/ns#'><title mode='escaped'>t</title><content mode="
        b"'base64' type='text/html'>PHA+YjwvcD4=</content><content type='image/png'>x</content><x:"
        b"description xmlns:x='http://search.yahoo.com/mrss/' type='plain'>d</x:description>"
        b"</entry>",
        b"<?xml version='1.0' encoding='us-ascii'?><entry><title>t & u</title><media:group>"
        b"<media:description>&nbsp;\xc3\xa9&#150;</media:description></media:group></entry>",
    ],
    "text": ["naïve".encode(), "naïve".encode("utf-16")],
}
JUNK = [
    *(b"\0", b"\n", b"\n\n", b"\r", b" ", b'"', b"'", b";", b"=", b"*", b"?=", b"--b", b"\xff\xfe"),
    *(b"=?", b"=?utf-8?b?a?=", b"charset=", b"charset*=a\0b'x'y", b"boundary*=idna''%ff", b"zlib"),
    *(
        b"utf-7",
        b"undefined",
        b"message/rfc822",
        b"multipart/mixed",
        b"x-uuencode",
        b"\nbegin 644 a\n",
    ),
    *(b"{", b"[", b"}", b"NaN", b"1e999", rb"\ud800", b"9" * 5_000, b"<", b">", b"<!--", b"]]>"),
    *(
        b"color:#fff",
        b"!important",
        b"@media print{",
        b"rgb(0,0,0)",
        b"\xe2\x80\xae",
        b"/*",
        b"url(",
    ),
    *(
        b"0\x80",
        b"$\x80",
        b"delsp=yes",
        b"format=flowed",
        b"=\r",
        b"mode='base64'",
        b"position:fixed",
    ),
    *(b"style=display:none", b"<p hidden>", b"<style>", b"</div>", b"<table>", b"font-size:0"),
    *(b"=\n", b"base64;", b"Content-Type: text/html\n", b"\r", b" :", b"\xcc\x81" * 40, b"\x1b(B"),
    *("\u200b\u200d\u034f".encode(), b"&nbsp;", b"&#x200b;", b"]]>", b"\0\0\0\0\1"),
    *(b"&a;", b"&#xD800;", b"&#0;", b"<!DOCTYPE item [<!ENTITY a 'x'>]>", b"encoding='hz'"),
    *(
        b'xmlns="x"',
        b"<?pi?>",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\x1b$B",
        b'<xi:include href="/"/>',
    ),
]


def mail(body: str | bytes, *headers: str | bytes) -> bytes:
    """A mail of a subject, these header lines and a body."""
    lines = [b"From: a@example.org", b"Subject: hello", *map(_as_bytes, headers), b"", b""]
    return b"\n".join(lines) + _as_bytes(body)


def parts(kind: str, *each: bytes) -> bytes:
    """A mail of several parts, each with its own header lines."""
    body = b"".join(b"--b\n" + part + b"\n" for part in each) + b"--b--\n"
    return mail(body, f'Content-Type: multipart/{kind}; boundary="b"')


def part(body: str | bytes, *headers: str | bytes) -> bytes:
    """A part of several."""
    return b"\n".join((*map(_as_bytes, headers), b"", _as_bytes(body)))


def read(name: str, value: bytes) -> str:
    """The words that a model gets of a record, each line and word apart by one space."""
    message = CODECS[name](value, ParseSpec())
    return " ".join(prepare(message.title, message.body, Preparation()).split())


def words(text: str) -> str:
    """Text as `read` gives it."""
    return " ".join(text.split())


def _as_bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def check(name: str, value: bytes) -> None:
    """Parse `value`: a clean, bounded message or a RecordError of a known code comes out."""
    outcome = _outcome(name, value)
    if isinstance(outcome, Message):
        _check_message(outcome)
    else:
        assert outcome.code in CODES, outcome.code
        assert str(outcome)


def _outcome(name: str, value: bytes) -> Message | RecordError:
    try:
        return CODECS[name](value, SPEC)
    except RecordError as error:
        return error


def _check_message(message: Message) -> None:
    assert message.title or message.body
    fields = json.dumps(dict(message.fields), ensure_ascii=False, allow_nan=False)
    for text in (message.title, message.body, message.message_id or "", fields):
        assert text.encode("utf-8").decode("utf-8") == text
    assert max(len(message.title), len(message.body)) <= MAX_TEXT_CHARS
    texts = [field for field in message.fields.values() if isinstance(field, str)]
    assert all(len(text) <= MAX_FIELD_CHARS for text in (message.message_id or "", *texts))
