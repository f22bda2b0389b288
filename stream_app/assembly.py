"""Assembly: one route made of its settings, its broker and a model that is warm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from stream_app.codecs import CODECS
from stream_app.core.messages import ParseSpec
from stream_app.core.metrics import Metrics
from stream_app.core.route_settings import RouteSettings
from stream_app.core.settings import Settings
from stream_app.model.registry import Registry
from stream_app.pipeline.ack import AckTracker
from stream_app.pipeline.admit import InFlight, Valve
from stream_app.pipeline.models import Models
from stream_app.pipeline.parse import Parser
from stream_app.pipeline.publish import Publisher
from stream_app.pipeline.route import Observer, Route, new_threads
from stream_app.pipeline.served import ModelLoader, ServedModel
from stream_app.pipeline.shadow import Shadow
from stream_app.services.broker import Broker
from stream_app.services.delivery import idempotent_sender, new_producer, new_sender
from stream_app.services.model_source import ModelSource
from stream_app.services.reload import Watch
from stream_app.services.review import ReviewCopier

BATCHES_IN_FLIGHT = 8  # of a route that does not say: two on the device, the others on their way


def model_source(
    settings: Settings, route: RouteSettings, reference: str, registry: Registry, metrics: Metrics
) -> ModelSource:
    """Where the route gets the models that `reference` points at, and how it loads them."""
    how, failures = settings.engine, metrics.engine_failures
    if reference == route.challenger and route.shadow_share:
        how = how.model_copy(update={"threads": 1})  # the other cores are the champion's
    load = ModelLoader(route, how, lambda outcome: failures.labels(route.name, outcome).inc())
    return ModelSource(reference, registry, settings.registry.cache, load)


def watches(
    settings: Settings, route: Route, champion: ModelSource, registry: Registry, metrics: Metrics
) -> Iterator[Watch]:
    """What the reloader looks at for a route: its model, and its challenger where it has one."""
    yield Watch(route.settings.name, champion, route.models)
    if route.settings.challenger:
        challenger = route.settings.challenger
        source = model_source(settings, route.settings, challenger, registry, metrics)
        yield Watch(route.settings.name, source, route.models, challenges=True)


def review_copiers(
    settings: Settings, route: RouteSettings, metrics: Metrics
) -> list[ReviewCopier]:
    """What copies the route's records for review: one, where it wants any."""
    connect = partial(new_producer, settings.kafka, route)
    return [ReviewCopier(route, connect, metrics)] if route.review_topic else []


def assemble(
    settings: Settings,
    route: RouteSettings,
    broker: Broker,
    model: ServedModel,
    acks: AckTracker,
    valve: Callable[[], Valve],
    metrics: Metrics,
    observers: Sequence[Observer],
) -> Route:
    """The route, ready to be fed. Raises BrokerError where the broker lacks what it needs."""
    name, threads = route.name, new_threads(route.name)
    models = Models(
        model, lambda retired: threads.device.submit(retired.engine.close), route.canary_share
    )
    in_flight = InFlight(
        route.max_in_flight_records or BATCHES_IN_FLIGHT * model.engine.batch_records,
        route.max_in_flight_bytes,
        valve,
        metrics.in_flight_records.labels(name),
        metrics.in_flight_bytes.labels(name),
    )
    names = {str(role): field for role, field in route.field_names.items()}
    sender = new_sender(settings.kafka, route, broker.idempotent_producers)
    return Route(
        settings=route,
        models=models,
        parser=Parser(
            CODECS[route.format], ParseSpec(names, route.pass_fields), route.max_record_bytes
        ),
        publisher=Publisher(name, sender, metrics.publish_failures.labels(name)),
        shadow=Shadow(
            route,
            models,
            in_flight,
            idempotent_sender(settings.kafka, route, broker.idempotent_producers),
            threads.shadow,
            metrics,
        ),
        acks=acks,
        in_flight=in_flight,
        metrics=metrics,
        threads=threads,
        observers=observers,
    )
