"""Assembly: one route made of its settings, its broker and a model that is warm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stream_app.codecs import CODECS
from stream_app.core.messages import ParseSpec
from stream_app.core.metrics import Metrics
from stream_app.core.settings import RouteSettings, Settings
from stream_app.pipeline.ack import AckTracker
from stream_app.pipeline.admit import InFlight, Valve
from stream_app.pipeline.models import Models
from stream_app.pipeline.parse import Parser
from stream_app.pipeline.publish import Publisher
from stream_app.pipeline.route import Observer, Route, new_threads
from stream_app.pipeline.served import ModelLoader, ServedModel
from stream_app.services.broker import Broker
from stream_app.services.delivery import new_sender


def model_loader(settings: Settings, route: RouteSettings, metrics: Metrics) -> ModelLoader:
    """What loads the models of a route, its first one and those that follow."""
    failures = metrics.engine_failures
    return ModelLoader(
        route, settings.engine, lambda outcome: failures.labels(route.name, outcome).inc()
    )


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
    names = {str(role): field for role, field in route.field_names.items()}
    sender = new_sender(settings.kafka, route, broker.idempotent_producers)
    return Route(
        settings=route,
        models=Models(model, lambda retired: threads.device.submit(retired.engine.close)),
        parser=Parser(
            CODECS[route.format], ParseSpec(names, route.pass_fields), route.max_record_bytes
        ),
        publisher=Publisher(name, sender, metrics.publish_failures.labels(name)),
        acks=acks,
        in_flight=InFlight(
            route.max_in_flight_records,
            route.max_in_flight_bytes,
            valve,
            metrics.in_flight_records.labels(name),
            metrics.in_flight_bytes.labels(name),
        ),
        metrics=metrics,
        threads=threads,
        observers=observers,
    )
