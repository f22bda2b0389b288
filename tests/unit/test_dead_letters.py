"""What a replay remembers: offsets replayed, in a committed offset and its metadata."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.messages import Headers, Partition, Record
from stream_app.dead_letters.letters import origin_of, replay_headers
from stream_app.dead_letters.replay_log import Replayed


@given(st.lists(st.integers(0, 60)), st.integers(0, 20))
def test_replayed_is_a_set_that_survives_the_broker(offsets: list[int], below: int) -> None:
    replayed = Replayed.parse(below, "")
    for offset in offsets:
        replayed = replayed.plus(offset, offset + 1)
    again = Replayed.parse(replayed.offset, replayed.mark)
    assert again == replayed
    assert {n for n in range(100) if n in again} == {*range(below), *offsets}
    assert all(n in again for n in range(again.offset))


def test_marks_are_spans_beyond_the_offset() -> None:
    replayed = Replayed.parse(3, "7 9-12")
    assert (replayed.offset, replayed.mark) == (3, "7 9-12")
    closed = replayed.plus(3, 9)
    assert (closed.offset, closed.mark) == (13, "")


def letter(*headers: tuple[str, bytes]) -> Record:
    return Record(Partition("mail.dlq", 0), 4, b"key", b"value", headers)


def test_a_replay_keeps_the_first_id_and_the_attempts_and_the_senders_headers() -> None:
    own: Headers = (("traceparent", b"00-1"), ("winnow-error", b"malformed"))
    marks: Headers = (("winnow-source", b"mail/1/7"), ("winnow-attempts", b"2"))
    kept = (
        ("traceparent", b"00-1"),
        ("winnow-origin-id", b"mail/1/7"),
        ("winnow-replay-of", b"mail.dlq/0/4"),
        ("winnow-attempts", b"2"),
    )
    assert replay_headers(letter(*own, *marks)) == kept
    first = ("winnow-origin-id", b"mail/0/1")
    assert dict(replay_headers(letter(*own, *marks, first)))["winnow-origin-id"] == b"mail/0/1"
    assert origin_of(letter()) == "mail.dlq/0/4"  # written by somebody else
