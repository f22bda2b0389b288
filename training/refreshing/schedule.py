"""When a refresh begins: every so often, or by a cron expression."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from croniter import croniter

from stream_app.core.errors import ConfigError, WinnowError

_log = logging.getLogger(__name__)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST_SLEEP = 60.0  # seconds: a clock that is set, or a machine that slept, is noticed


class Schedule(Protocol):
    """Tells when to begin next."""

    def next(self, now: datetime, last: datetime | None) -> datetime:
        """Not before `now`; `last` is when it began the last time, if it ever did."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """At once, and then so long after each beginning."""

    interval: timedelta

    def next(self, now: datetime, last: datetime | None) -> datetime:
        return now if last is None else max(now, last + self.interval)


@dataclass(frozen=True, slots=True)
class Cron:
    """At the times of a cron expression, in this machine's time zone; missed ones are left out."""

    expression: str

    def next(self, now: datetime, last: datetime | None) -> datetime:
        found: datetime = croniter(self.expression, now).get_next(datetime)
        return found


def parse(every: str | None, cron: str | None) -> Schedule | None:
    """The schedule of two options, of which one may be given. Raises ConfigError."""
    if every and cron:
        raise ConfigError("give --every or --cron, not both")
    if cron:
        if not croniter.is_valid(cron):
            raise ConfigError(f"--cron {cron!r} is no cron expression: write one like '0 3 * * *'")
        return Cron(cron)
    if not every:
        return None
    found = re.fullmatch(r"(\d+)([smhd])", every)
    if found is None or not int(found[1]):
        raise ConfigError(f"--every {every!r} is no interval: write one like 30m, 24h or 7d")
    return Every(timedelta(**{_UNITS[found[2]]: int(found[1])}))


def keep(
    run: Callable[[], object],
    schedule: Schedule,
    now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Run until stopped. A failed run is logged, and tried again the next time."""
    last = None
    while True:
        begin = schedule.next(now(), last)
        _log.info("the next refresh begins at %s", begin.isoformat(timespec="seconds"))
        while (left := (begin - now()).total_seconds()) > 0:
            sleep(min(left, _LONGEST_SLEEP))
        last = begin
        try:
            run()
        except WinnowError as error:
            _log.error("this refresh failed: %s", error)
