"""What an app never labels, and what it labels twice: after a SIGKILL, and with a poison record."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from stream import Bench, feed
from streams.apps import App
from streams.speed import PATIENCE_SECONDS, Mail, place

from stream_app.core.headers import SOURCE

# half a pair of surrogates: bytes that the e-mail parser takes, and no tokenizer
POISON = b"Subject: hello\nContent-Type: text/plain; charset=utf-7\n\n+2AA-\n"
STARTS = 3  # of an app that crashes on a record: a supervisor would restart it for ever
SETTLED_SECONDS = 2  # without another label


@dataclass(frozen=True)
class Account:
    """What happened to the records of a topic."""

    lost: int  # the poison aside
    repeated: int  # labels beyond the first
    deaths: int  # processes that ended by themselves


def killed(bench: Bench, app: App, topic: str, mails: Sequence[Mail]) -> Account:
    """A SIGKILL after a third of the labels, and another process."""
    feed(bench, topic, [mail.raw for mail in mails], math.inf)
    with app.running(topic) as process:
        bench.labels(topic, len(mails) // 3, seconds=PATIENCE_SECONDS)
        process.kill()
    answers, deaths = _to_the_end(bench, app, topic, len(mails))
    return _account(answers, {place(topic, 0, n) for n in range(len(mails))}, deaths)


def poisoned(bench: Bench, app: App, topic: str, mails: Sequence[Mail]) -> Account:
    """A record in the middle that no tokenizer takes as it is."""
    half = len(mails) // 2
    raw = [mail.raw for mail in mails]
    feed(bench, topic, [*raw[:half], POISON, *raw[half:]], math.inf)
    answers, deaths = _to_the_end(bench, app, topic, len(mails) + 1)
    good = {place(topic, 0, n) for n in range(len(mails) + 1) if n != half}
    return _account(answers, good, deaths)


def _account(answers: Counter[str], good: set[str], deaths: int) -> Account:
    return Account(len(good - answers.keys()), answers.total() - len(answers), deaths)


def _to_the_end(bench: Bench, app: App, topic: str, count: int) -> tuple[Counter[str], int]:
    """Answers by id, once nothing is left to read, or the app ended too often or hangs."""
    until = time.monotonic() + PATIENCE_SECONDS
    answers: Counter[str] = Counter()
    for deaths in range(STARTS):
        with app.running(topic) as process:
            while process.poll() is None:
                read_all = _committed(bench, topic) >= count
                answers = _answers(bench, topic)
                if read_all or len(answers) == count or time.monotonic() > until:
                    return answers, deaths
    return answers, STARTS


def _answers(bench: Bench, topic: str) -> Counter[str]:
    records = bench.read(f"{topic}.labels", f"{topic}.dlq", idle=SETTLED_SECONDS)
    return Counter(_id(record) for record in records)


def _id(record: Any) -> str:
    if record.topic.endswith(".dlq"):
        return dict(record.headers)[SOURCE].decode()
    return str(json.loads(record.value)["id"])


def _committed(bench: Bench, group: str) -> int:
    """Records behind the group's offsets; 0 while the broker does not know the group."""
    admin = KafkaAdminClient(bootstrap_servers=bench.address)
    try:
        offsets = admin.list_group_offsets(group)
    except KafkaError:
        return 0
    finally:
        admin.close()
    places = offsets.get(group, offsets).values()
    return sum(max(0, getattr(at, "offset", at)) for at in places)
