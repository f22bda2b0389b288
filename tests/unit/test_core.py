"""Health and logs: small things that people rely on at three in the morning."""

import logging
import os
import ssl
import sys
from pathlib import Path

import pytest

from stream_app.core.health import Health
from stream_app.core.logs import EACH, RateLimit
from stream_app.core.machine import cores


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_stuck_means_lag_and_no_progress_for_a_while():
    clock = Clock()
    health = Health(stuck_seconds=60, clock=clock)
    health.observe("mail", lag=5, moved=True)
    clock.now = 59
    health.observe("mail", lag=5, moved=False)
    assert health.stuck() == {}
    clock.now = 61
    health.observe("mail", lag=9, moved=False)
    assert "nothing was acked for 61 s" in health.stuck()["mail"]
    health.observe("mail", lag=9, moved=True)
    assert health.stuck() == {}


def test_a_route_that_never_moved_is_noticed_too():
    clock = Clock()
    health = Health(stuck_seconds=60, clock=clock)
    health.observe("mail", lag=5, moved=False)
    clock.now = 61
    assert "mail" in health.stuck()


def test_idle_is_healthy_and_so_is_a_broker_outage():
    clock = Clock()
    health = Health(stuck_seconds=60, clock=clock)
    health.observe("idle", lag=0, moved=False)
    health.observe("busy", lag=3, moved=True)
    for clock.now in (50, 100, 150):
        health.observe("idle", lag=0, moved=False)
        health.forgive()
    assert health.stuck() == {}


def test_one_piece_of_work_that_does_not_end_is_stuck():
    clock = Clock()
    health = Health(stuck_seconds=60, clock=clock)
    health.unready("worker", None)
    with health.at_work("sink", slow_seconds=5), health.at_work("mailbox"):
        assert (health.not_ready(), health.stuck()) == ({}, {})
        clock.now = 6
        assert health.not_ready() == {"sink": "has been at one piece of work for 6 s"}
        clock.now = 61
        assert health.stuck().keys() == {"sink", "mailbox"}
        health.forgive()  # it waits for the broker
        assert health.stuck() == {}
    clock.now = 200
    assert (health.not_ready(), health.stuck()) == ({}, {})


def test_ready_once_every_part_is():
    health = Health()
    health.unready("broker", "does not answer")
    assert health.not_ready() == {"worker": "starting", "broker": "does not answer"}
    health.unready("broker", None)
    health.unready("worker", None)
    assert health.not_ready() == {}


def test_a_flood_becomes_one_line_with_a_count():
    clock = Clock()
    limit = RateLimit(every=10, clock=clock)

    def passes(number: int, level: int = logging.ERROR) -> str | None:
        record = logging.LogRecord("x", level, "f", 1, "down %d", (number,), None)
        return record.getMessage() if limit.filter(record) else None

    assert passes(1) == "down 1"
    assert [passes(n) for n in (2, 3, 4)] == [None, None, None]
    assert passes(5, logging.INFO) == "down 5"
    clock.now = 11
    assert passes(6) == "down 6 [3 more like this suppressed]"


def test_what_is_marked_is_written_each_time():
    limit = RateLimit(clock=Clock())
    marked = [logging.makeLogRecord({"levelno": logging.ERROR, **EACH}) for _ in range(3)]
    assert all(map(limit.filter, marked))


def test_messages_that_differ_in_numbers_are_of_one_kind():
    limit = RateLimit(clock=Clock())
    records = [
        logging.LogRecord("x", logging.ERROR, "f", 1, f"node {n}: no answer in {n}.5 s", (), None)
        for n in range(100)
    ]
    assert sum(map(limit.filter, records)) == 1


@pytest.mark.parametrize(
    ("name", "text", "error", "told"),
    [
        ("asyncio", "Future exception was never retrieved\nfuture: <…>", ssl.SSLError(), False),
        ("asyncio", "Future exception was never retrieved\nfuture: <…>", ValueError(), True),
        ("asyncio", "Task exception was never retrieved\nfuture: <…>", OSError(), True),
        ("aiokafka", "Future exception was never retrieved\nfuture: <…>", OSError(), True),
    ],
)
def test_a_closed_connection_is_told_by_whoever_made_it(
    name: str, text: str, error: Exception, told: bool
):
    """Found where asyncio's line came after the one that says why a worker ended."""
    info = (type(error), error, None)
    record = logging.LogRecord(name, logging.ERROR, "f", 1, text, (), info)
    assert RateLimit().filter(record) is told


def test_what_was_seen_is_not_remembered_for_ever():
    limit = RateLimit(clock=Clock())
    for word in map(str, range(5000)):
        text = word.translate(str.maketrans("0123456789", "abcdefghij"))
        limit.filter(logging.LogRecord("x", logging.ERROR, "f", 1, text, (), None))
    assert len(limit._seen) <= 1001


@pytest.mark.parametrize(("error", "short"), [(ConnectionError("x"), True), (KeyError("x"), False)])
def test_a_network_error_is_one_line_and_a_bug_keeps_its_traceback(error: Exception, short: bool):
    try:
        raise error
    except Exception:
        record = logging.LogRecord("x", 40, "f", 1, "failed: %s", ("a\nb",), sys.exc_info())
    assert RateLimit().filter(record)
    text = logging.Formatter().format(record)
    assert (len(text.splitlines()) == 1) is short


@pytest.mark.parametrize(
    ("limit", "share"), [("max 100000", None), ("150000 100000", 2), ("5000 100000", 1), ("", None)]
)
def test_a_containers_cpu_limit_counts(tmp_path: Path, limit: str, share: int | None):
    quota = tmp_path / "cpu.max"
    quota.write_text(limit)
    everything = len(os.sched_getaffinity(0))
    assert cores(quota) == min(share or everything, everything)
    assert cores(tmp_path / "none") == everything
