"""Mail through Postfix, the filter and Dovecot: labelled, filed, and never held up or lost."""

from __future__ import annotations

import itertools
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from smtplib import SMTPDataError

import pytest

from stream_app.kafka.embedded_broker import EmbeddedBroker
from tests.conftest import Apache, apache_kafka, free_port
from tests.integration.filters import Filter, ready_worker, running_filter
from tests.integration.harness import Stage
from tests.integration.process import PATIENCE, Worker
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


class Flow:
    """Mails over four connections at once, until the end of the block.

    All that were accepted are delivered then, each once, or it raises.
    """

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._user = someone()
        self._numbers = itertools.count()
        self._over = threading.Event()
        self._accepted = threading.Semaphore(0)
        self._senders = ThreadPoolExecutor(4)
        self.found: list[Delivered] = []

    def __enter__(self) -> Flow:
        self._sent = [self._senders.submit(self._send) for _ in range(4)]
        self.more(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        self._senders.shutdown()
        if kind is None:
            count = sum(sending.result() for sending in self._sent)
            self.found = self._server.delivered(self._user, count)
            numbers = sorted(int(each.message["X-Number"]) for each in self.found)
            assert numbers == list(range(count))

    def more(self, count: int) -> None:
        """Return once so many more have been accepted."""
        for _ in range(count):
            assert self._accepted.acquire(timeout=PATIENCE), self._server.log[-3000:]

    def _send(self) -> int:
        sent = 0
        while not self._over.is_set():
            mail = b"X-Number: %d\r\n" % next(self._numbers) + SPAM
            self._server.send(self._user, mail)
            self._accepted.release()
            sent += 1
        return sent


def labelled(found: list[Delivered]) -> int:
    return sum(each.message["X-Winnow-Decision"] is not None for each in found)


@pytest.mark.slow
class TestFaults:
    """While mail flows. What became of it is in the mailbox: each mail, once."""

    @pytest.mark.parametrize("fault", ["told to stop", "killed", "stopped"])
    def test_of_the_filter(self, fault: str, server: MailServer, stage: Stage):
        with running_filter(stage, server.listen, IN_PROCESS) as running:
            process = running.process.process
            with Flow(server) as flow:
                if fault == "told to stop":
                    assert running.process.stop() == 0
                elif fault == "killed":
                    running.process.kill()
                else:
                    process.send_signal(signal.SIGSTOP)
                flow.more(30)
            assert labelled(flow.found) < len(flow.found)
            process.send_signal(signal.SIGCONT)
        with running_filter(stage, server.listen, PATIENT, IN_PROCESS):
            server.send(user := someone(), SPAM, server.patient)
            assert filed(server.delivered(user, 1)) == {"Junk": "spam"}

    @pytest.mark.parametrize("fault", ["worker stopped", "worker killed", "broker killed"])
    def test_of_the_stream(self, fault: str, server: MailServer, tmp_path: Path):
        port = free_port()
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
            with Flow(server) as flow:
                faults[fault]()
                flow.more(30)
            outcomes = running.outcomes()
            assert labelled(flow.found) < len(flow.found)
            assert sum(outcomes.values()) == len(flow.found)
            assert outcomes["broker" if fault == "broker killed" else "late"] > 0
            worker.process.send_signal(signal.SIGCONT)

    def test_of_everything_in_turn(self, server: MailServer, tmp_path: Path):
        port = free_port()
        stage = mail_stage(f"127.0.0.1:{port}", tmp_path)
        parts = {
            "broker": lambda: apache_kafka(tmp_path, port),
            "worker": lambda: ready_worker(stage),
            "filter": lambda: running_filter(stage, server.listen),
        }
        with ExitStack() as stack:
            running = {"broker": stack.enter_context(parts["broker"]())}
            stage.create_topics()
            running |= {name: stack.enter_context(parts[name]()) for name in ("worker", "filter")}
            with Flow(server) as flow:
                for name, start in parts.items():
                    process = process_of(running[name])
                    process.send_signal(signal.SIGSTOP)
                    flow.more(20)
                    process.send_signal(signal.SIGCONT)
                    until_labelled(server)
                    process.kill()
                    flow.more(20)
                    running[name] = stack.enter_context(start())
                    until_labelled(server)
        assert 0 < labelled(flow.found) < len(flow.found)


def process_of(part: Apache | Filter | Worker) -> subprocess.Popen[bytes]:
    """The process of a part of the stream."""
    return part.process.process if isinstance(part, Filter) else part.process


def until_labelled(server: MailServer) -> None:
    """Return once mail has labels again, which it has by itself when what failed is back."""
    deadline = time.monotonic() + PATIENCE
    user, sent = someone(), 0
    while not labelled(server.delivered(user, sent)):
        assert time.monotonic() < deadline, server.log[-3000:]
        server.send(user, SPAM, server.patient)
        sent += 1
