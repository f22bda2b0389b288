"""Faults of the consumer group: strangers in it, others of its own, no right to it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import TopicAuthorizationFailedError
from kafka import KafkaAdminClient
from kafka.admin import ACLOperation, ResourceType

from tests.integration.faults.on_logs import half
from tests.integration.faults.on_settings import LIMITS, RIGHTS, add_partitions, without
from tests.integration.faults.registry import BOTH, fault
from tests.integration.faults.scene import FAST_GROUP, Scene, gauge, until
from tests.integration.harness import Stage, distinct

NO_END = {"tansu": "the embedded broker says of a log's end only where its last batch begins"}
OTHERS = 200  # records of the stranger's topic, each time


class Stranger:
    """Another service in the worker's group, with a topic of its own."""

    def __init__(self, scene: Scene, strategy: type = RoundRobinPartitionAssignor) -> None:
        self._stage = Stage(scene.stage.address, scene.folder)
        self.topic = f"{scene.topic}.of-a-stranger"
        self._stage.create(self.topic)
        self._group, self._strategy = scene.stage.group, strategy
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._sent = 0
        self._read_offsets: set[tuple[int, int]] = set()

    def __enter__(self) -> Stranger:
        self._thread.start()
        self.works()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def works(self) -> None:
        """Send it records, and wait until it has read each."""
        with self._stage.producer() as producer:
            for number in range(OTHERS):
                producer.send(self.topic, b"another's", partition=number % self._stage.partitions)
        self._sent += OTHERS
        until(lambda: len(self._read_offsets) == self._sent, 120, "the stranger's records")

    def _run(self) -> None:
        with suppress(TopicAuthorizationFailedError):
            asyncio.run(self._read())

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            self.topic,
            bootstrap_servers=self._stage.address,
            group_id=self._group,
            auto_offset_reset="earliest",
            partition_assignment_strategy=[self._strategy],
            session_timeout_ms=int(FAST_GROUP["session_timeout_seconds"] * 1000),
            heartbeat_interval_ms=int(FAST_GROUP["heartbeat_interval_seconds"] * 1000),
            enable_auto_commit=False,
        )
        async with consumer:
            while not self._over.is_set():
                for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                    self._read_offsets |= {(tp.partition, record.offset) for record in records}


@fault(modes=BOTH, share=0.5)
def another_service_in_the_group(scene: Scene) -> None:
    """It was there first, and deals the partitions out; it leaves while work is in flight."""
    slow = scene.pace(60)
    scene.produce()
    with Stranger(scene) as stranger:
        worker = scene.start(FAULT_PACE=slow)
        scene.reach(0.2)
        stranger.works()
    scene.finish(worker)


@fault(modes=BOTH, share=0.5)
def another_service_joins_the_group(scene: Scene) -> None:
    """It comes later: the worker deals the partitions out."""
    slow = scene.pace(60)
    scene.produce()
    worker = scene.start(FAULT_PACE=slow)
    scene.reach(0.2)
    with Stranger(scene) as stranger:
        scene.reach(0.6)
        stranger.works()
    scene.finish(worker)


@fault(own_broker=True, modes=BOTH, share=0.3, apart=LIMITS, options=RIGHTS)
def another_service_with_a_secret(scene: Scene) -> None:
    """The worker has no right to the stranger's topic, and no need of one."""
    scene.produce()
    worker = scene.start(FAULT_PACE=scene.pace(60))
    with Stranger(scene) as stranger:
        scene.reach(0.3)
        with without(scene, ResourceType.TOPIC, stranger.topic, ACLOperation.DESCRIBE):
            scene.reach(1)
        scene.finish(worker)


@fault(
    modes=BOTH, share=0.3, apart={"tansu": "the embedded broker keeps the rule of an empty group"}
)
def another_service_of_another_protocol(scene: Scene) -> None:
    """It deals partitions out by a rule that the worker lacks: refused while it is there."""
    scene.produce()
    with Stranger(scene, RangePartitionAssignor):
        refused = scene.start(ready=False)
        assert refused.process.wait(120) == 1
        assert "give each service a kafka.group_id of its own" in refused.output.splitlines()[-1]
        scene.workers.remove(refused)
    scene.finish(scene.start())


@fault(modes=BOTH, share=0.5)
def another_configuration_in_the_group(scene: Scene) -> None:
    """Two workers, each with a route that the other does not have."""
    other = Stage(scene.stage.address, scene.folder)
    other.group = scene.stage.group
    other.sections["kafka"] = dict(FAST_GROUP)
    route = scene.stage.routes[0]
    topic = other.route("other", "json", route["model"], delivery=route["delivery"])
    other.create_topics()
    scene.produce()
    worker = scene.start(FAULT_PACE=scene.pace(60))
    scene.reach(0.2)
    with other.producer() as producer:
        for number, message in enumerate(scene.messages[:OTHERS]):
            producer.send(topic, message, partition=number % other.partitions)
    with other.worker() as second:
        assert not other.collect(topic, distinct(OTHERS)).duplicates
        assert second.stop() == 0
    scene.finish(worker)


@fault(own_broker=True, modes=BOTH, share=0.5, apart=LIMITS, options=RIGHTS)
def right_to_the_group_taken_away(scene: Scene) -> None:
    """The right to the group is gone: the worker ends and says so; the next one goes on."""
    scene.produce()
    worker = scene.start(FAULT_PACE=scene.pace(60))
    scene.reach(0.1)
    with without(scene, ResourceType.GROUP, scene.stage.group, ACLOperation.READ):
        assert worker.process.wait(120) == 1
        assert "the broker does not let us read as group" in worker.output
    scene.workers.remove(worker)
    scene.finish(scene.start())


def _begun_late(scene: Scene) -> None:
    """A worker of a new group came with `latest`, found records, read none of them, and went."""
    scene.stage.sections["kafka"]["auto_offset_reset"] = "latest"
    scene.produce(half(scene, 0, 4))
    scene.forget()
    worker = scene.start()
    assert not worker.consumed()
    scene.finish(worker)


@fault(modes=BOTH, share=0.3, apart=NO_END, duplicates=False)
def late_group_with_nobody_there(scene: Scene) -> None:
    """A group began at the end, and nothing came; what comes while nobody reads is labelled."""
    _begun_late(scene)
    scene.produce(half(scene, 4, 20))
    scene.finish(scene.start())


@fault(modes=BOTH, share=0.3, apart=NO_END, duplicates=False)
def late_group_whose_offsets_are_gone(scene: Scene) -> None:
    """As after a week without workers: the group begins at the end once more, and says so."""
    scene.stage.sections["kafka"]["auto_offset_reset"] = "latest"
    worker = scene.start()
    scene.produce(half(scene, 0, 4))
    scene.finish(worker)
    scene.produce(half(scene, 4, 8))
    admin = KafkaAdminClient(bootstrap_servers=scene.stage.address)
    admin.delete_groups([scene.stage.group])
    admin.close()
    scene.forget()
    worker = scene.start()
    assert "the group has no offsets, or they expired" in worker.output
    assert gauge(worker, "winnow_offsets_moved_total") == scene.stage.partitions
    scene.produce(half(scene, 8, 20))
    scene.finish(worker)


@fault(modes=BOTH, share=0.3, apart=LIMITS, duplicates=False)
def late_group_with_partitions_added(scene: Scene) -> None:
    """A group began at the end; partitions that are added, with or without a worker, are read from
    their first record."""
    _begun_late(scene)
    add_partitions(scene, 5)
    scene.produce(half(scene, 4, 10))
    workers = [scene.start(), scene.start()]
    add_partitions(scene, 6)
    scene.produce(half(scene, 10, 20))
    scene.finish(*workers)
