"""No good mail of today is decided to be spam: 200 that no model or bar has learnt from."""

from __future__ import annotations

import json
from email.message import EmailMessage
from pathlib import Path

from typer.testing import CliRunner

from stream_app.__main__ import app

MAILS = Path(__file__).parent.parent / "mail_of_today.jsonl"


def test_no_good_mail_of_today_is_decided_to_be_spam(tmp_path: Path) -> None:
    for number, line in enumerate(MAILS.read_text(encoding="utf-8").splitlines()):
        mail = json.loads(line)
        message = EmailMessage()
        message["From"], message["To"] = "a@example.org", "b@example.org"
        message["Subject"] = mail["title"]
        message.set_content(mail["text"])
        (tmp_path / f"{number:03}.eml").write_bytes(message.as_bytes())
    result = CliRunner().invoke(app, ["classify", "--model", "builtin:spam", str(tmp_path)])
    assert result.exit_code == 0
    found = [json.loads(line)["decision"] for line in result.stdout.splitlines()]
    assert (len(found), found.count("spam")) == (200, 0)
    assert found.count("ham") > 150  # the others are left to whoever reads them
