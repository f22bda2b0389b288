"""Mail of a hosted mailbox: read once, whatever is killed; moved by decision, and never lost."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from stream_app.__main__ import main
from stream_app.core.errors import ImapRefused
from stream_app.core.metrics import Metrics
from stream_app.core.settings import ImapSettings
from stream_app.imap.account import Account
from stream_app.imap.place import HEADER, Place, place_of
from stream_app.sinks.follow import Received
from stream_app.sinks.imap import MailMover
from tests.command_line import run_main
from tests.conftest import free_port
from tests.filter_answers import labelled
from tests.integration.filters import ready_worker
from tests.integration.harness import Stage
from tests.integration.process import Worker, wait_for_metric, wait_until_ready
from tests.mail.imap_server import OLD, PASSWORD, ImapServer, imap_server
from tests.mail.mail_server import HAM, SPAM, someone


@pytest.fixture(scope="module")
def hosted() -> Iterator[ImapServer]:
    """The server, shared by the module's tests: each has a user of its own."""
    with imap_server() as server:
        yield server


@pytest.fixture
def user() -> str:
    return someone()


@pytest.fixture
def stage(tansu: str, tmp_path: Path, hosted: ImapServer, user: str) -> Stage:
    """A route for the user's mail, and `[imap]`."""
    stage = Stage(tansu, tmp_path, partitions=1)
    stage.route("mail", "rfc822", "builtin:spam")
    stage.sections["engine"] = {"threads": 1}
    stage.sections["imap"] = hosted.settings(user, state=str(tmp_path / "imap.db"))
    stage.create_topics()
    return stage


class Imap:
    """`winnow ingest imap` or `winnow sink imap`, running."""

    def __init__(self, stage: Stage, command: str) -> None:
        key = {"ingest": "http", "sink": "sink_http"}[command]
        port = free_port()
        stage.sections["imap"][key] = f"127.0.0.1:{port}"
        self.url = f"http://127.0.0.1:{port}"
        log = stage.folder / f"{command}-{uuid.uuid4().hex[:6]}.log"
        self.process = Worker(stage.config, log, {}, command=(command, "imap"))

    def ready(self) -> None:
        wait_until_ready(self.url)

    def wait_for(self, metric: str, value: int) -> None:
        """Return once a metric has a value."""
        wait_for_metric(self.url, metric, f"{value}.0")

    def delivered(self, count: int) -> None:
        """Return once so many mails were delivered by this process."""
        self.wait_for('winnow_ingested_records_total{outcome="delivered",source="imap"}', count)

    def counted(self, outcome: str, count: int) -> None:
        """Return once the sink has had so many labels of an outcome."""
        self.wait_for(f'winnow_imap_labels_total{{outcome="{outcome}"}}', count)


@contextmanager
def running(stage: Stage, command: str) -> Iterator[Imap]:
    """The command, ready; killed at the end where it still runs."""
    imap = Imap(stage, command)
    try:
        imap.ready()
        yield imap
        assert not imap.process.failed, imap.process.output
    finally:
        imap.process.kill()


def mail(subject: str, body: str = "Shall we meet on Monday?") -> bytes:
    return f"Subject: {subject}\r\nMessage-ID: <{uuid.uuid4().hex}@x>\r\n\r\n{body}\r\n".encode()


def subjects(stage: Stage) -> list[str]:
    """Of all mails on the input topic, in order of their delivery."""
    topic = stage.routes[0]["input_topic"]
    return [
        record.value.split(b"Subject: ")[1].split(b"\r")[0].decode()
        for record in stage.records(topic)
    ]


def test_spam_lands_in_junk_and_ham_stays_unseen_in_the_inbox(
    stage: Stage, hosted: ImapServer, user: str
):
    with ready_worker(stage), running(stage, "ingest") as ingest, running(stage, "sink") as sink:
        hosted.deliver(user, SPAM, HAM)
        sink.counted("moved", 1)
        sink.counted("stays", 1)
        found = sorted(hosted.mails(user).values())
        assert found == [("INBOX", ()), ("Spam", ())]
        with hosted.client(user) as client:  # the user knows better, and is not fought
            client.select_folder("Spam")
            client.move(client.search(), "INBOX")
        ingest.wait_for('winnow_ingested_records_total{outcome="known",source="imap"}', 1)
        hosted.deliver(user, mail("later"))
        ingest.delivered(3)
        sink.counted("stays", 2)
        assert {mailbox for mailbox, _ in hosted.mails(user).values()} == {"INBOX"}
        assert ingest.process.stop() == sink.process.stop() == 0


class TestIngest:
    def test_each_mail_comes_once_whatever_is_killed(
        self, stage: Stage, hosted: ImapServer, user: str
    ):
        hosted.deliver(user, mail("before it was ever started"))
        with running(stage, "ingest") as ingest:
            hosted.deliver(user, mail("1"), mail("2"))
            ingest.delivered(2)
            ingest.process.kill()
        hosted.deliver(user, mail("3"))  # while it is dead
        with running(stage, "ingest") as ingest:
            ingest.delivered(1)
            password = Path(stage.sections["imap"]["password_file"])
            password.write_text("another, until now unknown to the server")
            hosted.stop()  # in mid-IDLE
            hosted.start()
            ingest.process.wait_for_log("refuses")
            password.write_text(PASSWORD)
            ingest.ready()
            hosted.deliver(user, mail("4"))
            ingest.delivered(2)
            assert ingest.process.stop() == 0
        hosted.admin("mailbox", "update", "-u", user, "--uid-validity", "777", "INBOX")
        hosted.deliver(user, mail("5"))
        with running(stage, "ingest") as ingest:
            ingest.delivered(2)  # the first was of the same day, and never sent
            ingest.wait_for('winnow_ingested_records_total{outcome="known",source="imap"}', 4)
        assert subjects(stage) == ["1", "2", "3", "4", "before it was ever started", "5"]
        assert set(hosted.mails(user).values()) == {("INBOX", ())}  # all unseen

    @pytest.mark.slow
    def test_none_is_missing_where_it_is_killed_in_mid_stream(
        self, stage: Stage, hosted: ImapServer, user: str
    ):
        numbers = [str(number) for number in range(400)]
        hosted.deliver(user, *map(mail, numbers))
        stage.sections["imap"]["from_beginning"] = True
        kills = 0
        while len(set(subjects(stage))) < len(numbers):
            imap = Imap(stage, "ingest")
            try:
                imap.process.wait_for_log("following from")
                before = len(subjects(stage))
                while len(subjects(stage)) == before < len(numbers):
                    assert not imap.process.failed, imap.process.output
            finally:
                imap.process.kill()
            kills += 1
        found = subjects(stage)
        assert sorted(set(found)) == sorted(numbers)
        assert len(found) - len(numbers) <= 50 * kills  # a group is delivered at once

    def test_a_server_without_idle_is_asked_and_a_mail_that_is_too_large_is_left_out(
        self, stage: Stage, hosted: ImapServer, user: str
    ):
        stage.routes[0]["max_record_bytes"] = 20_000
        stage.sections["imap"] |= {
            "host": OLD,
            "poll_seconds": 1,
            "from_beginning": True,
            "mailboxes": ["INBOX", "Spam"],
        }
        hosted.deliver(user, mail("old"), mail("large", "x" * 30_000))
        with running(stage, "ingest") as ingest:
            ingest.wait_for('winnow_ingested_records_total{outcome="too_large",source="imap"}', 1)
            ingest.delivered(1)
            hosted.deliver(user, mail("new"))
            ingest.delivered(2)
            with hosted.client(user) as client:
                client.append("Spam", mail("of another mailbox"))
            ingest.delivered(3)
        assert subjects(stage) == ["old", "new", "of another mailbox"]
        places = [
            dict(record.headers)[HEADER] for record in stage.records(stage.routes[0]["input_topic"])
        ]
        assert places[0].startswith(f"imap://{user}@{OLD}/INBOX;UIDVALIDITY=".encode())
        assert b"/Spam;UIDVALIDITY=" in places[2]


class TestRefused:
    """No outage: the command ends, and says why."""

    @pytest.mark.parametrize(
        ("command", "change", "message"),
        [
            ("ingest", {"password_file": "/etc/hostname"}, "the password in imap.password_file"),
            ("sink", {"ca_file": ""}, "its certificate is not trusted"),
            ("sink", {"mailboxes": ["Nowhere"]}, "has no mailbox 'Nowhere'"),
            ("sink", {"move": {"spam": "Nowhere"}}, "name one that exists in imap.move"),
        ],
    )
    def test_at_the_start(
        self, stage: Stage, command: str, change: dict[str, object], message: str
    ):
        stage.sections["imap"] |= change | {"http": "127.0.0.1:0", "sink_http": "127.0.0.1:0"}
        ended = run_main(main, command, "imap", "--config", str(stage.config))
        assert ended.returncode == 1
        assert message in ended.stderr


def test_a_token_lets_in_and_an_expired_one_is_refused(
    hosted: ImapServer, user: str, tmp_path: Path
):
    token = tmp_path / "token"
    access = {"password_file": "", "token_file": str(token)}
    account = Account(ImapSettings(**hosted.settings(user, **access)))
    token.write_text(hosted.token(user, -10))
    with pytest.raises(ImapRefused, match=r"the token in imap\.token_file"):
        account.session()
    token.write_text(hosted.token(user, 600))
    session = account.session()
    assert session.open("INBOX", read_only=True).uidnext == 1
    session.close()


class TestSink:
    """Labels of our own making, so that it is known what came when."""

    def test_what_is_gone_or_touched_is_left_alone_and_a_label_may_come_twice(
        self, hosted: ImapServer, user: str
    ):
        kinds = ("spam", "ham", "gone", "answered", "deleted", "not junk")
        hosted.deliver(user, *(mail(kind) for kind in kinds))
        settings = ImapSettings(**hosted.settings(user))
        labels = labels_of(settings, hosted, user, {"ham": "ham"})
        with hosted.client(user) as client:
            client.select_folder("INBOX")
            client.create_folder("Trash")
            client.move([3], "Trash")
            client.add_flags([4], rb"\Answered")
            client.add_flags([5], rb"\Deleted")
            client.add_flags([6], "$NotJunk")
        before = hosted.mails(user)
        metrics = Metrics()
        for _ in range(2):  # as where it was killed before the commit
            mover = MailMover(settings, metrics)
            mover.check()
            mover.write(labels)
            mover.close()
        assert hosted.mails(user) == before | {b"spam": ("Spam", ())}
        assert outcomes(metrics) == {"moved": 1, "gone": 4 + 5, "stays": 2}

    def test_without_move_mail_is_copied_and_no_other_is_removed(
        self, hosted: ImapServer, user: str
    ):
        hosted.deliver(user, mail("spam"), mail("deleted by the user"))
        settings = ImapSettings(**hosted.settings(user, host=OLD))
        labels = labels_of(settings, hosted, user, {"deleted by the user": "unsure"})
        with hosted.client(user) as client:
            client.select_folder("INBOX")
            client.add_flags([2], rb"\Deleted")
        mover = MailMover(settings, Metrics())
        mover.check()
        mover.write(labels)
        assert hosted.mails(user) == {
            b"spam": ("Spam", ()),
            b"deleted by the user": ("INBOX", (rb"\Deleted",)),
        }

    def test_labels_of_other_mail_touch_none(self, hosted: ImapServer, user: str):
        """Of a mailbox that was numbered anew, another account, another mailbox, or of nowhere."""
        hosted.deliver(user, mail("1"))
        settings = ImapSettings(**hosted.settings(user))
        [label] = labels_of(settings, hosted, user, {})
        place = place_of(label.headers)
        assert place is not None
        metrics = Metrics()
        mover = MailMover(settings, metrics)
        mover.check()
        others = [
            replace(place, uidvalidity=place.uidvalidity + 1),
            replace(place, account=("somebody", settings.host)),
            replace(place, mailbox="Spam"),
        ]
        mover.write([received("spam", each.url) for each in others])
        mover.write([received("spam", "imap://INBOX")])
        assert outcomes(metrics) == {"gone": 1, "foreign": 2, "stays": 1}
        assert hosted.mails(user) == {b"1": ("INBOX", ())}


def labels_of(
    settings: ImapSettings, hosted: ImapServer, user: str, decisions: dict[str, str]
) -> list[Received]:
    """Of all mails in the user's inbox, by subject; spam where nothing is said."""
    with hosted.client(user) as client:
        uidvalidity = client.select_folder("INBOX", readonly=True)[b"UIDVALIDITY"]
        found = client.fetch(client.search(), ["ENVELOPE"])
    return [
        received(
            decisions.get(each[b"ENVELOPE"].subject.decode(), "spam"),
            Place(settings.account, "INBOX", uidvalidity, uid).url,
        )
        for uid, each in found.items()
    ]


def received(decision: str, url: str) -> Received:
    label = labelled(decision=decision)
    return Received(**label.model_dump(), headers=((HEADER, url.encode()),))


def outcomes(metrics: Metrics) -> dict[str, float]:
    """How many labels the sink has had, by outcome."""
    [family] = metrics.imap_labels.collect()
    return {
        s.labels["outcome"]: s.value
        for s in family.samples
        if s.name.endswith("_total") and s.value
    }
