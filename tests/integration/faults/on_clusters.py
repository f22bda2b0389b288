"""Faults of three brokers: killed in turn, or led by one that lacks the newest records.

For the ten minutes of the whole run it takes 20,000 messages; fewer take less time.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError

from tests.integration.faults.brokers import Broker
from tests.integration.faults.registry import BOTH, fault
from tests.integration.faults.scene import Scene, configure, gauge, health, until

ONE = {"tansu": "the embedded broker is one"}
SECONDS = 0.03  # a message
AWAY, BACK = 8.0, 6.0  # seconds that a broker is dead, and alive again before the next one dies
A_ROUND = 1000  # messages for each unclean election
DURABLE = """\
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
default.replication.factor=3
min.insync.replicas=2
{controllers}
"""
ONE_CONTROLLER = """\
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=1
{controller}
"""


@fault(cluster=DURABLE, apart=ONE, modes=BOTH)
def brokers_killed_in_turn(scene: Scene) -> None:
    """Each of the three is killed in its turn, whether the last one is in sync again or not."""
    scene.produce(acks="all")
    seconds = len(scene.messages) * SECONDS
    worker = scene.start(FAULT_PACE=scene.pace(seconds))
    scene.reach(0.02)
    ends = time.monotonic() + seconds
    for broker in itertools.cycle(scene.cluster):
        if time.monotonic() > ends or len(scene.account.places) > scene.done(0.95):
            break
        scene.strike(broker.kill, worker)
        time.sleep(AWAY)  # the fault itself
        broker.start()
        time.sleep(BACK)
        assert health(worker, "healthz") == 200, "a broker that is away is no reason to restart"
    scene.finish(worker)


@fault(cluster=ONE_CONTROLLER, apart=ONE, modes=BOTH, goes_back=True)
def unclean_elections(scene: Scene) -> None:
    """The leader dies with records that it alone had, and that were labelled; a replica without
    them is elected, and more are written. Again and again, the two in turn."""
    _, one, other = scene.cluster
    _on_two_brokers(scene)
    rounds = max(2, len(scene.messages) // A_ROUND)
    numbers = iter(range(len(scene.messages)))
    each = len(scene.messages) // rounds // 3
    worker = scene.start()
    for _ in range(rounds):
        scene.produce(list(itertools.islice(numbers, each)), acks="all")
        _elect(scene, numbers, each, one, other)
        one, other = other, one
        scene.produce(list(itertools.islice(numbers, each)), acks=1)
        scene.wait(lambda: scene.complete)
        _in_sync(scene, 2)
    assert gauge(worker, "winnow_log_reverted_total") >= rounds
    scene.finish(worker)


def _on_two_brokers(scene: Scene) -> None:
    """The input has a replica on each of the second and third broker, and no other."""
    admin = KafkaAdminClient(bootstrap_servers=scene.stage.address)
    replicas = {TopicPartition(scene.topic, p): [2, 3] for p in range(scene.stage.partitions)}
    try:
        admin.alter_partition_reassignments(replicas)
    finally:
        admin.close()
    settings = {"unclean.leader.election.enable": "true", "min.insync.replicas": "1"}
    configure(scene, scene.topic, settings)
    _in_sync(scene, 2)


def _elect(
    scene: Scene, numbers: itertools.islice[int], each: int, one: Broker, other: Broker
) -> None:
    """Records that `one` alone has are labelled, then `other` leads without them."""
    other.kill()
    _in_sync(scene, 1)
    lost = list(itertools.islice(numbers, each))
    scene.produce(lost, acks=1)
    scene.wait(lambda: scene.complete)
    one.kill()
    other.start()
    until(lambda: _leaders(scene) == {scene.cluster.index(other) + 1}, 120, "the other's election")
    places = [place for place, number in scene.sent.items() if number in set(lost)]
    scene.lose({p: min(x.offset for x in places if x.partition == p) for p in range(4)})
    one.start()


def _in_sync(scene: Scene, replicas: int) -> None:
    """Wait until each partition of the input has so many replicas in sync."""

    def reached() -> bool:
        return {len(partition["isr_nodes"]) for partition in _partitions(scene)} == {replicas}

    until(reached, 120, f"{replicas} replicas in sync")


def _leaders(scene: Scene) -> set[int]:
    return {partition["leader_id"] for partition in _partitions(scene)}


def _partitions(scene: Scene) -> Sequence[dict[str, Any]]:
    """None where the client asks a broker that is dead."""
    admin = KafkaAdminClient(bootstrap_servers=scene.stage.address)
    try:
        [topic] = admin.describe_topics([scene.topic])
    except KafkaError:
        return ()
    finally:
        admin.close()
    found: Sequence[dict[str, Any]] = topic["partitions"]
    return found
