"""Faults of the input's log: its end is lost, its topic is made again, its beginning is deleted."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from typing import Any

from kafka import KafkaAdminClient, TopicPartition

from tests.integration.faults.registry import BOTH, NO_DISK, ONCE, TWICE, fault
from tests.integration.faults.scene import Scene, gauge

DISK = {"tansu": NO_DISK}
PARTED = "went back or was made anew"
MISSED = "deleted before they were read"


def another_log(**how: Any) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Register a fault after which another log stands under the same offsets."""
    return fault(own_broker=True, apart=DISK, modes=BOTH, share=0.5, goes_back=True, **how)


def half(scene: Scene, first: int, last: int) -> range:
    """Numbers of messages, as shares of all in twentieths."""
    return range(scene.done(first / 20), scene.done(last / 20))


def _lose_the_end(scene: Scene, at: int) -> None:
    """Half of what was sent is lost, of each partition."""
    assert scene.broker is not None
    scene.broker.kill()
    cut = at // scene.stage.partitions
    for partition in range(scene.stage.partitions):
        scene.broker.cut(scene.topic, partition, cut)
    scene.lose(dict.fromkeys(range(scene.stage.partitions), cut))
    scene.broker.start()


@another_log(quick={"apache": TWICE})
def log_truncated_under_a_worker(scene: Scene) -> None:
    """Power loss: the second half of what was labelled is lost, and more follows than was lost."""
    kept, lost, new = half(scene, 0, 5), half(scene, 5, 10), half(scene, 10, 20)
    scene.produce(kept, linger_ms=0)
    scene.produce(lost)
    worker = scene.start()
    scene.wait(lambda: scene.complete)
    worker.process.send_signal(signal.SIGSTOP)  # it asks nobody before the new records are there
    _lose_the_end(scene, len(kept))
    scene.produce(new)
    worker.process.send_signal(signal.SIGCONT)
    scene.finish(worker)
    assert PARTED in worker.output


@another_log()
def log_truncated_and_short(scene: Scene) -> None:
    """As before, but the worker is there first: its offset is beyond the end."""
    kept, lost, new = half(scene, 0, 5), half(scene, 5, 10), half(scene, 10, 20)
    scene.produce(kept, linger_ms=0)
    scene.produce(lost)
    worker = scene.start()
    scene.wait(lambda: scene.complete)
    _lose_the_end(scene, len(kept))
    worker.wait_for_log(PARTED)
    scene.produce(new)
    scene.finish(worker)


@another_log()
def log_truncated_without_a_worker(scene: Scene) -> None:
    """As before, while no worker runs: the next one finds an offset of another log."""
    kept, lost, new = half(scene, 0, 5), half(scene, 5, 10), half(scene, 10, 20)
    scene.produce(kept, linger_ms=0)
    scene.produce(lost)
    scene.finish(scene.start())
    _lose_the_end(scene, len(kept))
    scene.produce(new)
    worker = scene.start()
    scene.finish(worker)
    assert PARTED in worker.output


@another_log()
def log_truncated_in_flight(scene: Scene) -> None:
    """The end is lost while the worker is in the middle of it."""
    kept, lost, new = half(scene, 0, 5), half(scene, 5, 15), half(scene, 15, 20)
    scene.produce(kept, linger_ms=0)
    scene.produce(lost)
    worker = scene.start()
    scene.reach(0.45)
    scene.strike(lambda: _lose_the_end(scene, len(kept)), worker)
    scene.produce(new)
    scene.finish(worker)


@another_log()
def data_directory_wiped(scene: Scene) -> None:
    """The broker comes back with an empty disk; somebody makes the topics again."""
    assert scene.broker is not None
    before, after = half(scene, 0, 10), half(scene, 10, 20)
    scene.produce(before)
    worker = scene.start()
    scene.wait(lambda: scene.complete)
    scene.broker.kill()
    scene.broker.wipe()
    scene.lose(dict.fromkeys(range(scene.stage.partitions), 0))
    scene.account.rewind()
    scene.broker.start()
    scene.stage.create_topics()
    scene.produce(after)
    scene.finish(worker)


def _make_again(scene: Scene, partitions: int | None = None) -> None:
    """Delete the input topic and make it again."""
    scene.stage.make_again(scene.topic, partitions)
    scene.lose(dict.fromkeys(range(scene.stage.partitions), 0))


@another_log()
def topic_made_again(scene: Scene) -> None:
    """Deleted and made again under a worker."""
    before, after = half(scene, 0, 8), half(scene, 8, 20)
    scene.produce(before)
    worker = scene.start()
    scene.wait(lambda: scene.complete)
    _make_again(scene)
    scene.produce(after)
    scene.finish(worker)


@another_log(quick={"apache": ONCE})
def topic_made_again_behind_its_back(scene: Scene) -> None:
    """Deleted, made again and filled beyond the old offsets while the worker is paused."""
    before, after = half(scene, 0, 8), half(scene, 8, 20)
    scene.produce(before)
    worker = scene.start()
    scene.wait(lambda: scene.complete)
    worker.process.send_signal(signal.SIGSTOP)
    _make_again(scene)
    scene.produce(after)
    time.sleep(2)  # the fault itself
    worker.process.send_signal(signal.SIGCONT)
    scene.finish(worker)
    told = set(re.findall(rf"partition (\d), {PARTED}", worker.output))
    assert told == {str(partition) for partition in range(scene.stage.partitions)}


@another_log()
def topic_made_again_without_a_worker(scene: Scene) -> None:
    """The same while none runs."""
    before, after = half(scene, 0, 8), half(scene, 8, 20)
    scene.produce(before)
    scene.finish(scene.start())
    _make_again(scene)
    scene.produce(after)
    scene.finish(scene.start())


@another_log()
def topic_made_again_smaller(scene: Scene) -> None:
    """With two partitions instead of four, under a worker."""
    before, after = half(scene, 0, 8), half(scene, 8, 20)
    scene.produce(before)
    worker = scene.start()
    scene.wait(lambda: scene.complete)
    _make_again(scene, 2)
    scene.stage.partitions = 2
    scene.produce(after)
    scene.finish(worker)


@fault(
    own_broker=True,
    apart={"tansu": "the embedded broker deletes no records"},
    modes=BOTH,
    share=0.5,
    duplicates=False,
)
def deleted_before_they_were_read(scene: Scene) -> None:
    """Retention overtakes a worker that is not there: what it missed is said and counted."""
    first, second = half(scene, 0, 10), half(scene, 10, 20)
    scene.produce(first)
    scene.finish(scene.start())
    scene.produce(second)
    cut = len(first) // 4 + 50
    admin = KafkaAdminClient(bootstrap_servers=scene.stage.address)
    end = _ends(scene)
    admin.delete_records({TopicPartition(scene.topic, p): min(cut, end[p]) for p in range(4)})
    admin.close()
    scene.sent = {place: n for place, n in scene.sent.items() if n in first or place.offset >= cut}
    worker = scene.start()
    scene.wait(lambda: scene.complete)
    assert MISSED in worker.output
    assert gauge(worker, "winnow_records_missed_total") == _skipped(scene, len(first), cut)
    scene.finish(worker)


def _ends(scene: Scene) -> dict[int, int]:
    with scene.stage.reader(scene.topic) as reader:
        return {tp.partition: end for tp, end in reader.end_offsets(reader.assignment()).items()}


def _skipped(scene: Scene, labelled: int, cut: int) -> float:
    """Offsets of each partition between the last one labelled and the first one left."""
    ends = [len(range(p, labelled, 4)) for p in range(4)]
    return float(sum(cut - end for end in ends))
