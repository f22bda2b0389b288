"""A model that gives a text any number of labels, from examples to its successor in service."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stream_app.__main__ import app as winnow
from stream_app.library import LocalModel
from stream_app.model.registry import CHAMPION, PREVIOUS
from tests.conftest import free_port
from tests.integration.harness import Stage, distinct
from tests.integration.process import wait_for_metric
from tests.registries import NAME, OwnRegistry
from tests.tiny_model import save_tiny_albert
from tests.training_data import WORDS
from training.__main__ import app as train

TOPICS = {
    "weather": ["rain", "storm", "cloud", "sunny", "wind", "drizzle"],
    "sports": ["match", "goal", "player", "league", "coach", "stadium"],
    "politics": ["vote", "senate", "minister", "law", "party", "election"],
}
NEW = ["snow", "frost", "ice", "blizzard"]  # weather that the first model has never read of
PEOPLE = ("ada", "bob", "carol")
FIRST = 1022  # is about politics and weather, and the next one about nothing
Told = tuple[str, list[str]]


def told(number: int, words: dict[str, list[str]] = TOPICS) -> Told:
    """An invented text, and the topics it is about: none, one or several."""
    chance = random.Random(number)
    about = sorted(topic for topic in words if chance.random() < 0.45)
    said = [word for topic in about for word in chance.sample(words[topic], 3)]
    text = [*chance.choices(WORDS, k=8), *said]
    chance.shuffle(text)
    return " ".join([*text, f"number{number}"]), about


def new_kind(number: int) -> Told:
    """One of the winter, which is always about the weather, and often about more."""
    text, about = told(number, {**TOPICS, "weather": NEW})
    chance = random.Random(number)
    return f"{text} {' '.join(chance.sample(NEW, 3))}", sorted({*about, "weather"})


def run(app: Any, *arguments: object, stdin: str = "") -> Any:
    result = CliRunner().invoke(app, [*map(str, arguments)], input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def served(stage: Stage, registry: OwnRegistry, tmp_path: Path) -> str:
    """The route of a model of topics, made from examples and registered; its input topic."""
    rows = [{"text": text, "topics": about} for text, about in map(told, range(240))]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    encoder = save_tiny_albert(tmp_path / "encoder")
    given = ("--examples", tmp_path / "mine.jsonl", "--encoder", encoder, "--out", tmp_path / NAME)
    said = run(train, "fit", *given, "--label-field", "topics", "--false-positives", "0.02").stdout
    assert "240 texts with 3 labels, several to a text" in said
    stage.sections |= {
        "registry": {
            "uri": registry.uri,
            "cache": str(registry.folder / "cache"),
            "poll_seconds": 0.05,
        },
        "feedback": {"topic": f"{stage.name}.feedback"},
        "metrics": {"port": free_port()},
    }
    topic = stage.route(NAME, "text", f"models:/{NAME}@{CHAMPION}", review_share=1.0)
    given = ("--model", tmp_path / NAME, "--name", NAME, "--config", stage.config)
    run(train, "register", *given, "--alias", CHAMPION)
    run(winnow, "topics", "create", "--config", stage.config)
    return topic


def send(stage: Stage, topic: str, texts: Iterable[str]) -> None:
    """In order, and so are the copies for review: all have one key."""
    with stage.producer() as producer:
        for text in texts:
            producer.send(topic, text.encode(), b"invented", partition=0)


def correct(stage: Stage, ids: Sequence[str], right: Sequence[list[str]]) -> None:
    """By the command for the first few, and by a program for the others."""
    for at, labels in zip(ids[:3], right[:3], strict=True):
        given = [part for label in labels for part in ("--label", label)]
        run(winnow, "correct", "--config", stage.config, "--id", at, *given, "--who", "ada")
    said = {"route": NAME, "when": "2026-03-01T10:00:00Z"}
    with stage.producer() as producer:
        for number, (at, labels) in enumerate(zip(ids[3:], right[3:], strict=True)):
            value = said | {"id": at, "labels": labels, "who": PEOPLE[number % len(PEOPLE)]}
            producer.send(f"{stage.name}.feedback", json.dumps(value).encode())


def review(stage: Stage, first: Sequence[str]) -> None:
    """A person says the truth of the `first` two ids: that one is about two topics, one of none."""
    given = ("--config", stage.config, "--route", NAME, "--who", "carol")
    shown = run(winnow, "review", *given, stdin="9\n1, 3\n0\nq\n")
    assert "1 politics  2 sports  3 weather  0 none" in shown.stdout
    said = [json.loads(record.value) for record in stage.records(f"{stage.name}.feedback")]
    told_of = {each["id"]: each["labels"] for each in said}
    assert told_of == dict(zip(first, (["politics", "weather"], []), strict=True))


def right(label: dict[str, Any], about: list[str]) -> bool:
    return bool(sorted(label["labels"]) == about)


def by_offset(labels: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {label["source"]["offset"]: label for label in labels}


def check_decisions(labels: Iterable[dict[str, Any]], decide_at: dict[str, float]) -> None:
    """Each label by its own bar; one text in one way for all who read it."""
    seen = set()
    for label in labels:
        sure = [t for t in label["labels"] if label["scores"][t] >= decide_at[t]]
        expected = sure if "unfamiliar" not in label["marks"] else []
        assert label["decisions"] == expected
        best = max(expected, key=lambda topic: label["scores"][topic], default=None)
        strange = label["labels"] or label["marks"]
        assert label["decision"] == (best or ("unsure" if strange else "none"))
        seen.add(len(expected))
    assert {0, 1, 2, 3} == seen


@pytest.mark.usefixtures("any_broker")
@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.parametrize("how", ["--head-only", "--minutes=1"])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_topics_are_served_corrected_refreshed_promoted_and_reloaded(
    stage: Stage, served: str, registry: OwnRegistry, tmp_path: Path, how: str
) -> None:
    known = [told(number) for number in range(FIRST, FIRST + 400)]
    winter = [new_kind(number) for number in range(2000, 2140)]
    unseen = [new_kind(number) for number in range(3000, 3040)]
    url = f"http://127.0.0.1:{stage.sections['metrics']['port']}"
    with stage.worker() as worker:
        send(stage, served, [text for text, _ in (*known, *winter)])
        labels = by_offset(stage.collect(served, distinct(540)).labels)
        before = [right(labels[n], about) for n, (_, about) in enumerate((*known, *winter))]
        assert sum(before[:400]) > 380, "texts of the kinds that it learnt from"
        assert sum(before[400:]) < 70, "and of one that it did not"
        first = registry.serving()
        check_decisions(labels.values(), first.card.decide_at)
        copied = f'winnow_records_for_review_total{{outcome="copied",route="{NAME}"}}'
        wait_for_metric(url, copied, "540.0")
        assert [about for _, about in known[:2]] == [["politics", "weather"], []]
        review(stage, [labels[n]["id"] for n in range(2)])
        correct(stage, [labels[400 + n]["id"] for n in range(140)], [about for _, about in winter])
        given = ("--config", stage.config, "--route", NAME, "--work", tmp_path / "work")
        report = json.loads(run(train, "refresh", *given, how).stdout)
        assert (report["outcome"], report["because"]) == ("promoted", None), report
        assert report["data"]["labels"]["weather"] > 60
        swapped = f'winnow_reloads_total{{outcome="swapped",route="{NAME}"}}'
        wait_for_metric(url, swapped, "1.0")
        send(stage, served, [text for text, _ in unseen])
        found = by_offset(stage.collect(served, distinct(580)).labels)
        assert sum(right(found[540 + n], about) for n, (_, about) in enumerate(unseen)) > 34
        assert worker.stop() == 0
    champion = registry.serving()
    model = {"problem": "multi_label", "digest": champion.digest}
    assert model.items() <= found[540]["model"].items()
    assert registry.serving(PREVIOUS).digest == first.digest != champion.digest
    assert champion.card.thresholds == first.card.thresholds
    assert all(champion.card.decide_at[topic] >= first.card.decide_at[topic] for topic in TOPICS)
    with LocalModel(str(champion.path)) as now:
        after: list[Any] = list(now.label(text for text, _ in known))
    kept = sum(sorted(made.labels) == about for made, (_, about) in zip(after, known, strict=True))
    assert kept >= sum(before[:400]) - 4, "nothing is forgotten"
