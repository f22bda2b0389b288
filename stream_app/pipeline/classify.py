"""Classify: a batch of token ids -> predictions, model by model."""

from __future__ import annotations

import logging
import time

from stream_app.core.errors import EngineSick
from stream_app.core.metrics import Metrics
from stream_app.core.settings import LabelSettings
from stream_app.pipeline.encode import encode
from stream_app.pipeline.work import Batch, Work, by_model
from stream_app.serving.models import Models
from stream_app.serving.served import ServedModel

log = logging.getLogger(__name__)


class Classify:
    """The step. Runs off the event loop, on as many threads as batches are under way."""

    def __init__(self, settings: LabelSettings, models: Models, metrics: Metrics) -> None:
        name = self._route = settings.name
        self._models = models
        self._queue_seconds = metrics.stage_seconds.labels(name, "queue")
        self._seconds = metrics.stage_seconds.labels(name, "inference")
        self._records = metrics.batch_records.labels(name)
        self._tokens = metrics.batch_tokens.labels(name)
        self._padding = metrics.padding_ratio.labels(name)

    def __call__(self, batch: Batch) -> Batch:
        """Give each work of the batch its prediction or its error. Raises EngineSick."""
        scorable, started = batch.scorable, time.monotonic()
        for work in scorable:
            self._queue_seconds.observe(started - work.since)
        computed = 0
        for model, works in by_model(scorable).items():
            self._score(model, works)
            computed += model.engine.computed_tokens([work.tokens for work in works])
        self._seconds.observe(time.monotonic() - started)
        self._records.observe(len(batch.works))
        self._tokens.observe(batch.tokens)
        self._padding.observe(1 - batch.tokens / computed if computed else 0)
        return batch

    def _score(self, model: ServedModel, works: list[Work]) -> None:
        """Score works by a model; those that a challenger cannot label go to the champion."""
        if model is self._models.champion:
            model.classifier(works)
            return
        try:
            model.classifier(works)
            failed = [work for work in works if work.error is not None]
        except EngineSick as error:
            log.error("route %s: the challenger is withdrawn: %s", self._route, error)
            self._models.withdraw(model)
            failed = works
        for work in failed:
            work.error, work.model = None, self._models.take_over(model)
        for champion, mine in by_model(failed).items():
            encode(champion, mine)
            champion.classifier([work for work in mine if work.error is None])
