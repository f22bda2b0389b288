"""Real topics, what goes into them, and an account of every record that comes out."""

from __future__ import annotations

import json
import tarfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError, UnknownTopicOrPartitionError

from tests.integration.process import PATIENCE, Worker
from tests.integration.reading import at_end, polled

MAX_BYTES = 64 * 1024 * 1024


@dataclass
class Labels:
    """Everything that came out for one route."""

    labels: list[dict[str, Any]] = field(default_factory=list)
    dead: list[dict[str, bytes]] = field(default_factory=list)
    disorder: int = 0
    _last: dict[int, int] = field(default_factory=dict)  # input partition -> offset

    def take(self, record: Any) -> None:
        """Add what was read from an output or a dead-letter topic."""
        if record.topic.endswith(".dlq"):
            self.dead.append(dict(record.headers))
            return
        label = json.loads(record.value)
        partition, offset = label["source"]["partition"], label["source"]["offset"]
        self.labels.append(label)
        self.disorder += offset < self._last.get(partition, -1)
        self._last[partition] = offset

    @property
    def times(self) -> Counter[str]:
        """How often each id came out."""
        ids = [label["id"] for label in self.labels]
        return Counter(ids + [letter["winnow-source"].decode() for letter in self.dead])

    @property
    def duplicates(self) -> int:
        """Results beyond the first of each id."""
        return sum(self.times.values()) - len(self.times)

    @property
    def errors(self) -> Counter[str]:
        """Dead letters by error."""
        return Counter(letter["winnow-error"].decode() for letter in self.dead)


class Stage:
    """A group of its own on a broker: topics, configuration, workers."""

    def __init__(self, address: str, folder: Path, partitions: int = 4, replicas: int = 1) -> None:
        self.address = address
        self.folder = folder
        self.partitions = partitions
        self.replicas = replicas  # of each topic
        self.name = f"t{uuid.uuid4().hex[:10]}"
        self.group = f"{self.name}-group"
        self.routes: list[dict[str, Any]] = []
        self.sections: dict[str, dict[str, Any]] = {}
        self.running: list[Worker] = []

    def route(self, name: str, kind: str, model: str, **more: Any) -> str:
        """Add a route; its input topic."""
        topic = f"{self.name}.{name}"
        route = {
            "name": name,
            "format": kind,
            "model": model,
            "input_topic": topic,
            "output_topic": f"{topic}.labels",
            "dead_letter_topic": f"{topic}.dlq",
        }
        self.routes.append(route | more)
        return topic

    def create_topics(
        self,
        max_bytes: int | None = None,
        routes: Sequence[dict[str, Any]] | None = None,
        more: Sequence[str] = (),
    ) -> None:
        """Make the topics of every route, or of these, and more; `max_bytes` lets larger records
        in."""
        topics = [
            route[key]
            for route in routes or self.routes
            for key in ("input_topic", "output_topic", "dead_letter_topic")
        ]
        configs = {"max.message.bytes": str(max_bytes)} if max_bytes else {}
        self.create(*topics, *more, **configs)

    def create(self, *topics: str, **configs: str) -> None:
        """Make topics, with settings of theirs."""
        new = [
            NewTopic(topic, self.partitions, self.replicas, topic_configs=configs)
            for topic in topics
        ]
        self.administer(lambda admin: admin.create_topics(new))

    def make_again(self, topic: str, partitions: int | None = None) -> None:
        """Delete a topic, where it still is, and make it anew as soon as the broker lets us."""
        with suppress(UnknownTopicOrPartitionError):
            self.delete(topic)
        new = NewTopic(topic, partitions or self.partitions, self.replicas)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.administer(lambda admin: admin.create_topics([new]))
                return
            except KafkaError:  # the old one is still there
                assert time.monotonic() < deadline, "the topic, made again"
                time.sleep(0.1)

    def delete(self, topic: str) -> None:
        """Delete a topic."""
        self.administer(lambda admin: admin.delete_topics([topic]))

    def administer(self, action: Callable[[KafkaAdminClient], Any]) -> Any:
        """Have an administrator do something."""
        admin = KafkaAdminClient(bootstrap_servers=self.address)
        try:
            return action(admin)
        finally:
            admin.close()

    @property
    def config(self) -> Path:
        """The configuration file, written anew."""
        path = self.folder / f"{self.name}.toml"
        kafka = {"bootstrap_servers": self.address, "group_id": self.group}
        content = {
            "metrics": {"port": 0},
            **self.sections,
            "kafka": kafka | self.sections.get("kafka", {}),
            "routes": self.routes,
        }
        path.write_text(tomli_w.dumps(content))
        return path

    @contextmanager
    def producer(self, **config: Any) -> Iterator[KafkaProducer]:
        """A producer whose records are all delivered at the end of the block."""
        producer = KafkaProducer(
            bootstrap_servers=self.address, max_request_size=MAX_BYTES, **config
        )
        try:
            yield producer
            producer.flush()
        finally:
            producer.close()

    @contextmanager
    def worker(self, **environment: str) -> Iterator[Worker]:
        """A running worker, killed at the end of the block if it still runs."""
        worker = Worker(
            self.config, self.folder / f"worker-{uuid.uuid4().hex[:6]}.log", environment
        )
        self.running.append(worker)
        try:
            yield worker
        finally:
            self.running.remove(worker)
            worker.kill()

    def collect(
        self, topic: str, until: Callable[[Labels], bool], seconds: float = PATIENCE
    ) -> Labels:
        """Read everything that came out for an input topic, until the condition holds."""
        found = Labels()
        with self.reader(f"{topic}.labels", f"{topic}.dlq") as consumer:
            deadline = time.monotonic() + seconds
            while not until(found) and time.monotonic() < deadline:
                for worker in self.running:
                    assert not worker.failed, f"a worker failed:\n{worker.output[-3000:]}"
                for record in polled(consumer, 500):
                    found.take(record)
        return found

    def collected(self, topic: str) -> Labels:
        """Everything that came out for an input topic until now."""
        found = Labels()
        for record in self.records(f"{topic}.labels", f"{topic}.dlq"):
            found.take(record)
        return found

    def records(self, *topics: str) -> list[Any]:
        """Every record that the topics hold now."""
        found: list[Any] = []
        with self.reader(*topics) as consumer:
            while not at_end(consumer):
                found += polled(consumer, 100)
        return found

    @contextmanager
    def reader(self, *topics: str) -> Iterator[KafkaConsumer]:
        """A consumer at the start of the topics, in no group."""
        consumer = KafkaConsumer(
            bootstrap_servers=self.address,
            max_partition_fetch_bytes=MAX_BYTES,
            fetch_max_bytes=MAX_BYTES,
        )
        try:
            tps = [TopicPartition(t, p) for t in topics for p in range(self.partitions)]
            consumer.assign(tps)
            consumer.seek_to_beginning(*tps)
            yield consumer
        finally:
            consumer.close()

    def committed(self, topic: str) -> dict[int, int]:
        """The group's committed offset of each partition of a topic."""
        admin = KafkaAdminClient(bootstrap_servers=self.address)
        try:
            offsets = admin.list_group_offsets(self.group)
        finally:
            admin.close()
        found = offsets.get(self.group, offsets)
        return {
            tp.partition: getattr(meta, "offset", meta)
            for tp, meta in found.items()
            if tp.topic == topic
        }


def distinct(count: int) -> Callable[[Labels], bool]:
    """Whether so many different records have come out."""
    return lambda found: len(found.times) >= count


def mails(shared: Path, count: int) -> list[bytes]:
    """Raw messages of the SpamAssassin corpus, half of them spam, by turns."""
    out: dict[str, list[bytes]] = {"ham": [], "spam": []}
    with tarfile.open(shared / "data" / "spam" / "spamassassin.tar.gz") as archive:
        for member in archive:
            kind, file = member.name.split("/")[0], archive.extractfile(member)
            if file is not None and len(out[kind]) < count // 2:
                out[kind].append(file.read())
    return [mail for pair in zip(*out.values(), strict=True) for mail in pair]


def send(producer: KafkaProducer, topic: str, values: Sequence[bytes], partitions: int) -> None:
    """Send values round robin, numbered in a header."""
    for number, value in enumerate(values):
        producer.send(
            topic,
            value,
            partition=number % partitions,
            headers=[("number", str(number).encode())],
        )
