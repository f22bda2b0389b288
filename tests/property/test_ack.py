"""The ack tracker against the plainest model: a list of deliveries and a set of what is done."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream_app.core.messages import Partition, Record
from stream_app.pipeline.ack import AckTracker

PARTITIONS = [Partition("mail", number) for number in range(3)]


class AckMachine(RuleBasedStateMachine):
    """Deliver, finish in any order, revoke: positions always say what the model says."""

    def __init__(self) -> None:
        super().__init__()
        self.acks = AckTracker()
        self.delivered: dict[Partition, list[Record]] = {p: [] for p in PARTITIONS}
        self.finished: set[int] = set()
        self.revoked: list[Record] = []
        self.next = dict.fromkeys(PARTITIONS, 0)

    @rule(partition=st.sampled_from(PARTITIONS), gap=st.integers(0, 5))
    def deliver(self, partition: Partition, gap: int) -> None:
        record = Record(partition, self.next[partition] + gap, None, b"")
        self.next[partition] = record.offset + 1
        assert self.acks.deliver(record)
        self.delivered[partition].append(record)

    @rule(partition=st.sampled_from(PARTITIONS), data=st.data())
    def finish(self, partition: Partition, data: st.DataObject) -> None:
        if self.delivered[partition]:
            record = data.draw(st.sampled_from(self.delivered[partition]))
            self.acks.done(record)
            self.finished.add(id(record))

    @precondition(lambda self: self.revoked)
    @rule(data=st.data())
    def finish_too_late(self, data: st.DataObject) -> None:
        self.acks.done(data.draw(st.sampled_from(self.revoked)))

    @rule(back=st.integers(0, 3))
    def revoke(self, back: int) -> None:
        self.acks.forget()
        for partition in PARTITIONS:
            self.revoked += self.delivered[partition]
            self.delivered[partition] = []
            self.next[partition] = max(0, self.next[partition] - back)  # delivered again, maybe

    @invariant()
    def positions_are_the_finished_prefix(self) -> None:
        expected = {}
        for partition, records in self.delivered.items():
            for record in records:
                if id(record) not in self.finished:
                    break
                expected[partition] = record.offset + 1
        assert self.acks.positions() == expected


AckMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAck = AckMachine.TestCase
