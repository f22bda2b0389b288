"""The table of `make test-faults`."""

from __future__ import annotations

from collections.abc import Iterator

from tests.integration.faults.account import Totals

HEAD = (
    "fault", "broker", "mode", "in", "labelled", "dead", "duplicate", "lost", "mislabelled",
    "seconds",
)  # fmt: skip


class Table:
    """One row a run: what was counted, or why it was not."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, ...]] = []
        self._totals: list[Totals] = []
        self._notes: list[str] = []

    def add(self, fault: str, broker: str, mode: str, totals: Totals) -> None:
        """A run that was counted."""
        t = totals
        seconds = "" if t.seconds is None else f"{t.seconds:.1f}"
        counts = (t.sent, t.labelled, t.dead, t.duplicate, t.lost, t.mislabelled)
        self._totals.append(totals)
        self._rows.append((fault, broker, mode, *map(str, counts), seconds))

    def note(self, line: str) -> None:
        """A line to print besides the table."""
        self._notes.append(line)

    def leave_out(self, fault: str, broker: str, mode: str, why: str) -> None:
        """A fault that cannot be had on a broker."""
        self._rows.append((fault, broker, mode, f"n/a: {why}"))

    def lines(self) -> Iterator[str]:
        """Notes, the table in Markdown, and the line that says it all."""
        yield from self._notes
        if not self._rows:
            return
        yield f"| {' | '.join(HEAD)} |"
        yield "|" + "---|" * len(HEAD)
        for row in self._rows:
            yield f"| {' | '.join(row)} |"
        lost = sum(totals.lost for totals in self._totals)
        wrong = sum(totals.mislabelled for totals in self._totals)
        yield f"faults: {len(self._totals)} run, lost {lost}, mislabelled {wrong}"


TABLE = Table()
