"""Mail moved by decision in the mailboxes that it came from; a mail that is gone is left alone.

What was moved before is gone as well: so a label may come twice, as after a crash.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from stream_app.core.errors import ConfigError, ImapError, ImapRefused, SinkError
from stream_app.core.label_record import LabelRecord
from stream_app.core.metrics import Metrics
from stream_app.core.settings import ImapSettings
from stream_app.imap.account import Account
from stream_app.imap.place import place_of
from stream_app.imap.session import Session
from stream_app.sinks.follow import Received

log = logging.getLogger(__name__)

BATCH = 100
Moves = Mapping[tuple[str, int, str], set[int]]  # mailbox, UIDVALIDITY, where to -> UIDs


class MailMover:
    """An effect: see `follow.Effect`."""

    def __init__(self, settings: ImapSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._account = Account(settings)
        self._labels = metrics.imap_labels
        self._session: Session | None = None
        self._targets: dict[str, str] = {}  # decision -> mailbox

    def check(self) -> None:
        """Log in, and look for the mailboxes. Raises ImapRefused, ConfigError, SinkError."""
        try:
            session = self._ready()
            if not session.can_move:
                raise ImapRefused(
                    f"{self._settings.host} offers neither MOVE nor UIDPLUS: nothing can be moved "
                    "without touching other mail"
                )
            for mailbox in self._settings.mailboxes:
                session.open(mailbox, read_only=True)
            self._targets = {
                decision: self._found(session, wanted)
                for decision, wanted in self._settings.move.items()
            }
        except ImapRefused:
            raise
        except ImapError as error:
            self.close()
            raise SinkError(str(error)) from error

    def write(self, labels: Sequence[Received]) -> int:
        """Move what is still where it was. Raises SinkError."""
        moves, others = self._sorted(labels)
        try:
            for move, uids in moves.items():
                self._move(*move, uids)
        except (ImapError, ConfigError) as error:  # we have been in: a secret may be renewed
            self.close()
            raise SinkError(str(error)) from error
        for outcome, count in others.items():
            self._count(outcome, count)
        return 0

    def close(self) -> None:
        """Hang up."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _sorted(self, labels: Sequence[Received]) -> tuple[Moves, Mapping[str, int]]:
        """What to move, and what becomes of the other mail."""
        moves: defaultdict[tuple[str, int, str], set[int]] = defaultdict(set)
        others = Counter[str]()
        for label in labels:
            place = place_of(label.headers)
            target = target_of(label, self._targets)
            if place is None or place.account != self._settings.account:
                others["foreign"] += 1
            elif target in (None, place.mailbox) or place.mailbox not in self._settings.mailboxes:
                others["stays"] += 1
            else:
                moves[place.mailbox, place.uidvalidity, target].add(place.uid)
        return moves, others

    def _move(self, mailbox: str, uidvalidity: int, target: str, uids: set[int]) -> None:
        session = self._ready()
        opened = session.open(mailbox, read_only=False)
        there = session.untouched(sorted(uids)) if opened.uidvalidity == uidvalidity else []
        if there:
            session.move(there, target)
            log.info("%d of %s moved to %s", len(there), mailbox, target)
        self._count("moved", len(there))
        self._count("gone", len(uids) - len(there))

    def _ready(self) -> Session:
        """A session whose server answers: between two labels it may have hung up."""
        if self._session is None or not self._session.alive():
            self.close()
            self._session = self._account.session()
        return self._session

    def _found(self, session: Session, wanted: str) -> str:
        """The mailbox of that name, or of that special use. Raises ImapRefused."""
        found = session.special(wanted) if wanted.startswith("\\") else wanted
        if found is None or not session.exists(found):
            raise ImapRefused(
                f"{self._settings.host} has no mailbox {wanted}: name one that exists in imap.move"
            )
        return found

    def _count(self, outcome: str, labels: int = 1) -> None:
        self._labels.labels(outcome).inc(labels)


def target_of(label: LabelRecord, targets: Mapping[str, str]) -> str | None:
    """The mailbox of a label's decision; of several decisions of the highest that has one."""
    by_score = sorted(label.decisions, key=lambda name: -label.scores.get(name, 0.0))
    found = (targets.get(name) for name in (label.decision, *by_score))
    return next(filter(None, found), None)
