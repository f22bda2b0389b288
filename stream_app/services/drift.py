"""The drift monitor: windows of labelled texts, compared with the model's reference.

A window is a fair sample: where more records come than it holds, each has the same chance to be in
it (Vitter, "Random Sampling with a Reservoir", 1985, algorithm R). On the event loop a record costs
about a microsecond; the comparison runs beside it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence

from mode import Service

from stream_app.core.metrics import Metrics
from stream_app.core.settings import DriftSettings
from stream_app.model.drift_reference import Drift, Labelled
from stream_app.pipeline.work import Work
from stream_app.serving.models import Models


class Window:
    """A sample of one route's labels by one model."""

    def __init__(self, drift: Drift, settings: DriftSettings, now: float, chance: random.Random):
        self.drift = drift
        self.seen: list[Labelled] = []
        self._size = settings.window_records
        self._until = now + settings.window_seconds
        self._count = 0
        self._chance = chance

    def add(self, text: Labelled) -> None:
        """Count a text in."""
        self._count += 1
        if len(self.seen) < self._size:
            self.seen.append(text)
        elif (place := int(self._chance.random() * self._count)) < self._size:
            self.seen[place] = text

    def closes(self, now: float) -> bool:
        """Whether it has its records and its seconds."""
        return len(self.seen) >= self._size and now >= self._until


class DriftMonitor(Service):
    """Every route's windows, one after the other; a model without a reference is not watched."""

    def __init__(
        self,
        settings: DriftSettings,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._chance = random.Random()
        self._open: dict[str, Window] = {}  # by route
        self._closed: asyncio.Queue[tuple[str, Window]] = asyncio.Queue(1)

    def observe(self, route: str, models: Models, works: Sequence[Work]) -> None:
        """Take in what a route's champion labelled, confirmed. On the event loop; never waits."""
        champion = models.champion
        if champion.drift is None or not self._settings.window_records:
            return
        window = self._window(route, champion.drift)
        for work in works:
            made = work.prediction
            if work.model is champion and made is not None and made.scored:
                window.add(Labelled(work.tokens, made.labels, made.confidence))
        if window.closes(self._clock()) and not self._closed.full():
            self._closed.put_nowait((route, self._open.pop(route)))

    def _window(self, route: str, drift: Drift) -> Window:
        """The open window; a new champion begins a new one."""
        window = self._open.get(route)
        if window is None or window.drift is not drift:
            window = Window(drift, self._settings, self._clock(), self._chance)
            self._open[route] = window
        return window

    @Service.task
    async def _compare(self) -> None:
        while not self.should_stop:
            route, window = await self._closed.get()
            scores = await asyncio.to_thread(window.drift.scores, window.seen)
            for statistic, score in scores.items():
                self._metrics.drift_score.labels(route, statistic).set(score)
            self._metrics.drift_windows.labels(route).inc()
