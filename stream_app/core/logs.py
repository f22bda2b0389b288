"""Logging: one line an event on stderr, as text or as JSON; floods folded into a count."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["text", "json"]

EACH = {"each": True}
MAX_KINDS = 1000  # of messages remembered
_NUMBER = re.compile(r"\d+")


class RateLimit(logging.Filter):
    """Lets a kind of message through once every `every` seconds, and counts those suppressed.

    While a broker is down Faust and aiokafka write thousands of errors, some of which differ in
    numbers only, and some with a traceback that says no more than their name. What was logged with
    `extra=EACH` is written each time.
    """

    def __init__(self, every: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every = every
        self._clock = clock
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """True if the record may be written; its text gains the count suppressed before it."""
        if record.levelno < logging.WARNING or getattr(record, "each", False):
            return True
        if record.name == "asyncio" and _is_of_a_closed_connection(record):
            return False
        key = (record.name, record.levelno, _NUMBER.sub("#", str(record.msg))[:80])
        now = self._clock()
        last, held = self._seen.get(key, (-self._every, 0))
        if now - last < self._every:
            self._seen[key] = (last, held + 1)
            return False
        if len(self._seen) > MAX_KINDS:
            self._seen.clear()
        self._seen[key] = (now, 0)
        _shorten(record)
        if held:
            record.msg = f"{record.getMessage()} [{held} more like this suppressed]"
            record.args = None
        return True


def _is_of_a_closed_connection(record: logging.LogRecord) -> bool:
    """asyncio tells of a connection's end when the garbage collector happens to free its future
    before its protocol, perhaps at exit, below the line that says why the worker ended. The
    code that made the connection has logged it already."""
    kind = record.exc_info[0] if record.exc_info else None
    never = record.getMessage().startswith("Future exception was never retrieved")
    return never and kind is not None and issubclass(kind, OSError)


def _shorten(record: logging.LogRecord) -> None:
    """One line for a network exception: its traceback helps no reader."""
    kind = record.exc_info[0] if record.exc_info else None
    if kind is not None and (issubclass(kind, OSError) or kind.__module__.startswith("aiokafka")):
        record.msg = f"{record.getMessage().splitlines()[0]} ({kind.__name__})"
        record.args = record.exc_info = record.exc_text = None


class JsonLines(logging.Formatter):
    """An object a line: `time` (UTC), `level`, `logger`, `message`; `exception`, a traceback, and
    `trace_id` and `span_id` where there are such."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_trace_ids(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told)


def _trace_ids() -> dict[str, str]:
    """Of the span under way; none where nobody has loaded the extra that makes spans."""
    trace = sys.modules.get("opentelemetry.trace")
    context = trace and trace.get_current_span().get_span_context()
    if not context or not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def configure_logging(level: str, form: LogFormat = "text") -> None:
    """Send all logs to stderr at `level`; third parties' only from WARNING on."""
    handler = logging.StreamHandler()
    handler.addFilter(RateLimit())
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if form == "json" else text)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(form == "json")  # a warning of Python's has lines of its own
    logging.getLogger("stream_app").setLevel(level.upper())


def logs_json() -> bool:
    """Whether the log is JSON, so that all else on stderr should be."""
    return any(isinstance(each.formatter, JsonLines) for each in logging.getLogger().handlers)
