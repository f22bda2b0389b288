"""Asking for a label: bounded in number, bytes and time. Whoever asks is never held up longer."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from traceback import format_tb
from typing import Protocol

from stream_app.core.errors import NoLabel
from stream_app.core.label_record import LabelRecord
from stream_app.core.metrics import Metrics
from stream_app.core.settings import FilterSettings, RouteSettings

log = logging.getLogger(__name__)

LABELLED = "labelled"
MAX_KEY_BYTES = 1000
_HEADERS_END = re.compile(rb"\r?\n\r?\n")
_MESSAGE_ID = re.compile(
    rb"^message-id[ \t]*:[ \t]*(?:\r?\n[ \t]+)?([!-~]+)", re.IGNORECASE | re.MULTILINE
)


class Asker(Protocol):
    """Where labels come from: the workers of a stream, or an engine in this process."""

    async def ask(self, route: RouteSettings, value: bytes, key: bytes | None) -> LabelRecord:
        """The label of a message; may take any time. Raises NoLabel with the reason."""
        ...


class FailOpen:
    """Asks, and takes no longer than the deadline. Each message is counted by its outcome.

    | outcome       | the message                                              |
    |---------------|----------------------------------------------------------|
    | `labelled`    | has its label                                            |
    | `late`        | had none by the deadline                                 |
    | `overloaded`  | came while as many were waiting as may                   |
    | `broker`      | was not confirmed by the broker                          |
    | `dead_letter` | cannot be labelled: the dead letter has a code           |
    | `too_large`   | is larger than the route or its topic takes              |
    | `failed`      | met an error of the filter itself                        |
    | `stopping`    | was waiting when the filter was told to stop             |
    """

    def __init__(self, asker: Asker, settings: FilterSettings, metrics: Metrics) -> None:
        self._asker = asker
        self._settings = settings
        self._metrics = metrics
        self._waiting: set[asyncio.Timeout] = set()
        self._bytes = 0
        self._stopping = False
        metrics.filter_in_flight.set_function(lambda: len(self._waiting))

    async def ask(self, route: RouteSettings, value: bytes) -> LabelRecord | NoLabel:
        """The label of a message, or why there is none."""
        started = time.monotonic()
        answer = await self._answer(route, value)
        outcome = LABELLED
        if isinstance(answer, NoLabel):
            outcome = answer.reason
            log.warning("route %s: a message passes: %s", route.name, answer)
        self._metrics.filtered.labels(route.name, outcome).inc()
        self._metrics.filter_seconds.labels(route.name).observe(time.monotonic() - started)
        return answer

    def stop(self) -> None:
        """Answer all who wait, and all who come, at once and without a label."""
        self._stopping = True
        now = asyncio.get_running_loop().time()
        for timeout in self._waiting:
            if not timeout.expired():
                timeout.reschedule(now)

    async def _answer(self, route: RouteSettings, value: bytes) -> LabelRecord | NoLabel:
        if self._stopping:
            return NoLabel("stopping")
        if len(value) > route.max_record_bytes:
            return NoLabel("too_large")
        if self._is_full(len(value), route.max_in_flight_bytes):
            return NoLabel("overloaded")
        timeout = asyncio.timeout(self._settings.deadline_seconds)
        self._waiting.add(timeout)
        self._bytes += len(value)
        try:
            async with timeout:
                return await self._asker.ask(route, value, key_of(value))
        except NoLabel as reason:
            return reason
        except TimeoutError:
            return NoLabel("stopping" if self._stopping else "late")
        except Exception as error:  # its own text may quote the message, so only its place is told
            log.error("%s in %s", type(error).__name__, "".join(format_tb(error.__traceback__)))
            return NoLabel("failed")
        finally:
            self._waiting.discard(timeout)
            self._bytes -= len(value)

    def _is_full(self, size: int, max_bytes: int) -> bool:
        crowded = bool(self._waiting) and self._bytes + size > max_bytes
        return crowded or len(self._waiting) >= self._settings.max_in_flight


def key_of(value: bytes) -> bytes | None:
    """The key of a message's record: its Message-ID, if it is a mail that has one."""
    end = _HEADERS_END.search(value)
    found = _MESSAGE_ID.search(value, 0, end.start() if end else len(value))
    return found[1][:MAX_KEY_BYTES] if found else None
