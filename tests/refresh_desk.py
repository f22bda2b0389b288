"""One route whose mails people correct, and `winnow-train refresh` on it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from typer.testing import CliRunner

from stream_app.model.artifact import Artifact
from stream_app.model.registry import CHAMPION
from tests.registries import NAME, OwnRegistry
from tests.tiny_model import RARE
from tests.training_data import WORDS
from training.__main__ import app
from training.data.corpus import Example
from training.judging.evaluate import score


def new_spam(number: int) -> str:
    """Spam of a kind that no model has seen: only the word `the` gives it away."""
    chance = random.Random(number)
    return " ".join(chance.choices([*WORDS, "the", "the"], k=16)) + f" the new{number}"


def old_spam(number: int) -> str:
    """Spam that every model here is sure of."""
    return _marked(number, RARE)


def old_ham(number: int) -> str:
    """Ham that every model here is sure of."""
    return _marked(number, "good")


def _marked(number: int, mark: str) -> str:
    chance = random.Random(number)
    words = [word for word in WORDS if word != "good"]
    return " ".join(chance.choices([*words, mark, mark], k=16)) + f" {mark} old{number}"


@dataclass
class Desk:
    """`model` is what the route serves to begin with; `settings` are given to every refresh."""

    model: Path
    address: str
    registry: OwnRegistry
    topic: str
    settings: dict[str, Path] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        file = self.registry.folder / "winnow.toml"
        file.write_text(f"""
[kafka]
bootstrap_servers = "{self.address}"
[feedback]
topic = "{self.topic}"
[registry]
uri = "{self.registry.uri}"
cache = "{self.registry.folder}/cache"
[[routes]]
name = "{NAME}"
format = "text"
model = "{self.model}"
input_topic = "{self.topic}.in"
output_topic = "{self.topic}.out"
""")
        return file

    def send(self, texts: Iterable[str]) -> None:
        """Mails of the route's input, in order, on one partition."""
        self._send(f"{self.topic}.in", (text.encode() for text in texts), partition=0)

    def correct(
        self,
        count: int,
        label: str = "spam",
        who: tuple[str, ...] = ("ada", "bob"),
        said_of: Callable[[int], str] = new_spam,
    ) -> None:
        """`count` mails that are on no topic have this label."""
        about = ({"text": said_of(n), "who": who[n % len(who)]} for n in range(count))
        self._say(label, about)

    def correct_sent(self, offsets: Iterable[int], label: str, who: str) -> None:
        """The mails of these offsets have this label."""
        self._say(label, ({"id": f"{self.topic}.in/0/{n}", "who": who} for n in offsets))

    def arguments(self, *more: str) -> list[str]:
        given = {"--config": self.config, "--route": NAME, "--work": self.work, **self.settings}
        return ["refresh", *(str(each) for pair in given.items() for each in pair), *more]

    def refresh(self, *more: str) -> Any:
        result = CliRunner().invoke(app, self.arguments(*more), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    @property
    def work(self) -> Path:
        return self.registry.folder / "work"

    @property
    def told(self) -> str:
        """The last run's report as a person reads it."""
        return max(self.work.glob("runs/*/report.txt")).read_text()

    def serving(self, alias: str = CHAMPION) -> Artifact:
        return self.registry.serving(alias)

    def right(self, artifact: Artifact) -> float:
        """The share of new spam that a model recognises; none of it was ever corrected."""
        texts = [Example(new_spam(n), ("spam",)) for n in range(1000, 1050)]
        return float(score(artifact, texts, "auto").logits.argmax(axis=1).mean())

    def _say(self, label: str, about: Iterable[dict[str, str]]) -> None:
        said = {"route": NAME, "label": label, "when": "2026-03-01T10:00:00Z"}
        self._send(self.topic, (json.dumps(said | each).encode() for each in about))

    def _send(self, topic: str, values: Iterable[bytes], partition: int | None = None) -> None:
        producer = KafkaProducer(bootstrap_servers=self.address)
        for value in values:
            producer.send(topic, value, partition=partition)
        producer.flush()
        producer.close()
