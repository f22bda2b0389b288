"""Which parts of a mail are read: what a mail program shows counts."""

import base64

import pytest

from tests.codec_cases import GOOD, SPAM, mail, part, parts, read, words

PLAIN, HTML = "Content-Type: text/plain; charset=utf-8", "Content-Type: text/html; charset=utf-8"


def page(text: str) -> str:
    return f"<html><body><p>{text}</p></body></html>"


@pytest.mark.parametrize(
    "plain",
    [
        GOOD,
        "This mail is in HTML. Please use a program that shows it.",
        "\u200b",
        "\u00a0 \u034f\ufeff",
        "-",
        GOOD * 500,
        f"{GOOD}\n{' '.join(SPAM.split()[:10])}",
    ],
    ids=["decoy", "placeholder", "zero width", "fillers", "a mark", "long decoy", "shares words"],
)
def test_html_that_says_something_else_is_read_first(plain: str):
    raw = parts("alternative", part(plain, PLAIN), part(page(SPAM), HTML))
    found = read("rfc822", raw)
    assert found.startswith(words(f"hello {SPAM}"))
    assert words(plain.strip("\u200b\u034f\ufeff"))[:200] in found


@pytest.mark.parametrize("extra", ["viagra", "Call 555 now", SPAM])
def test_one_word_more_is_something_else(extra: str):
    raw = parts("alternative", part(GOOD, PLAIN), part(page(f"{GOOD} {extra}"), HTML))
    assert words(extra) in read("rfc822", raw)


@pytest.mark.parametrize(
    ("plain", "html"),
    [
        (GOOD, page(GOOD)),
        (GOOD, page(GOOD.replace("wiki", "<a href='https://x/'>wiki</a>"))),
        (GOOD.replace("wiki", "wiki <https://example.org/wiki>"), page(GOOD)),
        (f"{GOOD}\n-- \nSent by a phone", page(GOOD)),
        (GOOD.upper(), page(GOOD.replace("the", "<b>the</b>"))),
        ("中文邮件请查收。", page("中文邮件<b>请</b>查\n收。")),
        (GOOD, page(f"{GOOD}<div style='display:none'>viagra</div>")),
    ],
)
def test_where_both_say_the_same_the_plain_text_is_read(plain: str, html: str):
    raw = parts("alternative", part(plain, PLAIN), part(html, HTML))
    assert read("rfc822", raw) == words(f"hello {plain}")


def test_nested_and_encoded_alternatives():
    encoded = part(
        base64.encodebytes(page(SPAM).encode()), HTML, "Content-Transfer-Encoding: base64"
    )
    related = b'Content-Type: multipart/related; boundary="c"\n\n--c\n' + encoded + b"\n--c--"
    raw = parts("alternative", part(GOOD, PLAIN), related)
    assert read("rfc822", raw) == words(f"hello {SPAM} {GOOD}")


def test_the_last_form_comes_first_and_what_repeats_it_is_left_out():
    amp = "Content-Type: text/x-amp-html"
    raw = parts("alternative", part(GOOD, PLAIN), part(page(SPAM), amp), part(page(SPAM), HTML))
    assert read("rfc822", raw) == words(f"hello {SPAM} {GOOD}")


@pytest.mark.parametrize(
    "shown",
    [
        part(page(SPAM), HTML, "Content-Disposition: attachment"),
        part(page(SPAM), HTML, "Content-Disposition: inline; filename=a.html"),
        part(page(SPAM), "Content-Type: TEXT/HTML"),
        part(page(SPAM), "Content-Type: text/watch-html"),
        part(page(SPAM), "Content-Type: application/xhtml+xml; charset=utf-8"),
        part(f"<bold>{SPAM}</bold>", "Content-Type: text/enriched"),
        part(SPAM, "Content-Type: text/markdown"),
        part(
            f"BEGIN:VCALENDAR\nSUMMARY:{SPAM.replace(chr(10), ' ')}", "Content-Type: text/calendar"
        ),
        part(SPAM, PLAIN),
        part(mail(SPAM), "Content-Type: message/rfc822"),
    ],
    ids=[
        *("attached", "inline", "in capitals", "for watches", "xhtml", "enriched", "markdown"),
        *("an invitation", "plain", "a mail"),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_any_form_that_says_something_else_is_read(shown: bytes, place: int):
    forms = [part(GOOD, PLAIN)]
    forms.insert(place, shown)
    found = read("rfc822", parts("alternative", *forms))
    assert words(SPAM) in found
    assert words(GOOD) in found


@pytest.mark.parametrize(
    "kind",
    [
        "text/x-markdown",
        "text/markdown",
        "text/csv",
        "text/x-unheard-of",
        "TEXT/PLAIN2",
        "text/*",
        "text/x-patch; charset=utf-8",
        "text",
        "plain",
        "",
        "text/plain/x",
        "text/xml",
    ],
)
def test_any_text_is_text(kind: str):
    assert read("rfc822", mail(SPAM, f"Content-Type: {kind}")) == words(f"hello {SPAM}")


@pytest.mark.parametrize(
    "kind", ["text/css", "text/vcard", "text/x-vcard", "text/rtf", "text/javascript", "image/png"]
)
def test_what_is_known_to_be_no_text_is_not_read(kind: str):
    raw = parts("mixed", part(GOOD), part(SPAM, f"Content-Type: {kind}"))
    assert read("rfc822", raw) == words(f"hello {GOOD}")


@pytest.mark.parametrize(
    "begins",
    ["<html><!--\n", "<!DOCTYPE html><style>", "<body hidden>", "<HTML><head>", " <html><title>"],
)
@pytest.mark.parametrize("kind", [PLAIN, "Content-Type: text/plain", "Content-Type: text/x-any"])
def test_declared_text_is_never_read_as_html(begins: str, kind: str):
    found = read("rfc822", mail(begins + SPAM, kind))
    assert found == words(f"hello {begins}{SPAM}")


@pytest.mark.parametrize("begins", ["<html><!--\n", "<!DOCTYPE html><title>", "<body hidden>"])
def test_undeclared_html_hides_nothing_from_those_who_see_its_source(begins: str):
    assert words(SPAM) in read("rfc822", mail(begins + SPAM))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_invitation_is_read_as_a_calendar_shows_it(end: str):
    lines = ["BEGIN:VCALENDAR", "BEGIN:VEVENT", "SUMMARY;LANGUAGE=en:Team lunch\\, Friday"]
    lines += ["DTSTART:20260101", "DESCRIPTION:Claim your\\nFREE ca", " sh; now", "END:VEVENT"]
    raw = mail(end.join(lines), "Content-Type: text/calendar; method=REQUEST")
    assert read("rfc822", raw) == "hello Team lunch, Friday Claim your FREE cash; now"


@pytest.mark.parametrize(
    "line",
    [
        'DESCRIPTION;ALTREP="cid:a:b":Claim it',
        "description:Claim it",
        "LOCATION;X=y:Claim\r\n\t it",
        "COMMENT:Claim it\r\nCATEGORIES:no",
        "BEGIN:VALARM\r\nDESCRIPTION:Claim it\r\nEND:VALARM",
    ],
)
def test_what_a_calendar_shows_however_it_is_written(line: str):
    raw = mail(f"BEGIN:VCALENDAR\r\n{line}\r\nEND:VCALENDAR", "Content-Type: text/calendar")
    assert read("rfc822", raw) == "hello Claim it"


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ("format=flowed; delsp=yes", "hello Buy viagra now, please > ok -- Tom"),
        ("Format=Flowed; DelSp=Yes; charset=utf-8", "hello Buy viagra now, please > ok -- Tom"),
        ("format=flowed", "hello Buy via gra now, please > ok -- Tom"),
        ("delsp=yes", "hello Buy via gra now, please > ok -- Tom"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_that_flow_are_one(parameters: str, text: str, end: str):
    body = end.join(("Buy via ", "gra now,", "please", "> ok", "-- ", "Tom"))
    assert read("rfc822", mail(body, f"Content-Type: text/plain; {parameters}")) == text


def test_calendar_text_without_what_a_calendar_shows_is_read_as_it_stands():
    assert read("rfc822", mail(SPAM, "Content-Type: text/calendar")) == words(f"hello {SPAM}")


@pytest.mark.parametrize(
    "body",
    [
        "Your verification code is 483920",
        "ok",
        "Danke, bis morgen!",
        "> quoted\n\nFine by me. -- Tom",
        "1 < 2 & 3 > 2",
        "a =3D b, 100=25",
        "--b\nnot a part\n--b--",
        "Subject: not a header\n\nreally",
        "begin 644 of the list",
        "SGVsbG8gd29ybGQ=",
        "日本語のメールです。",
        "مرحبا بالعالم",
        "<3 you",
    ],
)
def test_good_plain_mail_stays_as_it_is(body: str):
    assert read("rfc822", mail(body, PLAIN)) == words(f"hello {body}")
    assert read("rfc822", mail(body)) == words(f"hello {body}")
