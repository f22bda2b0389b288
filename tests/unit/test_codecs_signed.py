"""Mails that are signed: their content is read, whatever wraps it."""

import base64

import pytest

from tests.codec_cases import SPAM, mail, part, parts, read, words

PLAIN = "Content-Type: text/plain; charset=utf-8"
SIGNED = "Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m"
BASE64 = "Content-Transfer-Encoding: base64"
SIGNED_DATA, DATA = bytes.fromhex("06092a864886f70d010702"), bytes.fromhex("06092a864886f70d010701")
ENVELOPED_DATA = bytes.fromhex("06092a864886f70d010703")
ENTITY = part(SPAM, PLAIN).replace(b"\n", b"\r\n")


def element(tag: int, *content: bytes, definite: bool = True) -> bytes:
    """An element of BER."""
    body = b"".join(content)
    if not definite:
        return bytes((tag, 0x80)) + body + b"\0\0"
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    return bytes((tag, 0x82)) + len(body).to_bytes(2, "big") + body


def signed(octets: bytes, kind: bytes = SIGNED_DATA, definite: bool = True) -> bytes:
    """What a signing mail program sends; its signature does not matter."""

    def of(tag: int, *content: bytes) -> bytes:
        return element(tag, *content, definite=definite)

    content = of(0x30, DATA, of(0xA0, octets))
    data = of(0x30, element(0x02, b"\1"), element(0x31), content, element(0x31))
    return of(0x30, kind, of(0xA0, data))


WHOLE = element(0x04, ENTITY)
IN_PIECES = element(
    0x24, *(element(0x04, ENTITY[at : at + 50]) for at in range(0, len(ENTITY), 50))
)
NESTED = element(0x24, element(0x24, WHOLE, definite=False), definite=False)


@pytest.mark.parametrize("octets", [WHOLE, IN_PIECES, NESTED], ids=["whole", "pieces", "nested"])
@pytest.mark.parametrize("definite", [True, False])
@pytest.mark.parametrize("kind", [SIGNED, SIGNED.replace("pkcs7", "x-pkcs7")])
def test_what_is_signed_opaquely_is_read(octets: bytes, definite: bool, kind: str):
    body = base64.encodebytes(signed(octets, definite=definite))
    assert read("rfc822", mail(body, kind, BASE64)) == words(f"hello {SPAM}")


def test_what_is_signed_is_a_mail_though_it_says_attachment():
    attached = "Content-Disposition: attachment; filename=smime.p7m"
    body = base64.encodebytes(signed(WHOLE))
    raw = parts("mixed", part("see below", PLAIN), part(body, SIGNED, BASE64, attached))
    assert read("rfc822", raw) == words(f"hello see below {SPAM}")


def test_a_multipart_that_is_signed():
    entity = b'Content-Type: multipart/mixed; boundary="c"\r\n\r\n--c\r\n\r\nact now\r\n--c--\r\n'
    body = base64.encodebytes(signed(element(0x04, entity)))
    assert read("rfc822", mail(body, SIGNED, BASE64)) == "hello act now"


@pytest.mark.parametrize(
    "data",
    [
        signed(WHOLE, ENVELOPED_DATA),
        signed(b""),
        signed(WHOLE)[:40],
        signed(WHOLE)[:-1],
        b"",
        b"\x30",
        b"\x30\x80" * 5_000,
        b"\x30\x84\xff\xff\xff\xff",
        b"words, and no structure at all",
        element(0x30, SIGNED_DATA),
    ],
)
def test_what_cannot_be_opened_is_no_text(data: bytes):
    raw = parts("mixed", part(SPAM, PLAIN), part(base64.encodebytes(data), SIGNED, BASE64))
    assert read("rfc822", raw) == words(f"hello {SPAM}")


@pytest.mark.parametrize(
    "signature",
    [
        "Content-Type: application/pkcs7-signature; name=smime.p7s",
        "Content-Type: application/pgp-signature",
        "Content-Type: application/pgp-keys",
    ],
)
def test_a_signature_beside_the_text_is_not_read(signature: str):
    body = "-----BEGIN PGP SIGNATURE-----\niQEz\n-----END PGP SIGNATURE-----"
    raw = parts("signed", part(SPAM, PLAIN), part(body, signature))
    assert read("rfc822", raw) == words(f"hello {SPAM}")


def test_an_encrypted_mail_has_its_subject():
    version = part("Version: 1", "Content-Type: application/pgp-encrypted")
    data = part("-----BEGIN PGP MESSAGE-----", "Content-Type: application/octet-stream")
    assert read("rfc822", parts("encrypted", version, data)) == "hello"
