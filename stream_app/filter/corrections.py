"""Corrections: what a person says is right, on its way to the feedback topic.

A mail is passed on as its words, though an `X-Winnow-Id` be in it: mail that never went through the
filter may carry the id of somebody else's message. Only who names an id outside of a mail is
believed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from traceback import format_tb

from pydantic import ValidationError

from stream_app.codecs import CODECS
from stream_app.core.errors import NoCorrection, NoLabel, RecordError
from stream_app.core.feedback import Feedback, told
from stream_app.core.metrics import Metrics
from stream_app.core.settings import FilterSettings, RouteSettings

log = logging.getLogger(__name__)

Deliver = Callable[[str, bytes, bytes | None], Awaitable[str]]  # topic, value, key; raises NoLabel

TAKEN = "taken"
MAX_AT_ONCE = 16
MAX_PEOPLE = 10_000  # whose corrections are counted; then the one heard of least recently goes
HOUR = 3600.0


class Corrections:
    """Passes corrections on, so many an hour of each person. Each is counted by its outcome.

    | outcome        | the correction                                             |
    |----------------|------------------------------------------------------------|
    | `taken`        | is on the feedback topic                                   |
    | `invalid`      | lacks a label or a person, or names no record of the route |
    | `unauthorized` | comes without the token                                    |
    | `unreadable`   | is of a message without words                              |
    | `too_large`    | is of one larger than the route or the topic takes         |
    | `too_many`     | is one more than its person may give in an hour            |
    | `overloaded`   | came while as many were under way as may                   |
    | `broker`       | was not confirmed by the broker in time                    |
    | `failed`       | met an error of the filter itself                          |
    """

    def __init__(
        self, deliver: Deliver, topic: str, settings: FilterSettings, metrics: Metrics
    ) -> None:
        self._deliver = deliver
        self._topic = topic
        self._seconds = settings.deadline_seconds
        self._allowance = Allowance(settings.corrections_per_hour)
        self._metrics = metrics
        self._under_way = 0

    async def take(
        self, route: RouteSettings, labels: Sequence[str], who: str, about: str | bytes
    ) -> None:
        """Pass on what is right for a record's id, or for a message. Raises NoCorrection."""
        self._under_way += 1
        try:
            self._check_room(who)
            told = await asyncio.to_thread(feedback, route, labels, who, about)
            await self._pass_on(told)
        except NoCorrection as error:
            raise self.refused(route, error) from None
        except Exception as error:  # its own text may quote the message, so only its place is told
            log.error("%s in %s", type(error).__name__, "".join(format_tb(error.__traceback__)))
            raise self.refused(route, NoCorrection("failed", "a bug: see the log")) from None
        finally:
            self._under_way -= 1
        self._metrics.corrections.labels(route.name, TAKEN).inc()

    def refused(self, route: RouteSettings, why: NoCorrection) -> NoCorrection:
        """The same, logged and counted."""
        log.warning("route %s: a correction is refused: %s", route.name, why.reason)
        self._metrics.corrections.labels(route.name, why.reason).inc()
        return why

    def _check_room(self, who: str) -> None:
        if self._under_way > MAX_AT_ONCE:
            raise NoCorrection("overloaded", "too many corrections at once")
        if not self._allowance.take(who):
            raise NoCorrection("too_many", "too many corrections of one person in an hour")

    async def _pass_on(self, told: Feedback) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._deliver(self._topic, told.encoded, told.key)
        except NoLabel as error:
            raise NoCorrection(error.reason, f"{self._topic} does not take it") from error
        except TimeoutError as error:
            raise NoCorrection("broker", f"{self._topic} does not take it in time") from error


class Allowance:
    """So many an hour for each person: as many at once, and then as they come back, evenly."""

    def __init__(self, per_hour: int, now: Callable[[], float] = time.monotonic) -> None:
        self._per_hour = per_hour
        self._now = now
        self._left: dict[str, tuple[float, float]] = {}  # by person: how many, and when it was so

    def take(self, who: str) -> bool:
        """Take one of a person's, if there is one."""
        now = self._now()
        left, when = self._left.pop(who, (float(self._per_hour), now))
        left = min(self._per_hour, left + (now - when) * self._per_hour / HOUR)
        is_there = left >= 1
        self._left[who] = (left - is_there, now)
        if len(self._left) > MAX_PEOPLE:
            del self._left[next(iter(self._left))]
        return is_there


def feedback(route: RouteSettings, labels: Sequence[str], who: str, about: str | bytes) -> Feedback:
    """The right labels of a record, by its id, or of a message, by its words.

    Raises NoCorrection: `invalid`, `unreadable`, `too_large`.
    """
    try:
        return told(
            labels,
            route.name,
            who,
            id_=_id(route, about) if isinstance(about, str) else None,
            text=_words(route, about) if isinstance(about, bytes) else None,
        )
    except ValidationError as error:  # whose text holds the values
        fields = ", ".join(sorted({str(part["loc"][0]) for part in error.errors() if part["loc"]}))
        raise NoCorrection("invalid", f"it is no correction: see {fields}") from None


def _id(route: RouteSettings, given: str) -> str:
    if given.split("/")[0] != route.input_topic:
        raise NoCorrection("invalid", f"the id is of no record that route {route.name} reads")
    return given


def _words(route: RouteSettings, value: bytes) -> str:
    """A message's title and body, as a model reads them."""
    if len(value) > route.max_record_bytes:
        raise NoCorrection(
            "too_large", f"the message is larger than {route.max_record_bytes} bytes"
        )
    try:
        message = CODECS[route.format](value, route.parse_spec)
    except RecordError as error:
        raise NoCorrection("unreadable", str(error), error.code) from error
    return "\n".join(filter(None, (message.title, message.body)))
