"""The webhook sink's effect against a receiver over HTTP: what is sent, again, and given up."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from stream_app.core.errors import BrokerError, ConfigError, SinkError
from stream_app.core.label_record import LabelRecord
from stream_app.core.settings import KafkaSettings, TopicSettings, WebhookSettings
from stream_app.kafka.reading import read_topic
from stream_app.kafka.topics import create_topics
from stream_app.sinks.webhook import effect
from stream_app.sinks.webhook.effect import WebhookLabels
from stream_app.sinks.webhook.signing import headers, message_id
from tests.labels import a_label
from tests.receiver import SECRET, Receiver, listening, secret_file

Make = Callable[..., WebhookLabels]
LABELS = [a_label(number) for number in range(20)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening(Receiver()) as opened:
        yield opened


@pytest.fixture
def make(receiver: Receiver, tmp_path: Path) -> Iterator[Make]:
    """A sink's effect that sends to the receiver; no broker unless one is named."""
    with ExitStack() as closing:

        def make(broker: str = "127.0.0.1:1", **settings: Any) -> WebhookLabels:
            given = {"url": receiver.url, "secret_file": secret_file(tmp_path), **settings}
            kafka = KafkaSettings(bootstrap_servers=broker)
            made = WebhookLabels(WebhookSettings(**given), kafka)
            closing.callback(made.close)
            return made

        yield make


class TestRequests:
    def test_the_signature_is_that_of_the_standards_example(self):
        secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        body = b'{"test": 2432232314}'
        made = headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", body, 1614265330)
        assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    def test_each_label_is_delivered_signed_and_whole(self, make: Make, receiver: Receiver):
        bodies: list[dict[str, Any]] = []
        receiver.answer = lambda label: (bodies.append(label), (200, {}))[1]
        assert make().write([a_label(3, source_fields={"from": "日本"})]) == 0
        assert receiver.forged == 0
        [found] = bodies
        assert LabelRecord.model_validate(found) == a_label(3, source_fields={"from": "日本"})

    def test_two_secrets_sign_while_one_takes_over(
        self, make: Make, receiver: Receiver, tmp_path: Path
    ):
        file = secret_file(tmp_path, b"n" * 32, SECRET)
        make(secret_file=file).write(LABELS)
        assert receiver.forged == 0

    def test_never_more_at_once_than_allowed(self, make: Make, receiver: Receiver):
        together = Event()

        def answer(_: object) -> tuple[int, dict[str, str]]:
            if receiver.most >= 3:
                together.set()
            together.wait(60)
            return 204, {}

        receiver.answer = answer
        make(max_requests=3, timeout_seconds=30).write(LABELS)
        assert receiver.most == 3
        assert len(receiver.labels) == len(LABELS)

    def test_a_record_has_one_id_and_another_records_is_another(self):
        first = message_id(a_label(1))
        assert message_id(a_label(1, later=60)) == first
        others = [a_label(2), a_label(1, source_topic_id="x"), a_label(1, source_epoch=2)]
        retrained = a_label(1).model.model_copy(update={"digest": "e" * 64})
        ids = {message_id(label) for label in [*others, a_label(1, model=retrained)]}
        assert len(ids | {first}) == 5


class TestFailures:
    @pytest.mark.parametrize(
        ("answer", "said", "wait"),
        [
            ((500, {}), "answers 500", 0),
            ((503, {"Retry-After": "7"}), "answers 503", 7),
            ((429, {"Retry-After": "999999"}), "answers 429", 3600),
            ((429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), "answers 429", 0),
            ((429, {"Retry-After": "soon"}), "answers 429", 0),
            ((307, {"Location": "http://169.254.169.254/"}), r"redirects \(307\): set", 0),
            ((404, {}), "answers 404", 0),
        ],
    )
    def test_all_wait_where_the_receiver_takes_none(
        self,
        make: Make,
        receiver: Receiver,
        answer: tuple[int, dict[str, str]],
        said: str,
        wait: float,
    ):
        receiver.answer = lambda _: answer
        with pytest.raises(SinkError, match=f"20 of 20 labels wait: the receiver {said}") as error:
            make().write(LABELS)
        assert error.value.wait_seconds == wait
        assert max(receiver.asked.values()) == 1

    def test_what_was_delivered_is_not_sent_again(self, make: Make, receiver: Receiver):
        receiver.answer = lambda label: (500 if label["id"].endswith("7") else 204, {})
        sink = make()
        with pytest.raises(SinkError, match="2 of 20 labels wait"):
            sink.write(LABELS)
        receiver.answer = lambda _: (204, {})
        assert sink.write([*LABELS, a_label(20)]) == 0
        assert set(receiver.taken.values()) == {1}
        assert len(receiver.labels) == 21

    def test_a_receiver_that_is_down_or_silent(self, make: Make, receiver: Receiver):
        with pytest.raises(SinkError, match="cannot be reached"):
            make(url="http://127.0.0.1:1/").write(LABELS[:1])
        receiver.answer = lambda _: (time.sleep(1), (204, {}))[1]
        with pytest.raises(SinkError, match="did not answer in time"):
            make(timeout_seconds=0.1).write(LABELS[:1])

    def test_gone_ends_it(self, make: Make, receiver: Receiver):
        receiver.answer = lambda _: (410, {})
        with pytest.raises(ConfigError, match="wants no more labels"):
            make().write(LABELS)


class TestDeadLetters:
    @pytest.fixture
    def dead(self, tansu: str, request: pytest.FixtureRequest) -> Callable[[], list[Any]]:
        """What the dead-letter topic of this test holds."""
        self.topic = f"dead.{abs(hash(request.node.name))}"
        kafka = KafkaSettings(bootstrap_servers=tansu)
        create_topics(kafka, [self.topic], TopicSettings(partitions=1))
        self.own = {"broker": tansu, "dead_letter_topic": self.topic}
        return lambda: list(read_topic(kafka, self.topic))

    def test_a_label_that_alone_is_refused_becomes_one(
        self,
        make: Make,
        receiver: Receiver,
        dead: Callable[[], list[Any]],
        monkeypatch: pytest.MonkeyPatch,
    ):
        monkeypatch.setattr(effect, "TRIES", 2)
        receiver.answer = lambda label: (500 if label["id"] == "mail/0/7" else 204, {})
        sink = make(**self.own)
        sink.check()
        with pytest.raises(SinkError):
            sink.write(LABELS)
        with pytest.raises(SinkError):  # nothing else was taken: it may be the receiver's fault
            sink.write(LABELS)
        assert sink.write([*LABELS, a_label(20)]) == 1
        [letter] = dead()
        assert json.loads(letter.value)["id"] == letter.header("winnow-source") == "mail/0/7"
        assert letter.header("winnow-reason") == "the receiver answers 500"
        assert len(receiver.labels) == 20

    def test_all_become_some_after_a_day(
        self, make: Make, receiver: Receiver, dead: Callable[[], list[Any]]
    ):
        receiver.answer = lambda _: (500, {})
        sink = make(**self.own, give_up_seconds=0.05)
        refused = 0
        while not refused:
            with suppress(SinkError):
                refused = sink.write(LABELS)
        assert refused == len(dead()) == 20

    def test_their_topic_must_be_there(self, make: Make, tansu: str):
        with pytest.raises(BrokerError, match="no topic 'nowhere'"):
            make(tansu, dead_letter_topic="nowhere").check()
        with pytest.raises(SinkError, match="does not answer"):
            make().check()


class TestSettings:
    @pytest.mark.parametrize("url", ["", "ftp://h/x", "https://", "https://me:secret@h/x", "h/x"])
    def test_an_address_that_is_none(self, make: Make, url: str):
        with pytest.raises(ConfigError, match="write https://HOST/PATH") as error:
            make(url=url)
        assert "secret@" not in str(error.value)

    @pytest.mark.parametrize("text", ["short", "whsec_###", "whsec_c2hvcnQ="])
    def test_a_secret_that_is_none(self, make: Make, tmp_path: Path, text: str):
        file = tmp_path / "bad"
        file.write_text(text)
        with pytest.raises(ConfigError, match="must hold a secret: whsec_") as error:
            make(secret_file=str(file))
        assert text not in str(error.value).removeprefix("whsec_")

    def test_no_secret_at_all(self, make: Make, tmp_path: Path):
        (tmp_path / "empty").touch()
        with pytest.raises(ConfigError, match="empty is empty"):
            make(secret_file=str(tmp_path / "empty"))
        with pytest.raises(ConfigError, match=r"webhook.secret_file is missing"):
            make(secret_file="")
