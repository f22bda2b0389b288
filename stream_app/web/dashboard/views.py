"""What the page shows, read from the history: a route, its pass fields, one value of a field.

Every answer is for one range (`windows.py`), and compares it with the period before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
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
        """The labels that the route has in the history, in order."""
        return self._named(route, LABEL)

    def fields(self, route: str) -> list[str]:
        """The pass fields that the route has in the history."""
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
        buckets, before = over.starts(now), over.before(now)
        wanted = (route, kind, value, over.step, before.start, buckets[-1])
        counted = _Counted(buckets)
        for row in self._rows(_OF_ONE, wanted):
            counted.add(*row)
        return {"step": over.step, **counted.shown()}

    def _named(self, route: str, kind: str) -> list[str]:
        rows = self._rows(
            "SELECT value FROM names WHERE route = ? AND kind = ? ORDER BY value", (route, kind)
        )
        return [value for (value,) in rows]

    def _rows(self, query: str, values: Sequence[object]) -> list[Any]:
        with self._lock:
            return self._db.execute(query, values).fetchall()


class _Counted:
    """Counts of one route or value: of each bucket, and labels of the period before as well."""

    def __init__(self, buckets: range) -> None:
        self._buckets = buckets
        self._period, self._before = Tally(), Tally()
        self._sure: dict[str, Counter[int]] = defaultdict(Counter)  # label -> bucket -> records
        self._unsure: Counter[int] = Counter()
        self._waits: dict[int, Counter[int]] = defaultdict(Counter)
        self._others: dict[str, Counter[str]] = defaultdict(Counter)

    def add(self, what: str, name: str, bucket: int, n: int, unsure: int) -> None:
        """Count a row in."""
        inside = bucket in self._buckets
        (self._period if inside else self._before).add(what, name, n, unsure)
        if not inside:
            return
        if what == LABEL:
            self._sure[name][bucket] += n - unsure
            self._unsure[bucket] += unsure
        elif what == MORE:
            self._unsure[bucket] -= unsure
        elif what == SECONDS:
            self._waits[bucket][int(name)] += n
        else:
            self._others[what][name] += n

    def shown(self) -> dict[str, Any]:
        """What the page shows of them."""
        all_waits = sum(self._waits.values(), Counter[int]())
        return {
            "times": list(self._buckets),
            "labels": {name: self._line(self._sure[name]) for name in sorted(self._sure)},
            "unsure": self._line(self._unsure),
            "several": self._period.more > 0,
            "total": self._period.n,
            "before": self._before.n,
            "total_unsure": self._unsure.total(),
            "measured": _measured(self._period),
            "measured_before": _measured(self._before),
            "dead": dict(self._others[DEAD].most_common()),
            "models": dict(self._others[MODEL].most_common()),
            "waits": {name: percentile(all_waits, share) for name, share in _PERCENTILES.items()},
            "waited": {
                name: [percentile(self._waits[bucket], share) for bucket in self._buckets]
                for name, share in _PERCENTILES.items()
            },
        }

    def _line(self, counts: Mapping[int, int]) -> list[int]:
        return [counts.get(bucket, 0) for bucket in self._buckets]


_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def _measured(tally: Tally) -> dict[str, float | None]:
    """By each label, and net."""
    return {which: tally.measure(which) for which in (NET, *tally.sure)}
