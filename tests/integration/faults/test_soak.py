"""An hour at full speed: memory, file handles, threads, tasks and metric series must not grow.

make soak, or for another time: make soak MINUTES=20
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from tests.conftest import free_port
from tests.integration.faults.scene import BROKEN, gauge, until
from tests.integration.faults.table import Table
from tests.integration.harness import Stage
from tests.integration.process import Worker, get

EVERY_SECONDS = 10
AHEAD = 20_000  # records the producer may be ahead: full speed, and no disk fills
GROWTH = 1.03  # what the last third may have over the middle one
SLACK = 8  # tasks and handles come and go with the requests under way
KEEP = {"retention.bytes": "67108864", "segment.bytes": "16777216"}


class Sample(NamedTuple):
    """What must stay what it is."""

    rss_mib: float
    handles: float
    threads: float
    tasks: float
    series: float


@pytest.fixture
def minutes(request: pytest.FixtureRequest) -> float:
    """How long to soak."""
    found = request.config.getoption("--soak-minutes")
    if not found:
        pytest.skip("takes an hour: make soak")
    return float(found)


@pytest.mark.timeout(0)
def test_nothing_grows(
    stage: Stage,
    minutes: float,
    messages: Sequence[bytes],
    small_model: str,
    tmp_path: Path,
    table: Table,
):
    topic = stage.route("mail", "json", small_model)
    stage.create_topics()
    _keep_little(stage)
    tasks = tmp_path / "tasks"
    environment = {"WINNOW_METRICS__PORT": str(free_port()), "FAULT_TASKS": str(tasks)}
    worker = Worker(stage.config, tmp_path / "worker.log", environment, BROKEN)
    over = threading.Event()
    sent: list[int] = []
    feeding = threading.Thread(target=_feed, args=(stage, topic, messages, worker, over, sent))
    samples: list[Sample] = []
    try:
        worker.wait_for_log("consuming")
        feeding.start()
        ends = time.monotonic() + minutes * 60
        while time.monotonic() < ends:
            time.sleep(EVERY_SECONDS)  # a sample now and then: there is nothing to await
            samples.append(_sample(worker, tasks))
            assert not worker.failed, worker.output[-3000:]
        over.set()
        feeding.join()
        until(lambda: _done(worker) >= sum(sent), 120, "the rest of the labels")
        labelled = _done(worker)
        assert worker.stop() == 0
    finally:
        over.set()
        worker.kill()
    thirds = _thirds(samples)
    table.note(f"soak: {minutes:g} minutes, {sum(sent)} records, {labelled:.0f} labelled")
    table.note(f"{'':10}{'after 1/3':>12}{'after 2/3':>12}{'at the end':>12}")
    for name, values in zip(Sample._fields, zip(*thirds, strict=True), strict=True):
        table.note(f"{name:10}" + "".join(f"{value:12.1f}" for value in values))
    assert labelled == sum(sent), "no crash, no rebalance: each exactly once"
    for before, after in zip(thirds[1], thirds[2], strict=True):
        assert after <= before * GROWTH + SLACK


def _feed(
    stage: Stage,
    topic: str,
    messages: Sequence[bytes],
    worker: Worker,
    over: threading.Event,
    sent: list[int],
) -> None:
    """Keep the worker busy, and not much more than that."""
    numbers = itertools.count()
    with stage.producer() as producer:
        while not over.is_set():
            if sum(sent) - _done(worker) > AHEAD:
                over.wait(0.2)
                continue
            for message in itertools.islice(itertools.cycle(messages), 2000):
                producer.send(topic, message, partition=next(numbers) % stage.partitions)
            sent.append(2000)


def _keep_little(stage: Stage) -> None:
    """Let the broker delete what is old, where it can."""
    route = stage.routes[0]
    topics = [route[key] for key in ("input_topic", "output_topic", "dead_letter_topic")]
    admin = KafkaAdminClient(bootstrap_servers=stage.address)
    try:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, t, KEEP) for t in topics])
    finally:
        admin.close()


def _done(worker: Worker) -> float:
    return gauge(worker, "winnow_records_labelled_total") + gauge(
        worker, "winnow_records_dead_lettered_total"
    )


def _sample(worker: Worker, tasks: Path) -> Sample:
    process = Path(f"/proc/{worker.process.pid}")
    text = get(f"http://127.0.0.1:{worker.port}/metrics")[1]
    return Sample(
        gauge(worker, "process_resident_memory_bytes") / 2**20,
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
        float(tasks.read_text()),
        sum(not line.startswith("#") for line in text.splitlines()),
    )


def _thirds(samples: Sequence[Sample]) -> list[Sample]:
    """The median of the last samples of each third."""
    size = max(1, len(samples) // 3)
    ends = [samples[n * size : (n + 1) * size][-max(1, size // 4) :] for n in range(3)]
    return [Sample(*map(median, zip(*part, strict=True))) for part in ends]
