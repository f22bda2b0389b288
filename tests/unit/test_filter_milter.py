"""The milter as a mail server meets it: what it reads, what it answers, what it survives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kilter.protocol.messages import (
    Abort,
    ActionFlags,
    Body,
    Close,
    Connect,
    Continue,
    EndOfHeaders,
    EndOfMessage,
    Header,
    Macro,
    Negotiate,
    ProtocolFlags,
)

from stream_app.core.errors import NoLabel
from stream_app.core.label_record import LabelRecord, ModelVersion
from stream_app.core.metrics import Metrics
from stream_app.core.settings import FilterSettings
from stream_app.filter.asking import FailOpen
from stream_app.filter.mail import MAX_REMOVED
from stream_app.filter.milter import MAX_PACKET, Milter
from tests.filter_answers import Answers, labelled, mail_route
from tests.milter_client import OFFERED, MilterClient, mail_server

HEADERS = [("Subject", b" hello"), ("From", b" ada@example.test")]
SPAM = labelled("spam", 0.97)


class Running:
    """A milter on a socket, with what it asks."""

    def __init__(self, path: Path, asker: Answers, front: FailOpen, milter: Milter) -> None:
        self.path = path
        self.asker = asker
        self.front = front
        self.milter = milter

    @property
    def mails(self) -> list[bytes]:
        return [value for _, value, _ in self.asker.asked]

    @asynccontextmanager
    async def mail_server(self, offered: Negotiate = OFFERED) -> AsyncIterator[MilterClient]:
        async with mail_server(self.path) as client:
            await client.negotiate(offered)
            yield client


@asynccontextmanager
async def running(
    path: Path, answer: LabelRecord | Exception = SPAM, max_bytes: int = 10**6, **given: object
) -> AsyncIterator[Running]:
    settings = FilterSettings(**{"deadline_seconds": 60} | given)
    asker = Answers(answer)
    front = FailOpen(asker, settings, Metrics())
    route = mail_route(max_record_bytes=max_bytes)
    milter = Milter(lambda mail: front.ask(route, mail), settings, max_bytes)
    server = await asyncio.start_unix_server(milter.serve, path)
    try:
        yield Running(path, asker, front, milter)
    finally:
        server.close()
        await milter.stop()


@pytest.fixture
async def milter(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "s") as found:
        yield found


class TestNegotiation:
    async def test_it_asks_for_no_more_than_it_needs(self, milter: Running):
        async with mail_server(milter.path) as client:
            agreed = await client.negotiate()
        assert agreed.version == 6
        assert agreed.action_flags == ActionFlags.ADD_HEADERS | ActionFlags.CHANGE_HEADERS
        assert agreed.protocol_flags & ProtocolFlags.NO_BODY == 0
        assert agreed.protocol_flags & ProtocolFlags.NO_HEADERS == 0
        assert ProtocolFlags.NO_CONNECT | ProtocolFlags.NO_HELO in agreed.protocol_flags
        assert ProtocolFlags.HEADER_LEADING_SPACE in agreed.protocol_flags

    async def test_it_takes_an_old_mail_server_as_it_is(self, milter: Running):
        """It leaves out no step, wants an answer to each, and keeps the space of a header."""
        offered = Negotiate(2, ActionFlags(0x1F), ProtocolFlags.NONE)
        async with mail_server(milter.path) as client:
            agreed = await client.negotiate(offered)
            assert (agreed.version, agreed.protocol_flags) == (2, ProtocolFlags.NONE)
            for step in (Connect("host"), Header("Subject", b"hello"), EndOfHeaders(), Body(b"x")):
                client.send(step)
                assert isinstance(await client.receive(), Continue), step
            client.send(EndOfMessage(b""))
            outcome = await client.outcome()
        assert milter.mails == [b"Subject: hello\r\n\r\nx"]
        assert outcome.added[0] == ("X-Winnow-Decision", "spam")

    async def test_a_mail_server_that_lets_us_change_nothing_gets_its_mail_back(
        self, milter: Running
    ):
        offered = Negotiate(6, ActionFlags.CHANGE_BODY, OFFERED.protocol_flags)
        async with milter.mail_server(offered) as client:
            outcome = await client.filtered([("X-Spam-Flag", b" YES")])
        assert (outcome.added, outcome.removed) == ([], [])


class TestWhatIsRead:
    async def test_the_message_is_what_the_sender_wrote(self, milter: Running):
        headers = [
            ("Received", b" from a\n\tby b"),
            ("Subject", b"no space"),
            ("X-Odd", b"\t tab, then \xe9\xff"),
            ("Received", b" again"),
            ("Empty", b""),
        ]
        async with milter.mail_server() as client:
            await client.filtered(headers, [b"one\r\n", b"\r\n.two\r\n"])
        assert milter.mails == [
            b"Received: from a\r\n\tby b\r\nSubject:no space\r\nX-Odd:\t tab, then \xe9\xff\r\n"
            b"Received: again\r\nEmpty:\r\n\r\none\r\n\r\n.two\r\n"
        ]

    async def test_the_end_may_bring_the_last_piece(self, milter: Running):
        async with milter.mail_server() as client:
            client.send(Header("Subject", b" x"), EndOfMessage(b"all of it"))
            await client.outcome()
        assert milter.mails == [b"Subject: x\r\n\r\nall of it"]

    async def test_its_message_id_is_the_key(self, milter: Running):
        async with milter.mail_server() as client:
            await client.filtered([("Message-Id", b" <1@x>")])
        assert [key for _, _, key in milter.asker.asked] == [b"<1@x>"]

    async def test_several_messages_of_a_connection_stay_apart(self, milter: Running):
        async with milter.mail_server() as client:
            for name in (b"1", b"2"):
                await client.filtered([("Subject", name)], [name])
        assert milter.mails == [b"Subject:1\r\n\r\n1", b"Subject:2\r\n\r\n2"]

    async def test_of_an_aborted_message_nothing_is_left(self, milter: Running):
        async with milter.mail_server() as client:
            client.send(Header("X-Spam-Flag", b" YES"), Body(b"gone"), Abort())
            outcome = await client.filtered([("Subject", b"2")])
        assert milter.mails == [b"Subject:2\r\n\r\n"]
        assert outcome.removed == []

    async def test_a_message_that_is_too_large_is_let_through(self, tmp_path: Path):
        async with running(tmp_path / "s", max_bytes=50_000) as milter:
            async with milter.mail_server() as client:
                outcome = await client.filtered(HEADERS, [b"x" * 65_000] * 20)
                assert outcome.added == []
                assert (await client.filtered(HEADERS)).added
            assert len(milter.mails) == 1

    async def test_macros_in_any_bytes_do_not_matter(self, milter: Running):
        async with milter.mail_server() as client:
            client.writer.write(b"\0\0\0\x09DM{x}\0\xe9\xff\0")
            client.send(Macro(ord("E"), {"i": "4XYZ"}))
            assert (await client.filtered(HEADERS)).added

    async def test_connections_do_not_wait_for_each_other(self, milter: Running):
        milter.asker.open.clear()
        async with milter.mail_server() as one, milter.mail_server() as other:
            waiting = [asyncio.create_task(each.filtered(HEADERS)) for each in (one, other)]
            for _ in waiting:
                await milter.asker.arrived.acquire()  # both are asked about, neither is answered
            milter.asker.open.set()
            assert all(outcome.added for outcome in await asyncio.gather(*waiting))


class TestWhatIsAnswered:
    async def test_spam_gets_its_headers_and_the_flag(self, milter: Running):
        async with milter.mail_server() as client:
            outcome = await client.filtered(HEADERS)
        assert outcome.added == [
            ("X-Winnow-Decision", " spam"),
            ("X-Winnow-Label", " spam"),
            ("X-Winnow-Confidence", " 0.9700"),
            ("X-Winnow-Model", " spam/4"),
            ("X-Winnow-Id", " in/0/7"),
            ("X-Spam-Flag", " YES"),
        ]
        assert not outcome.rejected
        assert not outcome.quarantined

    @pytest.mark.parametrize("decision", ["ham", "unsure"])
    async def test_other_mail_gets_no_flag(self, decision: str, tmp_path: Path):
        async with (
            running(tmp_path / "s", labelled(decision, label="spam")) as milter,
            milter.mail_server() as client,
        ):
            added = dict((await client.filtered(HEADERS)).added)
        assert added["X-Winnow-Decision"] == f" {decision}"
        assert "X-Spam-Flag" not in added

    async def test_headers_of_ours_from_outside_are_removed_each_last_one_first(
        self, milter: Running
    ):
        forged = [("X-Spam-Flag", b" NO"), ("x-winnow-decision ", b" ham"), ("X-SPAM-FLAG", b"")]
        async with milter.mail_server() as client:
            outcome = await client.filtered([*forged, *HEADERS, ("X-Winnow-Other", b"1")])
        assert outcome.removed == [
            ("x-spam-flag", 2),
            ("x-spam-flag", 1),
            ("x-winnow-decision", 1),
            ("x-winnow-other", 1),
        ]

    async def test_a_name_without_end_does_not_keep_a_mail_from_its_label(self, milter: Running):
        names = ["X-Winnow-" + "x" * 60_000, "X-Winnow-" + "x" * 191]
        async with milter.mail_server() as client:
            outcome = await client.filtered([(name, b" 1") for name in names])
        assert outcome.removed == [(names[1].lower(), 1)]
        assert outcome.added

    async def test_a_flood_of_them_is_removed_up_to_a_bound(self, milter: Running):
        async with milter.mail_server() as client:
            outcome = await client.filtered([("X-Spam-Flag", b"")] * (MAX_REMOVED + 5))
        assert len(outcome.removed) == MAX_REMOVED

    @pytest.mark.parametrize("reason", ["late", "broker", "dead_letter", "failed"])
    async def test_without_a_label_they_are_removed_all_the_same(self, reason: str, tmp_path: Path):
        async with (
            running(tmp_path / "s", NoLabel(reason), reject_at=0.5) as milter,
            milter.mail_server() as client,
        ):
            outcome = await client.filtered([*HEADERS, ("X-Winnow-Id", b" 1")])
        assert (outcome.added, outcome.removed) == ([], [("x-winnow-id", 1)])
        assert not outcome.rejected

    async def test_names_from_a_model_card_cannot_make_headers(self, tmp_path: Path):
        evil = "spam\r\nX-Evil: yes\0é" + "x" * 500
        model = ModelVersion(name=evil, version="1", digest="d")
        async with (
            running(tmp_path / "s", labelled(evil, model=model, id=evil)) as milter,
            milter.mail_server() as client,
        ):
            outcome = await client.filtered(HEADERS)
        assert [name for name, _ in outcome.added if not name.startswith("X-Winnow-")] == []
        for _, value in outcome.added:
            assert value.isascii()
            assert value.isprintable()
            assert len(value) <= 201

    async def test_headers_can_be_turned_off(self, tmp_path: Path):
        async with (
            running(tmp_path / "s", headers=False) as milter,
            milter.mail_server() as client,
        ):
            outcome = await client.filtered([("X-Spam-Flag", b" NO")])
        assert (outcome.added, outcome.removed) == ([], [("x-spam-flag", 1)])

    @pytest.mark.parametrize(
        ("decision", "confidence", "rejected"),
        [("spam", 0.96, True), ("spam", 0.94, False), ("ham", 0.99, False)],
    )
    async def test_spam_is_rejected_from_a_confidence_on(
        self, decision: str, confidence: float, rejected: bool, tmp_path: Path
    ):
        async with (
            running(tmp_path / "s", labelled(decision, confidence), reject_at=0.95) as milter,
            milter.mail_server() as client,
        ):
            assert (await client.filtered(HEADERS)).rejected == rejected

    @pytest.mark.parametrize(("confidence", "held"), [(0.96, True), (0.94, False)])
    async def test_spam_is_quarantined_from_a_confidence_on(
        self, confidence: float, held: bool, tmp_path: Path
    ):
        answer = labelled("spam", confidence)
        async with (
            running(tmp_path / "s", answer, quarantine_at=0.95) as milter,
            milter.mail_server() as client,
        ):
            outcome = await client.filtered(HEADERS)
        assert outcome.quarantined == held
        assert outcome.added


MALFORMED = {
    "a length of nothing": b"\0\0\0\0",
    "a length beyond all": (MAX_PACKET + 1).to_bytes(4) + b"B",
    "an unknown message": b"\0\0\0\x01?",
    "a header without its end": b"\0\0\0\x08LSubject",
    "a header with too much": b"\0\0\0\x08La\0b\0c\0d",
    "a name beyond ASCII": b"\0\0\0\x05L\xe9\0b\0",
    "no flags": b"\0\0\0\x03O\0\0",
    "an answer": b"\0\0\0\x01a",
}


class TestFaults:
    @pytest.mark.parametrize("packet", MALFORMED.values(), ids=list(MALFORMED))
    async def test_what_is_malformed_ends_its_connection_only(self, packet: bytes, milter: Running):
        async with milter.mail_server() as good, milter.mail_server() as bad:
            bad.writer.write(packet + b"\0" * 4)
            await bad.reader.read()  # to the end: it is closed, whatever it was told before
            assert (await good.filtered(HEADERS)).added

    @settings(max_examples=50, deadline=None)
    @given(data=st.binary(max_size=200))
    def test_no_bytes_whatever_stop_it(self, data: bytes, tmp_path_factory: pytest.TempPathFactory):
        async def survive() -> None:
            async with running(tmp_path_factory.mktemp("m") / "s") as milter:
                async with mail_server(milter.path) as client:
                    client.writer.write(data)
                    client.writer.write_eof()
                    await client.reader.read()
                async with milter.mail_server() as client:
                    assert (await client.filtered(HEADERS)).added

        asyncio.run(survive())

    async def test_a_mail_server_that_leaves_in_the_middle(self, milter: Running):
        milter.asker.open.clear()
        async with milter.mail_server() as client:
            client.send(*(Header(name, value) for name, value in HEADERS), EndOfMessage(b""))
            await milter.asker.arrived.acquire()
        milter.asker.open.set()
        async with milter.mail_server() as client:
            assert (await client.filtered(HEADERS)).added

    async def test_a_message_that_comes_byte_by_byte(self, milter: Running):
        packets = b"\0\0\0\x0cLSubject\0 x\0" + b"\0\0\0\x01E"
        async with milter.mail_server() as client:
            for byte in packets:
                client.writer.write(bytes([byte]))
                await client.writer.drain()
                await asyncio.sleep(0)
            assert (await client.outcome()).added
        assert milter.mails == [b"Subject: x\r\n\r\n"]

    async def test_a_connection_that_says_goodbye_is_closed(self, milter: Running):
        async with milter.mail_server() as client:
            client.send(Close())
            assert await client.reader.read() == b""

    async def test_when_it_stops_the_mails_that_wait_are_let_through(self, tmp_path: Path):
        async with running(tmp_path / "s") as milter:
            milter.asker.open.clear()
            async with milter.mail_server() as busy, milter.mail_server() as idle:
                busy.send(Header("X-Spam-Flag", b" YES"), EndOfMessage(b""))
                await milter.asker.arrived.acquire()
                milter.front.stop()
                outcome = await busy.outcome()
                await milter.milter.stop()
                assert await idle.reader.read() == b""
        assert (outcome.added, outcome.removed) == ([], [("x-spam-flag", 1)])
