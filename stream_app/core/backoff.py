"""How long to wait before the next attempt at something that fails."""

from __future__ import annotations


class Backoff:
    """Waits in seconds, twice as long after each failure in a row."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = self._next = first
        self._longest = longest

    def failed(self) -> float:
        """It failed once more: the wait before the next attempt."""
        wait, self._next = self._next, min(2 * self._next, self._longest)
        return wait

    def succeeded(self) -> None:
        """The next failure is a first one again."""
        self._next = self._first
