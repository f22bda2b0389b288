"""A route made ready: its steps, its threads and its metrics, with everything passed in."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Thread
from typing import TypeVar

from stream_app.core.errors import EngineSick, RecordError
from stream_app.core.label_record import LabelRecord, cloud_event_headers, label_record
from stream_app.core.messages import Message, Prediction, Record
from stream_app.core.metrics import Metrics
from stream_app.core.route_settings import RouteSettings
from stream_app.pipeline.ack import AckTracker
from stream_app.pipeline.admit import InFlight
from stream_app.pipeline.batch import BatchLimits
from stream_app.pipeline.dead_letter import Outgoing, dead_letter
from stream_app.pipeline.models import Models
from stream_app.pipeline.parse import Parser
from stream_app.pipeline.publish import Publisher
from stream_app.pipeline.served import ServedModel
from stream_app.pipeline.shadow import Shadow
from stream_app.pipeline.work import Batch, Work, by_model, encode

log = logging.getLogger(__name__)

T = TypeVar("T")
# told of a route's works whose labels are confirmed; on the event loop, so it never waits
Observer = Callable[["Route", Sequence[Work]], None]
TOO_LARGE = "the output topic refuses this label: too large"
BATCHES_AT_ONCE = 2  # so that no core waits for the end of a batch
CLOSE_SECONDS = 5.0  # for a batch on the device to end


@dataclass(frozen=True, slots=True)
class Threads:
    """A route's own threads, so that a slow route delays only itself."""

    host: ThreadPoolExecutor  # parse and encode: one, so that order is kept
    device: ThreadPoolExecutor  # the engine, which makes one wait where it takes no two at once
    shadow: ThreadPoolExecutor  # the challenger, where it only compares


def new_threads(route: str) -> Threads:
    """A thread for the host's work, those for the device's, one for the comparison's."""
    return Threads(
        ThreadPoolExecutor(1, thread_name_prefix=f"{route}-host"),
        ThreadPoolExecutor(BATCHES_AT_ONCE, thread_name_prefix=f"{route}-device"),
        ThreadPoolExecutor(1, thread_name_prefix=f"{route}-shadow"),
    )


@dataclass(frozen=True, slots=True)
class Route:
    """The steps of one route. The agent calls them in order; each leaves its mark on the work."""

    settings: RouteSettings
    models: Models
    parser: Parser
    publisher: Publisher
    shadow: Shadow
    acks: AckTracker
    in_flight: InFlight
    metrics: Metrics
    threads: Threads
    observers: Sequence[Observer] = ()

    def limits(self) -> BatchLimits:
        """Of the next batch: its tokens depend on the model, and its records on the engine."""
        s, champion = self.settings, self.models.champion
        records = s.max_batch_records or champion.engine.batch_records
        return BatchLimits(champion.batch_tokens, records, s.max_batch_delay_seconds)

    def admit(self, record: Record) -> Work:
        """Take a record in: until dropped it counts as in flight, and keeps its model loaded."""
        self.in_flight.enter(record)
        return Work(record, self.models.begin(record))

    async def on_host(self, function: Callable[[Sequence[Work]], T], works: Sequence[Work]) -> T:
        """Run a step on the route's host thread, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.threads.host, function, works)

    async def on_device(self, function: Callable[[Batch], T], batch: Batch) -> T:
        """Run a step on the route's device thread, off the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads.device, function, batch)

    def parse(self, works: Sequence[Work]) -> None:
        """Raw bytes to messages, in place."""
        for work in works:
            started = time.monotonic()
            try:
                work.message = self.parser(work.record)
            except RecordError as error:
                work.error = error
            self._stage("parse", time.monotonic() - started)

    def encode(self, works: Sequence[Work]) -> None:
        """Messages to token ids, in place, each with its own model's encoder."""
        started = time.monotonic()
        parsed = [work for work in works if work.message is not None]
        for model, mine in by_model(parsed).items():
            encode(model, mine)
        now = time.monotonic()
        for work in works:
            work.lap(now)
            self._stage("encode", (now - started) / len(works))

    def classify(self, batch: Batch) -> Batch:
        """The batch, its token ids made predictions, in place. Raises EngineSick."""
        scorable, started = batch.scorable, time.monotonic()
        for work in scorable:
            self._stage("queue", started - work.since)
        computed = 0
        for model, works in by_model(scorable).items():
            self._score(model, works)
            computed += model.engine.computed_tokens([work.tokens for work in works])
        self._stage("inference", time.monotonic() - started)
        tokens, name = batch.tokens, self.settings.name
        self.metrics.batch_records.labels(name).observe(len(batch.works))
        self.metrics.batch_tokens.labels(name).observe(tokens)
        self.metrics.padding_ratio.labels(name).observe(1 - tokens / computed if computed else 0)
        return batch

    def _score(self, model: ServedModel, works: list[Work]) -> None:
        """Through the model; what one that is not the champion cannot label, the champion may."""
        if model is self.models.champion:
            model.classifier(works)
            return
        try:
            model.classifier(works)
            failed = [work for work in works if work.error is not None]
        except EngineSick as error:
            log.error("route %s: the challenger is withdrawn: %s", self.settings.name, error)
            self.models.withdraw(model)
            failed = works
        for work in failed:
            work.error, work.model = None, self.models.take_over(model)
        for champion, mine in by_model(failed).items():
            encode(champion, mine)
            champion.classifier([work for work in mine if work.error is None])

    async def publish(self, works: Sequence[Work]) -> bool:
        """Labels and dead letters to the broker, in delivery order; True once all are confirmed."""
        started = time.monotonic()
        outgoing = [self._outgoing(work) for work in works]
        confirmed = await self.publisher.publish(
            outgoing, lambda: any(self.acks.owns(work.record) for work in works)
        )
        self._stage("publish", time.monotonic() - started)
        return confirmed

    def ack(self, works: Sequence[Work]) -> None:
        """These works are confirmed: their offsets may be committed."""
        now = time.time()
        for work in works:
            self.acks.done(work.record)
            self._count(work, now)
        for observe in self.observers:
            observe(self, works)

    def drop(self, works: Sequence[Work]) -> None:
        """Give the room and the model of works back, whatever became of them."""
        for work in works:
            self.in_flight.leave(work.record)
            self.models.end(work.model)

    def close(self) -> bool:
        """Let the threads end and give the models' memory back; False where a thread is stuck."""
        deadline = time.monotonic() + CLOSE_SECONDS
        pools = (self.threads.host, self.threads.device, self.threads.shadow)
        ends = [Thread(target=pool.shutdown, daemon=True) for pool in pools]
        for end in ends:
            end.start()
        for end in ends:
            end.join(max(0.0, deadline - time.monotonic()))
        if any(end.is_alive() for end in ends):
            return False
        for model in self.models.loaded():
            model.engine.close()
        return True

    def _outgoing(self, work: Work) -> Outgoing:
        record = work.record
        if work.error is not None or work.message is None or work.prediction is None:
            error = work.error or RecordError("internal", "no step gave this record a result")
            return self._dead_letter(work, error)
        label = self._label_record(work, work.message, work.prediction)
        return Outgoing(
            self.settings.output_topic,
            record,
            record.key,
            label.model_dump_json().encode(),
            cloud_event_headers(label, record.headers),
            fallback=lambda: self._dead_letter(work, RecordError("label_too_large", TOO_LARGE)),
        )

    def _label_record(self, work: Work, message: Message, prediction: Prediction) -> LabelRecord:
        return label_record(
            work.record,
            message,
            prediction,
            self.settings.name,
            work.model.version,
            datetime.now(UTC),
        )

    def _dead_letter(self, work: Work, error: RecordError) -> Outgoing:
        s, version = self.settings, work.model.version
        model = f"{version.name}/{version.version}"
        return dead_letter(work.record, error, s.dead_letter_topic, s.name, model)

    def _stage(self, stage: str, seconds: float) -> None:
        self.metrics.stage_seconds.labels(self.settings.name, stage).observe(seconds)

    def _count(self, work: Work, now: float) -> None:
        name, version, metrics = self.settings.name, work.model.version.version, self.metrics
        if work.error is not None:
            metrics.dead_lettered.labels(name, work.error.code).inc()
            return
        if work.prediction is not None:
            metrics.labelled.labels(name, version).inc()
            metrics.labels.labels(name, version, work.prediction.label).inc()
            if work.prediction.decision != work.prediction.label:
                metrics.unsure.labels(name, version).inc()
        if work.record.timestamp is not None:
            seconds = max(0.0, now - work.record.timestamp / 1000)
            metrics.end_to_end_seconds.labels(name).observe(seconds)
