"""What is new in a mailbox: fetched, delivered, and only then behind us.

A mail that cannot be fetched may be a bad one, or the line is: nobody can tell. After a few
attempts it is put aside, so that it holds up no other, and tried again as long as it is there.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any

from stream_app.core.backoff import Backoff
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
TRIES = 5  # before a mail is put aside
ASIDE_SECONDS = 60.0, 3600.0  # until it is tried again: at first, at the longest

_BEFORE_ALL = "1970-01-02"

OnThread = Callable[..., Awaitable[Any]]  # runs a session's method, and returns what it does


@dataclass(frozen=True, slots=True)
class Stands:
    """How far a mailbox is done: up to `uid`, but for those put aside. Of what came before `day`
    nothing is left to do."""

    uidvalidity: int
    uid: int
    day: str
    aside: Sequence[int] = ()


@dataclass
class _Aside:
    """A mail that could not be fetched."""

    due: float = 0.0  # when to try it again, on the monotonic clock
    backoff: Backoff = field(default_factory=lambda: Backoff(*ASIDE_SECONDS))

    def failed(self) -> None:
        self.due = time.monotonic() + self.backoff.failed()


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
        self._aside: dict[int, _Aside] = {}  # by UID
        self._day = _BEFORE_ALL

    async def begin(self, session: Session, opened: Opened, on_thread: OnThread) -> Stands:
        """Where to go on from, which is kept at once: from then on no mail is missed."""
        kept = self._state.place(self._place)
        if not kept:
            uid = 0 if self._settings.from_beginning else opened.uidnext - 1
            self._day = _BEFORE_ALL if self._settings.from_beginning else _today()
            return self._keep(opened.uidvalidity, uid)
        self._day = kept["day"]
        if kept["uidvalidity"] == opened.uidvalidity:
            stands = Stands(**kept)
            self._aside = {uid: self._aside.get(uid, _Aside()) for uid in stands.aside}
            return stands
        self._aside.clear()
        uid = await on_thread(self._renumbered, session, opened, self._day)
        return self._keep(opened.uidvalidity, uid)

    async def take_new(self, session: Session, stands: Stands, on_thread: OnThread) -> Stands:
        """Deliver all that came after `stands`, a group at a time. Raises as session and delivery
        do; what was delivered until then is kept."""
        day = _today()
        uids = await on_thread(session.uids, stands.uid + 1)
        for some in (uids[at : at + SIZES] for at in range(0, len(uids), SIZES)):
            sizes = await on_thread(session.sizes, some)
            wanted = (uid for uid in sorted(sizes) if not self._puts_aside(uid))
            fit = {uid: sizes[uid] for uid in wanted if self._fits(uid, sizes[uid])}
            for group in _groups(fit, 1 if self._failures else GROUP):
                mails = await self._fetched(session, group, on_thread)
                await self._hand_over(mails, stands.uidvalidity, max(group))
            stands = self._keep(stands.uidvalidity, some[-1])
        self._failures.clear()
        await self._try_again(session, stands, on_thread)
        self._day = self._day if self._aside else day
        return self._keep(stands.uidvalidity, stands.uid)

    def _renumbered(self, session: Session, opened: Opened, day: str) -> int:
        """The server gave its mails new UIDs, as after a repair or a restore: we look again at what
        came since everything was taken last. What we know by its content does not go twice."""
        log.warning("%s was numbered anew by its server: mail since %s again", self._mailbox, day)
        before = date.fromisoformat(day) - timedelta(days=1)  # its days may begin earlier
        return min(session.uids(1, before), default=opened.uidnext) - 1

    def _puts_aside(self, uid: int) -> bool:
        """Whether it failed too often for now. It is kept with the mailbox's next stand."""
        if self._failures[uid] < TRIES:
            return False
        log.error("%s: UID %d cannot be fetched: put aside, tried again", self._mailbox, uid)
        self._count("put_aside")
        self._aside[uid] = _Aside()
        self._aside[uid].failed()
        return True

    async def _try_again(self, session: Session, stands: Stands, on_thread: OnThread) -> None:
        """Those put aside, each when it is due; one that is gone by now is forgotten."""
        now = time.monotonic()
        due = [uid for uid, aside in self._aside.items() if aside.due <= now]
        sizes = await on_thread(session.sizes, due) if due else {}
        for uid in due:
            aside = self._aside.pop(uid)
            found = {uid: sizes[uid]} if uid in sizes else {}
            try:
                mails = await on_thread(session.messages, found, self._most) if found else {}
            except ImapError:
                aside.failed()
                self._aside[uid] = aside
                raise
            fit = {uid: mail for uid, mail in mails.items() if self._fits(uid, len(mail))}
            await self._hand_over(fit, stands.uidvalidity, stands.uid)

    def _fits(self, uid: int, size: int) -> bool:
        if size > self._most:
            log.warning("%s: UID %d has %d bytes: left out", self._mailbox, uid, size)
            self._count("too_large")
            return False
        return True

    async def _fetched(
        self, session: Session, group: Mapping[int, int], on_thread: OnThread
    ) -> Mapping[int, bytes]:
        """The mails of a group that are still there. Once one fails, each is asked for alone."""
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
        stands = Stands(uidvalidity, uid, self._day, sorted(self._aside))
        self._state.record(self._place, asdict(stands))
        return stands

    def _count(self, outcome: str, mails: int = 1) -> None:
        self._outcomes.labels(SOURCE, outcome).inc(mails)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


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
