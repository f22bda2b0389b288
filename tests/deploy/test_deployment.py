"""docker-compose.yml at work: mail is labelled, kept, refreshed, watched, and people are called."""

from __future__ import annotations

import itertools
import json
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import psycopg
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from bench.campaign import campaign_mail
from bench.refresh_demo import held_out
from stream_app.core.feedback import Feedback
from tests.conftest import ROOT
from tests.deploy.conftest import AFTER_TOPICS
from tests.deploy.sandbox import PATIENCE, Deployment
from tests.deploy.webhook import Webhook

BROKER = "127.0.0.1:9092"  # as it is advertised to the host
pytestmark = pytest.mark.timeout(1800)
USUAL, CAMPAIGN = 260, 120  # mails
ALERT_SECONDS = 600.0  # WinnowNoWorker waits two minutes


def secret(deployed: Deployment, name: str) -> str:
    return (deployed.folder / "deploy" / "secrets" / name).read_text().strip()


def ask(url: str, token: str = "", data: bytes | None = None, kind: str = "") -> Any:
    """A JSON answer over HTTP."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= {"Content-Type": kind} if kind else {}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
        return json.load(answer)


def until(found: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true result of a look at somebody else's program, which calls nobody."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, what
        time.sleep(0.5)
    return result


def prometheus(query: str) -> list[dict[str, Any]]:
    """The series that an instant query finds now."""
    said = ask(f"http://127.0.0.1:9090/api/v1/query?query={quote(query)}")
    return list(said["data"]["result"])


def mail(text: str) -> bytes:
    subject, _, body = text.partition("\n")
    made = EmailMessage()
    made["Subject"] = subject.strip()
    made.set_content(body)
    return made.as_bytes()


class Post:
    """Mail in, labels out."""

    def __init__(self) -> None:
        self._producer = KafkaProducer(bootstrap_servers=BROKER)
        self._labels = KafkaConsumer(bootstrap_servers=BROKER)
        found = self._labels.partitions_for_topic("mail.labels")
        assert found
        self._labels.assign([TopicPartition("mail.labels", each) for each in found])
        self._labels.seek_to_beginning()

    def labelled(self, mails: list[bytes]) -> list[dict[str, Any]]:
        """The label records of mails, in their order."""
        sent = [self._producer.send("mail", value).get(60) for value in mails]
        wanted = {f"mail/{meta.partition}/{meta.offset}": n for n, meta in enumerate(sent)}
        found: dict[int, dict[str, Any]] = {}
        while len(found) < len(mails):
            for records in self._labels.poll(1000).values():
                labels = (json.loads(record.value) for record in records)
                found |= {wanted[label["id"]]: label for label in labels if label["id"] in wanted}
        return [found[n] for n in range(len(mails))]

    def correct(self, label: dict[str, Any], truth: str) -> None:
        said = Feedback(
            id=label["id"], label=truth, route="mail", who="ada", when=datetime.now(UTC)
        )
        self._producer.send("feedback", said.model_dump_json(exclude_none=True).encode()).get(60)


@pytest.fixture(scope="module")
def post(deployed: Deployment) -> Post:
    return Post()


def test_a_mail_is_labelled_and_is_a_row_of_the_database(deployed: Deployment):
    """As deploy/README.md has it."""
    where = ("--bootstrap-servers", "kafka:19092", "--topic", "mail")
    sent = deployed.run("worker", "produce", *where, str(ROOT / "examples/mail/spam-lottery.eml"))
    assert sent.returncode == 0, sent.stderr
    seen = deployed.run("worker", "watch", "--from-beginning", "--count", "1", "--json")
    label = json.loads(seen.stdout)
    assert label["decision"] == "spam"
    password = secret(deployed, "postgres-password")
    where = {"host": "127.0.0.1", "user": "winnow", "dbname": "winnow"}
    with psycopg.connect(**where, password=password, autocommit=True) as database:
        query = "SELECT decision FROM labels WHERE id = %s"
        until(lambda: database.execute(query, [label["id"]]).fetchone() == ("spam",), "no row")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(**where, password="a guess")


def test_a_mail_server_and_a_reader_are_answered_who_have_the_token(
    deployed: Deployment, post: Post
):
    value = (ROOT / "examples/mail/ham-meeting-notes.eml").read_bytes()
    asked = ("http://127.0.0.1:9109/v1/label/mail", value, "message/rfc822")
    label = ask(asked[0], secret(deployed, "filter-token"), *asked[1:])
    assert label["decision"] == "ham"
    for url, data in ((asked[0], value), ("http://127.0.0.1:9180/api/overview", None)):
        with pytest.raises(HTTPError, match="401"):
            ask(url, "a guess", data)


def test_prometheus_scrapes_all_of_it_and_knows_the_alertmanager(deployed: Deployment):
    jobs = {"winnow", *(f"winnow-{name}" for name in ("dashboard", "feeds", "filter", "sink"))}
    jobs |= {"prometheus", "alertmanager"}
    until(lambda: {found["metric"]["job"] for found in prometheus("up == 1")} == jobs, "not all up")
    assert not prometheus("up == 0")
    known = ask("http://127.0.0.1:9090/api/v1/alertmanagers")["data"]
    assert [each["url"] for each in known["activeAlertmanagers"]] == [
        "http://alertmanager:9093/api/v2/alerts"
    ]


def test_the_registry_tells_nothing_without_its_password(deployed: Deployment):
    refused = deployed.run("sink", "models", "list")  # which has no account
    assert refused.returncode == 1
    assert "http://registry:5000 refuses us" in refused.stderr
    assert deployed.run("worker", "models", "list").returncode == 0


def test_corrections_become_a_model_that_is_served_and_rolled_back(
    deployed: Deployment, post: Post, shared: Path
):
    """deploy/README.md, "Let it learn": register, correct, refresh; the worker follows."""
    first = ("--model", "builtin:spam", "--name", "mail", "--alias", "champion")
    done = deployed.run("trainer", "register", *first)
    assert done.returncode == 0, done.stderr
    deployed.settings["MAIL_MODEL"] = "models:/mail@champion"
    deployed.stop("worker")
    deployed.up("worker")
    deployed.until_healthy("worker")

    usual = [mail(each.text) for each in itertools.islice(held_out(shared / "data"), USUAL)]
    post.labelled(usual)
    for label in post.labelled([mail(campaign_mail(n)) for n in range(CAMPAIGN)]):
        post.correct(label, "spam")
    assert served_by(post) == "1"

    trainer = deployed.file()["services"]["trainer"]["command"]
    deployed.up("trainer", *trainer, "--head-only")  # the same, but a minute's work
    until(lambda: '"outcome": "promoted"' in deployed.log("trainer"), "not promoted", 600)
    until(lambda: served_by(post) == "2", "the new model is not served")
    done = deployed.run("worker", "models", "rollback", "mail")
    assert done.returncode == 0, done.stderr
    until(lambda: served_by(post) == "1", "the old model is not served")


def served_by(post: Post) -> str:
    """The version of the model that labels now."""
    [label] = post.labelled([mail(campaign_mail(0))])
    return str(label["model"]["version"])


def test_people_are_called_when_the_worker_stops_and_again_when_it_is_back(
    deployed: Deployment, alerts: Webhook
):
    deployed.stop("worker")
    deployed.stop("filter")
    assert alerts.has_said("FIRING: No Winnow worker answers", ALERT_SECONDS)
    assert alerts.has_said("FIRING: No winnow-filter answers any more", ALERT_SECONDS)
    for name in ("worker", "filter"):
        deployed.up(name)
    assert alerts.has_said("RESOLVED: No Winnow worker answers", ALERT_SECONDS)


def test_it_ends_well(deployed: Deployment):
    """Last: what `docker compose stop` asks of each."""
    for name in reversed(AFTER_TOPICS):
        assert deployed.stop(name) == 0, deployed.log(name)
