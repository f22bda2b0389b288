"""Faults of what administrators do: offsets, partitions, rights, limits."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient, OffsetAndMetadata, TopicPartition
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ConfigResource,
    ConfigResourceType,
    NewPartitions,
    ResourcePattern,
    ResourceType,
)
from kafka.errors import NoError

from tests.conftest import KAFKA
from tests.integration.faults.on_logs import MISSED, half
from tests.integration.faults.registry import BOTH, NO_LIMITS, fault
from tests.integration.faults.scene import Scene, configure, gauge, until

LIMITS = {"tansu": NO_LIMITS}
LOW_LIMIT = 900  # bytes of a batch: one label fits, two do not
RIGHTS = """\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:nobody
"""


def _admin(scene: Scene, action: Callable[[KafkaAdminClient], Any]) -> Any:
    admin = KafkaAdminClient(bootstrap_servers=scene.stage.address)
    try:
        return action(admin)
    finally:
        admin.close()


def add_partitions(scene: Scene, total: int) -> None:
    """Let the input topic have so many."""
    _admin(scene, lambda admin: admin.create_partitions({scene.topic: NewPartitions(total)}))
    with scene.stage.reader(scene.topic) as reader:
        found = reader.partitions_for_topic
        until(lambda: len(found(scene.topic) or ()) == total, 60, "the new partitions")
    scene.stage.partitions = total


@fault(modes=BOTH, share=0.3, apart=LIMITS, duplicates=False)
def partitions_added(scene: Scene) -> None:
    """Two more partitions under a worker, and records in them."""
    before, after = half(scene, 0, 10), half(scene, 10, 20)
    scene.produce(before)
    worker = scene.start()
    scene.wait(lambda: scene.complete)
    add_partitions(scene, 6)
    scene.produce(after)
    scene.finish(worker)


@fault(own_broker=True, modes=BOTH, share=0.5, apart=LIMITS)
def deleted_under_a_worker(scene: Scene) -> None:
    """Retention overtakes a worker that is paused: what it missed is said and counted."""
    assert scene.broker is not None
    first, second = half(scene, 0, 10), half(scene, 10, 20)
    scene.produce(first)
    worker = scene.start()
    scene.wait(lambda: scene.complete)
    worker.process.send_signal(signal.SIGSTOP)
    scene.produce(second)
    cut = len(first) // 4 + 40
    _admin(
        scene,
        lambda admin: admin.delete_records({TopicPartition(scene.topic, p): cut for p in range(4)}),
    )
    missed = sum(1 for place, n in scene.sent.items() if n in second and place.offset < cut)
    scene.sent = {p: n for p, n in scene.sent.items() if n in first or p.offset >= cut}
    worker.process.send_signal(signal.SIGCONT)
    scene.wait(lambda: scene.complete)
    assert MISSED in worker.output
    # a fetch may have been under way: what it brought is labelled
    assert 0 < gauge(worker, "winnow_records_missed_total") <= missed
    scene.finish(worker)


def _moved(scene: Scene, offsets: Mapping[int, int]) -> bool:
    """Whether the broker let an administrator set the group's offsets."""
    to = {
        TopicPartition(scene.topic, p): OffsetAndMetadata(at, "", -1) for p, at in offsets.items()
    }
    answers = _admin(scene, lambda admin: admin.alter_group_offsets(scene.stage.group, to))
    return set(answers.values()) == {NoError}


@fault(modes=BOTH, share=0.3, apart=LIMITS, duplicates=False, goes_back=True)
def offsets_moved_back(scene: Scene) -> None:
    """An administrator sends the group back: refused while a worker runs; then all comes again."""
    scene.produce()
    worker = scene.start()
    scene.wait(lambda: scene.complete)
    back = dict.fromkeys(range(scene.stage.partitions), 0)
    assert not _moved(scene, back)
    scene.finish(worker)
    assert _moved(scene, back)
    scene.account.begin_again()
    scene.finish(scene.start())


@fault(modes=BOTH, share=0.3, apart=LIMITS, duplicates=False)
def offsets_moved_forward(scene: Scene) -> None:
    """An administrator sends the stopped group over records that nobody labelled: the worker says
    where it goes on, and counts it."""
    first, second = half(scene, 0, 10), half(scene, 10, 20)
    scene.produce(first)
    scene.finish(scene.start())
    scene.produce(second)
    over = len(first) // scene.stage.partitions + 50
    assert _moved(scene, dict.fromkeys(range(scene.stage.partitions), over))
    scene.sent = {p: n for p, n in scene.sent.items() if n in first or p.offset >= over}
    worker = scene.start()
    scene.wait(lambda: scene.complete)
    assert "were set by an administrator" in worker.output
    assert f"Partition: offset 0: {over}, 1: {over}" in worker.output
    assert gauge(worker, "winnow_offsets_moved_total") == scene.stage.partitions
    scene.finish(worker)


@fault(modes=BOTH, share=0.3, apart=LIMITS, duplicates=False)
def append_time_and_compaction(scene: Scene) -> None:
    """The broker stamps records itself; the outputs are compacted."""
    for topic in (scene.topic, f"{scene.topic}.labels"):
        configure(scene, topic, {"message.timestamp.type": "LogAppendTime"})
    configure(scene, f"{scene.topic}.labels", {"cleanup.policy": "compact"})
    scene.produce()
    scene.finish(scene.start())


@contextmanager
def without(scene: Scene, kind: ResourceType, name: str, operation: ACLOperation) -> Iterator[None]:
    """Everybody's right is gone, until the end of the block."""
    pattern = ResourcePattern(kind, name)
    acl = ACL("User:ANONYMOUS", "*", operation, ACLPermissionType.DENY, pattern)
    _admin(scene, lambda admin: admin.create_acls([acl]))
    yield
    gone = ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, pattern)
    _admin(scene, lambda admin: admin.delete_acls([gone]))


@fault(own_broker=True, modes=BOTH, share=0.5, apart=LIMITS, options=RIGHTS)
def right_to_write_taken_away(scene: Scene) -> None:
    """The right to write labels is gone for 5 s: retried until it is back."""
    scene.produce()
    worker = scene.start()
    scene.reach(0.1)
    with without(scene, ResourceType.TOPIC, f"{scene.topic}.labels", ACLOperation.WRITE):
        time.sleep(5)  # the fault itself
    scene.finish(worker)


@fault(own_broker=True, modes=BOTH, share=0.5, apart=LIMITS, options=RIGHTS)
def right_to_read_taken_away(scene: Scene) -> None:
    """The right to read the input is gone: the worker ends and says so; the next one goes on."""
    scene.produce()
    worker = scene.start()
    scene.reach(0.1)
    with without(scene, ResourceType.TOPIC, scene.topic, ACLOperation.READ):
        assert worker.process.wait(60) == 1
        assert "the consumer crashed (TopicAuthorizationFailedError" in worker.output
    scene.workers.remove(worker)
    scene.finish(scene.start())


@fault(modes=BOTH, share=0.5, apart=LIMITS, own_broker=True)
def throttled(scene: Scene) -> None:
    """A quota of every client: what it reads and writes is a trickle from then on."""
    scene.produce()
    worker = scene.start()
    scene.reach(0.1)
    begun = time.monotonic()
    rate = 25 * len(scene.messages)  # the labels take half a minute
    scene.strike(lambda: _allow(scene, rate), worker)
    scene.finish(worker)
    assert time.monotonic() - begun > 10, "nobody was throttled: the fault would not count"


def _allow(scene: Scene, rate: int) -> None:
    """So many bytes a second for each client, to read and to write."""
    tool = [KAFKA, "tool", "kafka.admin.ConfigCommand", "--bootstrap-server", scene.stage.address]
    quota = f"producer_byte_rate={rate},consumer_byte_rate={rate}"
    what = ["--alter", "--add-config", quota, "--entity-type", "clients", "--entity-default"]
    subprocess.run([*tool, *what], check=True, capture_output=True)


@fault(modes=BOTH, share=0.2, apart=LIMITS, own_broker=True)
def record_limit_lowered(scene: Scene) -> None:
    """message.max.bytes of the broker is lowered under a worker, below its batches, and raised."""
    scene.produce()
    worker = scene.start()
    scene.reach(0.3)
    scene.strike(lambda: _limit(scene, LOW_LIMIT), worker)
    scene.reach(0.7)
    _limit(scene, 1_048_588)
    scene.finish(worker)
    assert set(scene.totals().errors) <= {"label_too_large"}


def _limit(scene: Scene, most: int) -> None:
    limit = ConfigResource(ConfigResourceType.BROKER, "1", {"message.max.bytes": str(most)})
    _admin(scene, lambda admin: admin.alter_configs([limit]))


@fault(modes=BOTH, share=0.3, partitions=1000, own_broker=True, apart=LIMITS)
def thousand_partitions(scene: Scene) -> None:
    """The input has a thousand; a second worker comes in mid-stream, and takes half of them."""
    slow = scene.pace(60)
    scene.produce()
    first = scene.start(FAULT_PACE=slow)
    scene.reach(0.1)
    second = scene.start(FAULT_PACE=slow)
    scene.finish(first, second)
