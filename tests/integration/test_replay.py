"""Replays that are cut off, run twice or go in circles: each dead letter goes back exactly once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner

from stream_app.__main__ import app
from stream_app.core.settings import load_kafka
from stream_app.dead_letters.replay_log import ReplayLog
from stream_app.kafka.reading import read_topic
from tests.integration.harness import Stage

LETTERS = 8_000
REPLAY = [sys.executable, "-m", "stream_app", "dlq", "replay", "--config"]


@pytest.fixture
def route(stage: Stage, tiny_model: Path) -> str:
    """The input topic of a route without a worker."""
    stage.partitions = 2
    topic = stage.route("text", "text", str(tiny_model))
    stage.create_topics()
    return topic


def bury(stage: Stage, topic: str, count: int, attempts: str = "1") -> None:
    """Write dead letters numbered in their values."""
    with stage.producer(enable_idempotence=False) as producer:
        for number in range(count):
            headers = {"source": f"{topic}/0/{number}", "attempts": attempts, "error": "x"}
            marks = [(f"winnow-{name}", value.encode()) for name, value in headers.items()]
            producer.send(
                f"{topic}.dlq", b"%d" % number, headers=marks, partition=number % stage.partitions
            )


def await_some(stage: Stage, topic: str, count: int) -> None:
    """Return once so many letters came back."""
    with stage.reader(topic) as reader:
        seen = 0
        while seen < count:
            seen += sum(map(len, reader.poll(100).values()))


def came_back(stage: Stage, topic: str) -> Counter[bytes]:
    """How often each letter is in the input topic."""
    return Counter(record.value for record in stage.records(topic))


def replay(stage: Stage, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["dlq", "replay", "--config", str(stage.config), *options])
    return done.exit_code, f"{done.output}{done.exception or ''}"


def test_a_replay_that_is_killed_is_finished_by_the_next_one(stage: Stage, route: str):
    bury(stage, route, LETTERS)
    # this test must be faster to strike than the replay is to end, also on a busy machine
    slow = ["nice", "-n", "19", *REPLAY, str(stage.config)]
    with subprocess.Popen(slow, stdout=subprocess.DEVNULL) as process:
        await_some(stage, route, 150)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it was too fast to be struck at work"
    before = came_back(stage, route).total()
    assert 150 <= before < LETTERS
    assert f"text: {LETTERS - before} sent back to {route}\n" in replay(stage)[1]
    assert came_back(stage, route) == Counter({b"%d" % n: 1 for n in range(LETTERS)})
    assert "0 sent back" in replay(stage)[1]


@pytest.mark.parametrize("options", [(), ("--id", "TOPIC/0/7", "--id", "TOPIC/0/4")])
def test_what_was_sent_but_not_remembered_is_not_sent_again(
    stage: Stage, route: str, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
):
    """The worst moment: between the broker's confirmation and the commit."""
    bury(stage, route, 10)
    arguments = [option.replace("TOPIC", route) for option in options]
    with monkeypatch.context() as patch:
        patch.setattr(ReplayLog, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        _, said = replay(stage, *arguments)
    assert came_back(stage, route).total() > 0, said
    replay(stage, *arguments)
    replay(stage)
    assert came_back(stage, route) == Counter({b"%d" % n: 1 for n in range(10)})


def test_two_replays_at_once_take_turns(stage: Stage, route: str, broker_kind: str):
    if broker_kind == "tansu":
        pytest.skip("no lock on the embedded broker: it takes half a minute for a group to form")
    bury(stage, route, LETTERS)
    command = [*REPLAY, str(stage.config)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=240)[0] for process in both)
    assert said == [f"text: {number} sent back to {route}\n" for number in (0, LETTERS)]
    assert came_back(stage, route) == Counter({b"%d" % n: 1 for n in range(LETTERS)})


def test_a_join_that_outlives_its_poll_is_joined_all_the_same(
    stage: Stage, route: str, monkeypatch: pytest.MonkeyPatch
):
    """Metadata that came during the join made kafka-python wait for ever."""
    monkeypatch.setattr("stream_app.dead_letters.replay._POLL_MS", 1)
    bury(stage, route, 1)
    assert "1 sent back" in replay(stage)[1]
    assert "0 sent back" in replay(stage)[1]


def test_a_letter_that_failed_too_often_is_refused(stage: Stage, route: str):
    bury(stage, route, 1, attempts="3")
    code, said = replay(stage)
    assert code == 1
    assert f"{route}/0/0 has failed too often" in said
    assert "0 sent back" in said
    assert "1 sent back" in replay(stage, "--max-attempts", "4")[1]


def test_what_dies_while_a_replay_reads_is_left_to_the_next(stage: Stage, route: str):
    """A worker may be quick to bury again what was just sent back, on any partition."""
    bury(stage, route, 4)
    letters = read_topic(load_kafka(stage.config), f"{route}.dlq")
    found = [next(letters)]
    bury(stage, route, 4)
    found += letters
    assert sorted(letter.value or b"" for letter in found) == [b"0", b"1", b"2", b"3"]


def test_a_record_that_dies_again_and_again_ends_in_a_refusal(stage: Stage, route: str):
    """With a real worker: the first id stays, the attempts count up, and the circle ends."""
    with stage.producer(enable_idempotence=False) as producer:
        producer.send(route, b"\0binary", headers=[("winnow-attempts", b"9" * 5_000)])
    with stage.worker() as worker:
        for deaths in (1, 2, 3):
            found = stage.collect(route, lambda found, n=deaths: len(found.dead) == n)
            # each on a partition of its own, which are read in any order
            by_attempts = {int(letter["winnow-attempts"]): letter for letter in found.dead}
            assert by_attempts.keys() == set(range(1, deaths + 1))
            code, said = replay(stage)
        assert code == 1
        assert "has failed too often" in said
        assert "0 sent back" in said
        assert worker.stop() == 0
    first = by_attempts[1]["winnow-source"]
    assert [letter.get("winnow-origin-id", first) for letter in found.dead] == [first] * 3


def test_a_replayed_record_keeps_its_id_and_a_forged_one_gets_its_own(stage: Stage, route: str):
    """Anybody can write headers; nobody but a worker can write dead letters."""
    stage.routes[0]["max_record_bytes"] = 20
    long = b"so many words that it is too large at first"
    with stage.producer(enable_idempotence=False) as producer:
        sent = producer.send(route, long, b"key", partition=0).get(60)
    with stage.worker() as worker:
        stage.collect(route, lambda found: len(found.dead) == 1)
        assert worker.stop() == 0
    stage.routes[0]["max_record_bytes"] = 1000
    assert "1 sent back" in replay(stage)[1]
    letter = stage.records(f"{route}.dlq")[0]
    place = f"{route}.dlq/{letter.partition}/{letter.offset}"
    claims = (
        place,
        f"{route}.dlq/0/999",
        f"{route}.dlq/7/0",
        f"{route}/0/0",
        "nonsense",
        "\0/\n/-1",
    )
    with stage.producer(enable_idempotence=False) as producer:
        places = [_forged(producer, route, claim) for claim in claims]
    with stage.worker() as worker:
        found = stage.collect(route, lambda found: len(found.labels) == 1 + len(claims))
        assert worker.stop() == 0
    first = f"{route}/{sent.partition}/{sent.offset}"
    assert sorted(label["id"] for label in found.labels) == sorted([first, *places])


def _forged(producer: KafkaProducer, topic: str, claim: str) -> str:
    """The place of a record that says it was replayed from a letter, and was another's before."""
    headers = {"replay-of": claim, "origin-id": f"{topic}/0/0", "attempts": "2"}
    marks = [(f"winnow-{name}", value.encode()) for name, value in headers.items()]
    meta = producer.send(topic, b"other words", b"key", headers=marks, partition=1).get(60)
    return f"{topic}/{meta.partition}/{meta.offset}"


def test_a_replay_believes_no_stranger_about_what_was_sent(
    stage: Stage, route: str, monkeypatch: pytest.MonkeyPatch
):
    """Records that name a letter, put into the input topic to keep it from being sent back."""
    bury(stage, route, 4)
    with monkeypatch.context() as patch:
        patch.setattr("stream_app.dead_letters.replay.read_topic", _interrupted)
        replay(stage)
    claims = [f"{route}.dlq/0/0", f"{route}.dlq/1/1", "nonsense", f"{route}.dlq/x/y"]
    with stage.producer(enable_idempotence=False) as producer:
        for claim in claims:
            producer.send(route, b"forged", headers=[("winnow-replay-of", claim.encode())])
    assert "4 sent back" in replay(stage)[1]


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
