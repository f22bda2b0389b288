"""Liveness and readiness, as values that the web server shows.

Unhealthy means: restart me. There is lag, the broker answers, and nothing was acked for a while; or
one piece of work does not end.
Unready means: do not count on me now. Models are loading, no assignment yet, or the broker is away.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STUCK_SECONDS = 50.0  # with the time between two looks, unhealthy within a minute


class Health:
    """What is known about this process."""

    def __init__(
        self, stuck_seconds: float = STUCK_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stuck_seconds = stuck_seconds
        self._clock = clock
        self._progress: dict[str, float] = {}  # route -> when it last had no lag or moved on
        self._unready: dict[str, str] = {"worker": "starting"}
        self._works: dict[str, tuple[float, float]] = {}  # part -> since when, and what is slow

    def observe(self, route: str, lag: int, moved: bool) -> None:
        """An observation of one route: its lag in records, and whether its position moved."""
        if moved or lag <= 0 or route not in self._progress:
            self._progress[route] = self._clock()

    def forgive(self) -> None:
        """The broker is unreachable, so it is unknown whether we are stuck."""
        now = self._clock()
        self._progress = dict.fromkeys(self._progress, now)
        self._works = {part: (now, slow) for part, (_, slow) in self._works.items()}

    @contextmanager
    def at_work(self, part: str, slow_seconds: float = math.inf) -> Iterator[None]:
        """What `part` does in the block: slower than `slow_seconds` it is unready, and stuck where
        it does not end."""
        self._works[part] = (self._clock(), slow_seconds)
        try:
            yield
        finally:
            self._works.pop(part, None)

    def unready(self, part: str, why: str | None) -> None:
        """Say why `part` is not ready; None when it is."""
        if why is None:
            self._unready.pop(part, None)
        else:
            self._unready[part] = why

    def stuck(self) -> dict[str, str]:
        """Routes with lag and no progress for too long, and parts at one piece of work, each with
        a short description."""
        now, limit = self._clock(), self._stuck_seconds
        return {
            route: f"has lag, and nothing was acked for {now - since:.0f} s"
            for route, since in self._progress.items()
            if now - since > limit
        } | self._working(lambda seconds, _: seconds > limit)

    def not_ready(self) -> dict[str, str]:
        """Parts that are not ready, each with a short description."""
        return self._working(lambda seconds, slow: seconds > slow) | self._unready

    def _working(self, too_long: Callable[[float, float], bool]) -> dict[str, str]:
        now = self._clock()
        return {
            part: f"has been at one piece of work for {now - since:.0f} s"
            for part, (since, slow) in list(self._works.items())
            if too_long(now - since, slow)
        }
