"""What happens now, for every viewer: the last labels as server-sent events.

All viewers share one list. Each knows how far it has read; one that falls behind the list misses
lines, and sees their numbers jump. An event's id is the number of its last label: a page that was
cut off says it as Last-Event-ID, and gets what it missed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import islice, takewhile
from threading import Lock
from typing import Any

Line = tuple[int, Mapping[str, Any]]  # a label with its number

KEPT = 2_000
RATE_SECONDS = 10.0
MOST_BATCHES = 1_000  # in that time
MOST_LINES = 200  # of one event
PATIENCE_SECONDS = 10.0  # without news: then a comment says that the line still stands


class Live:
    """The last labels, and who waits for the next. `tell` and `events` are the event loop's."""

    def __init__(self, lines: Sequence[Line], problems: Callable[[], Mapping[str, str]]) -> None:
        self._lines = deque(lines, KEPT)
        self._problems = problems
        self._news = asyncio.Event()
        self._lock = Lock()  # answers are made on other threads
        self._arrived: deque[tuple[float, Counter[str]]] = deque(maxlen=MOST_BATCHES)
        self._stopped = False
        self.viewers = 0

    @property
    def last(self) -> int:
        """The number of the last label."""
        return self._lines[-1][0] if self._lines else 0

    def lines(self, wanted: Callable[[Mapping[str, Any]], bool], most: int) -> list[Any]:
        """The last wanted labels, the newest first."""
        with self._lock:
            newest_first = [line for _, line in reversed(self._lines)]
        return list(islice(filter(wanted, newest_first), most))

    def find(self, label_id: str) -> Mapping[str, Any] | None:
        """The label of an id, if it is among the last."""
        return next(iter(self.lines(lambda line: line["id"] == label_id, 1)), None)

    def rate(self, route: str) -> float:
        """Labels that came a second in the last RATE_SECONDS, whatever their records' age."""
        since = time.monotonic() - RATE_SECONDS
        with self._lock:
            return sum(n[route] for when, n in self._arrived if when > since) / RATE_SECONDS

    def tell(self, lines: Sequence[Line]) -> None:
        """Labels came; or none, and something else may be new."""
        with self._lock:
            self._lines.extend(lines)
            if lines:
                by_route = Counter(line["route"] for _, line in lines)
                self._arrived.append((time.monotonic(), by_route))
        self._news.set()
        self._news = asyncio.Event()

    def stop(self) -> None:
        """End every viewer's events: the server is about to stop."""
        self._stopped = True
        self.tell(())

    def _since(self, after: int) -> list[Mapping[str, Any]]:
        newer = takewhile(lambda each: each[0] > after, reversed(self._lines))
        return [line for _, line in islice(newer, MOST_LINES)][::-1]

    async def events(self, after: int) -> AsyncIterator[bytes]:
        """Server-sent events from the label behind number `after`, until `stop`."""
        self.viewers += 1
        told: Mapping[str, str] | None = None
        try:
            while not self._stopped:
                news = self._news
                problems = self._problems()
                if problems != told:
                    told = problems
                    yield _event("status", None, {"problems": problems})
                if self.last > after:
                    found = self._since(after)
                    after = self.last
                    yield _event("labels", after, found)
                    continue
                try:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        await news.wait()
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self.viewers -= 1


def _event(name: str, number: int | None, data: object) -> bytes:
    identified = "" if number is None else f"id: {number}\n"
    return f"event: {name}\n{identified}data: {json.dumps(data)}\n\n".encode()
