"""What is new in a mailbox: fetched, delivered, and only then behind us."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any

from stream_app.core.errors import ImapError
from stream_app.core.headers import encoded
from stream_app.core.metrics import Metrics
from stream_app.core.settings import ImapSettings
from stream_app.imap.place import HEADER, Place
from stream_app.imap.session import Opened, Session
from stream_app.sources.delivery import Delivery, Item
from stream_app.sources.state import State

log = logging.getLogger(__name__)

SOURCE = "imap"  # in the metrics
SIZES = 500  # asked for at once
GROUP = 50  # mails fetched at once, at most
GROUP_BYTES = 4 * 1024 * 1024  # and their bytes, if they are several
TRIES = 5  # of a mail that the server cannot send, while it sends all others

OnThread = Callable[..., Awaitable[Any]]  # runs a session's method, and returns what it does


@dataclass(frozen=True, slots=True)
class Stands:
    """How far a mailbox is done: `uid` was the last mail, `day` is when that was."""

    uidvalidity: int
    uid: int
    day: str


class Taking:
    """From one mailbox, mails of at most `most` bytes."""

    def __init__(
        self,
        mailbox: str,
        settings: ImapSettings,
        most: int,
        state: State,
        delivery: Delivery,
        metrics: Metrics,
    ) -> None:
        self._mailbox = mailbox
        self._settings = settings
        self._most = most
        self._state = state
        self._delivery = delivery
        self._outcomes = metrics.ingested
        self._account = f"{settings.user}@{settings.host}"  # what was sent, from any mailbox
        self._place = f"{self._account}/{mailbox}"  # how far this one is done
        self._failures = Counter[int]()  # by UID, since everything was taken last

    async def begin(self, session: Session, opened: Opened, on_thread: OnThread) -> Stands:
        """Where to go on from, which is kept at once: from then on no mail is missed."""
        kept = self._state.place(self._place)
        if not kept:
            uid = 0 if self._settings.from_beginning else opened.uidnext - 1
        elif kept["uidvalidity"] == opened.uidvalidity:
            return Stands(**kept)
        else:
            uid = await on_thread(self._renumbered, session, opened, kept["day"])
        return self._keep(opened.uidvalidity, uid)

    async def take_new(self, session: Session, stands: Stands, on_thread: OnThread) -> Stands:
        """Deliver all that came after `stands`, a group at a time. Raises as session and delivery
        do; what was delivered until then is kept."""
        uids = await on_thread(session.uids, stands.uid + 1)
        for some in (uids[at : at + SIZES] for at in range(0, len(uids), SIZES)):
            sizes = await on_thread(session.sizes, some)
            fit = {uid: sizes[uid] for uid in sorted(sizes) if self._fits(uid, sizes[uid])}
            for group in _groups(fit, 1 if self._failures else GROUP):
                mails = await self._fetched(session, group, on_thread)
                await self._hand_over(mails, stands.uidvalidity, max(group))
            stands = self._keep(stands.uidvalidity, some[-1])
        self._failures.clear()
        return stands

    def _renumbered(self, session: Session, opened: Opened, day: str) -> int:
        """The server gave its mails new UIDs, as after a repair or a restore: we look again from
        where mail came since the last one we sent. What we know by its content does not go twice.
        """
        log.warning("%s was numbered anew by its server: mail since %s again", self._mailbox, day)
        before = date.fromisoformat(day) - timedelta(days=1)  # its days may begin earlier
        return min(session.uids(1, before), default=opened.uidnext) - 1

    def _fits(self, uid: int, size: int) -> bool:
        if self._failures[uid] >= TRIES:
            log.error("%s: the server cannot send UID %d: left out", self._mailbox, uid)
            self._count("unreadable")
            return False
        if size > self._most:
            log.warning("%s: UID %d has %d bytes: left out", self._mailbox, uid, size)
            self._count("too_large")
            return False
        return True

    async def _fetched(
        self, session: Session, group: Mapping[int, int], on_thread: OnThread
    ) -> Mapping[int, bytes]:
        """The mails of a group that are still there. One that fails is tried alone later."""
        try:
            found: Mapping[int, bytes] = await on_thread(session.messages, group, self._most)
        except ImapError:
            self._failures[min(group)] += 1
            raise
        return {uid: mail for uid, mail in found.items() if self._fits(uid, len(mail))}

    async def _hand_over(self, mails: Mapping[int, bytes], uidvalidity: int, last: int) -> None:
        """Deliver those that were not sent yet: a mail that somebody moved back comes again."""
        ids = {uid: sha256(mail).hexdigest() for uid, mail in mails.items()}
        unsent = self._state.unsent(self._account, list(ids.values()))
        new = {uid: mail for uid, mail in mails.items() if ids[uid] in unsent}
        self._count("known", len(mails) - len(new))

        def note(refused: list[Item]) -> None:
            for item in refused:
                log.warning("%s is too large for the topic: left out", item.name)
            self._state.record(self._account, {}, unsent)
            self._keep(uidvalidity, last)

        items = [self._item(uid, mail, uidvalidity) for uid, mail in new.items()]
        await self._delivery.settle(items, note)

    def _item(self, uid: int, mail: bytes, uidvalidity: int) -> Item:
        s = self._settings
        url = Place(s.account, self._mailbox, uidvalidity, uid).url
        name = f"UID {uid} of {self._mailbox}"
        return Item(name, mail, url.encode(), headers=encoded((HEADER, url)))

    def _keep(self, uidvalidity: int, uid: int) -> Stands:
        stands = Stands(uidvalidity, uid, datetime.now(UTC).date().isoformat())
        self._state.record(self._place, asdict(stands))
        return stands

    def _count(self, outcome: str, mails: int = 1) -> None:
        self._outcomes.labels(SOURCE, outcome).inc(mails)


def _groups(sizes: Mapping[int, int], most: int) -> Iterator[dict[int, int]]:
    """Parts of `sizes`, of at most `most` mails and no more than GROUP_BYTES unless it is one."""
    group: dict[int, int] = {}
    for uid, size in sizes.items():
        if group and (len(group) == most or sum(group.values()) + size > GROUP_BYTES):
            yield group
            group = {}
        group[uid] = size
    if group:
        yield group
