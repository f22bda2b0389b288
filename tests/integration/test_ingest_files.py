"""Files to a topic by the command line: each message once, at its time, followed if asked."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import uuid
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path

import pytest

from stream_app.__main__ import main
from stream_app.core.messages import Record
from stream_app.core.settings import KafkaSettings, TopicSettings
from stream_app.kafka.reading import read_topic
from stream_app.kafka.topics import create_topics
from tests.command_line import Ended, run_main
from tests.conftest import free_port

CONFIG = """
[kafka]
bootstrap_servers = "{broker}"
[files]
state = "{folder}/files.db"
http = "127.0.0.1:{port}"
[[routes]]
name = "reviews"
format = "json"
model = "builtin:reviews"
input_topic = "{topic}"
output_topic = "{topic}.labels"
[[routes]]
name = "mail"
format = "rfc822"
model = "builtin:spam"
input_topic = "{topic}.mail"
output_topic = "{topic}.mail.labels"
"""


@dataclass
class Desk:
    """A configuration with a topic, and a file of reviews."""

    folder: Path
    broker: str
    topic: str

    @property
    def command(self) -> list[str]:
        config = str(self.folder / "winnow.toml")
        return ["ingest", "files", "--config", config, "--route", "reviews"]

    def run(self, *arguments: str) -> Ended:
        return run_main(main, *self.command, *arguments)

    async def start(self, *arguments: str) -> Process:
        program = [sys.executable, "-m", "stream_app", *self.command, *arguments]
        return await asyncio.create_subprocess_exec(*program, stdout=PIPE, stderr=PIPE)

    def write(self, *reviews: dict[str, object]) -> str:
        file = self.folder / "reviews.jsonl"
        with file.open("a") as stream:
            stream.writelines(json.dumps(review) + "\n" for review in reviews)
        return str(file)

    def records(self) -> list[Record]:
        return list(read_topic(KafkaSettings(bootstrap_servers=self.broker), self.topic))

    def texts(self) -> list[str]:
        return sorted(json.loads(record.value or b"")["text"] for record in self.records())


@pytest.fixture
def desk(tansu: str, tmp_path: Path) -> Desk:
    topic = f"f{uuid.uuid4().hex[:10]}"
    create_topics(KafkaSettings(bootstrap_servers=tansu), [topic], TopicSettings(partitions=2))
    text = CONFIG.format(broker=tansu, folder=tmp_path, topic=topic, port=free_port())
    (tmp_path / "winnow.toml").write_text(text)
    return Desk(tmp_path, tansu, topic)


def test_a_second_run_sends_what_is_new(desk: Desk):
    file = desk.write({"text": "a"}, {"text": "b"})
    first = desk.run(file)
    assert (first.returncode, first.stdout) == (0, f"2 messages sent to {desk.topic}\n")
    desk.write({"text": "c"})
    assert desk.run(file).stdout == f"1 messages sent to {desk.topic}\n"
    assert desk.run(file).stdout == f"0 messages sent to {desk.topic}\n"
    assert desk.texts() == ["a", "b", "c"]


def test_another_state_sends_all_of_it_again(desk: Desk):
    file = desk.write({"text": "a"})
    desk.run(file)
    desk.run("--state", str(desk.folder / "other.db"), file)
    assert desk.texts() == ["a", "a"]


def test_what_comes_before_a_fault_is_sent(desk: Desk):
    file = desk.folder / "reviews.csv"
    file.write_text("id,text\n1,a\n2,b\n3\n4,d\n")
    done = desk.run(str(file))
    assert (done.returncode, done.stdout) == (1, f"2 messages sent to {desk.topic}\n")
    assert "reviews.csv:4: this row has not as many fields" in done.stderr
    assert desk.texts() == ["a", "b"]


def test_a_record_has_the_time_that_it_speaks_of(desk: Desk):
    times = ["2026-10-01T10:00:00Z", "2026-10-31T10:00:00Z", "once"]
    file = desk.write(*({"text": str(n), "at": when} for n, when in enumerate(times)))
    done = desk.run("--timestamp-field", "at", "--speed", "1e8", "--log-level", "warning", file)
    assert done.returncode == 0
    assert "reviews.jsonl:3 has no time in the timestamp field" in done.stderr
    stamps = {json.loads(r.value or b"")["text"]: r.timestamp or 0 for r in desk.records()}
    assert (stamps["0"], stamps["1"]) == (1_790_848_800_000, 1_793_440_800_000)
    assert stamps["2"] > stamps["1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-"], "use winnow produce"),
        (["--speed", "5", "x.jsonl"], "--speed needs --timestamp-field"),
        (["--route", "mail", "--timestamp-field", "at", "x"], "the format of mail is rfc822"),
        (["--route", "other", "x"], "no such route"),
    ],
)
def test_what_cannot_be_meant_is_refused(desk: Desk, arguments: list[str], said: str):
    ended = desk.run(*arguments)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_a_path_that_is_not_there_is_named(desk: Desk):
    ended = desk.run(str(desk.folder / "none"))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "there is no such file" in ended.stderr


async def test_what_is_added_is_followed_until_told_to_stop(desk: Desk):
    file = await asyncio.to_thread(desk.write, {"text": "a"})
    process = await desk.start("--follow", file)
    for count, review in enumerate(("b", "c"), 2):
        await asyncio.to_thread(desk.write, {"text": review})
        while len(await asyncio.to_thread(desk.texts)) < count:
            assert process.returncode is None
    process.send_signal(signal.SIGTERM)
    out, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert out.decode() == f"3 messages sent to {desk.topic}\n"
    assert await asyncio.to_thread(desk.texts) == ["a", "b", "c"]
