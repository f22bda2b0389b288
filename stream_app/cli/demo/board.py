"""What the demo shows: counts, rates and latency a route, and the last labels."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stream_app.cli.demo.samples import Sample
from stream_app.cli.demo.traffic import Answer
from stream_app.core.messages import UNSURE

LAST = 50
KEPT = 1000  # latencies a route
RATE_SECONDS = 10.0


@dataclass(slots=True)
class Tally:
    """One route so far."""

    model: str
    sent: int = 0
    right: int = 0
    dead: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    times: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    @property
    def labelled(self) -> int:
        """How many have a label."""
        return self.labels.total()

    def add(self, answer: Answer) -> None:
        """Count an answer."""
        self.seconds.append(answer.seconds)
        self.times.append(time.monotonic())
        self.right += answer.right
        if answer.label is None:
            self.dead += 1
        else:
            self.labels[answer.label] += 1

    def rate(self) -> float:
        """Answers a second in the last RATE_SECONDS."""
        now = time.monotonic()
        late = [then for then in self.times if now - then < RATE_SECONDS]
        return len(late) / max(1.0, now - late[0]) if late else 0.0

    def latency(self, share: float) -> str:
        """The latency, in milliseconds, that `share` of the answers stayed within."""
        if not self.seconds:
            return ""
        ordered = sorted(self.seconds)
        return f"{ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000:.0f}"

    def said(self) -> str:
        """What the model said, and how often."""
        counts = ", ".join(f"{label} {count}" for label, count in self.labels.most_common())
        return f" {self.model}: {counts}"


class Board:
    """All routes, and the last answers: a live table on a terminal, elsewhere a line an answer."""

    def __init__(self, models: Mapping[str, str], console: Console) -> None:
        self.tallies = {route: Tally(model) for route, model in models.items()}
        self._console = console
        self._started = time.monotonic()
        self._last: deque[Answer] = deque(maxlen=LAST)
        self._status = ""
        self._page = ""  # address of the dashboard

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it for the length of the block; what it says at the end stays on the screen."""
        if self._console.is_terminal:
            with Live(self, console=self._console, refresh_per_second=8):
                yield
            return
        try:
            yield
        finally:
            self._console.print(self._summary())

    def say(self, status: str) -> None:
        """What is going on."""
        self._status = f"{time.monotonic() - self._started:.1f} s: {status}"
        if not self._console.is_terminal:
            self._console.print(self._status, highlight=False)

    def open_at(self, page: str) -> None:
        """Where the dashboard is."""
        self._page = page
        if not self._console.is_terminal:
            self._console.print(f"open {page}", highlight=False)

    def sent(self, sample: Sample) -> None:
        """A sample went out."""
        self.tallies[sample.route].sent += 1

    def add(self, answer: Answer) -> None:
        """An answer came back."""
        if not self._last:
            self.say("the first label is here")
        self.tallies[answer.sample.route].add(answer)
        self._last.append(answer)
        if not self._console.is_terminal:
            self._console.print(_line(answer), highlight=False, markup=False)

    def __rich__(self) -> Group:
        """The whole board, drawn again at each refresh; it fits a terminal of 80 by 24."""
        room = max(3, self._console.height - 2 * len(self.tallies) - 10)
        latest = Table(box=None, expand=True)
        latest.add_column("route", no_wrap=True)
        latest.add_column("message", no_wrap=True, ratio=1)
        for column in ("label", "confidence", "expected"):
            latest.add_column(column, no_wrap=True)
        for answer in list(self._last)[-room:]:
            latest.add_row(*_cells(answer))
        page = Text.assemble("\nopen ", (self._page, "bold underline"), no_wrap=True)
        return Group(self._summary(), latest, page, Text(self._status, "dim", no_wrap=True))

    def _summary(self) -> Group:
        """Two lines a route: its counts, rate and latency; its labels."""
        table = Table(box=SIMPLE_HEAD)
        table.add_column("route")
        for column in ("sent", "labelled", "dead", "as expected", "labels/s", "p50 ms", "p99 ms"):
            table.add_column(column, justify="right")
        for route, tally in self.tallies.items():
            table.add_row(
                route,
                str(tally.sent),
                str(tally.labelled),
                str(tally.dead),
                f"{tally.right / tally.labelled:.0%}" if tally.labelled else "",
                f"{tally.rate():.1f}",
                tally.latency(0.50),
                tally.latency(0.99),
            )
        return Group(table, *(Text(tally.said(), no_wrap=True) for tally in self.tallies.values()))


def _line(answer: Answer) -> str:
    route, title, label, confidence, expected = (cell.plain for cell in _cells(answer))
    return f"{route:<8} {label:<9} {confidence:<13} {expected:<11} {title}"


def _cells(answer: Answer) -> tuple[Text, ...]:
    """Route, message, label, confidence and expected label of an answer."""
    confidence = f"{answer.confidence:.1%}" if answer.label else ""
    unsure = " unsure" if answer.decision == UNSURE else ""
    mark, colour = ("✓", "green") if answer.right else ("✗", "red")
    return (
        Text(answer.sample.route),
        Text(answer.sample.title),
        Text(answer.label or f"dead: {answer.error}", "bold"),
        Text(confidence + unsure),
        Text(f"{mark} {answer.sample.expected}", colour),
    )
