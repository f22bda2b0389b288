"""The model reloader: when an alias of the registry moves, its new model is loaded and swapped in.

Loading, warming and the canary happen on a thread, beside the model that serves; the swap itself is
one assignment on the event loop. After any failure the old model goes on serving.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

from mode import Service

from stream_app.core.errors import ModelError, NotRegistered, RegistryUnreachable, WinnowError
from stream_app.core.health import Health
from stream_app.core.metrics import Metrics
from stream_app.services.model_source import ModelSource
from stream_app.serving.models import Models
from stream_app.serving.served import ServedModel

log = logging.getLogger(__name__)

T = TypeVar("T")
OUTCOMES = ("swapped", "refused", "unreachable")
RETRY_SECONDS = 1.0
CLOSE_SECONDS = 1.0  # for a model that is just loading


@dataclass(frozen=True, slots=True)
class Watch:
    """One reference of one route that may move, as its champion or its challenger."""

    route: str
    source: ModelSource
    models: Models
    challenges: bool = False

    @property
    def model(self) -> ServedModel | None:
        """What is in its slot now."""
        return self.models.challenger if self.challenges else self.models.champion


class ModelReloader(Service):
    """Looks at every alias every few seconds, one after the other."""

    def __init__(self, watches: Sequence[Watch], every: float, metrics: Metrics) -> None:
        super().__init__()
        self._watches = watches
        self._every = every
        self._metrics = metrics
        for watch in watches:
            for outcome in OUTCOMES:  # start at 0: rate() misses a series that begins at 1
                metrics.reloads.labels(watch.route, outcome)
        self._shown: set[tuple[str, str, str]] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reload")

    @Service.task
    async def _watch(self) -> None:
        while not self.should_stop:
            for watch in self._watches:
                self._show()
                await self._look(watch)
            self._show()
            await self.sleep(self._every)

    def close(self) -> bool:
        """End the thread; False where it is still loading a model."""
        last = self._thread.submit(bool)
        self._thread.shutdown(wait=False)
        return not wait([last], CLOSE_SECONDS).not_done

    async def _look(self, watch: Watch) -> None:
        route, reference = watch.route, watch.source.reference
        try:
            model = await self._off_loop(lambda: _newer(watch))
        except RegistryUnreachable as error:
            self._count(route, "unreachable")
            log.warning("route %s: %s; the current model keeps serving", route, error)
        except NotRegistered as error:
            if not watch.challenges:
                log.warning("route %s: %s; the current model keeps serving", route, error)
            elif watch.model is not None:
                log.info("route %s: %s no longer points at a version", route, reference)
                watch.models.challenge(None)
                watch.source.forget()
        except WinnowError as error:
            self._count(route, "refused")
            log.error(
                "route %s: %s; the current model keeps serving. Point the alias at another "
                "version, or roll back: winnow models rollback",
                route,
                error,
            )
        else:
            if model is not None:
                await self._take(watch, model)

    async def _take(self, watch: Watch, model: ServedModel) -> None:
        if watch.challenges:
            watch.models.challenge(model)
        else:
            watch.models.swap(model)
        self._count(watch.route, "swapped")
        reference, version = watch.source.reference, model.version
        log.info("route %s: %s is version %s now", watch.route, reference, version.version)
        await self._off_loop(watch.source.keep)

    def _show(self) -> None:
        """Export the models in the slots as metrics, and remove those of earlier models."""
        metrics, now = self._metrics, {}
        for watch in self._watches:
            if (model := watch.model) is not None:
                series = (watch.route, model.version.version, watch.source.reference)
                now[series] = model.engine.memory_bytes
        for series in self._shown - set(now):
            metrics.model_info.remove(*series)
        for version in {s[:2] for s in self._shown} - {s[:2] for s in now}:
            metrics.model_bytes.remove(*version)
        for series, held in now.items():
            metrics.model_info.labels(*series).set(1)
            metrics.model_bytes.labels(*series[:2]).set(held)
        self._shown = set(now)

    async def _off_loop(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _count(self, route: str, outcome: str) -> None:
        self._metrics.reloads.labels(route, outcome).inc()


def _newer(watch: Watch) -> ServedModel | None:
    """The model to take, None where the alias has not moved. Raises as ModelSource.newer."""
    champion = watch.models.champion
    model = watch.source.newer(champion.batch_tokens)
    if model is not None and set(model.engine.labels) != set(champion.engine.labels):
        model.engine.close()
        raise ModelError(
            f"models:/{model.version.name}/{model.version.version} cannot serve: its labels are "
            f"{', '.join(model.engine.labels)}, and those served are "
            f"{', '.join(champion.engine.labels)}, which readers expect: restart the workers to "
            "serve it"
        )
    return model


async def first_model(source: ModelSource, route: str, health: Health) -> ServedModel:
    """The model a route starts with; a registry that is away is waited for. Raises WinnowError."""
    while True:
        try:
            model = await asyncio.to_thread(source.first)
        except RegistryUnreachable as error:
            health.unready("registry", str(error))
            log.warning("route %s: waiting for its model: %s", route, error)
            await asyncio.sleep(RETRY_SECONDS)
        except WinnowError as error:
            raise type(error)(f"route {route}: {error}") from error
        else:
            health.unready("registry", None)
            return model
