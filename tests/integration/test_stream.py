"""Real messages through a real worker on a real broker, every one of them accounted for."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import threading
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from tests.conftest import free_port
from tests.integration.harness import MAX_BYTES, Labels, Stage, distinct, mails, send
from tests.integration.process import PATIENCE, get, wait_for_metric, wait_until_ready
from tests.tiny_model import add_tiny_head, save_tiny_albert

FAST_GROUP = {"session_timeout_seconds": 6.0, "heartbeat_interval_seconds": 1.0}
READY = "consuming"
LAG = "winnow_consumer_lag_records"


def jsonl(path: Path, count: int) -> list[bytes]:
    with gzip.open(path, "rb") as file:
        return [line for line, _ in zip(file, range(count), strict=False)]


@pytest.mark.timeout(900)
def test_real_mail_reviews_and_news_come_out_exactly_once(stage: Stage, shared: Path):
    mail = stage.route("mail", "rfc822", "builtin:spam")
    reviews = stage.route("reviews", "json", "builtin:reviews", pass_fields=["id"])
    news = stage.route("news", "json", "builtin:news")
    stage.create_topics()
    sources = {
        mail: mails(shared, 800),
        reviews: jsonl(shared / "data" / "reviews" / "imdb_test.jsonl.gz", 100),
        news: jsonl(shared / "data" / "news" / "agnews_test.jsonl.gz", 200),
    }
    with stage.producer() as producer:
        for topic, values in sources.items():
            send(producer, topic, values, stage.partitions)
    with stage.worker() as worker:
        results = {t: stage.collect(t, distinct(len(v)), 300) for t, v in sources.items()}
        assert worker.stop() == 0
    for topic, values in sources.items():
        again = stage.collected(topic)
        assert len(again.times) == len(values)
        assert again.duplicates == 0, topic
        assert results[topic].disorder == 0
        assert sum(stage.committed(topic).values()) == len(values)
    assert {label["label"] for label in results[mail].labels} == {"ham", "spam"}
    assert all(label["source"]["fields"]["id"] for label in results[reviews].labels)


def test_a_model_with_an_n_gram_head_is_heard_in_the_stream(stage: Stage, tmp_path: Path):
    model = add_tiny_head(save_tiny_albert(tmp_path / "model"), "pills", 1)
    topic = stage.route("texts", "text", str(model))
    stage.create_topics()
    start = b"the good text " * 100
    with stage.producer() as producer:
        send(producer, topic, [start, start + b"pills"], stage.partitions)
    with stage.worker() as worker:
        found = stage.collect(topic, distinct(2)).labels
        assert worker.stop() == 0
    plain, loud = sorted(found, key=lambda label: label["scores"]["spam"])
    assert loud["label"] == "spam"
    assert loud["scores"]["spam"] > plain["scores"]["spam"]


@pytest.mark.timeout(900)
def test_at_least_once_with_the_worker_killed_three_times(stage: Stage, shared: Path):
    stage.sections["kafka"] = FAST_GROUP
    stage.sections["engine"] = {"threads": 1}  # seconds of work are left when the kill comes
    mail = stage.route("mail", "rfc822", "builtin:spam", max_in_flight_records=256)
    stage.create_topics()
    values = mails(shared, 1600)
    with stage.producer() as producer:
        send(producer, mail, values, stage.partitions)
    for share in (0.15, 0.4, 0.65):
        with stage.worker() as worker:
            stage.collect(mail, distinct(int(len(values) * share)), 200)
            worker.kill()
        committed = sum(stage.committed(mail).values())
        done = len(stage.collected(mail).times)
        assert committed <= done, "an offset was committed before its label was confirmed"
        assert done < len(values), "the kill must strike work in flight"
    with stage.worker() as worker:
        found = stage.collect(mail, distinct(len(values)), 300)
        # the last labels may be a killed worker's, which this one has still to label and commit
        while sum(stage.committed(mail).values()) < len(values):
            assert worker.process.poll() is None
        assert worker.stop() == 0
    assert len(found.times) == len(values), "nothing lost"
    assert sum(stage.committed(mail).values()) == len(values)


def test_bad_records_go_to_the_dead_letters_with_a_reason(stage: Stage, tiny_model: Path):
    stage.sections["engine"] = {"backend": "fake"}
    mail = stage.route("mail", "rfc822", str(tiny_model))
    reviews = stage.route("reviews", "json", str(tiny_model))
    stage.create_topics(max_bytes=MAX_BYTES)
    with stage.producer() as producer:
        producer.send(mail, b"Subject: fine\n\nwords", partition=0)
        producer.send(mail, b"", partition=0)
        producer.send(mail, None, key=b"tombstone", partition=0)
        producer.send(mail, b"Subject: big\n\n" + b"x" * 20_000_000, partition=0)
        producer.send(mail, bytes(range(256)) * 20, partition=0)
        producer.send(mail, b"Subject: fine again\n\nwords", partition=0)
        producer.send(reviews, b'{"text": "cut o', partition=0)
        producer.send(reviews, b"[1, 2]", partition=0)
        producer.send(reviews, b'{"text": "\xff\xfe broken"}', partition=0)
        producer.send(reviews, b'{"text": "a good one"}', partition=0)
    asyncio.run(_send_nothing(stage.address, mail))
    with stage.worker() as worker:
        from_mail = stage.collect(mail, distinct(7))
        from_reviews = stage.collect(reviews, distinct(4))
        assert worker.stop() == 0
    assert len(from_mail.labels) == 2
    assert (from_mail.errors["null_value"], from_mail.errors["too_large"]) == (2, 1)
    assert len(from_mail.dead) == 5
    assert all(letter["winnow-reason"] for letter in from_mail.dead + from_reviews.dead)
    assert len(from_reviews.times) == 4
    assert from_mail.disorder == 0
    assert sum(stage.committed(mail).values()) == 7
    originals = stage.records(f"{mail}.dlq")
    assert any(r.key == b"tombstone" and r.value is None for r in originals)


async def _send_nothing(address: str, topic: str) -> None:
    """A record with neither key nor value, which most clients send and `send` of ours does not."""
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        nothing = producer.create_batch()
        nothing.append(timestamp=None, key=None, value=None)
        await (await producer.send_batch(nothing, topic, partition=0))


@pytest.mark.parametrize("on_no_text", ["label", "dead_letter"])
def test_a_mail_of_pictures_only_is_unsure_or_a_dead_letter(
    stage: Stage, tiny_model: Path, on_no_text: str, broker_kind: str
):
    delivery = "effectively_once" if broker_kind == "apache" else "at_least_once"
    stage.sections["engine"] = {"backend": "fake"}
    how = {"on_no_text": on_no_text, "delivery": delivery}
    topic = stage.route("mail", "rfc822", str(tiny_model), **how)
    stage.create_topics()
    picture = b"Message-ID: <1@x>\nContent-Type: image/png\n\n\x89PNG"
    values = [b"Subject: fine\n\nwords", picture, b"Subject: fine again\n\nwords"]
    with stage.producer() as producer:
        send(producer, topic, values, 1)
    with stage.worker() as worker:
        found = stage.collect(topic, distinct(3))
        assert worker.stop() == 0
    assert sum(stage.committed(topic).values()) == 3
    assert (found.disorder, found.duplicates) == (0, 0)
    if on_no_text == "dead_letter":
        assert found.errors == {"no_text": 1}
        return
    _, label, _ = found.labels
    assert (label["label"], label["decision"], label["marks"]) == ("unsure", "unsure", ["no_text"])
    assert (label["labels"], label["confidence"], label["scores"]) == ([], 0.0, {})
    assert label["source"]["message_id"] == "<1@x>"


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_are_read(stage: Stage, tiny_model: Path, compression: str):
    stage.sections["engine"] = {"backend": "fake"}
    topic = stage.route("text", "text", str(tiny_model))
    stage.create_topics()
    with stage.producer(compression_type=compression, linger_ms=50) as producer:
        send(producer, topic, [b"a good text %d" % n for n in range(200)], stage.partitions)
    with stage.worker() as worker:
        found = stage.collect(topic, distinct(200))
        assert worker.stop() == 0
    assert (len(found.labels), found.duplicates) == (200, 0)


def test_a_clean_handover_loses_nothing_and_repeats_nothing(stage: Stage, tiny_model: Path):
    """A second worker joins in mid-stream, then the first leaves: two rebalances under load."""
    stage.sections["kafka"] = FAST_GROUP
    topic = stage.route("text", "text", str(tiny_model), max_in_flight_records=64)
    stage.create_topics()
    total, produced = 12_000, threading.Event()

    def produce() -> None:
        with stage.producer() as producer:
            send(producer, topic, [b"a good text %d" % n for n in range(total)], stage.partitions)
        produced.set()

    feeding = threading.Thread(target=produce)
    with stage.worker() as first:
        first.wait_for_log(READY)
        feeding.start()
        stage.collect(topic, distinct(1000))
        with stage.worker() as second:
            second.wait_for_log(READY)
            stage.collect(topic, distinct(4000))
            assert first.stop() == 0
            feeding.join()
            found = stage.collect(topic, distinct(total))
            assert second.stop() == 0
    assert produced.is_set()
    assert len(found.times) == total
    assert found.duplicates == 0
    assert sum(stage.committed(topic).values()) == total


def test_a_small_in_flight_limit_loses_nothing_on_a_long_backlog(stage: Stage, tiny_model: Path):
    """Pausing at the consumer must not drop what it had fetched already."""
    stage.sections["engine"] = {"backend": "fake"}
    slow = stage.route("slow", "text", str(tiny_model), max_in_flight_records=8)
    fast = stage.route("fast", "text", str(tiny_model))
    stage.create_topics()
    with stage.producer() as producer:
        for topic in (slow, fast):
            send(producer, topic, [b"a text %d" % n for n in range(3000)], stage.partitions)
    with stage.worker() as worker:
        for topic in (slow, fast):
            found = stage.collect(topic, distinct(3000))
            assert (len(found.labels), found.duplicates, found.disorder) == (3000, 0, 0)
        assert worker.stop() == 0


def test_a_poison_record_stands_alone_in_the_dead_letters(stage: Stage, tmp_path: Path):
    """The model cannot embed one word: a real failure inside a real forward pass."""
    from tests.tiny_model import RARE, SPECIAL, WORDS, save_tiny_albert

    model = save_tiny_albert(tmp_path / "poisonable", known=len(SPECIAL) + len(WORDS))
    topic = stage.route("text", "text", str(model))
    stage.create_topics()
    values = [b"a good text"] * 100 + [f"the {RARE}".encode()] + [b"a short text"] * 100
    with stage.producer() as producer:
        send(producer, topic, values, 1)
    with stage.worker() as worker:
        found = stage.collect(topic, distinct(len(values)))
        assert worker.stop() == 0
    assert len(found.labels) == 200
    assert [letter["number"] for letter in found.dead] == [b"100"]
    assert found.errors == {"engine_error": 1}


def test_a_sick_engine_ends_the_process_and_acks_nothing(stage: Stage, tmp_path: Path):
    """The model cannot embed the canary's words either: no mailbox is dead-lettered for that."""
    from tests.tiny_model import SPECIAL, save_tiny_albert

    model = save_tiny_albert(tmp_path / "sick", known=len(SPECIAL))
    topic = stage.route("text", "text", str(model))
    stage.create_topics()
    with stage.producer() as producer:
        send(producer, topic, [b"a good text"] * 50, stage.partitions)
    with stage.worker() as worker:
        assert worker.process.wait(PATIENCE) == 1
        assert "canary" in worker.output
        assert "good text" not in worker.output
    assert stage.collected(topic).times == {}
    assert not any(stage.committed(topic).values())


def test_metrics_health_and_readiness(stage: Stage, tiny_model: Path):
    port = free_port()
    stage.sections["metrics"] = {"port": port}
    topic = stage.route("text", "text", str(tiny_model))
    stage.create_topics()
    url = f"http://127.0.0.1:{port}"
    with stage.producer() as producer:
        send(producer, topic, [b"a good text", b"a short text", b""], stage.partitions)
    with stage.worker() as worker:
        stage.collect(topic, distinct(3))
        wait_until_ready(url)
        assert get(f"{url}/healthz")[0] == 200
        # a label is in its topic before the worker hears that it is
        wait_for_metric(url, 'winnow_records_consumed_total{route="text"}', "3.0")
        text = wait_for_metric(url, 'winnow_in_flight_records{route="text"}', "0.0")
        assert worker.stop() == 0
    values = dict(re.findall(r"^(winnow_\S+) (\S+)$", text, re.MULTILINE))
    assert values['winnow_records_consumed_total{route="text"}'] == "3.0"
    labelled = 'winnow_records_labelled_total{model_version="unversioned",route="text"}'
    assert values[labelled] == "2.0"
    dead = 'winnow_records_dead_lettered_total{reason="no_text",route="text"}'
    assert values[dead] == "1.0"
    assert values['winnow_end_to_end_seconds_count{route="text"}'] == "2.0"
    for stage_name in ("parse", "encode", "queue", "inference", "publish"):
        key = f'winnow_stage_seconds_count{{route="text",stage="{stage_name}"}}'
        assert float(values[key]) > 0, stage_name
    assert values['winnow_in_flight_records{route="text"}'] == "0.0"
    assert "faust" not in text


def test_a_missing_topic_is_named_at_start(stage: Stage, tiny_model: Path):
    stage.route("text", "text", str(tiny_model))
    with stage.worker() as worker:
        assert worker.process.wait(PATIENCE) == 1
        assert f"topic '{stage.name}.text' does not exist" in worker.output
        assert "winnow topics create" in worker.output
        assert "Traceback" not in worker.output


def test_label_records_name_the_model_and_leave_the_text_out(stage: Stage, tiny_model: Path):
    stage.sections["engine"] = {"backend": "fake"}
    topic = stage.route("text", "text", str(tiny_model))
    stage.create_topics()
    with stage.producer() as producer:
        send(producer, topic, [b"a very secret text"], 1)
    with stage.worker() as worker:
        found: Labels = stage.collect(topic, distinct(1))
        assert worker.stop() == 0
        assert "secret" not in worker.output
    label = found.labels[0]
    assert label["id"] == f"{topic}/0/0"
    assert len(label["model"]["digest"]) == 64
    assert "secret" not in json.dumps(label)


async def test_a_transactions_marker_is_no_lag(stage: Stage, tiny_model: Path, broker_kind: str):
    """The marker takes an offset that no record ever has; a restart must not follow from it."""
    if broker_kind == "tansu":
        pytest.skip("the embedded broker has no transactions")
    port = free_port()
    stage.sections["metrics"] = {"port": port}
    topic = stage.route("text", "text", str(tiny_model))
    stage.create_topics()
    producer = AIOKafkaProducer(bootstrap_servers=stage.address, transactional_id=stage.name)
    await producer.start()
    async with producer.transaction():
        for _ in range(5):
            await producer.send(topic, b"a good text", partition=0)
    await producer.stop()
    with stage.worker() as worker:
        assert len(stage.collect(topic, distinct(5)).times) == 5
        wait_for_metric(f"http://127.0.0.1:{port}", f'{LAG}{{partition="0",route="text"}}', "0.0")
        assert worker.stop() == 0
