"""Mail that people move into Junk and out of it, and what the feedback topic has of it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.integration.process import PATIENCE
from tests.mail.conftest import mail_stage
from tests.mail.desk import Desk, move
from tests.mail.mail_server import DOMAIN, HAM, SPAM, MailServer, someone

FORGED = b"X-Winnow-Id: %s/0/0\r\n"


@pytest.fixture
def desk(server: MailServer, tansu: str, tmp_path: Path) -> Desk:
    return Desk(mail_stage(tansu, tmp_path), server)


def test_a_move_into_junk_or_out_of_it_is_a_correction(desk: Desk):
    server, user = desk.server, someone()
    server.send(
        user, FORGED % desk.stage.routes[0]["input_topic"].encode() + HAM, server.unfiltered
    )
    server.delivered(user, 1)
    with desk.filter() as running:
        move(server, user, "INBOX", "Junk")
        desk.told(1)
        move(server, user, "Junk", "Trash")
        move(server, user, "Trash", "Junk")
        desk.told(2)
        move(server, user, "Junk", "Archive")
        told = desk.told(3)
        assert running.outcomes("corrections") == {"taken": 3}
    assert [each["label"] for each in told] == ["spam", "spam", "ham"]
    assert {(each["who"], each["route"]) for each in told} == {(f"{user}@{DOMAIN}", "mail")}
    for each in told:
        assert "id" not in each  # what a mail says of itself is not believed
        assert each["text"].startswith("Notes from Monday's storage meeting")


def test_what_a_mail_program_puts_into_junk_is_a_correction(desk: Desk):
    user = someone()
    with desk.filter(), desk.server.imap(user) as imap:
        imap.append("Junk", "", "", SPAM)
        [told] = desk.told(1)
    assert told["label"] == "spam"


def test_a_correction_that_is_refused_does_not_hinder_the_move(desk: Desk):
    token = desk.stage.folder / "token"
    token.write_text("another")
    desk.stage.sections["filter"] = {"token_file": str(token)}
    with desk.filter() as running:
        move_new_mail(desk.server)
        deadline = time.monotonic() + PATIENCE
        while not (found := running.outcomes("corrections")):
            assert time.monotonic() < deadline
            time.sleep(0.05)  # HTTP offers no event to await
    assert found == {"unauthorized": 1}
    assert desk.told(0) == []


def test_a_filter_that_hangs_or_is_gone_does_not_hinder_the_move(desk: Desk):
    with desk.filter() as running:
        running.process.process.send_signal(signal.SIGSTOP)
        move_new_mail(desk.server)
        running.process.kill()
        move_new_mail(desk.server)


def move_new_mail(server: MailServer) -> None:
    server.send(user := someone(), HAM, server.unfiltered)
    server.delivered(user, 1)
    move(server, user, "INBOX", "Junk")
