"""Labels in this process, without Kafka: the worker's own path, from a record to its decision."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from itertools import count
from types import TracebackType

from stream_app.agent import label_records
from stream_app.core.errors import cause_of
from stream_app.core.messages import Headers, Partition, Record
from stream_app.core.metrics import Metrics
from stream_app.core.settings import LabelSettings
from stream_app.pipeline.ack import AckTracker
from stream_app.pipeline.admit import InFlight
from stream_app.pipeline.route import new_route
from stream_app.pipeline.threads import Threads
from stream_app.pipeline.work import Work
from stream_app.serving.models import Models
from stream_app.serving.served import ServedModel


class Labeller:
    """For the length of an `async with` block. Calls at one time share batches.

    The model stays its owner's, who closes it afterwards.
    """

    def __init__(self, settings: LabelSettings, model: ServedModel, metrics: Metrics) -> None:
        self._name = settings.name
        self._threads = Threads(settings.name)
        self._records: asyncio.Queue[Record] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[Work]] = {}  # by offset
        self._offsets = count()
        self._flow = asyncio.Event()  # clear while as much is in flight as may be
        self._flow.set()
        self._route = new_route(
            settings,
            Models(model, lambda retired: None),
            self._threads,
            AckTracker(),
            InFlight(settings, model.engine.batch_records, lambda: self, metrics),
            metrics,
            self._answer,
        )

    async def __aenter__(self) -> Labeller:
        self._running = asyncio.create_task(label_records(self._read(), self._route))
        self._running.add_done_callback(self._ended)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running.cancel()
        await asyncio.wait({self._running})
        await asyncio.to_thread(self._threads.close)

    async def label(
        self, value: bytes | None, key: bytes | None = None, headers: Headers = ()
    ) -> Work:
        """The result of a record: its message, and its prediction or error.

        Waits while too much is in flight. Raises EngineSick, for this call and all others, once the
        engine fails its canary.
        """
        await self._flow.wait()
        now = round(time.time() * 1000)
        record = Record(Partition(self._name, 0), next(self._offsets), key, value, headers, now)
        answer: asyncio.Future[Work] = asyncio.get_running_loop().create_future()
        self._answers[record.offset] = answer
        if self._running.done():
            self._ended(self._running)
        self._records.put_nowait(record)
        return await answer

    def pause(self, partition: Partition) -> None:
        """As the route's valve: callers wait."""
        self._flow.clear()

    def resume(self, partition: Partition) -> None:
        """Callers continue."""
        self._flow.set()

    async def _read(self) -> AsyncIterator[Record]:
        while True:
            yield await self._records.get()

    async def _answer(self, works: Sequence[Work]) -> bool:
        """The step that publishes: here to the waiting caller."""
        for work in works:
            answer = self._answers.pop(work.record.offset)
            if not answer.done():  # its caller may have gone
                answer.set_result(work)
        return True

    def _ended(self, running: asyncio.Task[None]) -> None:
        """Whatever ended the path ends all who wait for it."""
        error = None if running.cancelled() else running.exception()
        for answer in self._answers.values():
            if answer.done():
                continue
            if error is None:
                answer.cancel()
            else:
                answer.set_exception(cause_of(error))
        self._answers.clear()
