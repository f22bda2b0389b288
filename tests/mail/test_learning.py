"""From the Junk folder to a new champion: a kind of mail that people call spam is filed as spam."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stream_app.model.registry import CHAMPION
from tests.conftest import free_port
from tests.integration.harness import mails, send
from tests.integration.process import wait_for_metric, wait_until_ready
from tests.mail.conftest import mail_stage
from tests.mail.desk import Desk
from tests.mail.mail_server import DOMAIN, HAM, MailServer, someone

KNOWN = 400  # mails of the corpus, which the route has labelled before
CORRECTED = 70
FIELDS = ("soil chemistry", "graph theory", "marine biology", "dental surgery", "urban planning")
OTHERS = ("crop science", "solid mechanics", "tourism studies", "ceramics", "nursing", "forestry")
SENTENCES = (
    "We have read your recent article on {field} with great interest.",
    "It is our pleasure to invite you to submit a manuscript to the upcoming issue.",
    "The International Journal of Advances in {field} is open to all and has a quick review.",
    "Authors receive the decision of the reviewers within ten days.",
    "The editorial board has scholars from more than forty countries.",
    "Accepted papers are indexed and receive an identifier.",
    "Please send your paper to the editorial office before the end of the month.",
    "You may also recommend the journal to your colleagues and students.",
    "The article processing charge is reduced for this issue.",
    "We would also be honoured if you joined our editorial board as a reviewer.",
    "Research articles, reviews, short notes and case reports are welcome.",
    "Your eminent contribution will be highly appreciated by our readers in {field}.",
)


def call_for_papers(number: int) -> bytes:
    """A journal's invitation, of a kind that the built-in model takes for good mail."""
    chance = random.Random(number)
    field, other = chance.choice(FIELDS), chance.choice(OTHERS)
    body = " ".join(chance.sample(SENTENCES, 7)).format(field=field)
    return (
        f"From: Editorial Office <office{number}@journals.test>\r\nTo: you@{DOMAIN}\r\n"
        f"Subject: Call for papers: {field} and {other}, volume {number}\r\n"
        f"Message-ID: <{number}@journals.test>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n\r\n"
        f"Dear Professor,\r\n\r\n{body}\r\n\r\nWith kind regards,\r\nthe office\r\n"
    ).encode()


def train(*arguments: str) -> dict[str, Any]:
    """What a command of the trainer reports."""
    command = [sys.executable, "-m", "training", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def desk_of(server: MailServer, broker: str, folder: Path) -> Desk:
    """A route that serves a registry's champion, which is the built-in model."""
    stage = mail_stage(broker, folder)
    stage.routes[0]["model"] = f"models:/mail@{CHAMPION}"
    stage.sections["registry"] = {
        "uri": f"sqlite:///{folder}/registry.db",
        "cache": str(folder / "cache"),
    }
    desk = Desk(stage, server)
    train(
        *("register", "--config", str(stage.config), "--model", "builtin:spam"),
        *("--name", "mail", "--alias", CHAMPION),
    )
    return desk


def filed(server: MailServer, mail: bytes) -> str:
    """The folder that a mail comes to."""
    server.send(user := someone(), mail, server.patient)
    [found] = server.delivered(user, 1)
    return found.folder


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_mail_of_a_kind_that_was_moved_into_junk_is_filed_there_after_a_refresh(
    server: MailServer, tansu: str, shared: Path, tmp_path: Path
):
    desk, user = desk_of(server, tansu, tmp_path), someone()
    stage = desk.stage
    with stage.producer() as producer:
        send(producer, stage.routes[0]["input_topic"], mails(shared, KNOWN), stage.partitions)
    port = free_port()
    with stage.worker(WINNOW_METRICS__PORT=str(port)), desk.filter(server.listen):
        wait_until_ready(url := f"http://127.0.0.1:{port}")
        for number in range(CORRECTED):
            server.send(user, call_for_papers(number), server.patient)
        server.delivered(user, CORRECTED)
        with server.imap(user) as imap:
            count = int(imap.select("INBOX")[1][0] or 0)
            assert count > 0.8 * CORRECTED  # the kind is good mail to the model, or it is unsure
            imap.copy(f"1:{count}", "Junk")
        desk.told(count)
        unseen = [call_for_papers(number) for number in range(1000, 1010)]
        assert [filed(server, mail) for mail in unseen].count("Junk") == 0
        report = train(
            *("refresh", "--config", str(stage.config), "--route", "mail", "--head-only"),
            *("--work", str(tmp_path / "work")),
        )
        assert report["outcome"] == "promoted", report
        swapped = 'winnow_reloads_total{outcome="swapped",route="mail"}'
        wait_for_metric(url, swapped, "1.0")
        assert [filed(server, mail) for mail in unseen].count("Junk") > len(unseen) / 2
        assert filed(server, HAM) == "INBOX"
