"""Raw e-mail: what is read, what is left out, and how junk is survived."""

from email.message import EmailMessage

import pytest

from stream_app.codecs import CODECS
from stream_app.codecs.mail.headers import MAX_FIELDS
from stream_app.codecs.mail.parts import MAX_DEPTH, MAX_PARTS
from stream_app.codecs.rfc822 import parse_rfc822
from stream_app.core.errors import NoText, RecordError
from stream_app.core.messages import Message, ParseSpec

MIXED = b'Subject: s\nContent-Type: multipart/mixed; boundary="b"\n\n'


def parse(value: bytes | EmailMessage, *pass_fields: str) -> Message:
    raw = value if isinstance(value, bytes) else value.as_bytes()
    return CODECS["rfc822"](raw, ParseSpec(pass_fields=pass_fields))


def part(body: bytes, *headers: bytes) -> bytes:
    return b"--b\n" + b"".join(header + b"\n" for header in headers) + b"\n" + body + b"\n"


def code_of(value: bytes) -> str:
    with pytest.raises(RecordError) as caught:
        parse(value)
    return caught.value.code


def test_subject_body_id_and_the_headers_asked_for():
    raw = (
        b"From a@b Mon Sep 17 13:30:25 2004\r\nReceived: by x\r\nReceived: by y\r\n"
        b"Message-ID:\r\n <1@x>\r\nTO: =?utf-8?q?J=C3=B6rg?= <j@x>\r\nSubject: Hello\r\n there\r\n"
        b"\r\nThe body.\r\n"
    )
    message = parse(raw, "To", "received", "X-Absent")
    assert message == Message(
        "Hello there", "The body.", "<1@x>", {"To": "Jörg <j@x>", "received": "by x"}
    )


@pytest.mark.parametrize("first", [b">From a@b Mon\n", b"\n\r\n", b"\xef\xbb\xbf", b"From a\n"])
def test_what_exporters_put_before_the_headers_is_skipped(first: bytes):
    assert parse(first + b"Subject: s\n\nbody").title == "s"


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        (b"=?utf-8?b?w6k=?= =?utf-8?q?_caf=c3?=\n =?UTF-8?Q?=a9?= plain", "é café plain"),
        (b"a =?iso-8859-1*en?Q?b_c?= d", "a b c d"),
        (b"=?no-such-charset?q?caf=E9?=", "café"),
        (b"=?zlib?q?a?= =?punycode?q?b?=", "ab"),
        (b"=?utf-8?b?a?= ok", "=?utf-8?b?a?= ok"),
        (b"=?utf-8?b?SGVsbG8?=", "Hello"),
        (b"=?utf-8?q?open", "=?utf-8?q?open"),
        (b"=?big5?b?pKSk5Q==?=", "中文"),
        (b"raw \xe9 latin", "raw é latin"),
        ("raw é utf-8".encode(), "raw é utf-8"),
    ],
)
def test_encoded_words_whole_and_broken(raw: bytes, title: str):
    assert parse(b"Subject: " + raw + b"\n\nx").title == title


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        (b"utf-8", "naïve".encode(), "naïve"),
        (b"iso-8859-1", b"\x93na\xefve\x94", "“naïve”"),
        (b"iso-8859-1", "naïve".encode(), "naïve"),
        (b"us-ascii", b"na\xefve", "naïve"),
        (b"utf-8", b"na\xefve", "na\ufffdve"),
        (b"x-unknown", "naïve".encode(), "naïve"),
        (b"unicode_escape", rb"\u0041", r"\u0041"),
        (b"gb2312", "漢字".encode("gb18030"), "漢字"),
        (b"iso-2022-jp", "日本".encode("iso-2022-jp"), "日本"),
        (b"koi8-r", "привет".encode("koi8-r"), "привет"),
        (b"windows-874", "ไทย".encode("cp874"), "ไทย"),
        (b"a\0b", b"x", "x"),
        (b"\xff", b"x", "x"),
        (b"utf-7", b"lone +2AA- surrogate", "lone ? surrogate"),
    ],
)
def test_charsets_true_wrong_and_unknown(charset: bytes, data: bytes, text: str):
    assert parse(b"Content-Type: text/plain; charset=" + charset + b"\n\n" + data).body == text


def test_html_without_a_declared_charset_is_read_by_its_meta_tag():
    page = '<meta http-equiv=x content="text/html; charset=koi8-r"><p>привет'.encode("koi8-r")
    assert parse(b"Content-Type: text/html\n\n" + page).body == "привет"


@pytest.mark.parametrize(
    ("plain", "html", "expected"),
    [
        ("Plain words", "<p>Plain <b>wor</b>ds</p>", "Plain words"),
        (" \n", "<p>Mar<b>ked</b></p>", "Marked"),
        ("Plain words", "<p>Mar<b>ked</b></p>", "Marked\nPlain words"),
    ],
)
def test_of_alternatives_the_plain_one_unless_the_other_says_more(
    plain: str, html: str, expected: str
):
    mail = EmailMessage()
    mail.set_content(plain)
    mail.add_alternative(html, subtype="html")
    assert parse(mail).body == expected


def test_attachments_are_ignored_and_inline_parts_are_not():
    mail = EmailMessage()
    mail["Subject"] = "s"
    mail.set_content("Words")
    mail.add_attachment("attached words", filename="a.txt")
    mail.add_attachment(b"attached words", maintype="application", subtype="pdf")
    mail.add_attachment("inline words", disposition="inline")
    assert parse(mail).body == "Words\ninline words"


def test_a_whole_mail_that_calls_itself_an_attachment_is_read():
    assert parse(b"Content-Disposition: attachment\n\nBuy now").body == "Buy now"


def test_an_enclosed_message_is_read_without_its_headers():
    inner = EmailMessage()
    inner["Subject"], inner["X-Secret"] = "inner", "header"
    inner.set_content("Inner words")
    outer = EmailMessage()
    outer.set_content("Outer words")
    outer.add_attachment(inner, disposition="inline")
    assert parse(outer).body == "Outer words\nInner words"


def test_html_that_calls_itself_plain_is_read_as_html():
    assert parse(b"Subject: s\n\n <HTML><body>Buy <b>now</b><br>here").body == "Buy now\nhere"


@pytest.mark.parametrize(
    "content_type",
    [
        b"text/plain charset=us-ascii",
        b"nonsense",
        b"multipart/mixed",
        b"multipart/mixed; boundary*=undefined''%ff",
        b"multipart/mixed; boundary*=a\0b'en'x",
        b"multipart/mixed; boundary*=a; boundary*1=b",
        b"text/plain; charset*=a; charset*1=b",
    ],
)
def test_a_broken_content_type_leaves_the_text(content_type: bytes):
    assert parse(b"Content-Type: " + content_type + b"\n\nStill here").body == "Still here"


@pytest.mark.parametrize(
    ("encoding", "data"),
    [(b"base64", b"SGVsbG8="), (b"BASE64", b"SGVs\n!bG8"), (b"quoted-printable", b"Hel=6Co=\n")],
)
def test_transfer_encodings(encoding: bytes, data: bytes):
    assert parse(b"Content-Transfer-Encoding: " + encoding + b"\n\n" + data).body == "Hello"


def test_a_mail_cut_off_in_mid_part_keeps_what_it_has():
    assert parse(MIXED + part(b"First") + b"--b\nContent-Type: text/html\n\n<p>Sec").body == (
        "First\nSec"
    )


def test_parts_beyond_the_bound_are_left_unread():
    read = parse(MIXED + part(b"words") * (3 * MAX_PARTS)).body.count("words")
    assert MAX_PARTS // 2 < read < MAX_PARTS


def test_what_is_nested_too_deeply_is_left_unread():
    def nested(kind: bytes, levels: int) -> str:
        heads = b"".join(kind.replace(b"%", b"%d" % level) for level in range(levels))
        message = parse(b"Subject: s\n" + heads + b"\nInnermost")
        assert message.title == "s"
        return message.body

    multipart = b'Content-Type: multipart/mixed; boundary="b%"\n\n--b%\n'
    enclosed = b"Content-Type: message/rfc822\n\n"
    for kind in (multipart, enclosed):
        assert nested(kind, MAX_DEPTH - 1) == "Innermost"
        assert nested(kind, MAX_DEPTH + 1) == ""
        assert nested(kind, 5_000) == ""


def test_long_headers_and_texts_are_cut():
    raw = b"Subject: " + b"s" * 50_000 + b"\nX: " + b"x" * 50_000 + b"\n\n" + b"word " * 500_000
    message = parse(raw, "X")
    assert len(message.title) < 5_000
    assert len(message.body) <= 100_000
    assert len(str(message.fields["X"])) <= 1_000


@pytest.mark.parametrize(
    "value", [b"", b"\n\n", b"just words\n", b"\0\1\2\xff" * 99, b'{"text": 1}', b"From a@b Mon\n"]
)
def test_what_has_no_headers_is_malformed(value: bytes):
    assert code_of(value) == "malformed"


@pytest.mark.parametrize(
    ("value", "shows_something"),
    [
        (b"Subject: \n\n \n", False),
        (b"From: a@b\n\n", False),
        (b"From: a@b\n\n\0\0\0", False),
        ("Subject: \u200b\n\n\u2060\ufeff".encode(), False),
        (b"From: a@b\nContent-Type: image/gif\n\nGIF89a", True),
        (b"From: a@b\nContent-Type: text/html\n\n<img src=x><style>p{}</style>", True),
        (
            MIXED.replace(b"Subject: s\n", b"")
            + part(b"", b"Content-Type: text/plain")
            + part(b"%PDF", b"Content-Type: application/pdf", b"Content-Disposition: attachment"),
            True,
        ),
    ],
)
def test_a_mail_without_words_has_no_text(value: bytes, shows_something: bool):
    with pytest.raises(RecordError) as caught:
        parse(value)
    assert caught.value.code == "no_text"
    assert isinstance(caught.value, NoText) == shows_something


def test_of_a_mail_of_pictures_only_the_rest_is_known():
    raw = b"Message-ID: <1@x>\nTo: b@x\nContent-Type: image/png\n\n\x89PNG"
    with pytest.raises(NoText) as caught:
        parse(raw, "To")
    assert caught.value.found == Message("", "", "<1@x>", {"To": "b@x"})


def test_reasons_hold_none_of_the_text():
    with pytest.raises(RecordError) as caught:
        parse_rfc822(b"a private sentence", ParseSpec())
    assert "private" not in str(caught.value)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_many_lines_and_fields_are_survived(end: bytes):
    """Of a flood of fields some are left unread; what follows them is not."""
    read = parse(b"Subject: s" + end * 2 + (b"x" + end) * 200_000)
    assert (read.title, read.body[0]) == ("s", "x")
    heads = b"".join(b"a%d:%s" % (number, end) for number in range(MAX_FIELDS + 1_000))
    read = parse(b"Subject: s" + end + heads + end + b"words", "a1", f"a{MAX_FIELDS}")
    assert (read.title, read.body, list(read.fields)) == ("s", "words", ["a1"])


def test_an_ordinary_large_mail_is_read_whole():
    mail = EmailMessage()
    mail.set_content("words")
    mail.add_attachment(bytes(6_000_000), maintype="application", subtype="zip")
    mail.add_attachment("the last part", disposition="inline")
    assert parse(mail).body == "words\nthe last part"
