"""When a feed is checked next: by how often it has news, and how it fails."""

from __future__ import annotations

import random

import pytest

from stream_app.sources.feeds.standing import (
    FIRST_SECONDS,
    GIVE_UP_FAILURES,
    LEAST_SECONDS,
    MOST_SECONDS,
    Standing,
)

NOW = 1_800_000_000.0
DAY = 24 * 60 * 60


def test_the_interval_stays_between_five_minutes_and_a_day():
    busy = quiet = Standing()
    for _ in range(50):
        busy, quiet = busy.checked(True, NOW), quiet.checked(False, NOW)
    assert busy.interval == LEAST_SECONDS == 300
    assert quiet.interval == MOST_SECONDS == DAY
    assert 0.9 * DAY <= quiet.due - NOW <= 1.1 * DAY


def test_a_feed_with_news_every_hour_is_checked_some_times_an_hour():
    random.seed(0)
    standing, now, checks, told = Standing(), 0.0, 0, 0
    while now < 30 * DAY:
        hour = int(now // 3600)
        standing = standing.checked(hour > told, now)
        told, now, checks = hour, standing.due, checks + 1
    assert 2 <= checks / (30 * 24) <= 6


def test_failures_put_a_check_off_until_it_is_given_up():
    standing, waits = Standing(interval=300), []
    while not standing.given_up:
        standing = standing.failed(0, False, NOW)
        waits.append(standing.due - NOW)
    assert len(waits) == GIVE_UP_FAILURES
    assert waits[0] < 700
    assert 7 * DAY < sum(waits) < 21 * DAY
    assert standing.revived(NOW).due == NOW
    assert standing.revived(NOW).failed(0, False, NOW).given_up
    assert standing.revived(NOW).checked(False, NOW).failures == 0


def test_what_is_gone_is_given_up_at_once():
    assert Standing().failed(0, True, NOW).given_up


@pytest.mark.parametrize(("asked", "least"), [(7200, 7200), (1, 0.9 * 3600)])
def test_a_server_is_left_alone_as_long_as_it_asks(asked: float, least: float):
    due = Standing(interval=FIRST_SECONDS).failed(asked, False, NOW).due
    assert least <= due - NOW <= 1.1 * DAY


def test_where_it_moved_is_forgotten_when_that_fails():
    moved = Standing(moved="http://new.example/", etag="x", digest="y")
    assert moved.failed(0, False, NOW).moved == ""
    assert moved.failed(0, False, NOW).etag == ""
    assert Standing(etag="x").failed(0, False, NOW).etag == "x"


def test_a_clock_that_was_wrong_does_not_put_a_check_off_for_ever():
    kept = Standing(due=NOW + 3650 * DAY, etag="x").kept
    assert Standing.of(kept | {"of a later version": 1}, NOW) == Standing(due=NOW + DAY, etag="x")
    assert Standing.of({}, NOW) == Standing(due=NOW), "a new feed is due"
