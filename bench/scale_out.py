"""Workers added and removed by their lag, through a burst: the backlog, the waits, nothing lost.

python -m bench.scale_out [--minutes 10] [--quiet 20] [--burst 120] [--rate 40]

Real workers, a process each, on a real Apache Kafka; KEDA and the HorizontalPodAutoscaler are their
formulas (autoscaler.py) with the values of the chart. Engines are slow on purpose (slow_worker.py):
--rate is what one worker labels a second, and lagPerWorker is ten seconds of it, as the chart's
README recommends. What a cluster adds, the time to find a node and to pull an image, is missing.
"""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import yaml
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from bench.autoscaler import SYNC_SECONDS, Autoscaler
from bench.slow_worker import BACKEND
from tests.conftest import ROOT, apache_kafka
from tests.integration.harness import Stage
from tests.integration.process import Worker
from tests.tiny_model import save_tiny_albert

PARTITIONS = 4
SECONDS_PER_WORKER = 10  # of work that each worker may have waiting
BEFORE_SECONDS = 60.0
CHART = ROOT / "deploy" / "helm" / "winnow" / "values.yaml"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--minutes", type=float, default=10, help="of the burst")
    arguments.add_argument("--quiet", type=float, default=20, help="records/s before and after")
    arguments.add_argument("--burst", type=float, default=120, help="records/s during the burst")
    arguments.add_argument("--rate", type=float, default=40, help="records/s of one worker")
    arguments.add_argument("--down-seconds", type=float, help="instead of scaleDownSeconds")
    options = arguments.parse_args()
    chart = yaml.safe_load(CHART.read_text(encoding="utf-8"))["worker"]["autoscaling"]
    scaler = Autoscaler(
        chart["minReplicas"],
        chart["maxReplicas"] or PARTITIONS,
        int(options.rate * SECONDS_PER_WORKER),
        options.down_seconds or chart["scaleDownSeconds"],
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with apache_kafka(folder) as broker:
            stage = Stage(broker.address, folder, PARTITIONS)
            topic = prepare(stage, folder)
            deployment = Deployment(stage, str(1 / options.rate))
            load = Load(
                stage.address,
                topic,
                [
                    (options.quiet, BEFORE_SECONDS),
                    (options.burst, options.minutes * 60),
                    (options.quiet, 3600),  # or until one worker is left
                ],
            )
            try:
                run(stage, topic, deployment, scaler, load)
                account(stage, topic, load, deployment)
            finally:
                load.stop()
                deployment.end()


def prepare(stage: Stage, folder: Path) -> str:
    """The route and its topics; the input topic."""
    model = save_tiny_albert(folder / "model")
    # in proportion: a fast engine has 64 records a batch and eight batches in flight
    bounds = {"max_batch_tokens": 512, "max_batch_records": 8, "max_in_flight_records": 64}
    topic = stage.route("text", "text", str(model), **bounds)
    stage.sections["engine"] = {"backend": BACKEND}
    stage.create_topics()
    return topic


@dataclass
class Deployment:
    """Workers by number, the newest the first to go."""

    stage: Stage
    seconds: str  # a record
    workers: list[Worker] = field(default_factory=list)
    gone: list[Worker] = field(default_factory=list)

    def scale(self, wanted: int) -> None:
        """Start or stop workers; does not wait for either."""
        while len(self.workers) < wanted:
            number = len(self.workers) + len(self.gone)
            log = self.stage.folder / f"worker-{number}.log"
            how = {"SLOW_SECONDS": self.seconds}
            self.workers.append(Worker(self.stage.config, log, how, "bench.slow_worker"))
        while len(self.workers) > wanted:
            worker = self.workers.pop()
            worker.process.send_signal(signal.SIGTERM)
            self.gone.append(worker)

    def end(self) -> list[int]:
        """Stop all; their exit codes."""
        self.scale(0)
        return [worker.process.wait(60) for worker in self.gone]


@dataclass
class Load:
    """Records at a rate for so many seconds, one phase after the other, on a thread of its own."""

    address: str
    topic: str
    phases: list[tuple[float, float]]  # records/s, seconds
    sent: int = 0
    starts: list[float] = field(default_factory=list)  # of each phase, seconds since the epoch
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin the first phase."""
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def phase(self) -> int:
        """The number of the phase under way."""
        return len(self.starts) - 1

    def _send(self) -> None:
        producer = KafkaProducer(bootstrap_servers=self.address)
        for rate, seconds in self.phases:
            self.starts.append(time.time())
            begun = time.monotonic()
            for number in range(int(rate * seconds)):
                if self._stop.wait(max(0.0, begun + number / rate - time.monotonic())):
                    break
                text = f"record {self.sent} of a burst"
                producer.send(self.topic, text.encode(), partition=self.sent % PARTITIONS)
                self.sent += 1
        producer.flush()
        producer.close()


def run(stage: Stage, topic: str, deployment: Deployment, scaler: Autoscaler, load: Load) -> None:
    """Scale as the cluster would, until the burst is over and one worker is left."""
    deployment.scale(scaler.least)
    deployment.workers[0].wait_for_log("consuming")
    admin = KafkaAdminClient(bootstrap_servers=stage.address)
    load.start()
    begun, most = time.monotonic(), 0
    print("   time  phase    lag  workers")
    while not (load.phase == 2 and len(deployment.workers) == scaler.least):
        time.sleep(SYNC_SECONDS - (time.monotonic() - begun) % SYNC_SECONDS)
        lag = lags(stage, admin, topic)
        now = time.monotonic() - begun
        wanted = scaler.wanted(lag, len(deployment.workers), now)
        deployment.scale(wanted)
        most = max(most, sum(lag.values()))
        print(f"{now:6.0f} s  {load.phase:5}  {sum(lag.values()):5}  {wanted:7}", flush=True)
    load.stop()
    admin.close()
    print(f"most records behind   {most}")


def lags(stage: Stage, admin: KafkaAdminClient, topic: str) -> dict[int, int]:
    """Of each partition, as KEDA asks for it: by the committed offset, 0 before the first."""
    committed = stage.committed(topic)
    tps = {TopicPartition(topic, number): -1 for number in range(PARTITIONS)}
    ends = admin.list_partition_offsets(tps)
    return {
        tp.partition: max(0, end.offset - max(0, committed.get(tp.partition, 0)))
        for tp, end in ends.items()
    }


def account(stage: Stage, topic: str, load: Load, deployment: Deployment) -> None:
    """Every record by its id, and how long each phase's waited for their labels."""
    labels = [json.loads(r.value) | {"at": r.timestamp} for r in waited_for(stage, topic, load)]
    times = Counter(label["id"] for label in labels)
    print(f"sent                  {load.sent}")
    print(f"lost                  {load.sent - len(times)}")
    print(f"labelled twice        {sum(times.values()) - len(times)}")
    print(f"exit codes            {dict(Counter(deployment.end()))}")
    first = {label["id"]: label for label in sorted(labels, key=lambda each: -each["at"])}
    for number, name in enumerate(("before", "burst", "after")):
        until = load.starts[number + 1] if number + 1 < len(load.starts) else float("inf")
        waits = [
            (each["at"] - each["source"]["timestamp"]) / 1000
            for each in first.values()
            if load.starts[number] <= each["source"]["timestamp"] / 1000 < until
        ]
        cuts = quantiles(waits, n=100)
        print(
            f"{name:8} {len(waits):6} records, wait p50 {cuts[49]:5.1f} s, p99 {cuts[98]:5.1f} s, "
            f"longest {max(waits):5.1f} s"
        )


def waited_for(stage: Stage, topic: str, load: Load) -> list[Any]:
    """The label records, once there are as many different ones as were sent, or no more come."""
    found: list[Any] = []
    while len(found) < load.sent:
        before, found = len(found), stage.records(f"{topic}.labels")
        if len(found) == before:
            break
        time.sleep(5)
    return found


if __name__ == "__main__":
    main()
