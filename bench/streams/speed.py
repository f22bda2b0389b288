"""How fast an app labels what is waiting for it, and how late at half of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from stream import PARTITIONS, Bench, feed
from streams.apps import App, peak_mib

WARM_UP = 32  # mails
PATIENCE_SECONDS = 300  # with an app that starts, on a machine that may be busy


@dataclass(frozen=True)
class Mail:
    """A raw mail, and what the archive says it is."""

    raw: bytes
    label: str


@dataclass(frozen=True)
class Drain:
    """How fast one backlog was labelled."""

    rate: float  # mails/s
    right: float  # share of the labels that are the archive's
    mib: float  # peak


@dataclass(frozen=True)
class Paced:
    """How late labels are at a steady rate."""

    p99_ms: int  # from a mail's timestamp to its label's
    mib: float  # peak


class SilentError(Exception):
    """An app that labels nothing; the message has its last words."""


def drain(bench: Bench, app: App, topic: str, mails: Sequence[Mail], seconds: float) -> Drain:
    """A warm process gets all mails at once; counted is what it labels in so many seconds."""
    with app.running(topic) as process:
        warm_up(bench, app, topic, mails)
        feed(bench, topic, [mail.raw for mail in mails], math.inf)
        found = bench.labels(topic, len(mails), WARM_UP, seconds)
        mib = peak_mib(process)
    start = min(label["source"]["timestamp"] for _, label in found)
    in_time = [(ms, label) for ms, label in found if ms <= start + seconds * 1000] or found[:1]
    truth = {place(topic, WARM_UP, number): mail.label for number, mail in enumerate(mails)}
    right = sum(label["label"] == truth[label["id"]] for _, label in in_time)
    rate = len(in_time) / (in_time[-1][0] - start) * 1000
    return Drain(rate, right / len(in_time), mib)


def p99(
    bench: Bench, app: App, topic: str, mails: Sequence[Mail], rate: float, seconds: float
) -> Paced:
    """A warm process gets mails at a steady rate."""
    count = max(1, int(rate * seconds))
    with app.running(topic) as process:
        warm_up(bench, app, topic, mails)
        feed(bench, topic, [mail.raw for mail in islice(cycle(mails), count)], rate)
        found = bench.labels(topic, count, WARM_UP, PATIENCE_SECONDS)
        mib = peak_mib(process)
    late = sorted(ms - label["source"]["timestamp"] for ms, label in found)
    return Paced(late[int(len(late) * 0.99)], mib)


def warm_up(bench: Bench, app: App, topic: str, mails: Sequence[Mail]) -> None:
    """Until the process has labelled some mails. Raises SilentError where it does not."""
    feed(bench, topic, [mail.raw for mail in islice(cycle(mails), WARM_UP)], math.inf)
    if len(bench.labels(topic, WARM_UP, seconds=PATIENCE_SECONDS)) < WARM_UP:
        raise SilentError(f"{app.name} labels nothing:\n{app.last_words(topic)}")


def place(topic: str, before: int, number: int) -> str:
    """The id of a mail that was fed as the so many-th, behind `before` others."""
    return f"{topic}/{number % PARTITIONS}/{(before + number) // PARTITIONS}"
