"""What `winnow ingest imap` does: every mailbox of the account at once, each on a connection."""

from __future__ import annotations

from asyncio import TaskGroup

from stream_app.core.errors import cause_of
from stream_app.core.health import Health
from stream_app.core.metrics import Metrics
from stream_app.core.settings import RouteSettings, Settings
from stream_app.imap.account import Account
from stream_app.sources.delivery import Delivery
from stream_app.sources.imap.mailbox import Mailbox
from stream_app.sources.imap.taking import SOURCE, Taking
from stream_app.sources.process import run_source
from stream_app.sources.state import opened_state


async def ingest_imap(settings: Settings, route: RouteSettings) -> None:
    """Until SIGTERM or SIGINT. Raises ConfigError, ImapRefused, BrokerError."""
    imap, most = settings.imap, route.max_record_bytes
    account = Account(imap)

    async def work(delivery: Delivery, metrics: Metrics, health: Health) -> None:
        with opened_state(imap.state) as state:
            state.forget()
            mailboxes = [
                Mailbox(
                    name,
                    account,
                    imap.poll_seconds,
                    Taking(name, imap, most, state, delivery, metrics),
                    metrics,
                    health,
                )
                for name in imap.mailboxes
            ]
            await delivery.connect()
            try:
                async with TaskGroup() as tasks:
                    for mailbox in mailboxes:
                        tasks.create_task(mailbox.follow())
            except BaseExceptionGroup as group:
                raise cause_of(group) from None

    await run_source(SOURCE, settings.kafka, route.input_topic, imap.http, work)
