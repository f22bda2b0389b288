"""Encode: Message -> token ids, by the encoder of the model that each record began with."""

from __future__ import annotations

import time
from collections.abc import Sequence

from stream_app.core.errors import RecordError
from stream_app.core.metrics import Metrics
from stream_app.core.settings import LabelSettings
from stream_app.pipeline.work import Work, by_model
from stream_app.serving.served import ServedModel


class Encode:
    """The step. Runs off the event loop."""

    def __init__(self, settings: LabelSettings, metrics: Metrics) -> None:
        self._seconds = metrics.stage_seconds.labels(settings.name, "encode")

    def __call__(self, works: Sequence[Work]) -> None:
        """Give each parsed work its token ids."""
        started = time.monotonic()
        parsed = [work for work in works if work.message is not None and work.open]
        for model, mine in by_model(parsed).items():
            encode(model, mine)
        now = time.monotonic()
        for work in works:
            work.lap(now)
            self._seconds.observe((now - started) / len(works))


def encode(model: ServedModel, works: Sequence[Work]) -> None:
    """Give parsed works their token ids, in place; all texts in one call to its tokenizer."""
    texts, ready = [], []
    for work in works:
        assert work.message is not None
        try:
            texts.append(model.encoder.text(work.message))
            ready.append(work)
        except RecordError as error:
            work.error = error
    encoder, ids = model.encoder, model.encoder(texts)
    found = zip(ready, ids, encoder.priors(texts), encoder.familiarities(texts, ids), strict=True)
    for work, tokens, prior, familiarity in found:
        work.tokens, work.prior, work.familiarity = tokens, prior, familiarity
