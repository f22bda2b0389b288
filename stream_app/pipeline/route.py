"""A route: its steps, in the order in which the agent calls them, and what they run on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_app.codecs import CODECS
from stream_app.core.metrics import Metrics
from stream_app.core.settings import LabelSettings
from stream_app.pipeline.ack import Ack, AckTracker, Observer
from stream_app.pipeline.admit import Admission, InFlight
from stream_app.pipeline.batch import BatchLimits
from stream_app.pipeline.classify import Classify
from stream_app.pipeline.encode import Encode
from stream_app.pipeline.parse import Parse
from stream_app.pipeline.threads import Threads
from stream_app.pipeline.work import Batch, Work
from stream_app.serving.models import Models

if TYPE_CHECKING:
    from stream_app.pipeline.spans import Spans  # of an extra

Publishes = Callable[[Sequence[Work]], Awaitable[bool]]  # whether they are delivered


@dataclass(frozen=True, slots=True)
class Route:
    """Each step leaves its mark on the works that it is given."""

    admission: Admission
    parse: Callable[[Sequence[Work]], None]
    encode: Callable[[Sequence[Work]], None]
    limits: Callable[[], BatchLimits]
    classify: Callable[[Batch], Batch]
    publish: Publishes
    ack: Callable[[Sequence[Work]], None]
    threads: Threads


def new_route(
    settings: LabelSettings,
    models: Models,
    threads: Threads,
    acks: AckTracker,
    in_flight: InFlight,
    metrics: Metrics,
    publish: Publishes,
    observers: Sequence[Observer] = (),
    spans: Spans | None = None,
) -> Route:
    """The steps that every route has, around its own way to publish; traced where it has spans."""

    def limits() -> BatchLimits:
        """Of the next batch: they depend on the model and its engine."""
        s, champion = settings, models.champion
        records = s.max_batch_records or champion.engine.batch_records
        return BatchLimits(champion.batch_tokens, records, s.max_batch_delay_seconds)

    classify: Callable[[Batch], Batch] = Classify(settings, models, metrics)
    if spans:
        classify, publish = spans.classifying(classify), spans.publishing(publish)
    return Route(
        admission=Admission(settings, models, acks, in_flight, metrics, spans),
        parse=Parse(CODECS[settings.format], settings, metrics),
        encode=Encode(settings, metrics),
        limits=limits,
        classify=classify,
        publish=publish,
        ack=Ack(settings, acks, metrics, observers),
        threads=threads,
    )
