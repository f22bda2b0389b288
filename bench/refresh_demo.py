"""The refresh loop, live: drift, feedback, refresh, shadow, promotion, roll-back.

A worker on the embedded broker labels mail with `builtin:spam`: SpamAssassin's, of the part that it
has not learnt from. Then a campaign begins, of which it decides hardly anything to be spam. One
administrator corrects it, `winnow-train refresh --on-drift` notices and makes a challenger, from
nothing but the topic and these corrections. It shadows the champion, is promoted and rolled back.
Every step is a command of an operator's.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tomli_w
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from bench.campaign import campaign_mail
from bench.refresh_demo_plot import draw
from stream_app.core.feedback import Feedback
from stream_app.kafka.embedded_broker import EmbeddedBroker, usable_port
from training.data.corpus import Example, read_test
from training.recipes import load_recipe

PARTITIONS = 2
ARCHIVE = "spam/spamassassin.tar.gz"
BEFORE, CHUNK, CHUNKS, SHADOWED, AFTER = 500, 30, 40, 150, 300  # mails
PAUSE = 2.0  # seconds between two chunks, so that drift has a time to be noticed in
ROLLBACK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A mail, what the worker decided of it, and the digest of the model."""

    id: str
    truth: str
    said: str
    model: str


@dataclass
class Desk:
    """The operator's and the readers' place: commands, topics, and all answers so far."""

    address: str
    folder: Path
    port: int
    answers: list[Answer] = field(default_factory=list)
    marks: list[tuple[int, str]] = field(default_factory=list)  # what happened behind which answer
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._producer = KafkaProducer(bootstrap_servers=self.address)
        self._labels = KafkaConsumer(bootstrap_servers=self.address)

    @property
    def config(self) -> Path:
        """The worker's configuration."""
        return self.folder / "winnow.toml"

    def say(self, text: str) -> None:
        """A line, with the time."""
        print(f"{time.monotonic() - self._started:6.1f} s  {text}", flush=True)

    def mark(self, text: str) -> None:
        """Say it, and remember it for the plot."""
        self.say(text)
        self.marks.append((len(self.answers), text.split(":")[0]))

    def run(self, module: str, *arguments: str) -> str:
        """A command, as the operator types it; what it prints."""
        print(f"          $ {'winnow' if module == 'stream_app' else 'winnow-train'}", *arguments)
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"it failed:\n{done.stderr[-3000:]}")
        return done.stdout

    def subscribe(self) -> None:
        """Read labels from here on."""
        self._labels.assign([TopicPartition("mail.labels", n) for n in range(PARTITIONS)])
        self._labels.seek_to_beginning()

    def stream(self, mails: Sequence[Example]) -> list[Answer]:
        """Send mails, and wait for the label of each."""
        sent = [self._producer.send("mail", mail.text.encode()) for mail in mails]
        waiting = {}
        for mail, future in zip(mails, sent, strict=True):
            meta = future.get(30)
            waiting[f"mail/{meta.partition}/{meta.offset}"] = mail.label
        found = []
        while waiting:
            for records in self._labels.poll(1000).values():
                for record in records:
                    label = json.loads(record.value)
                    if (truth := waiting.pop(label["id"], None)) is not None:
                        model = label["model"]["digest"]
                        found.append(Answer(label["id"], truth, label["decision"], model))
        self.answers += found
        return found

    def correct(self, answers: Sequence[Answer]) -> None:
        """The administrator says what mails really are, where it was not decided."""
        for answer in answers:
            if answer.said == answer.truth:
                continue
            said = Feedback(
                id=answer.id,
                label=answer.truth,
                route="mail",
                who="ada",
                when=datetime.now(UTC),
            )
            self._producer.send("feedback", said.model_dump_json(exclude_none=True).encode())
        self._producer.flush()

    def drift(self) -> str:
        """The worker's drift scores."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        scores = [line for line in lines if line.startswith("winnow_drift_score{")]
        return ", ".join(
            f"{line.split('statistic=')[1].split(chr(34))[1]} {float(line.split()[-1]):.2f}"
            for line in scores
        )


def figures(answers: Sequence[Answer]) -> str:
    """Recall of spam and false positives, for people."""
    spam = [a for a in answers if a.truth == "spam"]
    ham = [a for a in answers if a.truth == "ham"]
    found = sum(a.said == "spam" for a in spam) / len(spam)
    wronged = sum(a.said == "spam" for a in ham) / len(ham)
    return f"{len(answers)} mails: spam found {found:.3f}, ham decided spam {wronged:.3f}"


@contextmanager
def worker(desk: Desk) -> Iterator[None]:
    """The service, consuming."""
    log = (desk.folder / "worker.log").open("wb")
    command = [sys.executable, "-m", "stream_app", "worker", "--config", str(desk.config)]
    process = subprocess.Popen(command, stderr=log)
    try:
        while b"consuming" not in (desk.folder / "worker.log").read_bytes():
            if process.poll() is not None:
                raise SystemExit((desk.folder / "worker.log").read_text()[-3000:])
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()
        log.close()


def configuration(desk: Desk) -> dict[str, object]:
    """One route, its champion and challenger in a registry of one file."""
    return {
        "kafka": {"bootstrap_servers": desk.address, "group_id": "refresh-demo"},
        "topics": {"partitions": PARTITIONS},
        "metrics": {"port": desk.port},
        "registry": {
            "uri": f"sqlite:///{desk.folder}/registry.db",
            "cache": str(desk.folder / "cache"),
        },
        "drift": {"window_records": 150, "window_seconds": 1.0},
        "routes": [
            {
                "name": "mail",
                "format": "text",
                "model": "models:/mail@champion",
                "challenger": "models:/mail@challenger",
                "shadow_share": 1.0,
                "input_topic": "mail",
                "output_topic": "mail.labels",
            }
        ],
    }


def loop(desk: Desk, usual: Iterator[Example], plot: Path) -> None:
    """The whole story."""
    config = ("--config", str(desk.config))
    mixed = with_campaign(usual)
    with worker(desk):
        desk.subscribe()
        desk.say(f"before:     {figures(desk.stream(_take(usual, BEFORE)))}")
        desk.mark("campaign: from here on every second mail is of a new kind of spam")
        report = refreshed(desk, mixed, config)
        desk.mark("shadow: the challenger labels beside the champion")
        desk.stream(_take(mixed, SHADOWED))
        print(desk.run("stream_app", "models", "compare", *config))
        print(desk.run("stream_app", "models", "promote", "mail", *config))
        seconds = served(desk, mixed, report["challenger"]["digest"])
        desk.mark(f"promoted: the first label by it after {seconds:.1f} s")
        desk.say(f"recovered:  {figures(desk.stream(_take(mixed, AFTER)))}")
        print(desk.run("stream_app", "models", "rollback", "mail", *config))
        seconds = served(desk, mixed, report["champion"]["digest"])
        desk.mark(f"rolled back: in effect after {seconds:.1f} s")
        print(desk.run("stream_app", "models", "list", "mail", *config))
    draw(desk.answers, desk.marks, plot)
    desk.say(f"plot: {plot}")


def with_campaign(usual: Iterator[Example]) -> Iterator[Example]:
    """Every second mail is the campaign's."""
    for number, mail in enumerate(usual):
        yield mail
        yield Example(campaign_mail(number), ("spam",))


def refreshed(desk: Desk, post: Iterator[Example], config: tuple[str, str]) -> dict[str, Any]:
    """A challenger made of the feedback once drift is noticed, and why it may serve; the report."""
    where = ("--route", "mail", "--work", str(desk.folder / "work"))
    kind = ("--head-only", "--no-promote", "--on-drift", f"http://127.0.0.1:{desk.port}/metrics")
    arguments = ("refresh", *config, *where, *kind)
    print("          $ winnow-train", *arguments)
    log = desk.folder / "refresh.log"
    with log.open("wb") as errors:
        command = [sys.executable, "-m", "training", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    corrected(desk, post, log, process)
    told, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"it failed:\n{log.read_text()[-3000:]}")
    report: dict[str, Any] = json.loads(told)
    desk.say(f"refresh: {report['outcome']}")
    for gate in report["gates"]:
        desk.say(f"  {'passed' if gate['passed'] else 'FAILED'}  {gate['name']}: {gate['reason']}")
    if report["outcome"] != "registered":
        raise SystemExit("it was not registered: the champion serves on")
    return report


def corrected(
    desk: Desk, post: Iterator[Example], log: Path, process: subprocess.Popen[str]
) -> None:
    """Mail with the campaign, corrected, until the refresh says that it drifted."""
    answers: list[Answer] = []
    for _ in range(CHUNKS):
        seen = desk.stream(_take(post, CHUNK))
        desk.correct(seen)
        answers += seen
        time.sleep(PAUSE)
        noticed = [line for line in log.read_text().splitlines() if line.startswith("route mail:")]
        if noticed or process.poll() is not None:
            desk.mark(f"noticed: {' '.join(noticed)}")
            desk.say(f"drifted:    {figures(answers)}")
            return
    process.kill()
    raise SystemExit(f"drift was not noticed; scores: {desk.drift()}")


def served(desk: Desk, post: Iterator[Example], digest: str) -> float:
    """Seconds until a label is this model's."""
    started = time.monotonic()
    while time.monotonic() - started < ROLLBACK_SECONDS:
        (answer,) = desk.stream(_take(post, 1))
        if answer.model == digest:
            return time.monotonic() - started
    raise SystemExit(f"no label is by the model {digest[:12]}")


def _take(post: Iterator[Example], count: int) -> list[Example]:
    return [mail for mail, _ in zip(post, range(count), strict=False)]


def held_out(data: Path) -> Iterator[Example]:
    """SpamAssassin's mail that `builtin:spam` has not learnt from, in random order."""
    recipe = load_recipe("spam")
    alone = tuple(source for source in recipe.sources if source.file == ARCHIVE)
    recipe = recipe.model_copy(update={"sources": alone})
    (mails,) = read_test(recipe, data, recipe.preparation).values()
    random.Random(1).shuffle(mails)
    return iter(mails)


def main() -> None:
    """Set the stage: mail, broker, topics, and the built-in model in a registry."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--plot", type=Path, default=Path("refresh-demo.svg"))
    options = parser.parse_args()
    if not (options.data / ARCHIVE).exists():
        raise SystemExit(f"needs real mail in --data FOLDER, and lacks {ARCHIVE}")
    with TemporaryDirectory() as name, EmbeddedBroker() as broker:
        desk = Desk(broker.address, Path(name), usable_port(0))
        usual = held_out(options.data)
        desk.config.write_text(tomli_w.dumps(configuration(desk)))
        config = ("--config", str(desk.config))
        desk.run("stream_app", "topics", "create", *config)
        first = ("--model", "builtin:spam", "--name", "mail", "--alias", "champion")
        desk.run("training", "register", *first, *config)
        loop(desk, usual, options.plot)


if __name__ == "__main__":
    main()
