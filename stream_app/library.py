"""Winnow as a library: the labels of texts in a program of one's own, without Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from stream_app.codecs import CODECS
from stream_app.core.errors import ConfigError, RecordError
from stream_app.core.messages import Prediction
from stream_app.core.metrics import Metrics
from stream_app.core.settings import EngineSettings, LabelSettings
from stream_app.labeller import Labeller
from stream_app.model.references import resolve
from stream_app.pipeline.work import Work
from stream_app.serving.served import ModelLoader


class LocalModel:
    """A model in this process, loaded and warm, for the length of a `with` block.

    `reference` is what a route's `model` is: builtin:NAME, a folder, hf://ORG/NAME.
    `message_format` is a name in `stream_app.codecs.CODECS`; `settings` are keys of a route, such
    as `min_confidence` or `field_names`. Raises ModelError, ConfigError, EngineSick, and pydantic's
    ValidationError for a setting that is wrong.
    """

    def __init__(
        self,
        reference: str,
        message_format: str = "text",
        engine: EngineSettings | None = None,
        **settings: object,
    ) -> None:
        given = {"name": "library", "format": message_format, "model": reference} | settings
        self._settings = LabelSettings.model_validate(given)
        if message_format not in CODECS:
            known = ", ".join(CODECS)
            raise ConfigError(f"there is no format {message_format!r}; there are: {known}")
        artifact = resolve(reference)
        load = ModelLoader(self._settings, engine or EngineSettings(), lambda outcome: None)
        self._model = load(artifact, artifact.version)

    def __enter__(self) -> LocalModel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._model.engine.close()

    def label(self, messages: Iterable[str | bytes]) -> list[Prediction | RecordError]:
        """What a worker would decide of each message, in order.

        A message that cannot be labelled has in its place the error that would be its dead
        letter's. Texts are encoded as UTF-8. Raises EngineSick.
        """
        values = [
            text.encode(errors="replace") if isinstance(text, str) else text for text in messages
        ]
        with ThreadPoolExecutor(1) as thread:  # the caller's own may run a loop, as in a notebook
            works = thread.submit(asyncio.run, self._labelled(values)).result()
        return [work.result for work in works]

    async def _labelled(self, values: list[bytes]) -> list[Work]:
        async with Labeller(self._settings, self._model, Metrics()) as labeller:
            return await asyncio.gather(*map(labeller.label, values))
