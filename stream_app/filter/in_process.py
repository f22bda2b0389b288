"""Labels from an engine in this process, without Kafka: for one small server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from stream_app.core.errors import EngineSick, NoLabel
from stream_app.core.label_record import LabelRecord, label_record
from stream_app.core.metrics import Metrics
from stream_app.core.settings import RouteSettings, Settings
from stream_app.labeller import Labeller
from stream_app.model.references import resolve
from stream_app.serving.served import ModelLoader, ServedModel


@dataclass(frozen=True, slots=True)
class InProcess:
    """The workers' own path, from the codec to the decision. `sick` is told of an engine's end."""

    labellers: Mapping[str, Labeller]  # by route
    sick: Callable[[EngineSick], None]

    async def ask(self, route: RouteSettings, value: bytes, key: bytes | None) -> LabelRecord:
        """The label of a message; its id is made up. Raises NoLabel: `dead_letter`, `failed`."""
        try:
            work = await self.labellers[route.name].label(value, key)
        except EngineSick as error:
            self.sick(error)
            raise NoLabel("failed") from error
        if work.message is None or work.prediction is None:
            raise NoLabel("dead_letter", work.error.code if work.error else "")
        found = label_record(
            work.record,
            work.message,
            work.prediction,
            route.name,
            work.model.version,
            datetime.now(UTC),
        )
        return found.model_copy(update={"id": str(uuid4())})  # no topic has it


@asynccontextmanager
async def in_process(
    settings: Settings, metrics: Metrics, sick: Callable[[EngineSick], None]
) -> AsyncIterator[InProcess]:
    """Every route's model loaded and warm. Raises ModelError, ConfigError, EngineSick."""
    async with AsyncExitStack() as stack:
        labellers = {}
        for route in settings.routes:
            model = await asyncio.to_thread(_load, route, settings, metrics)
            stack.callback(model.engine.close)
            at_once = route.model_copy(update={"max_batch_delay_seconds": 0.0})  # someone waits
            labeller = Labeller(at_once, model, metrics)
            labellers[route.name] = await stack.enter_async_context(labeller)
        yield InProcess(labellers, sick)


def _load(route: RouteSettings, settings: Settings, metrics: Metrics) -> ServedModel:
    failures = metrics.engine_failures
    artifact = resolve(route.model, settings.registry)
    load = ModelLoader(
        route, settings.engine, lambda outcome: failures.labels(route.name, outcome).inc()
    )
    return load(artifact, artifact.version)
