"""When the next refresh begins, with a clock that the test turns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stream_app.core.errors import ConfigError, ModelError
from training.refreshing.schedule import Cron, Every, keep, parse

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Stop(Exception):
    """Ends what would run for ever."""


class Clock:
    """Time passes by sleeping, and while a run is at work."""

    def __init__(self) -> None:
        self.time = NOON
        self.begun: list[datetime] = []

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def run(self) -> None:
        self.begun.append(self.time)
        if len(self.begun) == 4:
            raise Stop
        self.sleep(1_000)
        if len(self.begun) == 2:
            self.sleep(5 * 3600)  # this one takes long, and fails
            raise ModelError("the registry has no model")


def begun(every: str | None, cron: str | None) -> list[datetime]:
    clock, schedule = Clock(), parse(every, cron)
    assert schedule
    with pytest.raises(Stop):
        keep(clock.run, schedule, clock.now, clock.sleep)
    return clock.begun


def test_every_so_often_from_beginning_to_beginning() -> None:
    hour = timedelta(hours=1)
    late = NOON + hour + timedelta(seconds=1_000, hours=5)
    assert begun("1h", None) == [NOON, NOON + hour, late, late + hour]


def test_by_cron_what_was_missed_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    hours = [(at - NOON) / timedelta(hours=1) for at in begun(None, "0 * * * *")]
    assert hours == [1, 2, 8, 9]
    assert "this refresh failed: the registry has no model" in caplog.text


@pytest.mark.parametrize(
    ("every", "cron", "said"),
    [
        ("1h", "0 3 * * *", "not both"),
        ("often", None, "no interval"),
        ("0h", None, "no interval"),
        (None, "at three", "no cron expression"),
    ],
)
def test_what_is_no_schedule_is_refused(every: str | None, cron: str | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse(every, cron)


def test_what_a_schedule_may_be() -> None:
    assert parse(None, None) is None
    assert parse("7d", None) == Every(timedelta(days=7))
    assert parse(None, "0 3 * * *") == Cron("0 3 * * *")
