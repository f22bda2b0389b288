"""Charsets by the WHATWG Encoding Standard, and what mail has beyond it."""

import codecs

import pytest
from webencodings.labels import LABELS

from stream_app.codecs.charsets import MAX_SLOW_BYTES, decode, encoding_of
from tests.codec_cases import SPAM, mail, read, words

SEVEN_BITS = "Latin letters, 0123456789 and <marks>"


@pytest.mark.parametrize("label", sorted(LABELS))
def test_every_label_of_the_standard_means_something(label: str):
    encoding = encoding_of(label)
    assert encoding or LABELS[label] == "replacement"
    if not LABELS[label].startswith("utf-16"):
        assert decode(SEVEN_BITS.encode(), label) == SEVEN_BITS
        assert decode(SEVEN_BITS.encode(), f' "{label.upper()}" ') == SEVEN_BITS


@pytest.mark.parametrize(
    ("label", "data", "text"),
    [
        ("iso-8859-1", b"\x93caf\xe9\x94 \x80", "“café” €"),
        ("iso-8859-9", b"\x80 \xfe", "€ ş"),
        ("gb2312", "镕 漢字".encode("gb18030"), "镕 漢字"),
        ("ks_c_5601-1987", "뷁 한국".encode("cp949"), "뷁 한국"),
        ("shift_jis", "① ㈱ 髙".encode("cp932"), "① ㈱ 髙"),
        ("big5", "裏 恒".encode("big5hkscs"), "裏 恒"),
        ("euc-jp", b"\xad\xa1 \xc6\xfc \xfc\xe2 \x8e\xb1", "① 日 髙 ｱ"),
        ("macintosh", b"caf\x8e", "café"),
        ("x-user-defined", b"caf\xe9", "café"),
        ("windows_1252", b"caf\xe9", "café"),
        ("cp850", b"caf\x82", "café"),
        ("cp-1251", "привет".encode("cp1251"), "привет"),
        ("Win-1251", "привет".encode("cp1251"), "привет"),
        ("koi8r", "привет".encode("koi8-r"), "привет"),
        ('3D"koi8-r"', "привет".encode("koi8-r"), "привет"),
        ("iso-2022-jp-ms", b"\x1b$B-!$*\x1b(B", "①お"),
        ("CP50220", b"\x1b$B-!$*\x1b(B", "①お"),
        ("eucJP-win", b"\xad\xa1 \xc6\xfc", "① 日"),
        ("SJIS-win", "① ㈱".encode("cp932"), "① ㈱"),
        ("windows-936", "中文".encode("gbk"), "中文"),
        ("windows-950", "中文".encode("big5"), "中文"),
        ("us-ascii", b"\x1b$B-!$*\x1b(B", "①お"),
        ("utf-16", b"Claim it", "Claim it"),
        ("utf-16be", b"Claim it!", "Claim it!"),
        ("utf-32", b"Claim it", "Claim it"),
        ("ucs-2", "Claim it".encode("utf-16-le"), "Claim it"),
        ("utf-16le", "日本語\n".encode("utf-16-le"), "日本語\n"),
        ("utf-7", b"caf+AOk-", "café"),
        ("hz-gb-2312", b"~{VPND~} x", "中文 x"),
        ("iso-2022-kr", b"\x1b$)C\x0e\x47\x51\x0f x", "한 x"),
        ("unicode-1-1-utf-8", "é".encode(), "é"),
        ("x-nonsense", b"caf\xe9", "café"),
        ("ibm037", b"caf\xe9", "café"),
        ("utf-8", codecs.BOM_UTF8 + b"x", "x"),
        ("iso-8859-1", codecs.BOM_UTF8 + "é".encode(), "é"),
        ("iso-8859-1", "é".encode("utf-16"), "é"),
    ],
)
def test_labels_mean_what_browsers_take_them_for(label: str, data: bytes, text: str):
    assert decode(data, label) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x1b$B-!$*CN$i$;\x1b(B x", "①お知らせ x"),
        (b'\x1b$B-j\x1b(B and \x1b$B-!-"\x1b(B', "㈱ and ①②"),
        (b"\x1b$B|b\x1b(B", "髙"),
        (b"\x1b$@-!\x1b(J yen", "① yen"),
        (b"\x1b$B-!\r\n$*\x1b(B\r\nz", "①\nお\r\nz"),
        (b"\x1b$B-!\x1b(I1\x1b(B", "①ｱ"),
        (b"\x1b$B-!~~\x1b(B", "①\ufffd"),
        ("日本 ①".encode("cp932"), "日本 ①"),
        ("日本語です".encode(), "日本語です"),
        (b"plain", "plain"),
    ],
)
def test_iso_2022_jp_as_mail_uses_it(data: bytes, text: str):
    assert decode(data, "iso-2022-jp") == text


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("utf-8", "naïve café Ελλάδα"),
        ("us-ascii", "naïve café Ελλάδα"),
        ("", "naïve café Ελλάδα"),
        ("gb18030", "中文邮件 abc 的正文"),
        ("euc-kr", "한국어 abc 메일"),
        ("big5", "中文 abc 郵件"),
        ("shift_jis", "日本語 abc のメール"),
        ("euc-jp", "日本語 abc のメール"),
        ("windows-1253", "Ελλάδα abc"),
        ("windows-874", "ไทย abc"),
    ],
)
@pytest.mark.parametrize("where", ["first", "last"])
def test_one_bad_byte_costs_one_character(label: str, text: str, where: str):
    encoding = {"": "utf-8", "us-ascii": "utf-8", "euc-kr": "cp949"}.get(label, label)
    data = text.encode({"windows-874": "cp874"}.get(encoding, encoding))
    bad = b"\xff" + data if where == "first" else data + b" \xff"
    found = decode(bad, label)
    assert text in found
    assert len(found) - len(text) <= 2


@pytest.mark.parametrize("label", ["windows-1253", "iso-8859-6", "euc-jp", "utf-7", "utf-8"])
def test_long_texts_are_read_in_slices(label: str):
    long = b"word " * 400_000
    assert decode(long, label)[:MAX_SLOW_BYTES].count("word") == MAX_SLOW_BYTES // 5
    assert decode(b"\xff" + "é".encode() * 300_000, "us-ascii").count("é") == 300_000


@pytest.mark.parametrize(
    "meta",
    [
        '<meta charset="utf-16">',
        "<meta charset=UTF-16LE>",
        '<META http-equiv="Content-Type" content="text/html; charset=utf-16be">',
        "<meta charset = 'ibm037'>",
        "<meta charset=cp500>",
        "<meta charset=utf-7>",
        "<meta charset=x-user-defined>",
        "<meta charset=nonsense>",
        "<meta charset=''>",
        "<!-- x --><meta name=x><meta charset='unicode'>",
        "<meta charset=utf-32>",
        "<meta charset=iso-2022-kr>",
        "<?xml version='1.0' encoding='utf-16'?>",
    ],
)
def test_a_meta_element_cannot_mean_what_it_is_not_written_in(meta: str):
    raw = mail(f"<html><head>{meta}</head><body><pre>{SPAM}</pre>", "Content-Type: text/html")
    assert read("rfc822", raw) == words(f"hello {SPAM}")


@pytest.mark.parametrize(
    ("meta", "charset"),
    [
        ("<meta charset=koi8-r>", "koi8-r"),
        ('<meta charset=" windows-1251 ">', "windows-1251"),
        ("<?xml version='1.0' encoding='koi8-r'?>", "koi8-r"),
        (f"{' ' * 900}<META CHARSET='KOI8-R'>", "koi8-r"),
        ("<meta name=x content='a'><meta http-equiv=y content='a; charset=cp866'>", "cp866"),
    ],
)
def test_a_meta_element_that_tells_the_truth(meta: str, charset: str):
    raw = mail(f"{meta}<p>привет".encode(charset), "Content-Type: text/html")
    assert read("rfc822", raw) == "hello привет"


def test_the_header_wins_over_the_meta_element():
    head = "Content-Type: text/html; charset=koi8-r"
    assert (
        read("rfc822", mail("<meta charset=utf-8>привет".encode("koi8-r"), head)) == "hello привет"
    )
