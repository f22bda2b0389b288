"""Mail through Postfix, the filter and Dovecot: labelled, filed, and never held up or lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from smtplib import SMTPDataError

import pytest

from stream_app.kafka.embedded_broker import EmbeddedBroker
from tests.conftest import free_port
from tests.integration.filters import ready_worker, running_filter
from tests.integration.harness import Stage
from tests.mail.conftest import mail_stage
from tests.mail.mail_server import HAM, SPAM, Delivered, MailServer, someone

PATIENT = "--deadline=60s"
IN_PROCESS = "--in-process"


def filed(found: list[Delivered]) -> dict[str, str | None]:
    """The decision on a mail, by the folder that it lies in."""
    return {each.folder: each.message["X-Winnow-Decision"] for each in found}


def test_spam_lands_in_junk_and_ham_in_the_inbox_with_their_labels(
    server: MailServer, tansu: str, tmp_path: Path
):
    user, stage = someone(), mail_stage(tansu, tmp_path)
    stage.create_topics()
    with ready_worker(stage), running_filter(stage, server.listen, PATIENT):
        for mail in (SPAM, HAM):
            server.send(user, mail, server.patient)
        found = server.delivered(user, 2)
    assert filed(found) == {"Junk": "spam", "INBOX": "ham"}
    topic = stage.routes[0]["input_topic"]
    labels = {label["id"]: label for label in stage.collected(topic).labels}
    for each in found:
        label = labels[each.message["X-Winnow-Id"]]
        assert each.message["X-Winnow-Label"] == label["label"]
        assert each.message["X-Winnow-Confidence"] == f"{label['confidence']:.4f}"
        assert each.message["X-Winnow-Model"] == f"spam/{label['model']['version']}"
        assert each.message.get_all("X-Spam-Flag") == (["YES"] if each.folder == "Junk" else None)
    values = {record.key: record.value for record in stage.records(topic)}
    for mail in (SPAM, HAM):
        [key] = [line[12:] for line in mail.split(b"\r\n") if line.startswith(b"Message-ID: ")]
        assert values[key].endswith(mail)


def test_headers_of_ours_from_outside_are_gone(server: MailServer, stage: Stage):
    forged = (
        b"X-Spam-Flag: YES\r\nX-Winnow-Decision : ham\r\nx-winnow-id: mail/0/1\r\n"
        b"X-Spam-Flag:\r\n YES\r\nX-WINNOW-Other: 1\r\n"
    )
    user = someone()
    with running_filter(stage, server.listen, PATIENT, IN_PROCESS):
        with server.session(server.patient) as smtp:  # one mail is broken off
            smtp.sendmail("a@remote.test", [f"{user}@example.test"], SPAM)
            smtp.mail("a@remote.test")
            smtp.rset()
            smtp.sendmail("a@remote.test", [f"{user}@example.test"], forged + HAM)
        found = server.delivered(user, 2)
    assert filed(found) == {"Junk": "spam", "INBOX": "ham"}
    [ham] = [each.message for each in found if each.folder == "INBOX"]
    assert ham["X-Spam-Flag"] is None
    assert ham.get_all("X-Winnow-Decision") == ["ham"]
    assert ham["X-Winnow-Other"] is None
    assert len(ids := ham.get_all("X-Winnow-Id") or []) == 1
    assert "mail/0/1" not in ids


def test_spam_that_is_sure_is_refused_where_the_configuration_says_so(
    server: MailServer, stage: Stage
):
    stage.sections["filter"] = {"reject_at": 0.8}
    user = someone()
    with running_filter(stage, server.listen, PATIENT, IN_PROCESS):
        with pytest.raises(SMTPDataError, match=r"550.*looks like spam"):
            server.send(user, SPAM, server.patient)
        server.send(user, HAM, server.patient)
        assert filed(server.delivered(user, 1)) == {"INBOX": "ham"}


@contextmanager
def flow(server: MailServer, user: str, count: int = 40) -> Iterator[list[Delivered]]:
    """Mails over four connections at once; the block begins when some have been accepted.

    All are delivered when it has ended, each once, or it raises.
    """
    begun, found = threading.Semaphore(0), list[Delivered]()

    def send(number: int) -> None:
        server.send(user, b"X-Number: %d\r\n" % number + SPAM)
        begun.release()

    with ThreadPoolExecutor(4) as senders:
        sent = [senders.submit(send, number) for number in range(count)]
        for _ in range(count // 4):
            begun.acquire()
        yield found
        for each in sent:
            each.result()
    found += server.delivered(user, count)
    assert sorted(int(each.message["X-Number"]) for each in found) == list(range(count))


def labelled(found: list[Delivered]) -> int:
    return sum(each.message["X-Winnow-Decision"] is not None for each in found)


@pytest.mark.slow
class TestFaults:
    """While mail flows. What became of it is in the mailbox: each mail, once."""

    @pytest.mark.parametrize("fault", ["told to stop", "killed", "stopped"])
    def test_of_the_filter(self, fault: str, server: MailServer, stage: Stage):
        user = someone()
        with running_filter(stage, server.listen, IN_PROCESS) as running:
            process = running.process.process
            with flow(server, user) as found:
                if fault == "told to stop":
                    assert running.process.stop() == 0
                elif fault == "killed":
                    running.process.kill()
                else:
                    process.send_signal(signal.SIGSTOP)
            assert labelled(found) < len(found)
            process.send_signal(signal.SIGCONT)
        self.assert_it_filters(server, stage, IN_PROCESS)

    @pytest.mark.parametrize("fault", ["worker stopped", "worker killed", "broker killed"])
    def test_of_the_stream(self, fault: str, server: MailServer, tmp_path: Path):
        user, port = someone(), free_port()
        stage = mail_stage(f"127.0.0.1:{port}", tmp_path)
        with ExitStack() as stack:
            broker = stack.enter_context(EmbeddedBroker(port))
            stage.create_topics()
            worker = stack.enter_context(ready_worker(stage))
            running = stack.enter_context(running_filter(stage, server.listen))
            faults: dict[str, Callable[[], None]] = {
                "worker stopped": lambda: worker.process.send_signal(signal.SIGSTOP),
                "worker killed": worker.kill,
                "broker killed": lambda: broker.__exit__(None, None, None),
            }
            with flow(server, user) as found:
                faults[fault]()
            outcomes = running.outcomes()
            assert labelled(found) < len(found)
            assert sum(outcomes.values()) == len(found)
            assert outcomes["broker" if fault == "broker killed" else "late"] > 0
            if fault == "worker stopped":
                worker.process.send_signal(signal.SIGCONT)
                self.assert_it_labels_again(server)

    def assert_it_labels_again(self, server: MailServer) -> None:
        """By itself, once what failed is back: a mail or two later."""
        for _ in range(10):
            server.send(user := someone(), SPAM, server.patient)
            if labelled(server.delivered(user, 1)):
                return
        raise AssertionError(server.log[-3000:])

    def assert_it_filters(self, server: MailServer, stage: Stage, *options: str) -> None:
        with running_filter(stage, server.listen, PATIENT, *options):
            server.send(user := someone(), SPAM, server.patient)
            assert filed(server.delivered(user, 1)) == {"Junk": "spam"}
