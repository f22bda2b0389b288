"""`winnow-train refresh` by a topic and feedback alone: no corpus, no recipe, one administrator."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from stream_app.core.errors import ConfigError, WinnowError
from stream_app.model.artifact import load_artifact, write_card
from stream_app.model.ngrams import Features, NgramHead
from stream_app.model.registry import PREVIOUS
from tests.killed_refresh import STEPS
from tests.refresh_desk import Desk, old_ham, old_spam
from tests.registries import OwnRegistry
from tests.tiny_model import RARE, save_tiny_albert

HAM = 250  # offsets of the topic up to here; spam follows
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def save_model(folder: Path) -> Path:
    """A tiny model, sure of spam by one word and of ham by another; its tokenizer knows both."""
    features, weights = Features(words=1, bits=12), np.zeros((1 << 12, 2), np.int8)
    weights[features.buckets("good"), 0] = weights[features.buckets(RARE), 1] = 127
    head = NgramHead(features, weights, np.full(2, 0.3, np.float32), np.array([1, -1], np.float32))
    head.save(save_tiny_albert(folder))
    card = load_artifact(folder).card
    known = {"name": "tiny", "version": "7", "decide_at": {"spam": 0.99}}
    write_card(folder, card.model_copy(update=known))
    return folder


@pytest.fixture
def desk(tmp_path: Path, tansu: str, registry: OwnRegistry) -> Desk:
    topic = f"f{uuid.uuid4().hex[:10]}"
    admin = KafkaAdminClient(bootstrap_servers=tansu)
    for name in (topic, f"{topic}.in"):
        admin.create_topics([NewTopic(name=name, num_partitions=1, replication_factor=1)])
    admin.close()
    return Desk(save_model(tmp_path / "model"), tansu, registry, topic)


def send_mail(desk: Desk) -> None:
    desk.send(map(old_ham, range(HAM)))
    desk.send(map(old_spam, range(150)))


@pytest.mark.parametrize("how", [(), ("--head-only",)])
def test_the_champion_and_one_administrator_are_enough(desk: Desk, how: tuple[str, ...]) -> None:
    send_mail(desk)
    desk.correct(120, who=("ada",))
    report = desk.refresh("--minutes", "1", *how)
    assert (report["outcome"], report["because"]) == ("promoted", None), desk.told
    before, after = load_artifact(desk.model), desk.serving()
    assert desk.serving(PREVIOUS).digest == before.digest == report["champion"]["digest"]
    assert desk.right(before) < 0.9 < desk.right(after)
    assert report["data"]["rehearsed"] > 200
    assert (after.card.parent, after.card.version[:2]) == ("tiny 7", "7+")
    assert after.card.decide_at["spam"] >= before.card.decide_at["spam"]
    assert after.card.temperature == before.card.temperature
    same_encoder = after.card.files["model.safetensors"] == before.card.files["model.safetensors"]
    assert same_encoder == bool(how)
    again = desk.refresh(*how)
    assert (again["outcome"], again["because"]) == ("waiting", "0 new corrections, 50 wanted")


def test_a_second_refresh_goes_on_from_the_first(desk: Desk) -> None:
    send_mail(desk)
    desk.correct(120, who=("ada",))
    first = desk.refresh("--head-only")
    desk.correct(60, "ham", ("ada",), lambda n: f"any model can score that text {n}")
    second = desk.refresh("--head-only")
    assert second["champion"]["digest"] == first["challenger"]["digest"]
    assert second["feedback"]["kept"] == 180
    assert desk.right(load_artifact(max(desk.work.glob("runs/*/model")))) > 0.9, desk.told


def test_who_calls_wrong_what_the_champion_is_sure_of_is_refused_or_trusted(desk: Desk) -> None:
    send_mail(desk)
    desk.correct_sent(range(HAM, HAM + 100), "ham", "eve")
    report = desk.refresh("--head-only")
    assert report["outcome"] == "refused"
    assert "FAILED      no source floods: 'eve' gave 100% of the new corrections" in desk.told
    assert "if you trust them, give --trust eve" in report["because"]
    assert desk.serving().digest == load_artifact(desk.model).digest
    trusted = desk.refresh("--head-only", "--trust", "eve")
    assert "passed      no source floods: every source is trusted" in desk.told
    assert trusted["outcome"] in ("promoted", "refused")


def test_a_stream_that_cannot_show_what_is_forgotten_is_refused_with_a_number(desk: Desk) -> None:
    desk.send(map(old_spam, range(300)))
    desk.send(map(old_ham, range(7)))
    desk.correct(60)
    with pytest.raises(ConfigError, match="sure of 7 that are not spam, and 100 are needed"):
        desk.refresh("--head-only")
    desk.send(map(old_ham, range(100, 220)))
    assert desk.refresh("--head-only")["data"]["reservoir"] > 400, "the same run goes on"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--data", "."), "give --recipe, or leave out --data"),
        (("--recipe", "spam", "--data", "."), "spamassassin.tar.gz does not exist: check --data"),
        (("--recipe", "no.toml"), "neither a file nor shipped"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_read(
    desk: Desk, given: tuple[str, ...], said: str
) -> None:
    with pytest.raises(WinnowError, match=said):
        desk.refresh(*given)
    assert not desk.work.exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_each_step_it_goes_on_and_does_nothing_twice(desk: Desk) -> None:
    send_mail(desk)
    desk.correct(120)
    module = [sys.executable, "-m", "tests.killed_refresh"]
    done = subprocess.run(
        [*module, *desk.arguments()], capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[: len(STEPS)] == [f"{step} -9" for step in STEPS]
    assert len(list(desk.work.glob("runs/*"))) == 1
    assert desk.registry.reader.find("mail", PREVIOUS).version == "1"
