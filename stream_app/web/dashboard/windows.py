"""The windows that the dashboard counts in: one length of bucket for each range of the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

MINUTE, HOUR, DAY = 60, 3600, 86_400
SLOTS_A_DECADE = 24  # of waiting times: neighbours are 10 % apart
LEAST_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Range:
    """How far back the page looks: `points` buckets of `step` seconds."""

    name: str
    step: int
    points: int

    def starts(self, now: int) -> range:
        """Where its buckets start; the last one is still being filled."""
        last = now - now % self.step
        return range(last - (self.points - 1) * self.step, last + 1, self.step)

    def before(self, now: int) -> range:
        """The same of the period before."""
        own = self.starts(now)
        return range(own.start - self.points * self.step, own.start, self.step)

    def oldest(self, now: int) -> int:
        """The oldest bucket that anybody asks for."""
        return self.before(now).start


RANGES: Mapping[str, Range] = {
    each.name: each
    for each in (
        Range("15m", 15, 60),
        Range("1h", MINUTE, 60),
        Range("6h", 5 * MINUTE, 72),
        Range("24h", 15 * MINUTE, 96),
        Range("7d", 2 * HOUR, 84),
        Range("30d", DAY, 30),
    )
}
BY_STEP: Mapping[int, Range] = {each.step: each for each in RANGES.values()}


def slot(seconds: float) -> int:
    """Which slot of a logarithmic histogram a waiting time falls into."""
    return round(math.log10(max(seconds, LEAST_SECONDS)) * SLOTS_A_DECADE)


def seconds_of(slot: int) -> float:
    """The middle of a slot."""
    return float(10 ** (slot / SLOTS_A_DECADE))


def percentile(slots: Mapping[int, int], share: float) -> float | None:
    """The seconds that `share` of the waits stayed within, to 5 %; None without any."""
    wanted, found = share * sum(slots.values()), 0
    for each in sorted(slots):
        found += slots[each]
        if found >= wanted:
            return seconds_of(each)
    return None
