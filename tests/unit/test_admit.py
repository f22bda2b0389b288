"""Admission: bounded in records and bytes, per route, with what is paused resumed."""

from stream_app.core.messages import Partition, Record
from stream_app.core.metrics import Metrics
from stream_app.core.settings import LabelSettings
from stream_app.pipeline.admit import InFlight

P0, P1 = Partition("mail", 0), Partition("mail", 1)


class Valve:
    def __init__(self) -> None:
        self.paused: set[Partition] = set()

    def pause(self, partition: Partition) -> None:
        self.paused.add(partition)

    def resume(self, partition: Partition) -> None:
        self.paused.discard(partition)


def in_flight(valve: Valve, records: int = 4, size: int = 1000) -> InFlight:
    settings = LabelSettings(
        name="mail",
        format="text",
        model="m",
        max_in_flight_records=records,
        max_in_flight_bytes=size,
    )
    return InFlight(settings, 64, lambda: valve, Metrics())


def test_the_record_limit_pauses_and_half_of_it_resumes():
    valve = Valve()
    flow = in_flight(valve)
    records = [Record(P0, offset, None, b"x") for offset in range(4)]
    for record in records[:3]:
        flow.enter(record)
    assert valve.paused == set()
    flow.enter(records[3])
    assert valve.paused == {P0}
    flow.leave(records[0])
    assert valve.paused == {P0}
    flow.leave(records[1])
    assert valve.paused == set()


def test_the_byte_limit_pauses_too_headers_and_key_counted():
    valve = Valve()
    flow = in_flight(valve)
    record = Record(P0, 0, b"k" * 400, b"v" * 300, (("h", b"x" * 300),))
    flow.enter(record)
    assert flow.bytes == 1000
    assert valve.paused == {P0}
    flow.leave(record)
    assert (flow.records, flow.bytes, valve.paused) == (0, 0, set())


def test_every_partition_that_still_delivers_is_paused():
    valve = Valve()
    flow = in_flight(valve, records=1)
    flow.enter(Record(P0, 0, None, b""))
    flow.enter(Record(P1, 0, None, b""))
    assert valve.paused == {P0, P1}


def test_a_revoked_partition_is_not_resumed():
    valve = Valve()
    flow = in_flight(valve, records=1)
    record = Record(P0, 0, None, b"")
    flow.enter(record)
    flow.forget()
    flow.leave(record)
    assert valve.paused == {P0}
