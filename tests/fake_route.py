"""A route with a fake engine, a tokenizer of words and a publisher that keeps what it is given."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from opentelemetry.trace import Tracer

from stream_app.agent import label_records
from stream_app.core.headers import REPLAY_OF
from stream_app.core.label_record import LabelRecord, ModelVersion
from stream_app.core.messages import Partition, Record
from stream_app.core.metrics import Metrics
from stream_app.core.settings import RouteSettings
from stream_app.engine.fake import FakeEngine
from stream_app.model.artifact import ModelCard
from stream_app.model.decision import for_route
from stream_app.model.encoder import Encoder
from stream_app.model.preparation import Preparation
from stream_app.pipeline.ack import AckTracker, Observer
from stream_app.pipeline.admit import InFlight
from stream_app.pipeline.outgoing import Outgoing
from stream_app.pipeline.publish import Publish
from stream_app.pipeline.route import Route, new_route
from stream_app.pipeline.spans import Spans
from stream_app.pipeline.threads import Threads
from stream_app.pipeline.work import Past, Work
from stream_app.services.shadow import Shadow
from stream_app.serving.classifier import Classifier
from stream_app.serving.models import Models
from stream_app.serving.served import ServedModel

CARD = ModelCard(name="m", version="7", labels=("ham", "spam"))
PARTITIONS = [Partition("in", number) for number in range(3)]


class Words:
    """A tokenizer: a token a word."""

    def __init__(self) -> None:
        self.threads: set[str] = set()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        self.threads.add(threading.current_thread().name)
        return [[len(word) for word in text.split()] for text in texts]


class Held:
    """Holds an engine up from its first batch until `release` is set."""

    def __init__(self) -> None:
        self._started, self.release = threading.Event(), threading.Event()

    def __call__(self, batch: Sequence[Sequence[int]]) -> None:
        self._started.set()
        self.release.wait(60)

    async def started(self) -> None:
        await asyncio.to_thread(self._started.wait, 60)

    async def revoke(self, acks: AckTracker) -> None:
        """Take the partitions away in the midst of a batch."""
        await self.started()
        acks.freeze()
        acks.forget()
        self.release.set()


class Outbox:
    """A publisher that keeps what it is given, and can be held up."""

    def __init__(self) -> None:
        self.out: list[Outgoing] = []
        self.open = asyncio.Event()
        self.open.set()

    async def publish(self, batch: Sequence[Outgoing], wanted: Callable[[], bool]) -> bool:
        await self.open.wait()
        if not wanted():
            return False
        self.out += batch
        return True


class Comparison:
    """A sender of shadow records that keeps them, or fails."""

    def __init__(self) -> None:
        self.out: list[Outgoing] = []
        self.error: BaseException | None = None

    async def send(self, batch: Sequence[Outgoing]) -> list[BaseException | None]:
        self.out += batch
        return [self.error] * len(batch)

    def forget(self) -> None: ...

    async def close(self) -> None: ...


class Valve:
    """Partitions paused; `moved` is set whenever a record leaves or the flow changes."""

    def __init__(self) -> None:
        self.paused: set[Partition] = set()
        self.moved = asyncio.Event()

    def pause(self, partition: Partition) -> None:
        self.paused.add(partition)

    def resume(self, partition: Partition) -> None:
        self.paused.discard(partition)


class Watched(InFlight):
    def leave(self, record: Record) -> None:
        super().leave(record)
        self._valve().moved.set()


def served(
    engine: FakeEngine, min_confidence: float | None = None, version: str = "7"
) -> ServedModel:
    return ServedModel(
        ModelVersion(name=CARD.name, version=version, digest="d"),
        4096,
        Encoder(Words(), Preparation()),
        engine,
        Classifier(engine, for_route(CARD, min_confidence), [1], lambda _: None),
    )


@dataclass
class Made:
    """A route, with what it is made of."""

    settings: RouteSettings
    route: Route
    models: Models
    publisher: Outbox
    letters: dict[str, Past]  # dead letters by place: what a replay of each keeps
    shadow: Shadow
    in_flight: Watched
    metrics: Metrics


def make_route(
    acks: AckTracker,
    engine: FakeEngine,
    observers: Sequence[Observer] = (),
    tracer: Tracer | None = None,
    **overrides: object,
) -> Made:
    given = {"format": "text", "max_record_bytes": 1000, **overrides}
    settings = RouteSettings(name="r", model="m", input_topic="in", output_topic="out", **given)
    metrics, valve, threads, publisher = Metrics(), Valve(), Threads("r"), Outbox()
    models = Models(
        served(engine, settings.min_confidence),
        lambda model: model.engine.close(),
        settings.canary_share,
    )
    in_flight = Watched(settings, engine.batch_records, lambda: valve, metrics)
    shadow = Shadow(settings, models, in_flight, Comparison(), threads.shadow, metrics)
    letters: dict[str, Past] = {}

    async def recall(works: Sequence[Work], wanted: Callable[[], bool]) -> None:
        for work in works:
            work.past = letters.get(work.record.header(REPLAY_OF) or "")

    route = new_route(
        settings,
        models,
        threads,
        acks,
        in_flight,
        metrics,
        Publish(settings, publisher, acks, recall, metrics),
        [*observers, shadow.observe] if settings.shadow_share else observers,
        Spans(tracer, settings, "g") if tracer else None,
    )
    return Made(settings, route, models, publisher, letters, shadow, in_flight, metrics)


def texts(count: int) -> list[Record]:
    return [
        Record(PARTITIONS[n % 3], n // 3, b"k%d" % n, b"word " * (n % 11 + 1), timestamp=1)
        for n in range(count)
    ]


async def feed(records: list[Record]) -> AsyncIterator[Record]:
    for record in records:
        yield record
        await asyncio.sleep(0)
    await asyncio.Event().wait()


async def run(
    made: Made, records: list[Record] | AsyncIterator[Record], until: Callable[[], bool]
) -> None:
    """Feed the records and work until the condition holds."""
    stream = feed(records) if isinstance(records, list) else records
    async with AsyncExitStack() as stack:
        if made.settings.shadow_share:
            await stack.enter_async_context(made.shadow)
        task = asyncio.ensure_future(label_records(stream, made.route))
        try:
            async with asyncio.timeout(30):
                while not until() and not task.done():
                    moved = asyncio.ensure_future(made.in_flight._valve().moved.wait())
                    await asyncio.wait({moved, task}, return_when=asyncio.FIRST_COMPLETED)
                    made.in_flight._valve().moved.clear()
        finally:
            task.cancel()
            done = await asyncio.gather(task, return_exceptions=True)
        if isinstance(done[0], Exception):
            raise done[0]


def labels(made: Made) -> list[LabelRecord]:
    return [
        LabelRecord.model_validate_json(o.value or b"")
        for o in made.publisher.out
        if o.topic == "out"
    ]
