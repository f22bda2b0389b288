"""Liveness and readiness, as values that the web server shows.

Unhealthy means: restart me. There is lag, the broker answers, and nothing was acked for a while.
Unready means: do not count on me now. Models are loading, no assignment yet, or the broker is away.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STUCK_SECONDS = 50.0  # with the time between two looks, unhealthy within a minute


class Health:
    """What is known about this worker process."""

    def __init__(
        self, stuck_seconds: float = STUCK_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stuck_seconds = stuck_seconds
        self._clock = clock
        self._progress: dict[str, float] = {}  # route -> when it last had no lag or moved on
        self._unready: dict[str, str] = {"worker": "starting"}

    def observe(self, route: str, lag: int, moved: bool) -> None:
        """An observation of one route: its lag in records, and whether its position moved."""
        if moved or lag <= 0 or route not in self._progress:
            self._progress[route] = self._clock()

    def forgive(self) -> None:
        """The broker is unreachable, so it is unknown whether we are stuck."""
        self._progress = {route: self._clock() for route in self._progress}

    def unready(self, part: str, why: str | None) -> None:
        """Say why `part` is not ready; None when it is."""
        if why is None:
            self._unready.pop(part, None)
        else:
            self._unready[part] = why

    def stuck(self) -> dict[str, str]:
        """Routes with lag and no progress for too long, each with a short description."""
        now = self._clock()
        idle = {route: now - since for route, since in self._progress.items()}
        return {
            route: f"has lag, and nothing was acked for {seconds:.0f} s"
            for route, seconds in idle.items()
            if seconds > self._stuck_seconds
        }

    def not_ready(self) -> dict[str, str]:
        """Parts that are not ready, each with a short description."""
        return dict(self._unready)
