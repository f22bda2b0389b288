"""Assembly: the routes of a worker, each made of its settings and a model that is warm.

Here alone the parts of a worker are wired to one another; worker.py starts and stops them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mode import Service

from stream_app.core.metrics import Metrics
from stream_app.core.settings import RouteSettings, Settings
from stream_app.kafka.broker import Broker
from stream_app.model.registry import Registry
from stream_app.pipeline.ack import AckTracker, Observer
from stream_app.pipeline.admit import InFlight, Valve
from stream_app.pipeline.publish import Publish
from stream_app.pipeline.publisher import Publisher
from stream_app.pipeline.route import Route, new_route
from stream_app.pipeline.threads import Threads
from stream_app.services.drift import DriftMonitor
from stream_app.services.model_source import ModelSource
from stream_app.services.recall import Recall
from stream_app.services.reload import Watch
from stream_app.services.review_copier import ReviewCopier
from stream_app.services.sending.delivery import (
    idempotent_sender,
    new_client,
    new_producer,
    new_sender,
)
from stream_app.services.shadow import Shadow
from stream_app.services.traces import Traces
from stream_app.serving.models import Models
from stream_app.serving.served import ModelLoader, ServedModel

BATCHES_IN_FLIGHT = 8  # of a route that does not say: two on the device, the others on their way


@dataclass(frozen=True, slots=True)
class Assembled:
    """A route, and what of it the worker starts, watches and stops."""

    settings: RouteSettings
    route: Route
    models: Models
    publisher: Publisher
    recall: Recall
    in_flight: InFlight
    watches: tuple[Watch, ...]  # what the reloader looks at
    services: tuple[Service, ...]  # what works beside the steps

    def close(self) -> bool:
        """Let its threads end and release its models' memory; False if one is stuck."""
        if not self.route.threads.close():
            return False
        for model in self.models.loaded():
            model.engine.close()
        return True


class Assembly:
    """Makes routes from the parts that all routes of a worker share."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        broker: Broker,
        acks: AckTracker,
        valve: Callable[[], Valve],
        drift: DriftMonitor,
        metrics: Metrics,
        traces: Traces,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._kafka = settings.kafka
        self._idempotent = broker.idempotent_producers
        self._acks = acks
        self._valve = valve
        self._drift = drift
        self._metrics = metrics
        self._traces = traces

    def source(self, route: RouteSettings, reference: str) -> ModelSource:
        """Where the route gets the models that `reference` points at, and how it loads them."""
        how, failures = self._settings.engine, self._metrics.engine_failures
        if reference == route.challenger and route.shadow_share:
            how = how.model_copy(update={"threads": 1})  # the other cores are the champion's
        load = ModelLoader(route, how, lambda outcome: failures.labels(route.name, outcome).inc())
        return ModelSource(reference, self._registry, self._settings.registry.cache, load)

    def route(self, route: RouteSettings, source: ModelSource, model: ServedModel) -> Assembled:
        """The route, ready to be fed; `model` came from `source`. Raises BrokerError where the
        broker lacks what it needs."""
        threads, metrics = Threads(route.name), self._metrics
        models = Models(
            model, lambda retired: threads.device.submit(retired.engine.close), route.canary_share
        )
        in_flight = InFlight(route, model.engine.batch_records, self._valve, metrics)
        sender = new_sender(self._kafka, route, self._idempotent)
        publisher = Publisher(route.name, sender, metrics.publish_failures.labels(route.name))
        beside = self._beside(route, models, in_flight, threads)
        observers: list[Observer] = [partial(self._drift.observe, route.name, models)]
        observers += [service.observe for service in beside]
        recall = Recall(route, partial(new_client, self._kafka))
        publish = Publish(route, publisher, self._acks, recall, metrics)
        steps = new_route(
            route,
            models,
            threads,
            self._acks,
            in_flight,
            metrics,
            publish,
            observers,
            self._traces.of_route(route, self._kafka.group_id),
        )
        watches = self._watches(route, source, models)
        return Assembled(route, steps, models, publisher, recall, in_flight, watches, tuple(beside))

    def _beside(
        self, route: RouteSettings, models: Models, in_flight: InFlight, threads: Threads
    ) -> list[ReviewCopier | Shadow]:
        """The observers of confirmed labels: drift, review, shadow."""
        found: list[ReviewCopier | Shadow] = []
        if route.review_topic:
            connect = partial(new_producer, self._kafka, route)
            found.append(ReviewCopier(route, connect, self._metrics))
        if route.shadow_share:
            sender = idempotent_sender(self._kafka, route, self._idempotent)
            shadow = Shadow(route, models, in_flight, sender, threads.shadow, self._metrics)
            found.append(shadow)
        return found

    def _watches(
        self, route: RouteSettings, source: ModelSource, models: Models
    ) -> tuple[Watch, ...]:
        """The route's model, and its challenger if it has one."""
        watches = [Watch(route.name, source, models)]
        if route.challenger:
            challenger = self.source(route, route.challenger)
            watches.append(Watch(route.name, challenger, models, challenges=True))
        return tuple(watches)
