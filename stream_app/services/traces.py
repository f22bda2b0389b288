"""Traces to a collector, by OpenTelemetry's own variables: none of it is ours to configure."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from threading import Thread
from typing import TYPE_CHECKING

from stream_app import __version__
from stream_app.core.errors import ConfigError
from stream_app.core.settings import RouteSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from stream_app.pipeline.spans import Spans

EXPORTER = "OTEL_TRACES_EXPORTER"
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP = "http/protobuf"
CLOSE_SECONDS = 2.0  # for the last spans; no worker waits for a collector


class Traces:
    """Of a process: on where OTEL_TRACES_EXPORTER is `otlp`, off by default.

    Raises ConfigError where it is anything else, or what goes with it cannot be had.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._provider = _provider(environment) if _asked_for(environment) else None

    def of_route(self, route: RouteSettings, group: str) -> Spans | None:
        """The spans of a route's records, for a consumer group; None where traces are off."""
        if self._provider is None:
            return None
        from stream_app.pipeline.spans import Spans  # of the extra

        return Spans(self._provider.get_tracer("winnow", __version__), route, group)

    async def close(self) -> None:
        """Send the last spans, or give them up where the collector is slow."""
        if self._provider is not None:
            ending = Thread(target=self._provider.shutdown, daemon=True)
            ending.start()
            await asyncio.to_thread(ending.join, CLOSE_SECONDS)


def _asked_for(environment: Mapping[str, str]) -> bool:
    exporter = environment.get(EXPORTER, "").strip() or "none"
    if exporter not in ("otlp", "none"):
        raise ConfigError(f"{EXPORTER}={exporter}: it is otlp, or none")
    return exporter == "otlp"


def _provider(environment: Mapping[str, str]) -> TracerProvider:
    for name in PROTOCOLS:
        if environment.get(name, HTTP) != HTTP:
            raise ConfigError(f"{name}={environment[name]}: Winnow sends traces as {HTTP} only")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        extra = "pip install 'winnow-stream[trace]'"
        raise ConfigError(f"{EXPORTER}=otlp needs an extra: {extra}") from None

    named = {} if "OTEL_SERVICE_NAME" in environment else {"service.name": "winnow"}
    try:
        provider = TracerProvider(
            resource=Resource.create({**named, "service.version": __version__}),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except ValueError as error:
        raise ConfigError(f"a variable OTEL_… cannot be used: {error}") from error
    return provider
