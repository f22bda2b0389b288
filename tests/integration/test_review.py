"""Records for people to label, and drift, from a real worker on a real broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from stream_app.__main__ import app
from stream_app.model.artifact import load_artifact, write_card
from tests.conftest import free_port
from tests.integration.harness import Stage, distinct, send
from tests.integration.process import wait_for_metric
from tests.tiny_model import WORDS, save_tiny_albert
from training.data.corpus import Example
from training.fitting.drift_reference import write_reference
from training.judging.evaluate import score
from training.refreshing.drift_watch import wait_for_drift

COUNT = 60
FAMILIAR = [" ".join(WORDS[: n % 11 + 1]) for n in range(COUNT)]
STRANGE = ["etaoin shrdlu " * 20] * COUNT


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny model whose reference is of familiar texts."""
    folder = save_tiny_albert(tmp_path / "model")
    write_card(folder, load_artifact(folder).card)
    examples = [Example(text, ("ham",)) for text in FAMILIAR]
    artifact = load_artifact(folder)
    write_reference(artifact, examples, score(artifact, examples, "auto").logits)
    write_card(folder, load_artifact(folder).card)
    return folder


def winnow(*arguments: str, stdin: str = "") -> Result:
    result = CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.usefixtures("any_broker")
def test_a_person_labels_what_a_worker_copied(stage: Stage, model: Path):
    feedback = f"{stage.name}.feedback"
    stage.sections["feedback"] = {"topic": feedback}
    topic = stage.route("mail", "text", str(model), review_share=1.0)
    config = str(stage.config)
    winnow("topics", "create", "--config", config)
    with stage.producer() as producer:
        send(producer, topic, [b"good \x1b[2J words %d" % n for n in range(8)], stage.partitions)
    port = str(free_port())
    with stage.worker(WINNOW_METRICS__PORT=port) as worker:
        labels = stage.collect(topic, distinct(8)).labels
        copied = 'winnow_records_for_review_total{outcome="copied",route="mail"}'
        wait_for_metric(f"http://127.0.0.1:{port}", copied, "8.0")
        assert worker.stop() == 0
    review = ("review", "--config", config, "--route", "mail", "--who", "ada")
    first = winnow(*review, stdin="2\n1\ns\nq\n")
    assert "2 records were given a label" in first.stderr
    assert "good" in first.stdout
    assert "\x1b[2J" not in first.stdout
    assert "1 records were given a label" in winnow(*review, stdin="1\n").stderr
    told = [json.loads(record.value) for record in stage.records(feedback)]
    assert sorted(one["label"] for one in told) == ["ham", "ham", "spam"]
    assert len({one["id"] for one in told}) == 3
    assert {one["id"] for one in told} <= {label["id"] for label in labels}
    assert {(one["route"], one["who"]) for one in told} == {("mail", "ada")}


@pytest.mark.usefixtures("any_broker")
def test_strange_texts_are_drift_and_familiar_ones_are_not(stage: Stage, model: Path):
    stage.sections["drift"] = {"window_records": COUNT, "window_seconds": 0}
    topic = stage.route("mail", "text", str(model))
    stage.create_topics()
    port = str(free_port())
    url = f"http://127.0.0.1:{port}"
    with stage.worker(WINNOW_METRICS__PORT=port):
        calm, *strange = (one_window(stage, topic, url, n) for n in (1, 2, 3))
    assert set(drift_scores(calm)) == {"label", "confidence", "tokens", "unknown", "embedding"}
    for statistic in ("tokens", "unknown", "embedding"):
        assert drift_scores(calm)[statistic] < 0.1
        assert drift_scores(strange[-1])[statistic] > 0.25
    pages = iter([calm, *strange])
    reason = wait_for_drift(url, "mail", 0.25, fetch=lambda url: next(pages), sleep=lambda _: None)
    assert "tokens " in reason
    assert not list(pages), "one strange window is not enough"


def one_window(stage: Stage, topic: str, url: str, number: int) -> str:
    """Send a window of texts, familiar ones first; the metrics once it was compared."""
    texts = FAMILIAR if number == 1 else STRANGE
    with stage.producer() as producer:
        send(producer, topic, [text.encode() for text in texts], stage.partitions)
    return wait_for_metric(url, 'winnow_drift_windows_total{route="mail"}', f"{number}.0")


def drift_scores(metrics: str) -> dict[str, float]:
    """The drift score of each statistic."""
    lines = [x for x in metrics.split("\n") if x.startswith("winnow_drift_score{")]
    return {x.split('statistic="')[1].split('"')[0]: float(x.split()[-1]) for x in lines}
