"""The commands that talk to a broker: topics, produce, watch, dlq. On every broker there is."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from typer.testing import CliRunner

from stream_app.__main__ import app
from stream_app.core.errors import BrokerError, ConfigError, NoCorrection, SourceError
from stream_app.core.label_record import LabelRecord, ModelVersion
from stream_app.core.label_record import Source as LabelSource
from tests.integration.reading import at_end, polled


@dataclass(frozen=True)
class Place:
    """A configuration of one route, with topics of its own."""

    address: str
    config: Path
    name: str

    def winnow(self, *arguments: str, code: int = 0, stdin: bytes = b"") -> Result:
        command = [*arguments, "--config", str(self.config)]
        result = CliRunner().invoke(app, command, input=stdin)
        assert result.exit_code == code, result.output
        return result

    def produce(self, *arguments: str) -> Result:
        command = ["produce", "--bootstrap-servers", self.address, "--topic", self.name]
        return CliRunner().invoke(app, [*command, *arguments])

    def send(self, topic: str, *records: dict[str, Any]) -> list[str]:
        """Send keyword arguments of `KafkaProducer.send`, all to partition 0; ids."""
        producer = KafkaProducer(bootstrap_servers=self.address)
        try:
            futures = [producer.send(topic, **{"partition": 0, **record}) for record in records]
            found = [future.get(30) for future in futures]
        finally:
            producer.close()
        return [f"{at.topic}/{at.partition}/{at.offset}" for at in found]

    def read(self, topic: str) -> list[Any]:
        """Every record of a topic."""
        consumer = KafkaConsumer(bootstrap_servers=self.address, auto_offset_reset="earliest")
        try:
            partitions = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic)]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            found: list[Any] = []
            while not at_end(consumer):
                found += polled(consumer, 500)
            return found
        finally:
            consumer.close()


@pytest.fixture
def place(broker_address: str, tmp_path: Path) -> Place:
    name = f"c{uuid.uuid4().hex[:10]}"
    config = tmp_path / "winnow.toml"
    config.write_text(f"""
[kafka]
bootstrap_servers = "{broker_address}"
group_id = "{name}"
[topics]
partitions = 2
[feedback]
topic = "{name}.feedback"
[[routes]]
name = "mail"
format = "rfc822"
model = "builtin:spam"
input_topic = "{name}"
output_topic = "{name}.labels"
""")
    place = Place(broker_address, config, name)
    place.winnow("topics", "create")
    return place


def test_topics_are_created_once_and_then_left(place: Place) -> None:
    result = place.winnow("topics", "create")
    topics = [f"{place.name}{end}" for end in ("", ".labels", ".dlq", ".feedback")]
    assert result.output.split() == [word for topic in topics for word in ("exists", topic)]
    for_programs = place.winnow("topics", "create", "--json").output.splitlines()
    assert list(map(json.loads, for_programs)) == [
        {"topic": topic, "created": False} for topic in topics
    ]
    consumer = KafkaConsumer(bootstrap_servers=place.address)
    assert [len(consumer.partitions_for_topic(topic)) for topic in topics] == [2] * 4
    consumer.close()


def test_topics_that_cannot_be_created_are_named(place: Place, broker_kind: str) -> None:
    if broker_kind == "tansu":
        pytest.skip("the embedded broker takes any replication factor")
    place.config.write_text(
        place.config.read_text()
        .replace("partitions = 2", "replication_factor = 9")
        .replace(place.name, f"{place.name}x")
    )
    result = CliRunner().invoke(app, ["topics", "create", "--config", str(place.config)])
    assert isinstance(result.exception, BrokerError)
    assert "replication factor" in str(result.exception)


def test_what_is_produced_comes_back_byte_for_byte(place: Place, tmp_path: Path) -> None:
    mails = {f"{n}.eml": b"Subject: %d\n\n\xff\x00\r\n" % n + bytes(n * 97) for n in range(300)}
    (tmp_path / "mails").mkdir()
    for name, mail in mails.items():
        (tmp_path / "mails" / name).write_bytes(mail)
    result = place.produce(str(tmp_path / "mails"))
    assert result.exit_code == 0, result.output
    assert f"300 messages sent to {place.name}" in result.output
    found = place.read(place.name)
    assert sorted(record.value for record in found) == sorted(mails.values())
    assert {record.key for record in found} == {None}


def test_limit_stops_early(place: Place, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' * 50)
    assert place.produce("--limit", "7", str(tmp_path / "a.jsonl")).exit_code == 0
    assert len(place.read(place.name)) == 7


def test_a_file_with_nothing_in_it_is_not_produced(place: Place, tmp_path: Path) -> None:
    for name, value in {"a": b"", "b": b"Subject: b\n\nb\n", "c": b"\n"}.items():
        (tmp_path / f"{name}.mbox").write_bytes(value)
    result = place.produce(*(str(tmp_path / f"{name}.mbox") for name in "abc"))
    assert result.exit_code == 0, result.output
    assert result.stdout == f"1 messages sent to {place.name}\n"
    assert result.stderr == "winnow: left out 2 empty files or mails\n"
    assert [record.value for record in place.read(place.name)] == [b"Subject: b\n\nb\n"]


def test_a_message_too_large_is_named_and_the_others_go(
    place: Place, broker_kind: str, tmp_path: Path
) -> None:
    size = (80 if broker_kind == "tansu" else 3) * 1024 * 1024
    for name in ("a", "m", "z"):
        (tmp_path / f"{name}.eml").write_bytes(b"Subject: x\n\n" + b"x" * (size * (name == "m")))
    files = [str(tmp_path / f"{name}.eml") for name in ("a", "m", "z")]
    result = place.produce(*files)
    assert result.exit_code == 1
    assert f"2 messages sent to {place.name}" in result.output
    assert "m.eml is too large" in result.output
    assert len(place.read(place.name)) == 2


def test_a_topic_that_does_not_exist_is_not_made_up(place: Place, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello\n")
    command = ["produce", "--bootstrap-servers", place.address, "--topic", f"{place.name}.typo"]
    result = CliRunner().invoke(app, [*command, str(tmp_path / "a.txt")])
    assert isinstance(result.exception, BrokerError)
    assert f"{place.name}.typo" in str(result.exception)


def label(place: Place, number: int, decision: str = "spam", *marks: str) -> bytes:
    record = LabelRecord(
        id=f"{place.name}/0/{number}",
        route="mail",
        label="spam",
        labels=["spam"],
        confidence=0.91,
        scores={"ham": 0.09, "spam": 0.91},
        decision=decision,
        marks=list(marks),
        model=ModelVersion(name="spam", version="1", digest="0" * 64),
        source=LabelSource(
            topic=place.name, partition=0, offset=number, timestamp=1, fields={"box": "[red]a"}
        ),
        classified_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
    return record.model_dump_json().encode()


def test_watch_shows_labels_one_a_line(place: Place) -> None:
    unsure = label(place, 1, "unsure", "unfamiliar")
    values = [label(place, 0), unsure, b"something else", label(place, 3)]
    place.send(f"{place.name}.labels", *({"value": value} for value in values))
    result = place.winnow("watch", "--from-beginning", "--count", "4")
    first, second, other, _ = result.output.splitlines()
    assert first.split() == ["03:04:05", "mail", "spam", "91.0%", f"{place.name}/0/0", "box=[red]a"]
    assert second.split()[5:7] == ["unsure", "unfamiliar"]
    assert "not a label" in other
    raw = place.winnow("watch", "--json", "--from-beginning", "--count", "4")
    assert raw.stdout.encode().splitlines() == values


@pytest.fixture
def watching(place: Place) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "stream_app", "watch", "--json", "--count", "1"]
    arguments = ["--bootstrap-servers", place.address, "--topic", f"{place.name}.labels"]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_watch_follows_what_comes_after_its_start(
    place: Place, watching: subprocess.Popen[str]
) -> None:
    number = 0
    while watching.poll() is None:  # when it begins to follow, only it knows
        place.send(f"{place.name}.labels", {"value": label(place, number)})
        number += 1
    assert watching.stdout is not None
    assert json.loads(watching.stdout.read())["route"] == "mail"
    assert watching.returncode == 0


def dead(place: Place, number: int, error: str = "malformed", **record: Any) -> dict[str, Any]:
    """A dead letter as the pipeline writes it."""
    headers = {
        "winnow-error": error,
        "winnow-reason": "this is not an e-mail",
        "winnow-route": "mail",
        "winnow-source": f"{place.name}/1/{number}",
        "winnow-timestamp": "1",
        "winnow-attempts": "1",
        "winnow-model": "spam/1",
    }
    own = [("traceparent", b"00-%d" % number)]
    marks = [(name, value.encode()) for name, value in headers.items()]
    return {"key": b"k", "value": b"\xffvalue %d" % number, "headers": own + marks, **record}


def without_value(place: Place, number: int) -> dict[str, Any]:
    letter = dead(place, number, "too_large", value=None)
    extra = [("winnow-value-sha256", b"ab" * 32), ("winnow-value-bytes", b"20000000")]
    return {**letter, "headers": letter["headers"] + extra}


def bury(place: Place, *letters: dict[str, Any]) -> None:
    place.send(f"{place.name}.dlq", *letters)


def test_dlq_list_shows_each_letter_and_its_reason(place: Place) -> None:
    bury(place, dead(place, 7), without_value(place, 8), {"value": b"from somebody else"})
    first, second, other = place.winnow("dlq", "list").stdout.splitlines()
    letter_id, _, error, attempts, size, *reason = first.split()
    assert (letter_id, error, attempts, size) == (f"{place.name}/1/7", "malformed", "1", "8")
    assert " ".join(reason) == "this is not an e-mail"
    assert "too_large" in second
    assert "20000000" in second
    assert other.startswith(f"{place.name}.dlq/0/2")
    [only] = place.winnow("dlq", "list", "--error", "too_large").stdout.splitlines()
    assert only == second
    for_programs = map(json.loads, place.winnow("dlq", "list", "--json").stdout.splitlines())
    told, large, foreign = for_programs
    assert told | {"time": None} == {
        "id": letter_id,
        "time": None,
        "error": "malformed",
        "attempts": 1,
        "bytes": 8,
        "reason": "this is not an e-mail",
    }
    assert large["bytes"] == 20_000_000
    assert foreign["error"] is foreign["attempts"] is foreign["reason"] is None


def test_dead_letters_of_transactions_count_once_they_are_committed(
    place: Place, broker_kind: str
) -> None:
    if broker_kind == "tansu":
        pytest.skip("the embedded broker has no transactions")
    topic = f"{place.name}.dlq"
    producer = KafkaProducer(bootstrap_servers=place.address, transactional_id=place.name)
    producer.init_transactions()
    for number in range(4):
        producer.begin_transaction()
        producer.send(topic, **dead(place, number), partition=0)
        if number == 1:
            producer.abort_transaction()
        elif number < 3:
            producer.commit_transaction()
    listed = place.winnow("dlq", "list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == [f"{place.name}/1/{n}" for n in (0, 2)]
    assert "2 sent back" in place.winnow("dlq", "replay").output
    producer.commit_transaction()
    assert "1 sent back" in place.winnow("dlq", "replay").output
    assert "0 sent back" in place.winnow("dlq", "replay").output
    producer.close()


def test_dlq_show_keeps_the_value_to_itself_unless_asked(place: Place, tmp_path: Path) -> None:
    bury(place, dead(place, 7), without_value(place, 8))
    shown = place.winnow("dlq", "show", f"{place.name}/1/7").output
    assert "winnow-reason: this is not an e-mail" in shown
    assert "traceparent: 00-7" in shown
    assert "value 7" not in shown
    told = json.loads(place.winnow("dlq", "show", f"{place.name}/1/7", "--json").stdout)
    assert ["traceparent", "00-7"] in told["headers"]
    assert told["id"] == f"{place.name}/1/7"
    place.winnow("dlq", "show", f"{place.name}/1/7", "--value", str(tmp_path / "value"))
    assert (tmp_path / "value").read_bytes() == b"\xffvalue 7"
    out = place.winnow("dlq", "show", f"{place.name}/1/7", "--value", "-")
    assert out.stdout_bytes == b"\xffvalue 7"
    for letter_id, said in (("8", "too large to keep"), ("9", "there is no dead letter")):
        command = ["dlq", "show", f"{place.name}/1/{letter_id}", "--value", "-"]
        result = CliRunner().invoke(app, [*command, "--config", str(place.config)])
        assert isinstance(result.exception, SourceError)
        assert said in str(result.exception)


def test_replay_sends_everything_back_once(place: Place) -> None:
    bury(place, *(dead(place, number) for number in range(250)))
    assert "250 sent back" in place.winnow("dlq", "replay").output
    assert "0 sent back" in place.winnow("dlq", "replay").output
    found = place.read(place.name)
    assert sorted(record.value for record in found) == sorted(
        b"\xffvalue %d" % number for number in range(250)
    )
    [seventh] = [record for record in found if record.value == b"\xffvalue 7"]
    assert seventh.key == b"k"
    assert seventh.headers == [
        ("traceparent", b"00-7"),
        ("winnow-origin-id", f"{place.name}/1/7".encode()),
        ("winnow-replay-of", f"{place.name}.dlq/0/7".encode()),
        ("winnow-attempts", b"1"),
    ]
    bury(place, dead(place, 900))
    assert "1 sent back" in place.winnow("dlq", "replay", "--route", "mail").output


def test_a_letter_without_value_is_refused_and_the_others_go(place: Place) -> None:
    bury(place, without_value(place, 1), dead(place, 2))
    result = place.winnow("dlq", "replay", code=1)
    assert f"{place.name}/1/1 has no value" in result.output
    assert "1 sent back" in result.output
    assert [record.value for record in place.read(place.name)] == [b"\xffvalue 2"]
    assert "0 sent back" in place.winnow("dlq", "replay").output


def test_replay_takes_single_ones_and_later_the_rest(place: Place) -> None:
    bury(place, *(dead(place, n, ("malformed", "no_text")[n % 2]) for n in range(6)))
    single = place.winnow("dlq", "replay", "--id", f"{place.name}/1/3")
    assert "1 sent back" in single.output
    assert "0 sent back" in place.winnow("dlq", "replay", "--id", f"{place.name}/1/3").output
    assert "2 sent back" in place.winnow("dlq", "replay", "--error", "no_text").output
    assert "3 sent back" in place.winnow("dlq", "replay").output
    assert "0 sent back" in place.winnow("dlq", "replay").output
    found = [record.value for record in place.read(place.name)]
    assert sorted(found) == [b"\xffvalue %d" % number for number in range(6)]


def test_replay_names_what_it_cannot_find(place: Place) -> None:
    for arguments, kind in ((["--id", "mail/0/1"], SourceError), (["--route", "x"], ConfigError)):
        command = ["dlq", "replay", "--config", str(place.config), *arguments]
        result = CliRunner().invoke(app, command)
        assert isinstance(result.exception, kind)
        assert arguments[1] in str(result.exception)


def test_a_correction_names_the_record_or_has_the_words(place: Place) -> None:
    about = f"{place.name}/1/722"
    result = place.winnow("correct", "--id", about, "--label", "spam", "--who", "ada")
    assert result.stderr == f"{place.name}.feedback: mail is told that it is spam\n"
    mail = f"X-Winnow-Id: {about}\nSubject: hello\n\nsome words\n".encode()
    place.winnow("correct", "--label", "ham", "--who", "bob", stdin=mail)
    told = [json.loads(record.value) for record in place.read(f"{place.name}.feedback")]
    assert {told["label"]: (told["who"], told.get("id"), told.get("text")) for told in told} == {
        "spam": ("ada", about, None),
        "ham": ("bob", None, "hello\nsome words"),
    }
    assert {each["route"] for each in told} == {"mail"}


@pytest.mark.parametrize(
    ("arguments", "stdin", "error", "said"),
    [
        (["--label", "sapm", "--id", "mail/0/1"], b"", ConfigError, "ham, spam"),
        (["--label", "spam", "--label", "ham"], b"", ConfigError, "gives each text one label"),
        (["--none"], b"", ConfigError, "gives each text one label"),
        (["--none", "--label", "spam"], b"", ConfigError, "or --none"),
        ([], b"", ConfigError, "give --label NAME"),
        (["--label", "spam", "--id", "other/0/1"], b"", NoCorrection, "no record"),
        (["--label", "spam", "--id", "{name}/x"], b"", NoCorrection, "see id"),
        (["--label", "spam"], b"", NoCorrection, "not an e-mail"),
        (["--label", "spam"], b"Subject:\n\n \n", NoCorrection, "no text"),
        (["--label", "spam", "--route", "none"], b"", ConfigError, "none"),
    ],
)
def test_what_is_no_correction_is_not_sent(
    place: Place, arguments: list[str], stdin: bytes, error: type[Exception], said: str
) -> None:
    command = ["correct", *(each.format(name=place.name) for each in arguments)]
    result = place.winnow(*command, code=1, stdin=stdin)
    assert isinstance(result.exception, error)
    assert said in str(result.exception)
    assert place.read(f"{place.name}.feedback") == []
