"""What the demo shows: counts, rates and latency a route, and the last labels."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from stream_app.cli.demo.samples import Sample
from stream_app.cli.demo.traffic import Answer

LAST = 12
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
        """Answers a second, of late."""
        now = time.monotonic()
        late = [then for then in self.times if now - then < RATE_SECONDS]
        return len(late) / max(1.0, now - late[0]) if late else 0.0

    def latency(self, share: float) -> str:
        """The latency that `share` of the answers stayed within."""
        if not self.seconds:
            return "-"
        ordered = sorted(self.seconds)
        return f"{ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000:.0f} ms"


class Board:
    """All routes, and the last answers."""

    def __init__(self, models: dict[str, str]) -> None:
        self.tallies = {route: Tally(model) for route, model in models.items()}
        self._last: deque[Answer] = deque(maxlen=LAST)
        self.status = ""

    def sent(self, sample: Sample) -> None:
        """A sample went out."""
        self.tallies[sample.route].sent += 1

    def add(self, answer: Answer) -> None:
        """An answer came back."""
        self.tallies[answer.sample.route].add(answer)
        self._last.append(answer)

    def __rich__(self) -> Group:
        """The whole board, drawn again at each refresh."""
        return Group(self.summary(), self._latest(), Text(self.status, style="dim"))

    def summary(self) -> Table:
        """A line a route."""
        table = Table(title="Winnow", expand=False)
        for column in ("route", "model"):
            table.add_column(column)
        for column in ("sent", "labelled", "dead", "as expected", "labels/s", "p50", "p99"):
            table.add_column(column, justify="right")
        table.add_column("labels", overflow="fold")
        for route, tally in self.tallies.items():
            share = f"{tally.right / tally.labelled:.0%}" if tally.labelled else "-"
            table.add_row(
                route,
                tally.model,
                str(tally.sent),
                str(tally.labelled),
                str(tally.dead),
                share,
                f"{tally.rate():.1f}",
                tally.latency(0.50),
                tally.latency(0.99),
                " ".join(f"{label} {count}" for label, count in tally.labels.most_common()),
            )
        return table

    def _latest(self) -> Table:
        table = Table(title="last labels", expand=False)
        for column in ("route", "message", "label", "confidence", "expected"):
            table.add_column(column, no_wrap=True)
        for answer in self._last:
            table.add_row(*_cells(answer))
        return table


def line(answer: Answer) -> str:
    """An answer as plain text, where there is no terminal."""
    route, title, label, confidence, expected = (cell.plain for cell in _cells(answer))
    return f"{route:<8} {label:<9} {confidence:>6} {expected:<14} {title}"


def _cells(answer: Answer) -> Sequence[Text]:
    mark = ("✓ " if answer.right else "✗ ") + answer.sample.expected
    colour = "green" if answer.right else "red"
    if answer.label is None:
        return [Text(answer.sample.route), Text(answer.sample.title), Text(answer.note), Text(), Text(mark, colour)]
    return [
        Text(answer.sample.route),
        Text(answer.sample.title),
        Text(answer.label, "bold"),
        Text(f"{answer.confidence:.1%}" + (" unsure" if answer.note == "unsure" else "")),
        Text(mark, colour),
    ]
