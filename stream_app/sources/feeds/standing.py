"""Where a feed stands between two checks, and when the next one is due."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

LEAST_SECONDS = 5 * 60.0
MOST_SECONDS = 24 * 60 * 60.0
FIRST_SECONDS = 30 * 60.0
# Together they settle where one check in four finds something new.
FASTER, SLOWER = 0.5, 1.25
GIVE_UP_FAILURES = 20  # in a row: nearly a fortnight, most of them a day apart
JITTER = 0.1  # of an interval: feeds that were added together drift apart


@dataclass(frozen=True, slots=True)
class Standing:
    """What is kept of a feed. Times are in seconds since the epoch."""

    interval: float = FIRST_SECONDS
    due: float = 0.0
    failures: int = 0  # in a row
    moved: str = ""  # where it is, if it said that it moved for good
    etag: str = ""
    modified: str = ""
    digest: str = ""  # of the last document

    @classmethod
    def of(cls, kept: dict[str, Any], now: float) -> Standing:
        """As the state has it; a new feed is due. A clock that was wrong once does not put a check
        off for ever."""
        known = {field.name for field in fields(cls)}
        found = cls(**{name: value for name, value in kept.items() if name in known})
        return replace(found, due=min(found.due or now, now + MOST_SECONDS))

    @property
    def kept(self) -> dict[str, Any]:
        """For the state."""
        return asdict(self)

    @property
    def given_up(self) -> bool:
        """Whether it has failed so often that nobody asks any more."""
        return self.failures >= GIVE_UP_FAILURES

    def checked(self, news: bool, now: float, **seen: str) -> Standing:
        """After a check that went well. `seen` are the fields that came with a document."""
        interval = min(
            max(self.interval * (FASTER if news else SLOWER), LEAST_SECONDS), MOST_SECONDS
        )
        return replace(self, interval=interval, due=now + _about(interval), failures=0, **seen)

    def failed(self, retry_after: float, gone: bool, now: float) -> Standing:
        """After one that did not. What it moved to is asked no more: it may have been a mistake."""
        failures = GIVE_UP_FAILURES if gone else self.failures + 1
        wait = min(self.interval * 2.0 ** min(failures, 16), MOST_SECONDS)
        wait = max(_about(wait), retry_after)
        after = replace(self, failures=failures, due=now + wait)
        if not self.moved:
            return after
        return replace(after, moved="", etag="", modified="", digest="")

    def revived(self, now: float) -> Standing:
        """At a start: one that was given up has one more chance."""
        if not self.given_up:
            return self
        return replace(self, failures=GIVE_UP_FAILURES - 1, due=now)


def _about(seconds: float) -> float:
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)
