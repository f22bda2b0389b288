"""Records as an attacker would write them: a real worker labels them or buries them, and lives."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer import message_accumulator, producer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as Builder
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from tests.integration.harness import Stage, distinct

TEXT = b"plain words to label"
MILLION = 1024 * 1024
YEAR_0, LAST_YEAR = -62_167_219_200_000, 253_402_300_799_000  # milliseconds
NAMES = (
    "\x1b[2J\x00\r\n",
    "a" * 30_000,
    "",
    "\u202e\ufeff",
    "ce_id",
    "content-type",
    "winnow-error",
)


@pytest.fixture
def route(stage: Stage, tiny_model: Path, broker_kind: str) -> str:
    stage.partitions = 2
    topic = stage.route("text", "text", str(tiny_model), pass_fields=["mailbox"])
    stage.create_topics(max_bytes=8 * MILLION)
    admin = KafkaAdminClient(bootstrap_servers=stage.address)
    ages = {"message.timestamp.after.max.ms": str(2**63 - 1), "max.message.bytes": str(8 * MILLION)}
    if broker_kind != "tansu":
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, ages)])
    admin.close()
    return topic


class _Unreadable(str):
    """A header's name that is not UTF-8."""

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe\x00"


async def _send(stage: Stage, topic: str) -> int:
    odd: list[dict[str, Any]] = [
        {"headers": [("mailbox", b"\x1b[2J\x00\xff\r\nX: y\x85")]},
        {"headers": [(name, b"\x00\xff\x1b") for name in NAMES]},
        {"headers": [(f"h{n}", b"v") for n in range(100_000)]},
        {"headers": [("mailbox", b"v" * MILLION)]},
        {"headers": [(_Unreadable(), b"v")]},
        {"headers": [(_Unreadable(), b"v"), ("mailbox", b"sales")]},
        {"key": b"k" * MILLION},
        {"key": b"\x00\xff\x1b[2J"},
        *({"timestamp_ms": time} for time in (YEAR_0, -1_000, 0, LAST_YEAR)),
    ]
    async with AIOKafkaProducer(
        bootstrap_servers=stage.address, max_request_size=16 * MILLION
    ) as sender:
        for number, record in enumerate(odd):
            await sender.send_and_wait(topic, TEXT, partition=0)  # others must not suffer
            await sender.send_and_wait(topic, TEXT, partition=number % 2, **record)
    return 2 * len(odd)


def test_odd_headers_keys_and_times(stage: Stage, route: str, monkeypatch: pytest.MonkeyPatch):
    # aiokafka's other builder, which takes what a name encodes itself to
    for module in (message_accumulator, producer):
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", Builder)
    count = asyncio.run(_send(stage, route))
    with stage.worker() as worker:
        found = stage.collect(route, distinct(count))
        assert worker.stop() == 0
    assert found.duplicates == 0
    assert not found.errors
    fields = [label["source"]["fields"] for label in found.labels]
    assert {"mailbox": "sales"} in fields
