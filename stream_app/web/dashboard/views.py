"""What the page shows, read from the history: a route, its pass fields, one value of a field.

Every answer is for one range (`windows.py`), and compares it with the period before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from stream_app.web.dashboard.history import (
    DEAD,
    FIELD,
    LABEL,
    MODEL,
    MORE,
    ROUTE,
    SECONDS,
    opened,
)
from stream_app.web.dashboard.measures import NEGATIVE, NET, POSITIVE, Row, Tally, moves
from stream_app.web.dashboard.windows import Range, percentile

_OF_ONE = """
SELECT what.kind, what.value, bucket, n, unsure
FROM names subject JOIN counts ON counts.subject = subject.id JOIN names what ON what.id = what
WHERE subject.route = ? AND subject.kind = ? AND subject.value = ?
  AND step = ? AND bucket BETWEEN ? AND ?
"""
_OF_ALL = """
SELECT subject.value, what.kind, what.value, bucket, n, unsure
FROM names subject JOIN counts ON counts.subject = subject.id JOIN names what ON what.id = what
WHERE subject.route = ? AND subject.kind = ? AND what.kind IN ('label', 'more')
  AND step = ? AND bucket BETWEEN ? AND ?
"""


class Views:
    """Questions to the history, one at a time, from any thread."""

    def __init__(self, file: Path) -> None:
        self._db = opened(file)
        self._db.execute("PRAGMA query_only = ON")
        self._lock = Lock()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def labels(self, route: str) -> list[str]:
        """The labels that the route has had of late, in order."""
        return self._named(route, LABEL)

    def fields(self, route: str) -> list[str]:
        """The pass fields that the route has had of late."""
        rows = self._rows(
            "SELECT DISTINCT kind FROM names WHERE route = ? AND kind GLOB ? ORDER BY kind",
            (route, FIELD + "*"),
        )
        return [kind.removeprefix(FIELD) for (kind,) in rows]

    def measures(self, route: str) -> list[str]:
        """What its labels can be measured by; the first one where nobody chose."""
        labels = self.labels(route)
        net = [NET] if {POSITIVE, NEGATIVE} & set(labels) else []
        return [*net, *reversed(labels)]

    def route(self, route: str, over: Range, now: int) -> dict[str, Any]:
        """A whole route: labels over time, waits, dead letters, models."""
        return self._one(route, ROUTE, route, over, now)

    def value(self, route: str, name: str, value: str, over: Range, now: int) -> dict[str, Any]:
        """The same of one value of a pass field, as far as it is known of one."""
        return self._one(route, FIELD + name, value, over, now)

    def by(self, route: str, name: str, over: Range, now: int, measure: str) -> list[Row]:
        """Every value of a pass field, what moved most first."""
        current, before = over.starts(now), over.before(now)
        rows = self._rows(_OF_ALL, (route, FIELD + name, over.step, before.start, current[-1]))
        return moves(rows, current, measure)

    def _one(self, route: str, kind: str, value: str, over: Range, now: int) -> dict[str, Any]:
        current, before = over.starts(now), over.before(now)
        period, earlier = Tally(), Tally()
        series: dict[str, dict[int, int]] = defaultdict(Counter)
        unsure_at: Counter[int] = Counter()
        others: dict[str, Counter[str]] = defaultdict(Counter)
        waits: dict[int, Counter[int]] = defaultdict(Counter)
        wanted = (route, kind, value, over.step, before.start, current[-1])
        for what, name, bucket, n, unsure in self._rows(_OF_ONE, wanted):
            (period if bucket in current else earlier).add(what, name, n, unsure)
            if bucket not in current:
                continue
            if what == LABEL:
                series[name][bucket] += n - unsure
                unsure_at[bucket] += unsure
            elif what == MORE:
                unsure_at[bucket] -= unsure
            elif what == SECONDS:
                waits[bucket][int(name)] += n
            else:
                others[what][name] += n
        all_waits = sum(waits.values(), Counter[int]())
        return {
            "times": list(current),
            "step": over.step,
            "labels": {name: _line(series[name], current) for name in sorted(series)},
            "unsure": _line(unsure_at, current),
            "several": period.more > 0,
            "total": period.n,
            "before": earlier.n,
            "total_unsure": unsure_at.total(),
            "measured": {NET: period.measure(NET), **_shares(period)},
            "measured_before": {NET: earlier.measure(NET), **_shares(earlier)},
            "dead": dict(others[DEAD].most_common()),
            "models": dict(others[MODEL].most_common()),
            "waits": {name: percentile(all_waits, share) for name, share in _PERCENTILES.items()},
            "waited": {
                name: [percentile(waits[bucket], share) for bucket in current]
                for name, share in _PERCENTILES.items()
            },
        }

    def _named(self, route: str, kind: str) -> list[str]:
        rows = self._rows(
            "SELECT value FROM names WHERE route = ? AND kind = ? ORDER BY value", (route, kind)
        )
        return [value for (value,) in rows]

    def _rows(self, query: str, values: Sequence[object]) -> list[Any]:
        with self._lock:
            return self._db.execute(query, values).fetchall()


_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def _line(counts: Mapping[int, int], buckets: Iterable[int]) -> list[int]:
    return [counts.get(bucket, 0) for bucket in buckets]


def _shares(tally: Tally) -> dict[str, float | None]:
    return {label: tally.measure(label) for label in tally.sure}
