"""The history of a dashboard: counts by window in a SQLite file, written by one thread.

| table       | a row is                                                                      |
|-------------|-------------------------------------------------------------------------------|
| `names`     | a route, a label, a dead letter's code, a model, or a value of a pass field   |
| `counts`    | how often `what` was seen for `subject` in one bucket; `unsure` of them. A     |
|             | record of several labels counts for each; MORE has how many too many that is   |
| `positions` | the next offset of one partition; `topic` is its topic with the topic's id     |
| `seen`      | the identity of a label or dead letter that is counted                        |
| `recent`    | one of the last labels                                                        |

Counts, identities and positions of a batch are one transaction: after a crash reading goes on where
the counts stand. Copies of a label (`id`) count once, among the last MAX_SEEN or more.

It is bounded: of each step only the buckets that the page can ask for (`windows.py`), and
MAX_VALUES values of a field; further ones are counted together as OTHER.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from stream_app.core.errors import ConfigError
from stream_app.core.messages import Partition
from stream_app.web.dashboard.sighting import Sighting
from stream_app.web.dashboard.windows import BY_STEP, slot

VERSION = 1  # of the tables: a file of another version is begun anew
MAX_SEEN = 500_000
MAX_VALUES = 10_000
MAX_RECENT = 2_000
OTHER = "(other)"

# kinds of names
ROUTE, LABEL, DEAD, MODEL, SECONDS = "route", "label", "dead", "model", "seconds"
MORE = "more"  # labels of a record beyond its first
FIELD = "field:"  # before the field's name

_TABLES = """
CREATE TABLE names (id INTEGER PRIMARY KEY, route TEXT, kind TEXT, value TEXT,
  UNIQUE (route, kind, value));
CREATE TABLE counts (step INTEGER, subject INTEGER, bucket INTEGER, what INTEGER,
  n INTEGER, unsure INTEGER, PRIMARY KEY (step, subject, bucket, what)) WITHOUT ROWID;
CREATE TABLE positions (topic TEXT, number INTEGER, offset INTEGER, PRIMARY KEY (topic, number));
CREATE TABLE seen (identity INTEGER PRIMARY KEY, generation INTEGER);
CREATE TABLE recent (seq INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT);
"""
_ADD = """
INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET n = n + excluded.n, unsure = unsure + excluded.unsure
"""

Key = tuple[int, int, int, int]  # step, subject, bucket, what


def opened(file: Path) -> sqlite3.Connection:
    """A connection to the history. Raises ConfigError where the file cannot be used."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            _begin_anew(db)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"dashboard.history {file} cannot be used: {error}") from None
    return db


def _begin_anew(db: sqlite3.Connection) -> None:
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    if tables and not db.execute("PRAGMA user_version").fetchone()[0]:
        raise sqlite3.Error("it is a database of something else")
    drops = (f"DROP TABLE {name};" for (name,) in tables if not name.startswith("sqlite_"))
    db.executescript(f"BEGIN; {''.join(drops)} {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")


class History:
    """Writes what was sighted. One thread at a time."""

    def __init__(self, file: Path) -> None:
        self._db = opened(file)
        self._names: dict[tuple[str, str, str], int] = {}
        self._values: Counter[tuple[str, str]] = Counter()  # how many, by route and kind
        self._know_names()
        found = self._db.execute("SELECT max(generation) FROM seen").fetchone()[0]
        self._generation = int(found or 0)
        rows = self._db.execute("SELECT count(*) FROM seen WHERE generation = ?", (found,))
        self._in_generation = int(rows.fetchone()[0])

    def positions(self) -> Mapping[Partition, int]:
        """Where reading goes on."""
        rows = self._db.execute("SELECT topic, number, offset FROM positions")
        return {Partition(topic, number): offset for topic, number, offset in rows}

    def add(
        self, sightings: Sequence[Sighting], positions: Mapping[Partition, int], now: int
    ) -> list[tuple[int, Mapping[str, Any]]]:
        """Count a batch, and remember where reading stands. Returns the lines of its labels that
        were not seen before, each with its number."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            fresh = [each for each in sightings if self._is_first(each.identity)]
            self._count(fresh, now)
            self._db.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?)",
                [(*partition, offset) for partition, offset in positions.items()],
            )
            lines = [(self._list(each.shown), each.shown) for each in fresh if each.shown]
            if lines:
                self._db.execute("DELETE FROM recent WHERE seq <= ?", (lines[-1][0] - MAX_RECENT,))
        except BaseException:
            self._db.execute("ROLLBACK")
            self._know_names()
            raise
        self._db.execute("COMMIT")
        return lines

    def prune(self, now: int) -> None:
        """Drop the buckets that nobody can ask for any more, and names that are in none."""
        self._db.execute("BEGIN IMMEDIATE")
        for step, over in BY_STEP.items():
            self._db.execute(
                "DELETE FROM counts WHERE step = ? AND bucket < ?", (step, over.oldest(now))
            )
        self._db.execute(
            "DELETE FROM names WHERE id NOT IN"
            " (SELECT subject FROM counts UNION SELECT what FROM counts)"
        )
        self._db.execute("COMMIT")
        self._know_names()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _is_first(self, identity: int) -> bool:
        added = self._db.execute(
            "INSERT OR IGNORE INTO seen VALUES (?, ?)", (identity, self._generation)
        )
        if added.rowcount == 0:
            return False
        self._in_generation += 1
        if self._in_generation >= MAX_SEEN:  # the generation before this one has had its time
            self._db.execute("DELETE FROM seen WHERE generation < ?", (self._generation,))
            self._generation, self._in_generation = self._generation + 1, 0
        return True

    def _count(self, sightings: Sequence[Sighting], now: int) -> None:
        counts: Counter[Key] = Counter()
        unsure: Counter[Key] = Counter()
        oldest = {step: over.oldest(now) for step, over in BY_STEP.items()}
        for each in sightings:
            pairs = list(self._pairs(each))
            for step in oldest:
                bucket = each.at - each.at % step
                if bucket < oldest[step]:
                    continue
                for subject, what, n, doubted in pairs:
                    counts[step, subject, bucket, what] += n
                    unsure[step, subject, bucket, what] += doubted
        self._db.executemany(_ADD, [(*key, n, unsure[key]) for key, n in counts.items()])

    def _pairs(self, each: Sighting) -> Iterator[tuple[int, int, int, int]]:
        """For whom a sighting counts, as what, how often, and how often of that in doubt."""
        route = self._name(each.route, ROUTE, each.route)
        if each.model:
            yield route, self._name(each.route, MODEL, each.model), 1, 0
        if each.seconds is not None:
            yield route, self._name(each.route, SECONDS, str(slot(each.seconds))), 1, 0
        fields = (each.fields or {}).items()
        values = [self._name(each.route, FIELD + field, value) for field, value in fields]
        for name in each.names:
            what = self._name(each.route, each.kind, name)
            yield from ((who, what, 1, name in each.doubted) for who in (route, *values))
        if len(each.names) > 1:
            more, doubted = len(each.names) - 1, len(each.doubted) - each.unsure
            what = self._name(each.route, MORE, MORE)
            yield from ((who, what, more, doubted) for who in (route, *values))

    def _name(self, route: str, kind: str, value: str) -> int:
        known = self._names.get((route, kind, value))
        if known is not None:
            return known
        if self._values[route, kind] >= MAX_VALUES and value != OTHER:
            return self._name(route, kind, OTHER)
        made = self._db.execute(
            "INSERT INTO names (route, kind, value) VALUES (?, ?, ?)", (route, kind, value)
        ).lastrowid
        assert made is not None
        self._names[route, kind, value] = made
        self._values[route, kind] += 1
        return made

    def _know_names(self) -> None:
        rows = self._db.execute("SELECT id, route, kind, value FROM names").fetchall()
        self._names = {(route, kind, value): number for number, route, kind, value in rows}
        self._values = Counter((route, kind) for route, kind, _ in self._names)

    def _list(self, line: Mapping[str, Any] | None) -> int:
        written = json.dumps(line, ensure_ascii=False)
        added = self._db.execute("INSERT INTO recent (line) VALUES (?)", (written,)).lastrowid
        assert added is not None
        return added


def last_lines(file: Path) -> list[tuple[int, Mapping[str, Any]]]:
    """The last labels, each with its number, oldest first."""
    with closing(opened(file)) as db:
        return [
            (seq, json.loads(line))
            for seq, line in db.execute("SELECT seq, line FROM recent ORDER BY seq")
        ]
