"""Label records as a worker writes them, produced to the label topics; and a dashboard on them."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w
from kafka import KafkaConsumer, KafkaProducer

from stream_app.core.label_record import LabelRecord, ModelVersion, Source
from stream_app.core.settings import KafkaSettings, TopicSettings
from stream_app.kafka.topics import create_topics
from tests.conftest import free_port

PATIENCE = 60.0  # seconds; a machine may have much else to do
CHOICES = ("negative", "neutral", "positive")


class Stage:
    """Routes of its own on a broker, their configuration, and what is produced to them."""

    def __init__(self, address: str, folder: Path, **dashboard: Any) -> None:
        self.address = address
        self.folder = folder
        self.name = f"d{uuid.uuid4().hex[:10]}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "winnow.toml"
        self.config.write_text(tomli_w.dumps(self._settings(dashboard)))
        self._offset = 0

    def _settings(self, dashboard: Mapping[str, Any]) -> dict[str, Any]:
        routes = [
            {
                "name": name,
                "format": kind,
                "model": model,
                "input_topic": self.topic(name),
                "output_topic": f"{self.topic(name)}.labels",
            }
            for name, kind, model in (
                ("reviews", "json", "builtin:reviews"),
                ("mail", "rfc822", "builtin:spam"),
            )
        ]
        listen = {"listen": f"127.0.0.1:{self.port}", "history": str(self.folder / "history.db")}
        return {
            "kafka": {"bootstrap_servers": self.address, "group_id": self.name},
            "metrics": {"port": free_port()},
            "dashboard": listen | dict(dashboard),
            "feedback": {"topic": f"{self.name}.feedback"},
            "routes": routes,
        }

    def topic(self, route: str) -> str:
        """The input topic of a route."""
        return f"{self.name}.{route}"

    def create_topics(self) -> None:
        """All topics, and a producer to them."""
        names = [
            f"{self.topic(route)}{kind}"
            for route in ("reviews", "mail")
            for kind in ("", ".labels", ".dlq")
        ]
        kafka = KafkaSettings(bootstrap_servers=self.address)
        create_topics(kafka, [*names, f"{self.name}.feedback"], TopicSettings(partitions=2))
        self.producer = KafkaProducer(bootstrap_servers=self.address, enable_idempotence=False)

    def send(self, topic: str, value: bytes, headers: Mapping[str, str] | None = None) -> str:
        """Produce one record, confirmed; its id."""
        told = [(name, text.encode()) for name, text in (headers or {}).items()]
        at = self.producer.send(topic, value, headers=told).get(PATIENCE)
        return f"{at.topic}/{at.partition}/{at.offset}"

    def label(self, name: str = "positive", product: str = "kettle", **more: Any) -> str:
        """Produce the label of a review, made `age` seconds ago; its id."""
        self._offset += 1
        label = made_label(self.topic("reviews"), self._offset, name, product, **more)
        self.send(f"{self.topic('reviews')}.labels", label.model_dump_json().encode())
        return label.id

    def skip(self, offsets: int) -> None:
        """Leave out offsets of the input that others used."""
        self._offset += offsets

    def feedback(self) -> list[bytes]:
        """What was sent to the feedback topic."""
        consumer = KafkaConsumer(
            f"{self.name}.feedback",
            bootstrap_servers=self.address,
            auto_offset_reset="earliest",
            consumer_timeout_ms=5000,
        )
        try:
            return [next(consumer).value]
        finally:
            consumer.close()

    @contextmanager
    def dashboard(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """`winnow dashboard` with this configuration, once it answers."""
        with (self.folder / "dashboard.log").open("ab") as log:
            command = [sys.executable, "-m", "stream_app", "dashboard", "-c", str(self.config)]
            process = subprocess.Popen([*command, *arguments], stdout=log, stderr=log)
            try:
                self._await_answer(process)
                yield process
            finally:
                process.terminate()
                process.wait(PATIENCE)

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        said = (self.folder / "dashboard.log").read_text()
        raise AssertionError(f"the dashboard does not answer: {said}")


def made_label(
    topic: str, offset: int, name: str, product: str, *, age: float = 0.0, **more: Any
) -> LabelRecord:
    """The label of a review that was made `age` seconds ago."""
    now = time.time()
    label_id = str(more.pop("id", f"{topic}/0/{offset}"))
    given: dict[str, Any] = {
        "id": label_id,
        "route": "reviews",
        "label": name,
        "labels": [name],
        "confidence": 0.9,
        "scores": dict.fromkeys(CHOICES, 0.05) | {name: 0.9},
        "decision": name,
        "model": ModelVersion(name="reviews", version="6", digest="0" * 64),
        "source": Source(
            topic=topic,
            partition=0,
            offset=offset,
            timestamp=int((now - age) * 1000),
            fields={"product": product},
        ),
        "classified_at": datetime.fromtimestamp(now, UTC),
    }
    return LabelRecord(**given | more)
