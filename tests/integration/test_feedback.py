"""Feedback from its topic to a set to learn from, on a real broker."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from kafka import TopicPartition
from kafka.admin import NewPartitions, NewTopic
from typer.testing import CliRunner

from stream_app.core.errors import BrokerError, ConfigError, SourceError
from stream_app.model.artifact import load_artifact
from tests.integration.harness import Stage
from tests.tiny_model import save_tiny_albert
from training.__main__ import app
from training.refreshing.feedback_set import pulls, reached, read_set

ROUTE = "mail"


class Desk:
    """Where people say what is right."""

    def __init__(self, stage: Stage, model: Path) -> None:
        self.stage = stage
        self.mail = stage.route(ROUTE, "rfc822", str(model))
        self.topic = f"{stage.name}.feedback"
        stage.sections["feedback"] = {"topic": self.topic}
        stage.create_topics()
        new = NewTopic(name=self.topic, num_partitions=2, replication_factor=1)
        stage.administer(lambda admin: admin.create_topics([new]))

    def mails(self, count: int) -> None:
        """Mails of one partition of the route's input, offsets from 0."""
        with self.stage.producer() as producer:
            for n in range(count):
                value = f"Subject: mail {n}\n\nthe words of {n}\n".encode()
                producer.send(self.mail, value, partition=0)

    def says(self, label: str, partition: int = 0, **about: str) -> None:
        self.sends(said(label, **about), partition)

    def sends(self, value: bytes, partition: int = 0) -> None:
        with self.stage.producer() as producer:
            producer.send(self.topic, value, partition=partition)

    def pull(self, out: Path) -> Any:
        given = ["--config", str(self.stage.config), "--route", ROUTE, "--out", str(out)]
        result = CliRunner().invoke(app, ["feedback", "pull", *given], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


def said(label: str | None, who: str = "ada", route: str = ROUTE, **about: Any) -> bytes:
    feedback = {"label": label, "who": who, "route": route, "when": "2026-03-01T10:00:00Z"}
    return json.dumps(feedback | about).encode()


@pytest.fixture
def desk(stage: Stage, tiny_model: Path) -> Desk:
    return Desk(stage, tiny_model)


def test_a_pull_reads_the_words_and_goes_on_where_the_last_one_ended(
    desk: Desk, tmp_path: Path
) -> None:
    desk.mails(5)
    desk.says("spam", id=f"{desk.mail}/0/3")
    desk.says("ham", partition=1, text="words nobody sent", who="bob")
    first = desk.pull(tmp_path / "set")
    assert first["counts"] == {"kept": 2, "read": 2, "superseded": 0}
    assert first["offsets"] == {"0": [0, 1], "1": [0, 1]}
    assert first["sources"] == {"ada": 1, "bob": 1}
    assert desk.pull(tmp_path / "set") == {"counts": {"read": 0}}
    desk.says("ham", id=f"{desk.mail}/0/3")
    desk.says("spam", id=f"{desk.mail}/0/4")
    second = desk.pull(tmp_path / "set")
    assert second["offsets"] == {"0": [1, 3], "1": [1, 1]}
    names = sorted(file.name for file in (tmp_path / "set").iterdir())
    assert names == [f"feedback-{n}.{end}" for n in ("0-2", "2-4") for end in ("json", "parquet")]
    whole = read_set(tmp_path / "set", pulls(tmp_path / "set"))
    assert (whole.superseded, whole.contradicted) == (1, 0)  # ada changed her mind
    assert {(c.title, c.body, *c.labels, c.who) for c in whole.corrections} == {
        ("mail 3", "the words of 3", "ham", "ada"),
        ("mail 4", "the words of 4", "spam", "ada"),
        ("", "words nobody sent", "ham", "bob"),
    }


@pytest.mark.usefixtures("any_broker")
def test_examples_and_corrections_are_learnt_together(desk: Desk, tmp_path: Path) -> None:
    desk.mails(1)
    desk.says("spam", id=f"{desk.mail}/0/0")
    desk.says("ham", text="a good text")  # which the file calls spam
    desk.says("unheard of", text="another")
    rows = [("a good text", "spam"), ("short", "spam"), ("that any", "spam")]
    rows += [("working model", "ham"), ("can score", "ham"), ("the model", "ham")]
    file = tmp_path / "mine.csv"
    file.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    given = ["--examples", file, "--encoder", save_tiny_albert(tmp_path / "encoder")]
    given += ["--feedback", ROUTE, "--config", desk.stage.config, "--out", tmp_path / "mine"]
    result = CliRunner().invoke(app, ["fit", *map(str, given)], catch_exceptions=False)
    assert "7 texts with 2 labels" in result.stdout
    assert "2 come from feedback" in result.stdout
    (source,) = load_artifact(tmp_path / "mine").card.data
    assert source["labels"] == {"train": {"ham": 4, "spam": 3}}


def test_what_cannot_be_used_is_counted_and_named(desk: Desk, tmp_path: Path) -> None:
    desk.mails(2)
    with desk.stage.producer() as producer:
        producer.send(desk.mail, b"no mail at all", partition=0)
    for value in (
        b"\xff",
        said("spam"),
        said("no such label", text="secret words"),
        said("spam", route="other", text="secret words"),
        said("spam", id=f"{desk.topic}/0/0"),
        said("spam", id=f"{desk.mail}/0/77"),
        said("spam", id=f"{desk.mail}/99/0"),
        said("spam", id=f"{desk.mail}/0/2"),
        said("spam", id=f"{desk.mail}/0/1"),
        said("ham", id=f"{desk.mail}/0/1", who="eve"),
        said(None, text="secret words", labels=["ham", "spam"]),
    ):
        desk.sends(value)
    found = desk.pull(tmp_path / "set")
    assert found["counts"] == {
        "read": 11,
        "malformed": 2,
        "unknown_label": 1,
        "not_one_label": 1,
        "other_route": 1,
        "foreign_id": 1,
        "absent": 2,
        "unreadable": 1,
        "superseded": 1,
        "kept": 1,
    }
    assert found["refused"]["malformed"] == [f"{desk.topic}/0/0", f"{desk.topic}/0/1"]
    assert "secret" not in json.dumps(found)


def test_another_record_in_the_place_is_not_taken_for_the_one_that_was_meant(
    desk: Desk, tmp_path: Path
) -> None:
    desk.mails(1)
    with desk.stage.producer() as producer:
        in_an_hour = int((time.time() + 3600) * 1000)
        producer.send(desk.mail, b"Subject: new\n\nwords\n", partition=0, timestamp_ms=in_an_hour)
    [topic] = desk.stage.administer(lambda admin: admin.describe_topics([desk.mail]))
    now = urlsafe_b64encode(UUID(str(topic["topic_id"])).bytes).rstrip(b"=").decode()
    desk.says("spam", id=f"{desk.mail}/0/0", topic_id="A" * 22)
    desk.says("spam", id=f"{desk.mail}/0/1")
    desk.says("ham", id=f"{desk.mail}/0/0", topic_id=now)
    found = desk.pull(tmp_path / "set")
    assert found["counts"] == {"read": 3, "other_log": 2, "kept": 1, "superseded": 0}
    assert found["refused"]["other_log"] == [f"{desk.topic}/0/{number}" for number in (0, 1)]


def test_a_record_that_has_expired_is_counted(desk: Desk, tmp_path: Path, broker_kind: str) -> None:
    if broker_kind == "tansu":
        pytest.skip("the embedded broker deletes no records")
    desk.mails(6)
    desk.stage.administer(lambda admin: admin.delete_records({TopicPartition(desk.mail, 0): 4}))
    for offset in (1, 3, 4):
        desk.says("spam", id=f"{desk.mail}/0/{offset}")
    assert desk.pull(tmp_path / "set")["counts"] == {
        "read": 3,
        "expired": 2,
        "kept": 1,
        "superseded": 0,
    }


def test_a_topic_that_was_made_again_is_read_from_its_beginning(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be longer than the one before: its first corrections were passed over in silence."""
    desk.says("spam", text="said before")
    first = desk.pull(tmp_path / "set")
    desk.stage.make_again(desk.topic, 2)
    for number in range(3):
        desk.says("ham", text=f"said since, {number}")
    second = desk.pull(tmp_path / "set")
    assert second["counts"] == {"kept": 3, "read": 3, "superseded": 0}
    assert second["topic_id"] not in (None, first["topic_id"])
    assert f"topic {desk.topic} was made again" in caplog.text
    desk.says("ham", partition=1, text="said last")
    assert desk.pull(tmp_path / "set")["counts"]["read"] == 1
    found = pulls(tmp_path / "set")
    assert [each.name for each in found] == ["feedback-0-1", "feedback-2-0-3", "feedback-2-3-4"]
    assert len(read_set(tmp_path / "set", found).corrections) == 5
    assert reached(found) == {
        f"{first['topic_id']}/0": 1,
        f"{first['topic_id']}/1": 0,
        f"{second['topic_id']}/0": 3,
        f"{second['topic_id']}/1": 1,
    }


def test_a_topic_that_was_made_again_with_fewer_partitions(desk: Desk, tmp_path: Path) -> None:
    desk.says("spam", partition=1, text="said before")
    desk.pull(tmp_path / "set")
    desk.stage.make_again(desk.topic, 1)
    desk.says("ham", text="said since")
    assert desk.pull(tmp_path / "set")["offsets"] == {"0": [0, 1]}


def test_where_the_broker_names_no_topics_a_shorter_one_is_another(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As manifests of 0.2, which have no id."""
    for number in range(2):
        desk.says("spam", text=f"said before, {number}")
    desk.pull(tmp_path / "set")
    [manifest] = (tmp_path / "set").glob("*.json")
    said_in_02 = json.loads(manifest.read_text())
    del said_in_02["topic_id"], said_in_02["log"]
    manifest.write_text(json.dumps(said_in_02))
    desk.stage.make_again(desk.topic, 2)
    desk.says("ham", text="said since")
    assert desk.pull(tmp_path / "set")["counts"]["kept"] == 1
    assert "was made again since the last pull, or lost its end" in caplog.text


def test_a_deleted_topic_and_one_with_more_partitions(
    desk: Desk, tmp_path: Path, broker_kind: str
) -> None:
    if broker_kind == "tansu":
        pytest.skip("the embedded broker adds no partitions")
    desk.says("spam", text="said before")
    desk.pull(tmp_path / "set")
    more = {desk.topic: NewPartitions(3)}
    desk.stage.administer(lambda admin: admin.create_partitions(more))
    desk.says("ham", partition=2, text="said in the new one")
    assert desk.pull(tmp_path / "set")["offsets"] == {"0": [1, 1], "1": [0, 0], "2": [0, 1]}
    desk.stage.delete(desk.topic)
    with pytest.raises(BrokerError, match=f"has no topic '{desk.topic}'"):
        desk.pull(tmp_path / "set")


def test_corrections_that_retention_deleted_before_a_pull_are_counted(
    desk: Desk, tmp_path: Path, broker_kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    if broker_kind == "tansu":
        pytest.skip("the embedded broker deletes no records")
    desk.says("spam", text="pulled")
    desk.pull(tmp_path / "set")
    for number in range(4):
        desk.says("spam", text=f"words {number}")
    desk.stage.administer(lambda admin: admin.delete_records({TopicPartition(desk.topic, 0): 4}))
    assert desk.pull(tmp_path / "set")["counts"] == {
        "missed": 3,
        "read": 1,
        "kept": 1,
        "superseded": 0,
    }
    assert "3 offsets of topic" in caplog.text


def test_a_pull_ends_before_an_open_transaction_and_goes_on_behind_it(
    desk: Desk, tmp_path: Path, broker_kind: str
) -> None:
    if broker_kind == "tansu":
        pytest.skip("the embedded broker has no transactions")
    desk.says("spam", text="said before")
    with desk.stage.producer(transactional_id=f"{desk.topic}.open") as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(desk.topic, said("spam", text="never said"), partition=0).get(30)
        desk.says("ham", text="said after")
        assert desk.pull(tmp_path / "set")["counts"] == {"kept": 1, "read": 1, "superseded": 0}
        producer.abort_transaction()
    assert desk.pull(tmp_path / "set")["counts"] == {"kept": 1, "read": 1, "superseded": 0}
    corrections = read_set(tmp_path / "set", pulls(tmp_path / "set")).corrections
    assert {each.body for each in corrections} == {"said before", "said after"}


def test_a_folder_keeps_to_one_route_and_its_files_stay_as_they_are(
    desk: Desk, tmp_path: Path
) -> None:
    desk.says("spam", text="some words")
    desk.pull(tmp_path / "set")
    (pulled,) = pulls(tmp_path / "set")
    file = tmp_path / "set" / f"{pulled.name}.parquet"
    assert pq.read_table(file).num_rows == 1
    file.write_bytes(b"another")
    with pytest.raises(SourceError, match="is missing or was changed"):
        read_set(tmp_path / "set", [pulled])
    desk.stage.sections["feedback"] = {"topic": desk.mail}
    with pytest.raises(ConfigError, match="holds feedback on route mail"):
        desk.pull(tmp_path / "set")
