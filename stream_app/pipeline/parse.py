"""Parse: raw bytes -> Message, through the route's codec; what cannot be parsed gets its reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from stream_app.core.errors import NoText, RecordError
from stream_app.core.messages import Message, ParseSpec, Record
from stream_app.core.metrics import Metrics
from stream_app.core.settings import LabelSettings
from stream_app.model.decision import WITHOUT_TEXT
from stream_app.pipeline.work import Work


class Parse:
    """The step. Runs off the event loop."""

    def __init__(
        self,
        codec: Callable[[bytes, ParseSpec], Message],
        settings: LabelSettings,
        metrics: Metrics,
    ) -> None:
        self._codec = codec
        self._spec = settings.parse_spec
        self._max_bytes = settings.max_record_bytes
        self._label_no_text = settings.on_no_text == "label"
        self._seconds = metrics.stage_seconds.labels(settings.name, "parse")

    def __call__(self, works: Sequence[Work]) -> None:
        """Give each work its message, or its error; one without text its prediction as well."""
        for work in works:
            started = time.monotonic()
            try:
                work.message = self._message(work.record)
            except NoText as error:
                if self._label_no_text:
                    work.message = self._with_headers(work.record, error.found)
                    work.prediction = WITHOUT_TEXT
                else:
                    work.error = error
            except RecordError as error:
                work.error = error
            self._seconds.observe(time.monotonic() - started)

    def _message(self, record: Record) -> Message:
        """The message in a record. Raises RecordError with a reason for a person."""
        if record.value is None:
            raise RecordError("null_value", "the record has no value: there is nothing to label")
        if len(record.value) > self._max_bytes:
            raise RecordError(
                "too_large",
                f"the value has {len(record.value)} bytes; max_record_bytes of this route is "
                f"{self._max_bytes}",
            )
        try:
            return self._with_headers(record, self._codec(record.value, self._spec))
        except RecordError:
            raise
        except Exception as error:  # a bug of ours must not stop the mail behind this record
            raise RecordError(
                "codec_failed", f"the codec failed with {type(error).__name__}: please report it"
            ) from error

    def _with_headers(self, record: Record, message: Message) -> Message:
        """With the `pass_fields` that the message lacks but a Kafka header of the record has."""
        wanted = [name for name in self._spec.pass_fields if name not in message.fields]
        found = {name: record.header(name) for name in wanted}
        extra = {name: value for name, value in found.items() if value is not None}
        return replace(message, fields={**message.fields, **extra}) if extra else message
