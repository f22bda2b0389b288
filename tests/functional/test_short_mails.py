"""No short good mail is decided to be spam, in six languages; nor is a word alone ever."""

from __future__ import annotations

import json
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stream_app.__main__ import app
from tests.short_mails import AFTERWARDS, SHORT_MAILS, Mail

WORDS = (
    "photos",
    "invoice",
    "winner",
    "free",
    "test",
    "hello",
    "urgent",
    "offer",
    "money",
    "pills",
)


def written(mail: Mail, picture: bool) -> bytes:
    """The mail as it is sent, with a picture if asked for."""
    subject, body = mail
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.org", "b@example.org", subject
    message.set_content(body)
    if picture:
        message.add_attachment(b"\xff\xd8\xff", maintype="image", subtype="jpeg", filename="a.jpg")
    return message.as_bytes()


def decided(folder: Path, mails: list[bytes]) -> list[dict[str, Any]]:
    for number, mail in enumerate(mails):
        (folder / f"{number:03}.eml").write_bytes(mail)
    result = CliRunner().invoke(app, ["classify", "--model", "builtin:spam", str(folder)])
    assert result.exit_code == 0
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(found) == len(mails)
    return found


def test_the_collection_is_as_large_as_it_should_be() -> None:
    assert len(SHORT_MAILS) == 6
    assert sum(map(len, SHORT_MAILS.values())) >= 60
    assert min(map(len, SHORT_MAILS.values())) >= 10


@pytest.mark.parametrize(
    "mails", [*SHORT_MAILS.values(), AFTERWARDS], ids=[*SHORT_MAILS, "afterwards"]
)
def test_no_short_good_mail_is_decided_to_be_spam(mails: list[Mail], tmp_path: Path) -> None:
    sent = [written(mail, picture) for picture in (False, True) for mail in mails]
    found = decided(tmp_path, sent)
    assert [
        mail for mail, line in zip(mails * 2, found, strict=True) if line["decision"] == "spam"
    ] == []


def test_a_word_alone_is_unsure_whatever_it_says(tmp_path: Path) -> None:
    found = decided(tmp_path, [written((word, ""), picture=False) for word in WORDS])
    assert {line["decision"] for line in found} == {"unsure"}
    assert all("unfamiliar" in line["marks"] for line in found)


def test_the_mails_that_were_spam_at_first_are_unsure(tmp_path: Path) -> None:
    """`Subject: hello` was spam at 0.9998."""
    subjects = ("hello", "test", "photos", "Happy birthday!", "Your verification code is 483920")
    found = decided(tmp_path, [written((subject, ""), picture=False) for subject in subjects])
    assert {line["decision"] for line in found} == {"unsure"}
    assert max(line["confidence"] for line in found) < 0.96
