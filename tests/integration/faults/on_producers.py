"""Faults of what the broker knows of the worker's producers: lost, expired, or behind."""

from __future__ import annotations

import asyncio
import time

from aiokafka import AIOKafkaProducer

from tests.integration.faults.on_logs import DISK, half
from tests.integration.faults.registry import BOTH, ONCE, TWICE, fault
from tests.integration.faults.scene import Scene, gauge

EXPIRES = """\
producer.id.expiration.ms=2000
producer.id.expiration.check.interval.ms=500
transactional.id.expiration.ms=3000
transaction.remove.expired.transaction.cleanup.interval.ms=500
"""


@fault(own_broker=True, apart=DISK, modes=BOTH, share=0.5, goes_back=True, quick={"apache": TWICE})
def output_truncated(scene: Scene) -> None:
    """Power loss takes the end of the labels: the broker knows an older state of the producers."""
    assert scene.broker is not None
    before, after = half(scene, 0, 10), half(scene, 10, 20)
    scene.produce(before)
    worker = scene.start()
    scene.wait(lambda: scene.complete)
    scene.broker.kill()
    for partition in range(scene.stage.partitions):
        scene.broker.cut(f"{scene.topic}.labels", partition, 40)
    scene.forget()
    scene.broker.start()
    scene.produce(after)
    scene.wait(lambda: scene.complete)
    # one each batch under way and each partition at most: the next producer begins from nothing
    assert gauge(worker, "winnow_publish_failures_total") <= 2 * scene.stage.partitions
    assert "cannot write to topic" not in worker.output
    # where the broker was away for a session, the producers are new ones anyway
    forgotten = "no longer knows our producer (OutOfOrderSequenceNumber)", "re-joining group"
    assert any(words in worker.output for words in forgotten)
    scene.finish(worker)


@fault(own_broker=True, apart=DISK, modes=BOTH, share=0.3, options=EXPIRES)
def producer_expired(scene: Scene) -> None:
    """Idle for longer than the broker remembers a producer, or a transactional id."""
    before, after = half(scene, 0, 10), half(scene, 10, 20)
    scene.produce(before)
    worker = scene.start()
    scene.wait(lambda: scene.complete)
    time.sleep(8)  # the fault itself
    scene.produce(after)
    scene.finish(worker)


@fault(apart=DISK, modes=(ONCE,), share=0.3)
def producer_fenced_by_a_stranger(scene: Scene) -> None:
    """Somebody else opens a producer with the worker's transactional ids, five times."""
    scene.produce()
    worker = scene.start()
    for number in range(5):
        scene.reach(0.1 + 0.12 * number)
        asyncio.run(_fence(scene))
    scene.finish(worker)


async def _fence(scene: Scene) -> None:
    for partition in range(scene.stage.partitions):
        name = f"{scene.stage.group}-{scene.topic}-{partition}"
        producer = AIOKafkaProducer(bootstrap_servers=scene.stage.address, transactional_id=name)
        await producer.start()
        await producer.stop()
