"""What a reader sees: invisible characters and towers of marks go, what scripts need stays."""

import json
import unicodedata

import pytest

from stream_app.model.preparation import Preparation, prepare
from stream_app.model.visible import MAX_MARKS, is_blank, squeeze, stream_safe, visible
from tests.codec_cases import read

HOW = Preparation()
FORMAT = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf"]
FORMAT.remove("\u202e")  # turns what follows around
# Default_Ignorable_Code_Point without Cf, and a blank that is no white space
FILLERS = [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, 0x2065, 0xFFF0, 0xE0000, 0xE0FFF]
FILLERS += [*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), 0xE0100, 0xE01EF]


@pytest.mark.parametrize("where", ["V{}iagra", "{}Viagra{}", "Via{}{}{}gra"])
def test_what_has_no_glyph_cuts_no_word(where: str):
    for character in [*FORMAT, *map(chr, FILLERS)]:
        text = where.replace("{}", character)
        assert prepare("", text, HOW) == "Viagra", hex(ord(character))


@pytest.mark.parametrize("codec", ["rfc822", "feed", "json", "text"])
@pytest.mark.parametrize(
    "character", ["\x01", "\x08", "\x7f", "\x81", "\u00ad", "\u2060", "\U000e0041"]
)
def test_what_has_no_glyph_cuts_no_word_of_a_record(codec: str, character: str):
    text = "hello " * 20 + f"V{character}ia{character}gra"
    record = {
        "rfc822": f"Subject: {text}\nContent-Type: text/plain; charset=utf-8\n\n{text}",
        "feed": json.dumps({"title": text, "content_text": text}),
        "json": json.dumps({"title": text, "text": text}),
        "text": text,
    }[codec]
    assert read(codec, record.encode()).count("hello Viagra") == (1 if codec == "text" else 2)


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cشود",  # Persian
        "क्\u200dष",  # Hindi
        "ක්\u200dෂ",  # Sinhala
        "ᠠ\u180bᠡ",  # Mongolian
        "👩\u200d👩\u200d👧",
        "naïve café",
        "Ελλάδα",
        "日本語",
        "ไทย",
        "שָׁלוֹם",
        "x\u0301\u0302\u0303",
    ],
)
def test_what_a_script_needs_between_its_letters_stays(text: str):
    assert visible(text) == text
    assert prepare("", text, HOW) == unicodedata.normalize("NFKC", text)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\u202eargaiV\u202c now", "Viagra now"),
        ("buy \u202eargaiV", "buy Viagra"),
        ("\u202eargaiV\nnow", "Viagra now"),
        ("a\u202e\u202c b\u202ed\u200bc", "a bcd"),
        ("\u202eאבג\u202c", "אבג"),  # reads as it is written
        ("\u202dViagra\u202c", "Viagra"),
    ],
)
def test_what_is_written_backwards_is_turned(text: str, seen: str):
    assert prepare("", text, HOW) == seen


@pytest.mark.parametrize(
    "text", ["a\u200db", "\u200cم", "م\u200c", "م\u200c\u200cخ", "a\ufe0f\u200d\ufe0fb"]
)
def test_a_joiner_that_joins_nothing_goes(text: str):
    assert not {"\u200c", "\u200d"} & set(visible(text))


@pytest.mark.parametrize(
    "text", ["", " \n", "\u200b", "\u00a0\u2060\ufeff", "\u3164\u115f", "\u2800"]
)
def test_what_is_blank(text: str):
    assert is_blank(text * 70_000)
    assert not is_blank(text * 70_000 + "x")
    assert prepare(text, text, HOW) == ""


@pytest.mark.parametrize(
    "pad", [" ", "\n\t", "\u00a0", "\u200b", "\u200b \u034f", "\u2800", "\u00ad"]
)
@pytest.mark.parametrize("size", [10, 20_000, 100_000])
def test_padding_is_gone_before_the_text_is_cut(pad: str, size: int):
    assert prepare("", "one " + pad * size + " two", HOW) == "one two"
    assert prepare("one " + pad * size + " two", "", HOW) == "one two"


def test_a_text_is_cut_at_its_clean_characters():
    how = Preparation(max_chars=100)
    assert prepare("", "x \u200b" * 5_000, how) == "x " * 50
    assert prepare("", "ﷺ" * 100, how) == prepare("", "ﷺ" * 99, how)
    assert len(prepare("t" * 60, "b" * 60, how)) == 100


@pytest.mark.parametrize(
    "marks",
    ["\u0345", "\u0301\u0327", "\u0345\u0334", "\u0345\uff9e", "\u0f71\u0f72", "\u05b0\u064b"],
)
@pytest.mark.parametrize("base", ["", "a", "é", "ア", "\u0628"])
def test_towers_of_marks_are_lowered(marks: str, base: str):
    tower = base + marks * 20_000
    safe = stream_safe(tower)
    assert len(safe) <= len(base) + MAX_MARKS
    assert safe.startswith(base)
    assert stream_safe(base + marks * (MAX_MARKS // 2)) == base + marks * (MAX_MARKS // 2)
    assert len(prepare("", f"{tower} word " * 3, HOW)) < 4 * (MAX_MARKS + 10)


def test_many_low_towers_stay():
    text = ("e" + "\u0323\u0302" * 10 + "。" * 40) * 50
    assert stream_safe(text) == text


def test_squeezing_reads_no_more_than_it_needs():
    assert squeeze("a" * 10, 4) == "aaaa"
    assert squeeze("a   b\n\n\nc" + " " * 200_000 + "d", 100) == "a b c d"
    assert squeeze("\u200b" * 300_000 + "x", 1) == "x"
