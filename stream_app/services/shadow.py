"""Shadow: the challenger labels a share of what the champion labelled, for comparison only.

It runs on a thread of its own after the champion's label is confirmed. No label waits for it: while
the route is busy, or the shadow behind, records are left out and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from mode import Service

from stream_app.core.errors import WinnowError
from stream_app.core.headers import CHAMPION_LABEL, CHAMPION_MODEL, encoded
from stream_app.core.metrics import Metrics
from stream_app.core.settings import RouteSettings
from stream_app.pipeline.admit import InFlight
from stream_app.pipeline.encode import encode
from stream_app.pipeline.outgoing import Outgoing, Sender, label_of
from stream_app.pipeline.work import Work, by_model
from stream_app.serving.models import Models, place
from stream_app.serving.served import ServedModel

log = logging.getLogger(__name__)

RECORDS = 256  # that wait for the challenger
BYTES = 8 * 1024 * 1024
CHUNK = 32


@dataclass(frozen=True, slots=True)
class Pair:
    """The same record twice: as the champion labelled it, and for the challenger to label."""

    champion: Work
    challenger: Work


class Shadow(Service):
    """One route's comparison. Nothing that goes wrong here escapes."""

    def __init__(
        self,
        route: RouteSettings,
        models: Models,
        in_flight: InFlight,
        sender: Sender,
        thread: ThreadPoolExecutor,
        metrics: Metrics,
    ) -> None:
        super().__init__()
        self._route = route
        self._models = models
        self._in_flight = in_flight
        self._sender = sender
        self._thread = thread
        self._metrics = metrics
        self._waiting: asyncio.Queue[Pair] = asyncio.Queue()  # bounded by RECORDS and BYTES
        self._bytes = 0

    def observe(self, works: Sequence[Work]) -> None:
        """Take the share of these labelled works that there is room for. Never waits."""
        for work in works:
            chosen = place(work.record) < self._route.shadow_share
            if chosen and work.prediction is not None and work.prediction.scored:
                self._take(work)

    async def on_shutdown(self) -> None:
        """Nothing is compared any more."""
        await self._sender.close()

    @Service.task
    async def _compare_all(self) -> None:
        while not self.should_stop:
            pairs = await self._chunk()
            try:
                await self._compare(pairs)
            finally:
                for pair in pairs:
                    self._models.end(pair.challenger.model)

    def _take(self, work: Work) -> None:
        challenger = self._models.begin_challenge()
        if challenger is None:
            return
        full = self._waiting.qsize() >= RECORDS or self._bytes >= BYTES
        if full or self._in_flight.crowded:
            self._count(challenger, "left_out")
            self._models.end(challenger)
            return
        self._bytes += work.record.size
        self._waiting.put_nowait(
            Pair(work, Work(work.record, challenger, work.message, past=work.past))
        )

    async def _chunk(self) -> list[Pair]:
        pairs = [await self._waiting.get()]
        while len(pairs) < CHUNK and not self._waiting.empty():
            pairs.append(self._waiting.get_nowait())
        self._bytes -= sum(pair.champion.record.size for pair in pairs)
        return pairs

    async def _compare(self, pairs: Sequence[Pair]) -> None:
        works = [pair.challenger for pair in pairs]
        for model, mine in by_model(works).items():
            try:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._thread, _label, model, mine)
            except Exception as error:  # the challenger's fault, whatever it is
                why = str(error) if isinstance(error, WinnowError) else type(error).__name__
                log.error("route %s: the challenger is withdrawn: %s", self._route.name, why)
                self._models.withdraw(model)
        for pair in pairs:
            self._judge(pair)
        told = [pair for pair in pairs if pair.challenger.prediction is not None]
        if told:
            await self._send(told)

    def _judge(self, pair: Pair) -> None:
        ours, theirs = pair.champion.prediction, pair.challenger.prediction
        model = pair.challenger.model
        if ours is None or theirs is None:
            self._count(model, "failed")
        elif ours.label == theirs.label:
            self._count(model, "agrees")
        else:
            self._count(model, "differs")
            version = model.version.version
            self._metrics.disagreements.labels(self._route.name, version, ours.label).inc()

    async def _send(self, pairs: Sequence[Pair]) -> None:
        errors = await self._sender.send([self._outgoing(pair) for pair in pairs])
        failed = next((type(error).__name__ for error in errors if error is not None), None)
        if failed is not None:
            log.warning(
                "route %s: topic %s: %s; the comparison goes on without these records",
                self._route.name,
                self._route.shadow_topic,
                failed,
            )
            await self._sender.close()

    def _outgoing(self, pair: Pair) -> Outgoing:
        assert pair.champion.prediction is not None
        version = pair.champion.model.version
        told = encoded(
            (CHAMPION_LABEL, pair.champion.prediction.label),
            (CHAMPION_MODEL, f"{version.name}/{version.version}"),
        )
        label = label_of(pair.challenger, self._route.name, self._route.shadow_topic)
        return replace(label, headers=(*label.headers, *told))

    def _count(self, model: ServedModel, outcome: str) -> None:
        version = model.version.version
        self._metrics.shadowed.labels(self._route.name, version, outcome).inc()


def _label(model: ServedModel, works: Sequence[Work]) -> None:
    encode(model, works)
    model.classifier([work for work in works if work.error is None])
