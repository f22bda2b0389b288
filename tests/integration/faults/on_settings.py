"""Faults of what administrators do: offsets, partitions, rights, limits, another environment."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient, OffsetAndMetadata, TopicPartition
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    NewPartitions,
    ResourcePattern,
    ResourceType,
)
from kafka.errors import NoError

from tests.integration.faults.on_logs import MISSED, half
from tests.integration.faults.registry import BOTH, NO_LIMITS, fault
from tests.integration.faults.scene import Scene, configure, gauge, until

LIMITS = {"tansu": NO_LIMITS}
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


@fault(modes=BOTH, share=0.3, apart=LIMITS, duplicates=False)
def partitions_added(scene: Scene) -> None:
    """Two more partitions under a worker, and records in them."""
    before, after = half(scene, 0, 10), half(scene, 10, 20)
    scene.produce(before)
    worker = scene.start()
    scene.wait(lambda: scene.complete)
    _admin(scene, lambda admin: admin.create_partitions({scene.topic: NewPartitions(6)}))
    with scene.stage.reader(scene.topic) as reader:
        found = reader.partitions_for_topic
        until(lambda: len(found(scene.topic) or ()) == 6, 60, "the new partitions")
    scene.stage.partitions = 6
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


@fault(share=0.3, apart=LIMITS, goes_back=True)
def offsets_moved_back(scene: Scene) -> None:
    """An administrator sends the group back to the start: refused while a worker runs."""
    scene.produce()
    worker = scene.start()
    scene.wait(lambda: scene.complete)
    start = {TopicPartition(scene.topic, p): OffsetAndMetadata(0, "", -1) for p in range(4)}

    def moved() -> bool:
        answers = _admin(scene, lambda admin: admin.alter_group_offsets(scene.stage.group, start))
        return set(answers.values()) == {NoError}

    assert not moved()
    scene.finish(worker)
    assert moved()
    again = scene.start()
    scene.wait(lambda: len(scene.account.results) >= 2 * len(scene.sent))
    scene.finish(again)


@fault(modes=BOTH, share=0.3, duplicates=False)
def poor_environment(scene: Scene) -> None:
    """No HOME, locale C, 64 file handles."""
    scene.produce()
    worker = scene.start(ready=False, HOME="/nonexistent", LC_ALL="C", LANG="C")
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (64, 64))
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
def _without(
    scene: Scene, kind: ResourceType, name: str, operation: ACLOperation
) -> Iterator[None]:
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
    with _without(scene, ResourceType.TOPIC, f"{scene.topic}.labels", ACLOperation.WRITE):
        time.sleep(5)  # the fault itself
    scene.finish(worker)


@fault(own_broker=True, modes=BOTH, share=0.5, apart=LIMITS, options=RIGHTS)
def right_to_read_taken_away(scene: Scene) -> None:
    """The right to read the input is gone: the worker ends and says so; the next one goes on."""
    scene.produce()
    worker = scene.start()
    scene.reach(0.1)
    with _without(scene, ResourceType.TOPIC, scene.topic, ACLOperation.READ):
        assert worker.process.wait(60) == 1
        assert "the consumer crashed (TopicAuthorizationFailedError" in worker.output
    scene.workers.remove(worker)
    scene.finish(scene.start())
