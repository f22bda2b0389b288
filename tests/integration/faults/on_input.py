"""Strange input: malformed, huge, null, compressed, compacted, aborted."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient, TopicPartition

from tests.integration.faults.account import Place
from tests.integration.faults.registry import BOTH, NO_TRANSACTIONS, TWICE, fault
from tests.integration.faults.scene import Scene, configure, until

BAD: tuple[tuple[bytes | None, str], ...] = (
    (None, "null_value"),
    (b'{"text": "cut o', "malformed"),
    (b'{"text": "' + b"x" * 40_000 + b'"}', "too_large"),
    (b"\xff\xfe\x00", "malformed"),
    (b'{"text": ""}', "no_text"),
)


@fault(
    quick={"tansu": TWICE},
    duplicates=False,
    modes=BOTH,
    route={"max_record_bytes": 20_000},
)
def bad_records_mixed_in(scene: Scene) -> None:
    """Five in a hundred are null, malformed, oversize, binary or empty; a worker is killed too."""
    records: list[tuple[int, bytes | None, bytes | None]] = []
    wanted: dict[str, int] = {}
    for number, message in enumerate(scene.messages):
        value: bytes | None = message
        if number % 20 == 7:
            value, error = BAD[number // 20 % len(BAD)]
            wanted[error] = wanted.get(error, 0) + 1
        records.append((number, value, b"%d" % number))
    scene.put(records)
    scene.finish(scene.start())
    assert scene.totals().errors == wanted


@fault(share=0.5, duplicates=False, modes=BOTH)
def null_keys_and_odd_headers(scene: Scene) -> None:
    """No key, an empty key, a null header, one name twice; and nothing but headers."""
    asyncio.run(_with_odd_headers(scene))
    scene.finish(scene.start())
    assert scene.totals().errors == {"null_value": scene.stage.partitions}


async def _with_odd_headers(scene: Scene) -> None:
    odd: list[tuple[str, bytes | None]] = [("twice", b"1"), ("twice", b""), ("nothing", None)]
    async with AIOKafkaProducer(bootstrap_servers=scene.stage.address) as producer:
        sent = [
            await producer.send(
                scene.topic,
                message,
                key=None if number % 2 else b"",
                partition=number % 4,
                headers=[*odd, ("number", b"%d" % number)],
            )
            for number, message in enumerate(scene.messages)
        ]
        for number, meta in enumerate(await asyncio.gather(*sent)):
            scene.sent[Place(meta.partition, meta.offset)] = number
        for partition in range(scene.stage.partitions):
            nothing = producer.create_batch()  # `send` refuses it, as few other clients do
            nothing.append(timestamp=None, key=None, value=None)
            meta = await (await producer.send_batch(nothing, scene.topic, partition=partition))
            scene.sent[Place(meta.partition, meta.offset)] = len(scene.messages) + partition


@fault(share=0.5, duplicates=False)
def compressed_batches(scene: Scene) -> None:
    """gzip, snappy, lz4 and zstd by turns."""
    codecs = ("gzip", "snappy", "lz4", "zstd")
    for turn, codec in enumerate(codecs):
        numbers = range(turn, len(scene.messages), len(codecs))
        scene.produce(numbers, compression_type=codec, linger_ms=20)
    scene.finish(scene.start())


@fault(share=0.5, apart={"tansu": "the embedded broker deletes no records"}, duplicates=False)
def the_log_begins_late(scene: Scene) -> None:
    """Retention took the first part of the input: the rest is labelled from where it begins."""
    scene.produce()
    admin = KafkaAdminClient(bootstrap_servers=scene.stage.address)
    cut = len(scene.messages) // 4 // 3
    admin.delete_records({TopicPartition(scene.topic, p): cut for p in range(4)})
    admin.close()
    scene.sent = {place: n for place, n in scene.sent.items() if place.offset >= cut}
    scene.finish(scene.start())


@fault(
    own_broker=True,
    options="log.cleaner.backoff.ms=500",
    share=0.3,
    apart={"tansu": "the embedded broker does not compact"},
    duplicates=False,
    modes=BOTH,
)
def compacted_gaps(scene: Scene) -> None:
    """Of two records with the same key compaction took the first: offsets are full of gaps."""
    compact = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "1"}
    configure(scene, scene.topic, compact)
    keys = len(scene.messages) // 2 // 4 * 4  # a key's records are on one partition
    for half in (range(keys), range(keys, 2 * keys)):
        scene.put([(n, scene.messages[n], b"%d" % (n % keys)) for n in half])
    scene.put([(p, scene.messages[p], b"the last") for p in range(4)])  # ends the segments before
    until(lambda: len(_places(scene)) < keys * 1.5, 120, "compaction")
    configure(scene, scene.topic, {"cleanup.policy": "delete", "retention.ms": "-1"})
    left = _places(scene)
    scene.sent = {place: number for place, number in scene.sent.items() if place in left}
    scene.finish(scene.start())


def _places(scene: Scene) -> set[Place]:
    """What the input topic holds now."""
    found: set[Place] = set()
    with scene.stage.reader(scene.topic) as reader:
        ends = reader.end_offsets(list(reader.assignment()))
        while any(reader.position(tp) < end for tp, end in ends.items()):
            for records in reader.poll(timeout_ms=500).values():
                found |= {Place(record.partition, record.offset) for record in records}
    return found


@fault(share=0.2, apart={"tansu": NO_TRANSACTIONS}, duplicates=False, modes=BOTH)
def aborted_transactions(scene: Scene) -> None:
    """Faust reads uncommitted: what an aborted transaction wrote is labelled as well."""
    asyncio.run(_in_transactions(scene))
    scene.finish(scene.start(), committed=False)  # the last offset is a marker's, not a record's


async def _in_transactions(scene: Scene) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=scene.stage.address, transactional_id=scene.stage.name
    )
    await producer.start()
    for start in range(0, len(scene.messages), 100):
        numbers = range(start, min(start + 100, len(scene.messages)))
        await producer.begin_transaction()
        sent = [
            await producer.send(
                scene.topic,
                scene.messages[n],
                partition=n % 4,
                headers=[("number", b"%d" % n)],
            )
            for n in numbers
        ]
        for n, meta in zip(numbers, await asyncio.gather(*sent), strict=True):
            scene.sent[Place(meta.partition, meta.offset)] = n
        if start // 100 % 3 == 1:
            await producer.abort_transaction()
        else:
            await producer.commit_transaction()
    await producer.stop()
