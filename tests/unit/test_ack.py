"""The ack tracker by example; tests/property/test_ack.py holds it against a model."""

from stream_app.core.messages import Partition, Record
from stream_app.pipeline.ack import AckTracker

P0, P1 = Partition("mail", 0), Partition("mail", 1)


def test_only_the_contiguous_prefix_may_be_committed():
    acks = AckTracker()
    records = [Record(P0, offset, None, b"") for offset in (3, 4, 5)]
    assert all(acks.deliver(record) for record in records)
    acks.done(records[2])
    assert acks.positions() == {}
    acks.done(records[0])
    assert acks.positions() == {P0: 4}
    acks.done(records[1])
    assert acks.positions() == {P0: 6}


def test_before_means_delivered_before_since_compaction_leaves_gaps():
    acks = AckTracker()
    first, second = Record(P0, 0, None, b""), Record(P0, 900, None, b"")
    acks.deliver(first)
    acks.deliver(second)
    acks.done(second)
    assert acks.positions() == {}
    acks.done(first)
    assert acks.positions() == {P0: 901}


def test_a_second_delivery_under_the_same_assignment_is_refused():
    acks = AckTracker()
    record = Record(P0, 7, None, b"")
    assert acks.deliver(record)
    assert not acks.deliver(Record(P0, 7, None, b""))
    acks.done(record)
    assert not acks.deliver(Record(P0, 7, None, b""))


def test_what_an_earlier_assignment_delivered_cannot_ack_for_the_next():
    acks = AckTracker()
    old = Record(P0, 7, None, b"")
    acks.deliver(old)
    acks.forget()
    again = Record(P0, 7, None, b"")
    assert acks.deliver(again)
    acks.done(old)
    assert acks.positions() == {}
    assert not acks.owns(old)
    assert acks.owns(again)


def test_frozen_starts_nothing_but_deliveries_under_way_still_count():
    acks = AckTracker()
    record = Record(P0, 0, None, b"")
    acks.deliver(record)
    acks.freeze()
    assert not acks.owns(record)
    acks.done(record)
    assert acks.positions() == {P0: 1}
    acks.forget()
    fresh = Record(P1, 0, None, b"")
    acks.deliver(fresh)
    assert acks.owns(fresh)


def test_oldest_is_the_first_delivered_that_is_still_open():
    acks = AckTracker()
    records = [Record(P0, offset, None, b"") for offset in range(3)]
    for record in records:
        acks.deliver(record)
    acks.done(records[0])
    assert acks.oldest() == {P0: records[1]}
