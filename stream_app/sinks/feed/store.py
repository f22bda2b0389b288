"""The items that are served: an SQLite file, so that a restart begins where it ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from stream_app.core.errors import ConfigError

_SCHEMA = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS items (
        route TEXT NOT NULL,
        feed TEXT NOT NULL,
        key TEXT NOT NULL,
        title TEXT NOT NULL,
        link TEXT NOT NULL,
        published REAL NOT NULL,
        label TEXT NOT NULL,
        confidence REAL NOT NULL,
        classified REAL NOT NULL,
        stored REAL NOT NULL,
        PRIMARY KEY (route, key, feed)
    );
    CREATE INDEX IF NOT EXISTS by_feed ON items (route, feed, published);
"""
_KNOWN = "SELECT 1 FROM items WHERE route = ? AND key = ? AND classified >= ?"
_OLDER = "DELETE FROM items WHERE route = ? AND key = ?"
_INSERT = "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_TRIM = """
    DELETE FROM items WHERE route = ? AND feed = ? AND key NOT IN (
        SELECT key FROM items WHERE route = ? AND feed = ? ORDER BY published DESC, key LIMIT ?
    )
"""
_LATEST = "SELECT * FROM items WHERE route = ? AND feed = ? ORDER BY published DESC, key LIMIT ?"


class Item(NamedTuple):
    """One item of one feed. Times are seconds since the epoch."""

    route: str
    feed: str  # a label, or `unsure`
    key: str  # of the record: a UUID
    title: str
    link: str  # http(s), or ''
    published: float
    label: str
    confidence: float
    classified: float
    stored: float


class Store:
    """Opened anew for each use: it is written on one thread and read on another."""

    def __init__(self, file: Path, items: int) -> None:
        """`items` are kept of each feed. Raises ConfigError for a file that cannot be used."""
        self._file = file
        self._most = items
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as database:
                database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"feed_sink.file {file} cannot be used: {error}") from None

    def put(self, records: Sequence[Sequence[Item]]) -> None:
        """All items of each record, in place of those of an earlier label of it, never of a later
        one or the same. Raises sqlite3.Error."""
        with self._open() as database, database:
            for items in records:
                first = items[0]
                where = (first.route, first.key)
                if database.execute(_KNOWN, (*where, first.classified)).fetchone() is None:
                    database.execute(_OLDER, where)
                    database.executemany(_INSERT, items)
            for route, feed in {(item.route, item.feed) for items in records for item in items}:
                database.execute(_TRIM, (route, feed, route, feed, self._most))

    def latest(self, route: str, feed: str) -> list[Item]:
        """The items of a feed, newest first. Raises sqlite3.Error."""
        with self._open() as database:
            return [Item(*row) for row in database.execute(_LATEST, (route, feed, self._most))]

    def feeds(self) -> list[tuple[str, str]]:
        """Route and label of every feed that had an item. Raises sqlite3.Error."""
        with self._open() as database:
            return database.execute(
                "SELECT DISTINCT route, feed FROM items ORDER BY 1, 2"
            ).fetchall()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._file)) as database:
            yield database
