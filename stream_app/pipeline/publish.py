"""Publish: works -> labels and dead letters, confirmed by the broker, in delivery order."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from stream_app.core.errors import RecordError
from stream_app.core.metrics import Metrics
from stream_app.core.settings import RouteSettings
from stream_app.pipeline.ack import AckTracker
from stream_app.pipeline.dead_letter import dead_letter
from stream_app.pipeline.outgoing import Outgoing, label_of
from stream_app.pipeline.publisher import Publisher
from stream_app.pipeline.work import Work

# gives works that were replayed from the dead letters their past, while they are wanted
Recall = Callable[[Sequence[Work], Callable[[], bool]], Awaitable[None]]

TOO_LARGE = "the output topic refuses this label: too large"


class Publish:
    """The step. Runs on the event loop."""

    def __init__(
        self,
        settings: RouteSettings,
        publisher: Publisher,
        acks: AckTracker,
        recall: Recall,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._publisher = publisher
        self._acks = acks
        self._recall = recall
        self._seconds = metrics.stage_seconds.labels(settings.name, "publish")

    async def __call__(self, works: Sequence[Work]) -> bool:
        """True once all are confirmed; False if their partitions were revoked meanwhile."""

        def wanted() -> bool:
            return any(self._acks.owns(work.record) for work in works)

        started = time.monotonic()
        await self._recall(works, wanted)
        outgoing = [self._outgoing(work) for work in works]
        confirmed = await self._publisher.publish(outgoing, wanted)
        self._seconds.observe(time.monotonic() - started)
        return confirmed

    def _outgoing(self, work: Work) -> Outgoing:
        if work.error is not None or work.message is None or work.prediction is None:
            error = work.error or RecordError("internal", "no step gave this record a result")
            return self._dead_letter(work, error)
        label = label_of(work, self._settings.name, self._settings.output_topic)
        too_large = RecordError("label_too_large", TOO_LARGE)
        return replace(label, fallback=lambda: self._dead_letter(work, too_large))

    def _dead_letter(self, work: Work, error: RecordError) -> Outgoing:
        s, version = self._settings, work.model.version
        model = f"{version.name}/{version.version}"
        topic, past = s.dead_letter_topic, work.past
        return dead_letter(work.record, error, topic, s.name, model, past, work.headers)
