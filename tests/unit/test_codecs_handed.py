"""The inputs made after public reports against mail and feed software, where they are at hand."""

from pathlib import Path

import pytest

from tests.codec_cases import GOOD, SPAM, read, words
from tests.conftest import SHARED

STORY = "The second paragraph has the words of the story."
CASES = SHARED / "cases" / "codecs"
BOTH = f"Hi Bob, see you Monday. ok{SPAM}"
FOOTER = "_______________\nlist mailing list\nlist@example.org"
EXPECTED = {
    "cte-trailing-space.eml": SPAM,
    "base64-two-padded-blocks.eml": BOTH,
    "base64-list-footer.eml": f"{GOOD}\n{FOOTER}",
    "header-space-before-colon.eml": SPAM,
    "alternative-ham-decoy.eml": f"{SPAM}\n{GOOD}\n{GOOD}",
    "text-x-markdown.eml": SPAM,
    "plain-that-begins-with-html.eml": f"<html><!--\n{SPAM}",
    "html-whitespace-padding.eml": f"Hi Bob, the minutes are attached, see you Monday.\n{SPAM}",
    "html-data-uri-first.eml": GOOD,
    "meta-charset-utf-16.eml": SPAM,
    "iso2022jp-nec-row13.eml": "1お知らせ:無料です。 http://example.org/",
    "feed-ascii-holds-utf8.xml": "The café society\n" + STORY,
    "feed-nbsp-and-escaped-html.xml": "T\nRates rise & fall.\nAT&T gains",
    "feed-bare-ampersand.xml": "OpenSMTPD filters & fc-rDNS\nAbout mail filters.",
}


@pytest.fixture
def cases() -> Path:
    if not CASES.is_dir():
        pytest.skip(f"there is no {CASES}")
    return CASES


@pytest.mark.parametrize("name", EXPECTED)
def test_read_as_mail_programs_and_feed_readers_do(name: str, cases: Path):
    subject, codec = ("hello ", "rfc822") if name.endswith(".eml") else ("", "feed")
    assert read(codec, (cases / name).read_bytes()) == words(f"{subject}{EXPECTED[name]}")


def test_a_tower_of_marks_is_lowered(cases: Path):
    text = read("rfc822", (cases / "slow-combining-marks.eml").read_bytes())
    assert text.startswith("hello a")
    assert 10 < len(text) < 50


def test_all_are_tried(cases: Path):
    names = {path.name for path in cases.iterdir() if path.suffix in (".eml", ".xml")}
    assert names == {*EXPECTED, "slow-combining-marks.eml"}
