"""How a pass field's values are compared: a measure, its change, and what moved most.

Net sentiment is the share of `positive` decisions less that of `negative`, -1 to 1; a label whose
decision is `unsure` is in neither, but in the whole. For a route without these labels the measure
is the share of the records that have one label; where a record may have several, these shares add
up to more than one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stream_app.web.dashboard.history import LABEL, MORE

NET = "net"
POSITIVE, NEGATIVE = "positive", "negative"
POINTS = 15  # of a sparkline; each range has as many buckets or more
STEADY = 5  # average records that each period is given before what moved is ranked

Row = dict[str, Any]  # as the page is given it


@dataclass(slots=True)
class Tally:
    """Labelled records of a period: how many, how many have each label for sure, and how many
    labels there are beyond one a record."""

    n: int = 0
    sure: Counter[str] = field(default_factory=Counter)
    more: int = 0

    def add(self, kind: str, name: str, n: int, unsure: int) -> None:
        """Count in what the history has; what is no label does not count."""
        if kind == LABEL:
            self.n += n
            self.sure[name] += n - unsure
        elif kind == MORE:
            self.n -= n
            self.more += n

    def measure(self, which: str) -> float | None:
        """Net sentiment, or the share of a label; None without labels."""
        return self.total(which) / self.n if self.n else None

    def total(self, which: str) -> int:
        """The measure times the number of labels."""
        if which == NET:
            return self.sure[POSITIVE] - self.sure[NEGATIVE]
        return self.sure[which]


class Moving:
    """One value of a field: its labels in this period, at its points, and in the period before."""

    def __init__(self) -> None:
        self.period = Tally()
        self.before = Tally()
        self.points: Mapping[int, Tally] = defaultdict(Tally)

    def row(self, value: str, measure: str) -> Row:
        """What the page shows of it."""
        now, then = self.period.measure(measure), self.before.measure(measure)
        points = [self.points.get(number, Tally()) for number in range(POINTS)]
        return {
            "value": value,
            "n": self.period.n,
            "before": self.before.n,
            "measure": now,
            "change": None if now is None or then is None else now - then,
            "volumes": [point.n for point in points],
            "line": [point.measure(measure) for point in points],
        }

    def moved(self, measure: str, average: float) -> float:
        """How far the measure moved, with STEADY more records like the average in each period: a
        single one does not top the list."""
        now, then = (
            (tally.total(measure) + STEADY * average) / (tally.n + STEADY)
            for tally in (self.period, self.before)
        )
        return abs(now - then)


def moves(counts: Iterable[Any], buckets: range, measure: str) -> list[Row]:
    """The rows of all values, what moved most first.

    `counts` are (value, kind, name, bucket, n, unsure) of this period, whose buckets are given, and
    of the one before.
    """
    found: dict[str, Moving] = defaultdict(Moving)
    for value, kind, name, bucket, n, unsure in counts:
        if bucket < buckets.start:
            found[value].before.add(kind, name, n, unsure)
        else:
            found[value].period.add(kind, name, n, unsure)
            point = buckets.index(bucket) * POINTS // len(buckets)
            found[value].points[point].add(kind, name, n, unsure)
    tallies = [tally for each in found.values() for tally in (each.period, each.before)]
    n = sum(tally.n for tally in tallies)
    average = sum(tally.total(measure) for tally in tallies) / n if n else 0.0
    ranked = sorted(
        found.items(),
        key=lambda item: (-item[1].moved(measure, average), -item[1].period.n, item[0]),
    )
    return [each.row(value, measure) for value, each in ranked]
