"""The runs of `make test-faults`: printed, kept in docs/faults.csv, summed for reliability.md."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.integration.faults.account import Totals

KEPT = Path(__file__).resolve().parents[3] / "docs" / "faults.csv"


class Row(NamedTuple):
    """One run as it was counted; a number is 0 or more, the wait may be unknown."""

    breaks: str  # the class of the fault
    fault: str
    broker: str
    delivery: str
    messages: str
    labelled: str
    dead_letters: str
    duplicates: str
    lost: str
    mislabelled: str
    wait_seconds: str = ""

    @property
    def run(self) -> tuple[str, str, str]:
        """What a later run replaces."""
        return self.fault, self.broker, self.delivery


class Table:
    """The rows of one test session."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._passed: list[Row] = []
        self._notes: list[str] = []

    def add(self, breaks: str, fault: str, broker: str, delivery: str, totals: Totals) -> Row:
        """A run that was counted, whatever came of it; it is printed."""
        t = totals
        counts = (t.sent, t.labelled, t.dead, t.duplicate, t.lost, t.mislabelled)
        seconds = "" if t.seconds is None else f"{t.seconds:.1f}"
        row = Row(breaks, fault, broker, delivery, *map(str, counts), seconds)
        self._rows.append(row)
        return row

    def passed(self, row: Row) -> None:
        """Nothing was wrong with this run: it may be kept."""
        self._passed.append(row)

    def note(self, line: str) -> None:
        """A line to print before the table."""
        self._notes.append(line)

    def lines(self) -> Iterator[str]:
        """The notes, the table in Markdown, and a line with its sums."""
        yield from self._notes
        if not self._rows:
            return
        yield f"| {' | '.join(Row._fields)} |"
        yield "|" + "---|" * len(Row._fields)
        for row in self._rows:
            yield f"| {' | '.join(row)} |"
        lost = sum(int(row.lost) for row in self._rows)
        wrong = sum(int(row.mislabelled) for row in self._rows)
        yield f"faults: {len(self._rows)} run, lost {lost}, mislabelled {wrong}"

    def keep(self, file: Path = KEPT) -> None:
        """Put the runs that passed into the file, each in place of an earlier one of the same."""
        kept = {row.run: row for row in (*read_rows(file), *self._passed)}
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(Row._fields)
            writer.writerows(sorted(kept.values()))


def read_rows(file: Path = KEPT) -> list[Row]:
    """What `keep` wrote."""
    with file.open(encoding="utf-8", newline="") as rows:
        return [Row(**row) for row in csv.DictReader(rows)]


def summary(rows: Iterable[Row]) -> Mapping[str, Sequence[str]]:
    """By class of fault, the cells of its row in docs/reliability.md: runs, messages, duplicates
    in each delivery mode, longest wait."""
    classes: dict[str, list[Row]] = {}
    for row in rows:
        classes.setdefault(row.breaks, []).append(row)
    return {
        breaks: (
            str(len(runs)),
            f"{sum(int(run.messages) for run in runs):,}",
            _duplicates(runs, "at_least_once"),
            _duplicates(runs, "effectively_once"),
            _longest(runs),
        )
        for breaks, runs in classes.items()
    }


def _duplicates(runs: Sequence[Row], delivery: str) -> str:
    some = [run for run in runs if run.delivery == delivery]
    repeated = sum(int(run.duplicates) for run in some)
    return f"{repeated:,} of {sum(int(run.messages) for run in some):,}"


def _longest(runs: Sequence[Row]) -> str:
    waits = [float(run.wait_seconds) for run in runs if run.wait_seconds]
    return f"{max(waits)} s" if waits else ""


TABLE = Table()
