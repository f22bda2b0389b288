"""A whole e-mail archive through a real worker: results, accuracy, rate, latency, takeover.

python bench/stream.py --broker apache --shared ../shared
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from stream_app.kafka.embedded_broker import EmbeddedBroker, usable_port
from training.data.corpus import held_out_messages
from training.recipes import load_recipe

WINNOW = [sys.executable, "-m", "stream_app"]
ARCHIVE = "spam/spamassassin.tar.gz"
PARTITIONS = 4
IDLE_SECONDS = 60
APACHE_STARTS = 5


@dataclass(frozen=True)
class Bench:
    """Where everything is."""

    address: str
    config: Path
    archive: Path

    def run(self, *command: str) -> None:
        """A command of winnow's, to its end."""
        subprocess.run([*WINNOW, *command], check=True, stdout=subprocess.DEVNULL)

    @contextmanager
    def worker(self, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """A worker that is consuming; its environment has these variables too."""
        command = [*WINNOW, "worker", "--config", str(self.config)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | environment)
        assert process.stderr is not None
        for line in process.stderr:
            if b"consuming" in line:
                break
        threading.Thread(target=process.stderr.read, daemon=True).start()
        try:
            yield process
        finally:
            process.terminate()
            process.wait()

    def read(self, *topics: str, idle: float = IDLE_SECONDS) -> Iterator[Any]:
        """Every record of some topics, as they come, until none comes for `idle` seconds."""
        consumer = KafkaConsumer(
            bootstrap_servers=self.address, consumer_timeout_ms=int(idle * 1000)
        )
        tps = [TopicPartition(topic, p) for topic in topics for p in range(PARTITIONS)]
        consumer.assign(tps)
        consumer.seek_to_beginning(*tps)
        yield from consumer
        consumer.close()

    def labels(
        self, route: str, count: int, after: int = 0, seconds: float = math.inf
    ) -> list[tuple[int, dict[str, Any]]]:
        """(milliseconds of delivery, label record) of the first `count` results behind `after`.

        Fewer where the time is up, but one if there ever is one.
        """
        found: list[tuple[int, dict[str, Any]]] = []
        until = time.monotonic() + seconds
        idle = max(seconds, IDLE_SECONDS) if math.isfinite(seconds) else IDLE_SECONDS
        for record in self.read(f"{route}.labels", f"{route}.dlq", idle=idle):
            value = json.loads(record.value) if record.topic.endswith(".labels") else {}
            found.append((record.timestamp, value))
            if len(found) == count + after:
                break
            if len(found) > after and time.monotonic() > until:
                break
        return sorted(found, key=lambda pair: pair[0])[after:]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--broker", default="tansu", help="tansu, apache or HOST:PORT")
    arguments.add_argument("--shared", type=Path, default=Path("../shared"))
    options = arguments.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address = stack.enter_context(broker(options.broker, options.shared, folder))
        config = folder / "winnow.toml"
        routes = [route(name, "rfc822", "builtin:spam") for name in ("mail", "paced", "takeover")]
        config.write_text(tomli_w.dumps(configuration(address, "bench", *routes)))
        bench = Bench(address, config, options.shared / "data" / ARCHIVE)
        bench.run("topics", "create", "--config", str(config))
        with bench.worker():
            rate = flood(bench, options.shared / "data")
            paced(bench, rate / 2)
        takeover(bench, rate / 4)


def flood(bench: Bench, data: Path) -> float:
    """The whole archive at once: how many results, how right, how fast; messages/s."""
    bench.run(
        "produce", "--bootstrap-servers", bench.address, "--topic", "mail", str(bench.archive)
    )
    with tarfile.open(bench.archive) as archive:
        total = sum(member.isfile() for member in archive)
    results = bench.labels("mail", total)
    labels = [label for _, label in results if label]
    seconds = (results[-1][0] - min(label["source"]["timestamp"] for label in labels)) / 1000
    print(f"results            {len(results)} of {total}, {total - len(labels)} dead letters")
    print(f"duplicates         {len(labels) - len({label['id'] for label in labels})}")
    print(f"messages/s         {total / seconds:.1f} in {seconds:.1f} s")
    accuracy(bench, data, labels)
    return total / seconds


def accuracy(bench: Bench, data: Path, labels: list[dict[str, Any]]) -> None:
    """On the test fifth: messages the model was never trained on, told by their digest."""
    fifth = held_out_messages(load_recipe("spam"), data)[ARCHIVE]
    truth: dict[str, str] = {}
    with tarfile.open(bench.archive) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and member.name in fifth:
                truth[hashlib.sha256(file.read()).hexdigest()] = fifth[member.name]
    digests: dict[tuple[int, int], str] = {}
    for record in bench.read("mail"):
        digests[record.partition, record.offset] = hashlib.sha256(record.value).hexdigest()
        if len(digests) >= len(labels):
            break
    counts: Counter[tuple[str, str]] = Counter()
    for label in labels:
        source = label["source"]
        expected = truth.get(digests[source["partition"], source["offset"]])
        if expected is not None:
            counts[expected, label["label"]] += 1
    right = sum(n for (expected, got), n in counts.items() if expected == got)
    spam = counts["spam", "spam"]
    f1 = 2 * spam / (2 * spam + counts["ham", "spam"] + counts["spam", "ham"])
    print(f"test fifth         {right / sum(counts.values()):.4f} right, spam F1 {f1:.4f}")
    print(
        f"                   {counts['ham', 'spam']} ham called spam of {fifth_of(counts, 'ham')}"
    )


def fifth_of(counts: Counter[tuple[str, str]], label: str) -> int:
    """Messages of a class."""
    return sum(number for (expected, _), number in counts.items() if expected == label)


def paced(bench: Bench, rate: float, seconds: float = 30) -> None:
    """End-to-end latency while messages come one by one at half the full rate."""
    count = int(rate * seconds)
    with tarfile.open(bench.archive) as archive:
        files = (archive.extractfile(member) for member in archive)
        mails = [file.read() for file, _ in zip(files, range(count), strict=False) if file]
    feed(bench, "paced", mails, rate)
    times = sorted(
        ms - label["source"]["timestamp"]
        for ms, label in bench.labels("paced", len(mails))
        if label
    )
    p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    print(f"latency            p50 {p50} ms, p99 {p99} ms at {rate:.1f} messages/s")


def takeover(bench: Bench, rate: float, seconds: float = 45) -> None:
    """Two workers, one killed: how long its partitions wait for their next label."""
    message = b"Subject: minutes of the meeting\n\nThe next one is on Monday at ten."
    with bench.worker() as killed, bench.worker():
        feeding = threading.Thread(
            target=feed, args=(bench, "takeover", [message] * int(rate * seconds), rate)
        )
        feeding.start()
        time.sleep(seconds / 3)  # both have joined, and label
        killed.kill()
        at = time.time() * 1000
        feeding.join()
        after: dict[int, int] = {}
        for ms, label in bench.labels("takeover", int(rate * seconds)):
            if ms > at and label:
                after.setdefault(label["source"]["partition"], ms)
    waits = {p: (ms - at) / 1000 for p, ms in after.items()}
    print(f"after a SIGKILL    next label after {max(waits.values()):.1f} s on its partitions")


def feed(bench: Bench, topic: str, values: list[bytes], rate: float) -> None:
    """Send values at a steady rate, a record each, over all partitions."""
    producer = KafkaProducer(bootstrap_servers=bench.address, linger_ms=0)
    start = time.monotonic()
    for number, value in enumerate(values):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        producer.send(topic, value, partition=number % PARTITIONS)
    producer.flush()
    producer.close()


@contextmanager
def broker(kind: str, shared: Path, folder: Path) -> Iterator[str]:
    """host:port of the broker asked for."""
    if kind == "tansu":
        with EmbeddedBroker() as embedded:
            yield embedded.address
        return
    if kind != "apache":
        yield kind
        return
    address, process = _apache(shared / "kafka" / "kafka.sh", folder)
    try:
        yield address
    finally:
        process.terminate()
        process.wait()


def _apache(program: Path, folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """One that answers. Ports that are free now may be taken when it opens them: then on others."""
    for attempt in range(APACHE_STARTS):
        address, controller = f"127.0.0.1:{usable_port(0)}", str(usable_port(0))
        process = subprocess.Popen(
            [program, folder / f"kafka{attempt}", address.split(":")[1]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"KAFKA_CONTROLLER_PORT": controller},
        )
        while process.poll() is None:
            with suppress(KafkaError):
                KafkaAdminClient(bootstrap_servers=address, bootstrap_timeout_ms=1000).close()
                return address, process
    raise SystemExit(f"no Apache Kafka here: {program} ended with {process.returncode}")


def route(topic: str, codec: str, model: str, **more: str) -> dict[str, str]:
    """A route of a topic's name."""
    topics = {"input_topic": topic, "output_topic": f"{topic}.labels"}
    return {"name": topic, "format": codec, "model": model, **topics, **more}


def configuration(address: str, group: str, *routes: dict[str, str], **more: Any) -> dict[str, Any]:
    """What a worker is told; `more` are further tables."""
    return {
        "kafka": {"bootstrap_servers": address, "group_id": group},
        "topics": {"partitions": PARTITIONS},
        "metrics": {"port": 0},
        "routes": list(routes),
        **more,
    }


if __name__ == "__main__":
    main()
