"""Header sections as mail has them: an odd field ends itself, never the headers."""

import base64

import pytest

from stream_app.codecs import CODECS
from stream_app.codecs.mail.headers import MAX_FIELD_BYTES
from stream_app.core.messages import ParseSpec
from tests.codec_cases import GOOD, SPAM, mail, part, parts, read, words

BASE64 = base64.encodebytes(SPAM.encode())
ENCODED = "Content-Transfer-Encoding: base64"


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    "odd",
    [
        b"X-Confident-delivery : user@example.org",
        b"X-Tab\t: a",
        b"a line that is no field",
        b">From someone@example.org Mon Sep 17 13:30:25 2004",
        b"X-Cr: a\rb: c",
        b"X-Cr: one\r two\r",
        b": no name",
        b"X-Binary\x00: \xff\x01",
        b"=?utf-8?q?name?=: x",
        b"X-Long: " + b"y" * 100_000,
        b"X-Folded:\n \n  a",
        b"X{odd}: 1",
    ],
)
def test_an_odd_field_ends_nothing(odd: bytes, place: int):
    lines = [b"From: a@example.org", b"Subject: hello", ENCODED.encode()]
    lines.insert(place, odd)
    assert read("rfc822", b"\n".join(lines) + b"\n\n" + BASE64) == words(f"hello {SPAM}")
    crlf = b"\r\n".join(lines) + b"\r\n\r\n" + BASE64
    assert read("rfc822", crlf) == words(f"hello {SPAM}")


@pytest.mark.parametrize("name", ["Subject", "SUBJECT", "subject ", "Subject\t", "sUbJeCt  "])
def test_names_in_any_case_with_space_before_the_colon(name: str):
    assert CODECS["rfc822"](f"{name}: hi\n\nx".encode(), ParseSpec()).title == "hi"


@pytest.mark.parametrize("end", [b"\r\n", b"\r\r\n", b"\r\r\r\n"])
def test_lines_may_end_in_several_carriage_returns(end: bytes):
    raw = parts("mixed", part(BASE64, ENCODED), part("words", "Content-Type: text/plain"))
    assert read("rfc822", raw.replace(b"\n", end)) == words(f"hello {SPAM} words")
    plain = mail(SPAM, "X: a").replace(b"\n", end)
    assert read("rfc822", plain) == words(f"hello {SPAM}")


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        (b"Subject: hello\nSubject: act now\n", "hello act now"),
        (b"Subject: hello\nX: y\nSUBJECT : hello\n", "hello"),
        (b"Subject:\nSubject: hello\n", "hello"),
        (b"Subject: a\n" + b"".join(b"Subject: %d\n" % n for n in range(9)), "a 0 1 2"),
    ],
)
def test_of_several_subjects_nobody_knows_which_is_shown(fields: bytes, title: str):
    assert CODECS["rfc822"](fields + b"\nx", ParseSpec()).title == title


def test_a_field_in_a_part_is_read_alike():
    raw = parts("mixed", part(BASE64, b"X-Odd thing", b"Content-Transfer-Encoding : base64 "))
    assert read("rfc822", raw) == words(f"hello {SPAM}")


def test_a_missing_blank_line_costs_no_words():
    raw = b"From: a@b\nSubject: hello\nDear Bob,\nhere: are the words.\n\nBye\n"
    assert read("rfc822", raw) == "hello Dear Bob, here: are the words. Bye"


@pytest.mark.parametrize(
    "types",
    [
        ("text/html", "text/plain"),
        ("text/plain; charset=utf-8", "text/html"),
        ("application/octet-stream", "text/plain"),
        ("nonsense", "text/plain"),
        ("text/plain", 'multipart/mixed; boundary="b"'),
        ('multipart/mixed; boundary="b"', "text/plain"),
        ('multipart/mixed; boundary="c"', 'multipart/mixed; boundary="b"'),
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("", 'multipart/mixed; boundary="b"'),
    ],
)
def test_of_two_content_types_the_one_that_tells_how_to_read(types: tuple[str, str]):
    body = SPAM if "multi" not in str(types) else f"--b\n{ENCODED}\n\n{BASE64.decode()}\n--b--\n"
    raw = mail(body, *(f"Content-Type: {kind}" for kind in types))
    assert read("rfc822", raw) == words(f"hello {SPAM}")


@pytest.mark.parametrize("length", [100, 4_000, 20_000, 60_000])
@pytest.mark.parametrize("pad", ['; x="{}"', "; x={}", ";\n name*0=a{}", '; x="a\\";b"; y={}'])
def test_a_boundary_far_down_a_long_field(length: int, pad: str):
    field = f"Content-Type: multipart/mixed{pad.format('y' * length)}; boundary=far"
    raw = mail(f"--far\n{ENCODED}\n\n{BASE64.decode()}\n--far--\n", field)
    assert read("rfc822", raw) == words(f"hello {SPAM}")
    assert length < MAX_FIELD_BYTES


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("boundary=b", "b"),
        ('boundary="a b"', "a b"),
        ("boundary=a b", "a b"),
        ("boundary=b charset=utf-8", "b"),
        ("BOUNDARY = b", "b"),
        ('boundary="b', "b"),
        ("boundary=----=_Part_0.1(2)+x", "----=_Part_0.1(2)+x"),
        ("boundary*=us-ascii'en'a%20b", "a b"),
        ("boundary*0=a; boundary*1=b", "ab"),
        ("boundary*1=b; boundary*0*=us-ascii''a", "ab"),
        ('boundary="b"; boundary="c"', "c"),
        ("(comment) ; boundary=b", "b"),
    ],
)
def test_boundaries_however_they_are_written(given: str, line: str):
    body = f"preamble\n--{line}x\n--{line}\n{ENCODED}\n\n{BASE64.decode()}--{line}-- \nepilogue\n"
    raw = mail(body, f"Content-Type: multipart/mixed; {given}")
    assert read("rfc822", raw) == words(f"hello {SPAM}")


def test_many_lines_that_only_look_like_a_boundary():
    body = b"--bx\n" * 5_000 + b"--b\n\n" + SPAM.encode() + b"--bx\n" * 5_000 + b"--b--\nafter"
    raw = mail(body, "Content-Type: multipart/mixed; boundary=b")
    assert words(f"hello {SPAM}") in read("rfc822", raw)
    assert "after" not in read("rfc822", raw)


@pytest.mark.parametrize(
    ("subject", "charset", "title"),
    [
        ("Пора платить", "koi8-r", "Пора платить"),
        ("Пора платить", "windows-1251", "Пора платить"),
        ("한국어 제목", "euc-kr", "한국어 제목"),
        ("中文主题", "gb2312", "中文主题"),
        ("日本語の件名", "shift_jis", "日本語の件名"),
        ("日本語の件名", "iso-2022-jp", "日本語の件名"),
        ("Λογαριασμός", "iso-8859-7", "Λογαριασμός"),
        ("繁體中文主題", "big5", "繁體中文主題"),
        ("Grüße aus Köln", "iso-8859-1", "Grüße aus Köln"),
        ("Grüße aus Köln", "", "Grüße aus Köln"),
    ],
)
@pytest.mark.parametrize("where", ["mail", "part"])
def test_raw_subjects_are_in_the_charset_of_the_mail(
    subject: str, charset: str, title: str, where: str
):
    raw_subject = subject.encode(charset or "latin-1")
    kind = b"Content-Type: text/plain" + (f"; charset={charset}".encode() if charset else b"")
    if where == "mail":
        raw = b"Subject: " + raw_subject + b"\n" + kind + b"\n\nx"
    else:
        raw = parts("mixed", part("x", kind)).replace(b"hello", raw_subject)
    assert CODECS["rfc822"](raw, ParseSpec()).title == title


def test_utf_8_in_a_subject_is_utf_8_whatever_the_mail_is_in():
    raw = "Subject: Пора\nContent-Type: text/plain; charset=koi8-r\n\nx".encode()
    assert CODECS["rfc822"](raw, ParseSpec()).title == "Пора"


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        (b"=?koi8-r?b?" + base64.b64encode("Пора".encode("koi8-r")) + b"?=", "Пора"),
        (b"=?koi8-r?q?=F0=CF=D2=C1?= x", "Пора x"),
        (b"a =?utf-8?q?what?? really?=", "a what?? really"),
        (b"=?utf-8?b?w6k=?= =?broken =?utf-8?q?b?=", "é =?broken b"),
        (b"=?iso-2022-jp?b?GyRCLSEkKhsoQg==?=", "①お"),
        (b"=?utf-8?q?a?=\r =?utf-8?q?b?=", "ab"),
        (b"one\rtwo", "one two"),
    ],
)
def test_encoded_words(raw: bytes, title: str):
    assert CODECS["rfc822"](b"Subject: " + raw + b"\n\nx", ParseSpec()).title == title


def test_a_padded_subject_hides_nothing():
    raw = "Subject: hello" + "\u200b \u00ad" * 3_000 + "act now\n\n" + GOOD
    assert read("rfc822", raw.encode()) == words(f"hello act now {GOOD}")
