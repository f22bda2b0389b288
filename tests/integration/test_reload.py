"""Models that change under load: every message once, each label by the model that it names.

Two tiny models disagree about one word; which text went where is known, so each label is computed
again from the digest it names.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from stream_app.core.settings import EngineSettings, RouteSettings
from stream_app.model.artifact import CARD, ModelCard, load_artifact, write_card
from stream_app.model.decision import decide, lengths
from stream_app.model.registry import CHALLENGER, CHAMPION
from stream_app.serving.served import ModelLoader, ServedModel
from tests.conftest import free_port
from tests.integration.harness import Stage, distinct
from tests.integration.process import PATIENCE, get, wait_until_ready
from tests.registries import NAME, WORD, OwnRegistry

REFERENCE = f"models:/{NAME}@{CHAMPION}"
POLL_SECONDS = 0.05
RELOADS, SHADOWED = "winnow_reloads_total", "winnow_shadow_records_total"
WINNOW = [sys.executable, "-m", "stream_app"]
TEXTS = [f"a {WORD} text", f"{WORD} {WORD} model", f"any {WORD} score that can", f"the {WORD}"]


def own(stage: Stage, registry: OwnRegistry, **route: Any) -> str:
    """A route of the registry's champion; its input topic."""
    stage.sections["registry"] = {
        "uri": registry.uri,
        "cache": str(registry.folder / "cache"),
        "poll_seconds": POLL_SECONDS,
    }
    stage.sections["metrics"] = {"port": free_port()}
    return stage.route("texts", "text", REFERENCE, **route)


def url(stage: Stage) -> str:
    return f"http://127.0.0.1:{stage.sections['metrics']['port']}"


@contextmanager
def load(stage: Stage, topic: str) -> Iterator[list[int]]:
    """Texts sent without end, as fast as a broker and its reader share the machine; how many."""
    sent, done = [0], Event()

    def run() -> None:
        while not done.is_set():
            send(stage, topic, range(sent[0], sent[0] + 20))
            sent[0] += 20

    thread = Thread(target=run)
    thread.start()
    try:
        yield sent
    finally:
        done.set()
        thread.join()


def metric(stage: Stage, name: str, *labels: str) -> float:
    """The sum of a metric's series with all these labels, as in `outcome="swapped"`."""
    lines = get(f"{url(stage)}/metrics")[1].split("\n")
    wanted = [x for x in lines if x.startswith(f"{name}{{") and all(label in x for label in labels)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in wanted)


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)  # neither HTTP nor a topic offers an event to await


def swapped(stage: Stage, times: float) -> Callable[[], bool]:
    return lambda: metric(stage, RELOADS, 'outcome="swapped"') >= times


def send(stage: Stage, topic: str, numbers: range) -> None:
    """These texts, each numbered in its key and in a header."""
    with stage.producer() as producer:
        for number in numbers:
            producer.send(
                topic,
                TEXTS[number % len(TEXTS)].encode(),
                key=b"%d" % number,
                partition=number // 3 % stage.partitions,
                headers=[("number", b"%d" % number)],
            )


def number(label: dict[str, Any]) -> int:
    return int(label["source"]["fields"]["number"])


def seconds(label: dict[str, Any]) -> float:
    """When it was made, since the epoch."""
    return datetime.fromisoformat(label["classified_at"]).timestamp()


def models(stage: Stage, command: str, *arguments: str) -> str:
    """What `winnow models …` says."""
    run = [*WINNOW, "models", command, *arguments, "--config", str(stage.config)]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout


class Recomputed:
    """What each model says of each text, computed here, apart from any worker."""

    def __init__(self, *folders: Path) -> None:
        route = RouteSettings(name="r", format="text", model="m", input_topic="i", output_topic="o")
        loader = ModelLoader(route, EngineSettings(threads=1), lambda outcome: None)
        self._models: dict[str, tuple[ServedModel, Any]] = {}
        for folder in folders:
            artifact = load_artifact(folder)
            self._models[artifact.digest] = loader(artifact, artifact.version, 512), artifact.card

    def check(self, labels: list[dict[str, Any]]) -> Counter[str]:
        """Every label is what the model of its digest says of its text; how many each made."""
        expected = {
            (digest, text): decide(
                model.engine.logits(
                    model.encoder([text]), model.encoder.priors([text])[0][None, :]
                ),
                card,
                lengths(model.encoder([text])),
            )[0]
            for digest, (model, card) in self._models.items()
            for text in TEXTS
        }
        said = {prediction.label for prediction in expected.values()}
        assert len(said) == len(self._models), "they disagree"
        for label in labels:
            text = TEXTS[number(label) % len(TEXTS)]
            prediction = expected[label["model"]["digest"], text]
            assert label["label"] == prediction.label, label
            assert label["confidence"] == pytest.approx(prediction.confidence, abs=1e-3), label
        return Counter(label["model"]["version"] for label in labels)


def check_swaps(stage: Stage, registry: OwnRegistry, swaps: int, **route: str) -> None:
    """So many swaps under load; every message is counted, each label recomputed."""
    folders = [registry.model(0), registry.model(1)]
    versions = [registry.register(folder) for folder in folders]
    registry.reader.point(NAME, CHAMPION, versions[0])
    topic = own(stage, registry, pass_fields=["number"], **route)
    stage.create_topics()
    with stage.worker() as worker:
        wait_until_ready(url(stage))
        with load(stage, topic) as sent:
            for swap, version in zip(range(swaps), itertools.cycle(versions[::-1])):
                registry.reader.point(NAME, CHAMPION, version)
                wait_for(swapped(stage, swap + 1))
        total = sent[0]
        found = stage.collect(topic, distinct(total), 600)
        prompt = metric(stage, "winnow_end_to_end_seconds_bucket", 'le="1.0"')
        assert worker.stop() == 0
    assert len(found.times) == total
    assert found.duplicates == found.disorder == len(found.dead) == 0
    assert sum(stage.committed(topic).values()) == total
    made = Recomputed(*folders).check(found.labels)
    assert set(made) == set(versions)
    sys.stdout.write(
        f"\n{swaps} swaps, {total} messages by version: {dict(made)}; 0 lost, 0 twice, "
        f"{prompt:.0f} within 1 s\n"
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize("delivery", ["at_least_once", "effectively_once"])
def test_swaps_under_load_lose_and_mislabel_nothing(
    stage: Stage, registry: OwnRegistry, broker_kind: str, delivery: str
):
    if broker_kind == "tansu" and delivery == "effectively_once":
        pytest.skip("the embedded broker has no transactions")
    check_swaps(stage, registry, 20, delivery=delivery)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_hundreds_of_swaps_under_load_lose_and_mislabel_nothing(
    stage: Stage, registry: OwnRegistry
):
    check_swaps(stage, registry, 400)


def test_a_rollback_takes_effect(stage: Stage, registry: OwnRegistry):
    folders = [registry.model(0), registry.model(1)]
    registry.register(folders[0], CHAMPION)
    registry.register(folders[1], CHALLENGER)
    topic = own(stage, registry, pass_fields=["number"])
    stage.sections["registry"]["poll_seconds"] = 1.0  # the default
    stage.create_topics()
    with stage.worker() as worker:
        wait_until_ready(url(stage))
        with load(stage, topic) as sent:
            assert "mail: champion is version 2" in models(stage, "promote", NAME)
            wait_for(swapped(stage, 1))
            began = time.time()
            said = models(stage, "rollback", NAME)
            ended = time.time()
            assert "mail: champion is version 1" in said
            wait_for(swapped(stage, 2))
            after = sent[0] + 200
            wait_for(lambda: sent[0] >= after)
        found = stage.collect(topic, distinct(sent[0]))
        assert worker.stop() == 0
    listed = models(stage, "list")
    assert [line.split()[:3] for line in listed.split("\n")[:2]] == [
        [NAME, "2", "previous"],
        [NAME, "1", "champion"],
    ]
    newest = json.loads(models(stage, "list", "--json").splitlines()[0])
    assert (newest["name"], newest["version"], newest["aliases"]) == (NAME, "2", ["previous"])
    assert len(found.times) == sent[0]
    assert set(Recomputed(*folders).check(found.labels)) == {"1", "2"}
    last = max(seconds(label) for label in found.labels if label["model"]["version"] == "2")
    sys.stdout.write(
        f"\nthe last label by the model rolled back: {last - began:.1f} s after the command was "
        f"given, which took {ended - began:.1f} s\n"
    )


@pytest.mark.usefixtures("any_broker")
@pytest.mark.parametrize("damage", ["digest", "files", "labels", "weights"])
def test_a_bad_model_leaves_the_old_one_serving(stage: Stage, registry: OwnRegistry, damage: str):
    """Also where the worker starts anew; and the next good one is taken."""
    good = registry.model(0)
    bad = registry.model(1, ("ham", "spam", "other") if damage == "labels" else ("ham", "spam"))
    better = registry.model(1, seed=1)
    registry.register(good, CHAMPION)
    topic = own(stage, registry, pass_fields=["number"])
    stage.create_topics()
    with stage.worker() as worker:
        wait_until_ready(url(stage))
        if damage == "weights":  # sealed and sound, and of another shape than they say
            config = json.loads((bad / "config.json").read_text())
            (bad / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
            write_card(bad, ModelCard.model_validate_json((bad / CARD).read_bytes()))
        registry.register(bad, CHAMPION, digest="f" * 64 if damage == "digest" else None)
        if damage == "files":
            with (bad / "model.safetensors").open("r+b") as file:
                file.write(b"\xff")
        wait_for(lambda: metric(stage, RELOADS, 'outcome="refused"') == 1)
        send(stage, topic, range(50))
        stage.collect(topic, distinct(50))
        assert metric(stage, RELOADS, 'outcome="refused"') == 1, "tried once"
        assert worker.stop() == 0
    assert "winnow models rollback" in worker.output
    if damage != "labels":  # others are taken at a start
        with stage.worker() as worker:
            wait_until_ready(url(stage))
            send(stage, topic, range(50, 100))
            stage.collect(topic, distinct(100))
            registry.register(better, CHAMPION)
            wait_for(swapped(stage, 1))
            send(stage, topic, range(100, 150))
            found = stage.collect(topic, distinct(150))
            assert worker.stop() == 0
        assert Recomputed(good, better).check(found.labels) == {"1": 100, "3": 50}


@pytest.mark.usefixtures("any_broker")
def test_a_worker_starts_without_the_registry_from_what_it_kept_or_waits(
    stage: Stage, registry: OwnRegistry
):
    good = registry.model(0)
    registry.register(good, CHAMPION)
    topic = own(stage, registry, pass_fields=["number"])
    stage.create_topics()
    file, away = registry.folder / "registry.db", registry.folder / "away.db"
    file.rename(away)
    with stage.worker() as worker:
        wait_for(lambda: "there is no model registry" in get(f"{url(stage)}/readyz")[1])
        assert get(f"{url(stage)}/healthz")[0] == 200
        away.rename(file)
        wait_until_ready(url(stage))
        assert worker.stop() == 0
    file.rename(away)
    with stage.worker() as worker:
        wait_until_ready(url(stage))
        send(stage, topic, range(20))
        found = stage.collect(topic, distinct(20))
        wait_for(lambda: metric(stage, RELOADS, 'outcome="unreachable"') > 1)
        assert worker.stop() == 0
    Recomputed(good).check(found.labels)


@pytest.mark.usefixtures("any_broker")
@pytest.mark.parametrize("share", ["shadow_share", "canary_share"])
def test_a_challenger_is_tried_on_its_share(stage: Stage, registry: OwnRegistry, share: str):
    folders = [registry.model(0), registry.model(1)]
    registry.register(folders[0], CHAMPION)
    challenger = f"models:/{NAME}@{CHALLENGER}"
    topic = own(stage, registry, challenger=challenger, pass_fields=["number"], **{share: 0.3})
    assert subprocess.run(
        [*WINNOW, "topics", "create", "--config", stage.config], check=True, stdout=subprocess.PIPE
    )
    with stage.worker() as worker:
        wait_until_ready(url(stage))
        send(stage, topic, range(100))
        stage.collect(topic, distinct(100))
        registry.register(folders[1], CHALLENGER)
        wait_for(swapped(stage, 1))
        send(stage, topic, range(100, 500))
        found = stage.collect(topic, distinct(500))
        made = Recomputed(*folders).check(found.labels)
        if share == "canary_share":
            assert 60 < made["2"] < 180, made
            assert made["1"] + made["2"] == 500
            assert {label["model"]["version"] for label in found.labels if number(label) < 100} == {
                "1"
            }
        else:
            assert made == {"1": 500}
            wait_for(lambda: metric(stage, SHADOWED) > 60)
            said = models(stage, "compare")
            assert re.match(rf"texts: {NAME}/2 agrees with {NAME}/1 on 0 of \d+ \(0.0%\)", said)
            told = json.loads(models(stage, "compare", "--json"))
            assert (told["agreed"], told["champion"]) == (0, f"{NAME}/1")
            assert sum(each["records"] for each in told["differed"]) == told["records"]
            assert metric(stage, SHADOWED, 'outcome="agrees"') == 0
        models(stage, "promote", NAME)
        wait_for(lambda: metric(stage, "winnow_model_info", 'model_version="2"') == 1)
        wait_for(lambda: metric(stage, "winnow_model_info", 'model_version="1"') == 0)
        assert worker.stop() == 0
