"""People who move mail into Junk and out of it, and what the feedback topic has of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.integration.filters import Filter, running_filter
from tests.integration.harness import Stage
from tests.integration.process import PATIENCE
from tests.mail.mail_server import MailServer


class Desk:
    """A route with its feedback topic, and a filter that takes corrections for the mail server."""

    def __init__(self, stage: Stage, server: MailServer) -> None:
        self.stage = stage
        self.server = server
        self.feedback = f"{stage.name}.feedback"
        stage.sections |= {"feedback": {"topic": self.feedback}, "filter": server.settings}
        stage.create_topics(more=[self.feedback])

    @contextmanager
    def filter(self, listen: str = "") -> Iterator[Filter]:
        port = self.server.ports["http"]
        with running_filter(self.stage, listen, "--deadline=60s", port=port) as running:
            yield running

    def told(self, count: int) -> list[dict[str, Any]]:
        """The corrections, once there are so many; in the order of their making."""
        deadline = time.monotonic() + PATIENCE
        while len(found := self.stage.records(self.feedback)) < count:
            assert time.monotonic() < deadline, f"{len(found)} corrections of {count}"
        return sorted((json.loads(each.value) for each in found), key=lambda told: told["when"])


def move(server: MailServer, user: str, source: str, target: str) -> None:
    """Move a folder's only mail, as a mail program does."""
    with server.imap(user) as imap:
        imap.select(source)
        assert imap._simple_command("MOVE", "1", target)[0] == "OK"  # imaplib has none by that name
        assert imap.select(target)[1] == [b"1"]
