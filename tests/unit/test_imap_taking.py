"""What is taken from a mailbox: each mail once, behind its delivery; none holds up another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from stream_app.core.errors import ImapError
from stream_app.core.metrics import Metrics
from stream_app.core.settings import ImapSettings
from stream_app.imap.place import HEADER
from stream_app.imap.session import Opened
from stream_app.sources.delivery import Delivery, Item
from stream_app.sources.imap import taking as module
from stream_app.sources.imap.taking import TRIES, Stands, Taking
from stream_app.sources.state import State, opened_state

SETTINGS = ImapSettings(host="h", user="ann", from_beginning=True)
MOST = 100


class Mails:
    """A session with a mailbox of these mails, by UID; `bad` ones cannot be fetched."""

    def __init__(self, *mails: bytes, bad: Sequence[int] = ()) -> None:
        self.mails = dict(enumerate(mails, 1))
        self.bad = bad
        self.said: dict[int, int] = {}  # sizes that are not true
        self.asked: list[list[int]] = []
        self.since: date | None = None

    def uids(self, first: int, since: date | None = None) -> list[int]:
        self.since = since or self.since
        return [uid for uid in self.mails if uid >= first]

    def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        there = [uid for uid in uids if uid in self.mails]
        return {uid: self.said.get(uid, len(self.mails[uid])) for uid in there}

    def messages(self, sizes: dict[int, int], most: int) -> dict[int, bytes]:
        uids = list(sizes)
        self.asked.append(uids)
        if set(uids) & set(self.bad):
            raise ImapError("it hung up")
        return {uid: self.mails[uid][: most + 1] for uid in uids if uid in self.mails}


class Topic(Delivery):
    """Takes what is delivered, once `open`."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Event()

    async def deliver(self, items: Sequence[Item]) -> list[Item]:
        self.asked.set()
        await self.open.wait()
        self.items += items
        return []

    @property
    def values(self) -> list[bytes]:
        return [item.value for item in self.items]


async def here(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with opened_state(tmp_path / "imap.db") as state:
        yield state


class Taker:
    """The code under test, with what it talks to."""

    def __init__(self, state: State, session: Mails, mailbox: str = "INBOX") -> None:
        self.session: Any = session
        self.topic: Any = Topic()
        self.metrics = Metrics()
        self.taking = Taking(mailbox, SETTINGS, MOST, state, self.topic, self.metrics)

    async def run(self, uidvalidity: int = 7) -> Stands:
        """One connection's life."""
        opened = Opened(uidvalidity, max(self.session.mails) + 1)
        stands = await self.taking.begin(self.session, opened, here)
        return await self.taking.take_new(self.session, stands, here)

    def counted(self, outcome: str) -> float:
        return self.metrics.ingested.labels("imap", outcome)._value.get()


async def test_a_mail_that_cannot_be_fetched_holds_up_no_other(state: State):
    taker = Taker(state, Mails(b"one", b"two", b"three", bad=[2]))
    for _ in range(TRIES + 1):  # the first with its neighbours
        with pytest.raises(ImapError):
            await taker.run()
    assert taker.topic.values == [b"one"]
    assert (await taker.run()).uid == 3
    assert taker.topic.values == [b"one", b"three"]
    assert taker.counted("put_aside") == 1


async def put_aside(state: State, *mails: bytes) -> Taker:
    """Of these mails the second cannot be fetched, and all others are delivered."""
    taker = Taker(state, Mails(*mails, bad=[2]))
    for _ in range(TRIES + 1):
        with pytest.raises(ImapError):
            await taker.run()
    await taker.run()
    return taker


async def test_a_mail_that_was_put_aside_is_taken_once_the_line_is_well(
    state: State, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "ASIDE_SECONDS", (0.0, 0.0))
    mails = b"one", b"two", b"three"
    with pytest.raises(ImapError):  # it is due at once, and the line is still bad
        await put_aside(state, *mails)
    taker = Taker(state, Mails(*mails))  # another process: the first was killed
    assert await taker.run() == await taker.run()
    assert taker.topic.values == [b"two"]


async def test_a_mail_that_was_put_aside_waits_for_its_time(state: State):
    taker = await put_aside(state, b"one", b"two", b"three")
    asked = len(taker.session.asked)
    assert list((await taker.run()).aside) == [2]
    assert len(taker.session.asked) == asked


async def test_a_mail_that_was_put_aside_and_is_gone_is_forgotten(state: State):
    await put_aside(state, b"one", b"two", b"three")
    taker = Taker(state, Mails(b"one", b"two", b"three"))
    del taker.session.mails[2]
    assert list((await taker.run()).aside) == []


async def test_a_mailbox_numbered_anew_has_what_was_put_aside_in_the_old_numbers(state: State):
    await put_aside(state, b"one", b"two", b"three")
    session = Mails(b"one", b"two", b"three")
    session.mails = {11: b"one", 12: b"two", 13: b"three"}
    taker = Taker(state, session)
    await taker.run(uidvalidity=8)
    assert taker.topic.values == [b"two"]
    assert session.since == date(1970, 1, 1)  # of a backlog no day is done yet


async def test_what_is_larger_than_a_record_is_left_out_whatever_the_server_says(state: State):
    session = Mails(b"one", b"x" * 1000, b"y" * 500, b"four")
    session.said = {3: 10}
    taker = Taker(state, session)
    assert (await taker.run()).uid == 4
    assert taker.topic.values == [b"one", b"four"]
    assert taker.counted("too_large") == 2
    assert session.asked == [[1, 3, 4]]  # the second was not even asked for


async def test_told_to_stop_it_keeps_what_is_being_delivered(state: State):
    taker = Taker(state, Mails(b"one", b"two"))
    taker.topic.open.clear()
    running = asyncio.create_task(taker.run())
    await taker.topic.asked.wait()
    running.cancel()
    asyncio.get_running_loop().call_soon(taker.topic.open.set)
    with pytest.raises(asyncio.CancelledError):
        await running
    await taker.run()
    assert taker.topic.values == [b"one", b"two"]


async def test_mailbox_numbered_anew(state: State):
    """What was sent is known by its content; what came meanwhile is sent."""
    session = Mails(b"one", b"two")
    taker = Taker(state, session)
    await taker.run()
    session.mails = {11: b"two", 12: b"one", 13: b"three"}
    stands = await taker.run(uidvalidity=8)
    assert (stands.uidvalidity, stands.uid) == (8, 13)
    assert taker.topic.values == [b"one", b"two", b"three"]
    assert taker.counted("known") == 2
    url = b"imap://ann@h/INBOX;UIDVALIDITY=8/;UID=13"
    assert taker.topic.items[-1].headers == ((HEADER, url),)


async def test_a_mail_moved_to_another_mailbox_is_known(state: State):
    await Taker(state, Mails(b"one")).run()
    other = Taker(state, Mails(b"one", b"two"), "Work")
    await other.run()
    assert other.topic.values == [b"two"]
