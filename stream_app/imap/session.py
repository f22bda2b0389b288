"""A session with an IMAP server: what a source and a sink ask, each answer bounded and checked.

A session is used on one thread at a time, and is of no use after an ImapError.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

from stream_app.core.errors import ImapError, ImapRefused
from stream_app.core.settings import ImapSettings
from stream_app.imap.connection import ANSWER_BYTES, ANSWER_SECONDS, Client, Connection
from stream_app.imap.login import logged_in, told

BYTES_PER_SECOND = 32 * 1024  # a slower server is given up
# nobody wants mail moved that he has dealt with
UNTOUCHED = ("UNDELETED", "UNANSWERED", "UNFLAGGED", "UNKEYWORD", "$NotJunk")
_MAX_NUMBER = 2**32 - 1  # of a UID, and of a UIDVALIDITY


@dataclass(frozen=True, slots=True)
class Opened:
    """A mailbox as it was found: its UIDs mean something as long as `uidvalidity` stays."""

    uidvalidity: int
    uidnext: int


class Session:
    """Logged in from the beginning. Every method raises ImapError."""

    def __init__(self, settings: ImapSettings, secret: str) -> None:
        """Connect. Raises as `logged_in` does."""
        self._where = settings.host
        self._client: Client = logged_in(settings, secret)
        self._connection: Connection = self._client.connection

    @property
    def _told(self) -> dict[str, Any]:
        """What the server said without being asked; imaplib keeps it."""
        return self._connection.untagged_responses

    def hang_up(self) -> None:
        """From any thread: who waits for an answer gets an ImapError. Then it must be closed."""
        with suppress(OSError):
            self._connection.hang_up()

    def close(self) -> None:
        """Let go of the connection."""
        self.hang_up()
        with suppress(OSError):
            self._client.shutdown()

    def open(self, mailbox: str, read_only: bool) -> Opened:
        """Make a mailbox the one that all else is about. Raises ImapRefused if it is not there."""
        with self._asking():
            if not self._client.folder_exists(mailbox):
                raise ImapRefused(f"{self._where} has no mailbox {mailbox!r}: check [imap]")
            told_us = self._client.select_folder(mailbox, readonly=read_only)
            uidvalidity = _number(told_us[b"UIDVALIDITY"])
            uidnext = told_us.get(b"UIDNEXT")
        if uidnext is None:
            uidnext = max(self.uids(1), default=0) + 1
        return Opened(uidvalidity, _number(uidnext))

    def uids(self, first: int, since: date | None = None) -> list[int]:
        """Those from `first` on, ascending; of mail that came on the day `since` or later."""
        self._told.clear()
        with self._asking():
            asked = ["UID", f"{first}:*", *(("SINCE", since) if since else ())]
            found = self._client.search(asked)
        return sorted(uid for uid in set(found) if uid >= first)  # `*` is always one

    def untouched(self, uids: Sequence[int]) -> list[int]:
        """Those that are still there, and that nobody has answered, flagged or deleted."""
        with self._asking():
            return sorted(set(self._client.search(["UID", _set(uids), *UNTOUCHED])) & set(uids))

    def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        """The size of each in bytes, as the server says; those that are gone are left out."""
        with self._asking():
            found = self._client.fetch(uids, ["RFC822.SIZE"])
            return {uid: int(each[b"RFC822.SIZE"]) for uid, each in found.items()}

    def messages(self, sizes: Mapping[int, int], most: int) -> dict[int, bytes]:
        """Mails of these sizes by UID, each as it is, and still unseen. Of one that is longer than
        `most` bytes, whatever the server said, one byte more."""
        about = min(2 * sum(sizes.values()), len(sizes) * most)
        part = f"BODY.PEEK[]<0.{most + 1}>"
        with self._asking(about + ANSWER_BYTES, ANSWER_SECONDS + about / BYTES_PER_SECOND):
            found = self._client.fetch(list(sizes), [part])
            return {uid: bytes(each[b"BODY[]<0>"]) for uid, each in found.items()}

    @property
    def can_idle(self) -> bool:
        """Whether the server says by itself that something has changed."""
        return self._offers("IDLE")

    def idle(self) -> None:
        """Let the server speak. Until `done` only `fileno` and `has_news` may be asked."""
        with self._asking():
            self._client.idle()

    def done(self) -> None:
        """Whatever it had to say."""
        with self._asking():
            self._client.idle_done()

    def fileno(self) -> int:
        """To wait by for something the server sends."""
        return int(self._connection.sock.fileno())

    @property
    def has_news(self) -> bool:
        """Whether something came since `uids` was asked that no look at `fileno` would show: who
        was told of new mail beside another answer is not told again."""
        return self._connection.has_more or "EXISTS" in self._told

    def alive(self) -> bool:
        """Whether the server still answers."""
        try:
            with self._asking(seconds=10):
                self._client.noop()
        except ImapError:
            return False
        return True

    def special(self, use: str) -> str | None:
        r"""The mailbox for a special use such as `\Junk` (RFC 6154), if there is one."""
        with self._asking():
            found = self._client.find_special_folder(use.encode())
        return None if found is None else str(found)

    def exists(self, mailbox: str) -> bool:
        """Whether there is such a mailbox."""
        with self._asking():
            return bool(self._client.folder_exists(mailbox))

    @property
    def can_move(self) -> bool:
        """Whether mail can be moved and nothing else be touched."""
        return self._offers("MOVE") or self._offers("UIDPLUS")

    def move(self, uids: Sequence[int], mailbox: str) -> None:
        """Move them; those that are gone meanwhile are passed over.

        Without MOVE (RFC 6851) they are copied, then marked as deleted, then they alone are removed
        (RFC 4315). What is interrupted in between is there twice, never gone.
        """
        with self._asking():
            if self._client.has_capability("MOVE"):
                self._client.move(uids, mailbox)
                return
            self._client.copy(uids, mailbox)
            self._client.delete_messages(uids, silent=True)
            self._client.uid_expunge(uids)

    def _offers(self, capability: str) -> bool:
        with self._asking():
            return bool(self._client.has_capability(capability))

    def _asking(self, most: int = ANSWER_BYTES, seconds: float = ANSWER_SECONDS) -> Any:
        self._connection.allow(most, seconds)
        return told(self._where)


def _number(found: Any) -> int:
    if not 0 < int(found) <= _MAX_NUMBER:
        raise ImapError("the server counts its mail by numbers that are none")
    return int(found)


def _set(uids: Iterable[int]) -> str:
    return ",".join(map(str, uids))
