"""A corpus of mail over eight connections: each arrives once, with its own label."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.filters import ready_worker, running_filter
from tests.integration.harness import mails
from tests.mail.conftest import mail_stage
from tests.mail.mail_server import DOMAIN, MailServer, someone

COUNT = 2000
CONNECTIONS = 8
_NEWLINE = re.compile(rb"\r\n|\r|\n")
_NUMBER = re.compile(rb"^X-Number: (\d+)\r\n", re.MULTILINE)


def send(server: MailServer, user: str, batch: list[tuple[int, bytes]]) -> None:
    """Send numbered mails over one connection; raises unless each was accepted."""
    with server.session(server.patient) as smtp:
        for number, mail in batch:
            as_smtp = b"X-Number: %d\r\n" % number + _NEWLINE.sub(b"\r\n", mail)
            smtp.sendmail("sender@remote.test", [f"{user}@{DOMAIN}"], as_smtp)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_each_mail_of_a_corpus_is_delivered_once_with_its_own_label(
    server: MailServer, tansu: str, shared: Path, tmp_path: Path
):
    stage, user = mail_stage(tansu, tmp_path), someone()
    stage.create_topics()
    numbered = list(enumerate(mails(shared, COUNT)))
    with ready_worker(stage), running_filter(stage, server.listen, "--deadline=60s") as running:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            batches = [numbered[first::CONNECTIONS] for first in range(CONNECTIONS)]
            list(pool.map(lambda batch: send(server, user, batch), batches))
        found = server.delivered(user, COUNT)
        assert running.outcomes() == {"labelled": COUNT}
    assert sorted(int(each.message["X-Number"]) for each in found) == list(range(COUNT))
    topic = stage.routes[0]["input_topic"]
    sent = {f"{topic}/{r.partition}/{r.offset}": r.value for r in stage.records(topic)}
    labels = {label["id"]: label for label in stage.collected(topic).labels}
    for each in found:
        [record_id] = each.message.get_all("X-Winnow-Id") or [""]
        number = _NUMBER.search(sent[record_id])
        assert number is not None
        assert number[1].decode() == each.message["X-Number"]
        decision = labels[record_id]["decision"]
        assert each.message["X-Winnow-Decision"] == decision
        assert each.folder == ("Junk" if decision == "spam" else "INBOX")
