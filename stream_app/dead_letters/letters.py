"""The headers of a dead letter, and those that a replay keeps."""

from __future__ import annotations

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
from stream_app.core.messages import Headers, Record
from stream_app.core.settings import RouteSettings


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
