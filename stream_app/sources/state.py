"""What a source remembers between two runs: where each of its places stands, and what was sent.

One SQLite file that one process writes. It is moved on behind a confirmed delivery only: an item
that the broker has and the file does not know of, because the process died between the two, is
sent again.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Any

from stream_app.core.errors import ConfigError, SourceError

VERSION = 1
DAY = 24 * 60 * 60
FORGET_SECONDS = 400 * DAY  # an item that was not seen for so long may come again
TOUCH_SECONDS = 30 * DAY  # how old that knowledge may be: it saves a write for each item seen
_SCHEMA = f"""
CREATE TABLE places (name TEXT PRIMARY KEY, stands TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sent (place TEXT, item BLOB, seen INTEGER NOT NULL, PRIMARY KEY (place, item))
    WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""


class State:
    """An open file; made by `opened_state`. Its methods may be called on any thread.

    A place is a feed, a mailbox or a file, by a name; an item is known by its id in that place.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._lock = Lock()

    def place(self, name: str) -> dict[str, Any]:
        """Where a place stands, as it was kept; empty for a new one."""
        with self._lock:
            row = self._database.execute(
                "SELECT stands FROM places WHERE name = ?", (name,)
            ).fetchone()
        return dict(json.loads(row[0])) if row else {}

    def unsent(self, place: str, ids: Iterable[str]) -> set[str]:
        """Those of the ids that were not sent yet; the others are remembered for longer."""
        now, new, old = int(time.time()), set(), []
        query = "SELECT seen FROM sent WHERE place = ? AND item = ?"
        with self._lock, self._database as database:
            for each in ids:
                row = database.execute(query, (place, _key(each))).fetchone()
                if row is None:
                    new.add(each)
                elif row[0] < now - TOUCH_SECONDS:
                    old.append((now, place, _key(each)))
            database.executemany("UPDATE sent SET seen = ? WHERE place = ? AND item = ?", old)
        return new

    def record(self, place: str, stands: Mapping[str, Any], sent: Iterable[str] = ()) -> None:
        """Keep where a place stands and what was sent of it, both or neither."""
        now = int(time.time())
        with self._lock, self._database as database:
            database.execute(
                "INSERT OR REPLACE INTO places VALUES (?, ?)", (place, json.dumps(stands))
            )
            database.executemany(
                "INSERT OR REPLACE INTO sent VALUES (?, ?, ?)",
                ((place, _key(each), now) for each in sent),
            )

    def forget(self) -> int:
        """Forget the items that were not seen for FORGET_SECONDS; how many they were."""
        before = int(time.time()) - FORGET_SECONDS
        with self._lock, self._database as database:
            return database.execute("DELETE FROM sent WHERE seen < ?", (before,)).rowcount


def _key(item: str) -> bytes:
    """An id of any length in 16 bytes."""
    return blake2b(item.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@contextmanager
def opened_state(file: Path) -> Iterator[State]:
    """The state in `file`, which is made where it is not there, for the length of the block.

    Raises ConfigError where it cannot be used, or another process does; SourceError for any
    sqlite3.Error in the block, as on a disk that is full.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)  # an address of a feed may hold a password
        database = sqlite3.connect(file, timeout=1, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"the state {file} cannot be opened: {error}") from None
    with closing(database):
        _prepare(database, file)
        try:
            yield State(database)
        except sqlite3.Error as error:
            raise SourceError(
                f"the state {file} cannot be kept: {error}; what was not noted is sent again"
            ) from error


def _prepare(database: sqlite3.Connection, file: Path) -> None:
    try:
        # the lock is kept until the end: a second process would send everything twice
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        # a loss of power may take the last transactions: what they knew is sent again
        database.execute("PRAGMA synchronous = NORMAL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            database.executescript(f"BEGIN EXCLUSIVE; {_SCHEMA} COMMIT;")
        # a write: on a disk that is full nothing is sent, or each start would send the same again
        same = f"PRAGMA user_version = {version or VERSION}"
        database.executescript(f"BEGIN EXCLUSIVE; {same}; COMMIT;")
    except sqlite3.OperationalError as error:
        why = "another process uses it" if "locked" in str(error) else str(error)
        raise ConfigError(f"the state {file} cannot be used: {why}") from None
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{file} is no state of a source: {error}") from None
    if version not in (0, VERSION):
        raise ConfigError(
            f"the state {file} is of another version of Winnow ({version}; this one has {VERSION})"
        )
