"""The headers of a dead letter, and those that a replay keeps."""

from __future__ import annotations

import hashlib
import re

from stream_app.core.headers import (
    ATTEMPTS,
    ORIGIN_ID,
    REPLAY_OF,
    ROUTE,
    SOURCE,
    attempts,
    encoded,
    foreign,
)
from stream_app.core.messages import Headers, Partition, Record
from stream_app.core.settings import RouteSettings

Place = tuple[Partition, int]  # where a letter lies: partition, offset
_PLACE = re.compile(r"([A-Za-z0-9._-]{1,249})/([0-9]{1,9})/([0-9]{1,18})")


def id_of(letter: Record) -> str:
    """The id of the failed record: the `topic/partition/offset` it was read from."""
    return letter.header(SOURCE) or letter.id


def origin_of(letter: Record) -> str:
    """The id it had first, which every replay keeps."""
    return letter.header(ORIGIN_ID) or id_of(letter)


def belongs(letter: Record, route: RouteSettings) -> bool:
    """Whether it is the route's: two may share a topic of dead letters."""
    return letter.header(ROUTE) in (None, route.name)


def attempts_of(letter: Record) -> int:
    """How often it has failed; 1 without the header."""
    return attempts(letter) or 1


def replay_headers(letter: Record) -> Headers:
    """The headers it came with, its first id, which letter it was, and how often it was tried."""
    return (
        *foreign(letter.headers),
        *encoded(
            (ORIGIN_ID, origin_of(letter)),
            (REPLAY_OF, letter.id),
            (ATTEMPTS, str(attempts_of(letter))),
        ),
    )


def replay_of(record: Record) -> Place | None:
    """The letter that a record says it was. Any producer can say so."""
    found = _PLACE.fullmatch(record.header(REPLAY_OF) or "")
    return None if found is None else (Partition(found[1], int(found[2])), int(found[3]))


def content(record: Record) -> bytes:
    """A digest of key and value: a replay changes neither."""
    key = b"" if record.key is None else b"k" + record.key
    return hashlib.sha256(len(key).to_bytes(8) + key + (record.value or b"")).digest()
