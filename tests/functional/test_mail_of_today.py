"""No good mail of today is decided to be spam: of mails that no model or bar has learnt from.

`mail_of_today.jsonl` has 200 good ones. `more_mail_of_today.jsonl` has 200 and 100 of spam, which
another hand wrote; they had no part in any choice. Figures of both: docs/builtin-models.md.
"""

from __future__ import annotations

import json
from email.message import EmailMessage
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream_app.__main__ import app

HERE = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("file", "spam", "found"),
    [("mail_of_today.jsonl", 0, 0), ("more_mail_of_today.jsonl", 100, 40)],
)
def test_no_good_mail_of_today_is_decided_to_be_spam(
    file: str, spam: int, found: int, tmp_path: Path
) -> None:
    mails = [json.loads(line) for line in (HERE / file).read_text(encoding="utf-8").splitlines()]
    for number, mail in enumerate(mails):
        message = EmailMessage()
        message["From"], message["To"] = "a@example.org", "b@example.org"
        message["Subject"] = mail["title"]
        message.set_content(mail["text"])
        (tmp_path / f"{number:03}.eml").write_bytes(message.as_bytes())
    result = CliRunner().invoke(app, ["classify", "--model", "builtin:spam", str(tmp_path)])
    assert result.exit_code == 0
    said = [json.loads(line)["decision"] for line in result.stdout.splitlines()]
    assert len(said) == len(mails)
    good = [decision for mail, decision in zip(mails, said, strict=True) if mail["label"] == "ham"]
    assert (len(good), good.count("spam"), len(said) - len(good)) == (200, 0, spam)
    assert good.count("ham") > 150  # the others are left to whoever reads them
    assert said.count("spam") >= found
