"""Transfer encodings as mail has them: what can be decoded is, the rest stays as it is."""

import base64
import binascii
import quopri

import pytest

from tests.codec_cases import GOOD, SPAM, mail, part, parts, read, words

BASE64 = base64.encodebytes(SPAM.encode())
LINES = BASE64.splitlines()
QUOTED = quopri.encodestring(SPAM.encode())
FOOTER = (
    b"_______________\nlist mailing list\nlist@example.org\nhttps://lists.example.org/options\n"
)


@pytest.mark.parametrize(
    "field",
    [
        "base64 ",
        "base64\t",
        "base64;",
        "base64; charset=utf-8",
        '"base64"',
        "BASE64  (of MIME)",
        "(mail) base64",
        "\n base64",
        "base-64",
        "(was quoted-printable) base64",
        "(a (quoted-printable)) base64",
    ],
)
def test_what_stands_around_base64(field: str):
    assert read("rfc822", mail(BASE64, f"Content-Transfer-Encoding: {field}")) == words(
        f"hello {SPAM}"
    )


@pytest.mark.parametrize(
    "field",
    ["quoted-printable ", "quoted-printable\t", "Quoted-Printable;", "'quoted-printable'"],
)
def test_what_stands_around_quoted_printable(field: str):
    raw = mail(QUOTED, f"Content-Transfer-Encoding: {field}")
    assert read("rfc822", raw) == words(f"hello {SPAM}")


@pytest.mark.parametrize("field", ["7bit (base64)", "binary", "x-unknown", "", "(base64)"])
def test_what_names_no_encoding_leaves_the_text(field: str):
    raw = mail(SPAM, f"Content-Transfer-Encoding: {field}")
    assert read("rfc822", raw) == words(f"hello {SPAM}")


def test_of_two_encodings_the_first_that_says_something():
    two = ("Content-Transfer-Encoding: 8bit", "Content-Transfer-Encoding: base64")
    assert read("rfc822", mail(BASE64, *two)) == words(f"hello {SPAM}")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
    "body",
    [
        base64.encodebytes(b"Hi Bob. ok") + BASE64,
        base64.b64encode(b"Hi Bob. ok") + BASE64,
        b"\n".join(base64.b64encode(line + b"\n") for line in (b"Hi Bob. ok", SPAM.encode())),
    ],
    ids=["apart", "on one line", "a block a line"],
)
def test_several_padded_blocks(body: bytes, end: bytes):
    raw = mail(body.replace(b"\n", end), "Content-Transfer-Encoding: base64")
    assert read("rfc822", raw).replace(" ok", " ok ").split() == f"hello Hi Bob. ok {SPAM}".split()


@pytest.mark.parametrize("size", [0, 1, 2, 57, 58, 300])
def test_a_lists_footer_stays_as_it_is(size: int):
    good = (GOOD * 3)[: len(GOOD) + size]
    raw = mail(base64.encodebytes(good.encode()) + FOOTER, "Content-Transfer-Encoding: base64")
    assert read("rfc822", raw) == words(f"hello {good}\n{FOOTER.decode()}")


def test_a_footer_in_the_part_of_a_multipart():
    raw = parts("mixed", part(BASE64 + FOOTER, "Content-Transfer-Encoding: base64"))
    assert read("rfc822", raw) == words(f"hello {SPAM}\n{FOOTER.decode()}")


@pytest.mark.parametrize(
    "body",
    [
        LINES[0] + b"\n\n" + b"\n\n".join(LINES[1:]),
        b"\n".join(line[:20] + b"!" + line[20:] for line in LINES),
        b"*" + BASE64,
        BASE64.replace(b"\n", b"\xa0\n"),
        b" ".join(BASE64.replace(b"\n", b"")[at : at + 8] for at in range(0, len(BASE64), 8)),
        b"  " + BASE64.replace(b"\n", b"\n  "),
        BASE64.rstrip(b"=\n"),
        BASE64.rstrip(b"=\n") + b"=",
        BASE64.replace(b"\n", b""),
        b"\n\n" + BASE64.replace(b"\n", b"\r\r\n"),
        BASE64.replace(b"\n", b"\r"),
        b"> " + BASE64.replace(b"\n", b"\n> "),
        b".".join(BASE64[at : at + 1] for at in range(len(BASE64))),
        BASE64.replace(b"\n", b"\0\n"),
    ],
    ids=[
        "blank lines",
        "an odd letter a line",
        "an odd letter first",
        "odd blanks",
        "in words",
        "indented",
        "unpadded",
        "half padded",
        "one line",
        "two carriage returns",
        "carriage returns",
        "quoted",
        "a dot behind each letter",
        "zero bytes",
    ],
)
def test_base64_with_odd_letters(body: bytes):
    raw = mail(body, "Content-Transfer-Encoding: base64")
    assert read("rfc822", raw) == words(f"hello {SPAM}")


@pytest.mark.parametrize("text", ["Plain words, though it says base64.", "Hello there Tom", GOOD])
def test_what_is_no_base64_stays_as_it_is(text: str):
    raw = mail(text, "Content-Transfer-Encoding: base64")
    assert read("rfc822", raw) == words(f"hello {text}")


def test_base64_cut_off_in_mid_letter():
    raw = mail(BASE64[:101], "Content-Transfer-Encoding: base64")
    assert read("rfc822", raw) == words(f"hello {SPAM[:75]}")


def test_base64_far_behind_a_footer_is_decoded():
    raw = mail(BASE64 + FOOTER + BASE64 * 3_000, "Content-Transfer-Encoding: base64")
    assert words(f"hello {SPAM} {FOOTER.decode()} {SPAM}") in read("rfc822", raw)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"caf=C3=A9 =\nau lait", "café au lait"),
        (b"caf=c3=a9 = \t\nau lait", "café au lait"),
        (b"caf=C3=A9 =\r\nau lait", "café au lait"),
        (b"100 = 1=00 and =ZZ", "100 = 1 and =ZZ"),
        (b"a=3Db=", "a=b"),
        (b"caf=\r=C3=A9 au lait\nand cake", "café au lait and cake"),
        (b"caf= \t\r=C3=A9 au lait\nand cake", "café au lait and cake"),
        (b"caf=\r\r\n=C3=A9 au lait\r\nand cake", "café au lait and cake"),
        (b"a_b=5Fc", "a_b_c"),
        (b"=C3=A9" * 100_000 + b" end", "é" * 20_000),
    ],
)
def test_quoted_printable_right_and_wrong(body: bytes, text: str):
    head = (
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
    )
    assert read("rfc822", mail(body, *head)) == f"hello {text}"[:20_000]


@pytest.mark.parametrize(
    "footer",
    [
        "-- \nSent from my phone",
        "Unsubscribe: https://lists.example.org/u?x=1",
        "This message was scanned by the gateway.",
        "~~~\nThe list",
    ],
)
def test_other_footers_stay_as_they_are(footer: str):
    raw = mail(BASE64 + b"\n" + footer.encode(), "Content-Transfer-Encoding: base64")
    assert read("rfc822", raw) == words(f"hello {SPAM} {footer}")


def uuencoded(text: str) -> str:
    """A file as mail had it before MIME."""
    lines = (text.encode()[at : at + 45] for at in range(0, len(text), 45))
    return f"begin 644 a.txt\n{b''.join(map(binascii.b2a_uu, lines)).decode()}`\nend\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_written_into_the_text_is_none_of_it(end: str):
    body = f"words before\n\n{uuencoded(SPAM)}\nbetween\n{uuencoded('ab')}behind\n"
    raw = mail(body.replace("\n", end), "Content-Type: text/plain")
    assert read("rfc822", raw) == "hello words before between behind"


@pytest.mark.parametrize(
    "body",
    [
        f"begin 644 a.txt\n{SPAM}`\nend\n",
        "begin 644 a.txt\n`\nend\nwords",
        uuencoded(SPAM).replace("`\nend", "words"),
        uuencoded(SPAM).replace("begin", " begin"),
        uuencoded("ab") + "begin 644 the list\nof words",
        uuencoded(SPAM).replace("`", "BUY NOW\n`"),
    ],
)
def test_what_only_begins_like_a_file_is_text(body: str):
    kept = body.removeprefix(uuencoded("ab"))
    raw = mail(body, "Content-Type: text/plain")
    assert read("rfc822", raw) == words(f"hello {kept}")


@pytest.mark.parametrize("name", ["x-uuencode", "uuencode", "x-uue"])
def test_uuencoded(name: str):
    lines = (SPAM.encode()[at : at + 45] for at in range(0, len(SPAM), 45))
    body = b"begin 644 a.txt\n" + b"".join(map(binascii.b2a_uu, lines)) + b"`\nend\n"
    raw = mail(body, f"Content-Transfer-Encoding: {name}")
    assert read("rfc822", raw) == words(f"hello {SPAM}")


@pytest.mark.parametrize("kind", ["message/rfc822", "message/global"])
@pytest.mark.parametrize("encoding", ["base64", "base64;", "quoted-printable"])
def test_an_enclosed_message_that_is_encoded_is_opened(kind: str, encoding: str):
    inner = mail(SPAM)
    body = base64.encodebytes(inner) if "64" in encoding else quopri.encodestring(inner)
    enclosed = part(body, f"Content-Type: {kind}", f"Content-Transfer-Encoding: {encoding}")
    assert read("rfc822", parts("mixed", part(GOOD), enclosed)) == words(f"hello {GOOD} {SPAM}")


def test_parts_of_a_multipart_that_is_encoded_are_found():
    inner = b"--b\n\n" + SPAM.encode() + b"\n--b--\n"
    head = ('Content-Type: multipart/mixed; boundary="b"', "Content-Transfer-Encoding: base64")
    assert read("rfc822", mail(base64.encodebytes(inner), *head)) == words(f"hello {SPAM}")
