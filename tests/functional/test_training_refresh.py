"""`winnow-train refresh` from feedback on a broker to a champion in a registry, on tiny models."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from filelock import FileLock
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from typer.testing import CliRunner

from stream_app.core.errors import ConfigError, ModelError
from stream_app.model.artifact import load_artifact
from stream_app.model.registry import CHALLENGER, CHAMPION, PREVIOUS
from tests.killed_refresh import STEPS
from tests.refresh_desk import Desk, old_spam
from tests.registries import NAME, OwnRegistry
from tests.tiny_model import save_tiny_albert
from tests.training_data import RECIPE, write_data
from training.__main__ import app
from training.refreshing import drift_watch
from training.refreshing.feedback_set import pulls, read_set

LOOSE = """
[ngrams]
bits = 12
[refresh]
budget = 120
[gates]
min_new = 20
max_accuracy_loss = 0.1
max_slice_loss = 0.3
max_calibration_error = 0.3
min_speed = 0
max_source_share = 0.6
[gates.false_positives]
spam = 0.3
"""
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, recipe and the model to begin with."""
    folder = tmp_path_factory.mktemp("refresh")
    write_data(folder)
    (folder / "tiny.toml").write_text(RECIPE.replace("[[sources]]", LOOSE + "[[sources]]", 1))
    save_tiny_albert(folder / "encoder")
    given = ["--recipe", "tiny.toml", "--encoder", "encoder", "--out", "model", "--data", "."]
    paths = [str(folder / each) if n % 2 else each for n, each in enumerate(given)]
    result = CliRunner().invoke(app, ["fit", *paths], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def desk(made: Path, tansu: str, registry: OwnRegistry) -> Desk:
    topic = f"f{uuid.uuid4().hex[:10]}"
    admin = KafkaAdminClient(bootstrap_servers=tansu)
    admin.create_topics([NewTopic(name=topic, num_partitions=2, replication_factor=1)])
    admin.close()
    settings = {"--recipe": made / "tiny.toml", "--data": made}
    return Desk(made / "model", tansu, registry, topic, settings)


@pytest.mark.parametrize("how", [(), ("--head-only",)])
def test_what_people_correct_becomes_a_better_champion(desk: Desk, how: tuple[str, ...]) -> None:
    desk.correct(120)
    report = desk.refresh(*how)
    assert (report["outcome"], report["because"]) == ("promoted", None), desk.told
    assert all(gate["passed"] for gate in report["gates"])
    before, after = load_artifact(desk.model), desk.serving()
    assert desk.serving(PREVIOUS).digest == before.digest == report["champion"]["digest"]
    assert after.digest == report["challenger"]["digest"]
    assert desk.right(after) > desk.right(before) + 0.3
    assert after.card.parent == "tiny 7"
    assert after.card.evaluation["test"]["feedback"]["rows"] == report["data"]["held_out"]
    assert after.card.training["refresh"]["champion"] == before.digest
    same_encoder = after.card.files["model.safetensors"] == before.card.files["model.safetensors"]
    assert same_encoder == bool(how)
    assert "mail: promoted, the new model is the champion" in desk.told
    assert any(desk.registry.folder.rglob("artifacts/evaluation.html")), "the run has its plots"
    again = desk.refresh(*how)
    assert (again["outcome"], again["because"]) == ("waiting", "0 new corrections, 20 wanted")


def test_a_flood_of_wrong_labels_leaves_the_champion(desk: Desk) -> None:
    desk.correct(120, "ham", ("eve",), old_spam)
    desk.correct(2, "spam", ("ada",))
    report = desk.refresh("--head-only")
    assert report["outcome"] == "refused"
    assert "'eve' gave 98% of the new corrections" in report["because"]
    assert "FAILED      no source floods" in desk.told
    assert desk.serving().digest == load_artifact(desk.model).digest
    assert [version.version for version in desk.registry.reader.versions(NAME)] == ["1"]
    again = desk.refresh("--head-only")
    assert again["outcome"] == "waiting"
    assert again["because"] == "nothing was said since the last refresh, which was refused"


def test_a_challenger_may_wait_for_a_person(desk: Desk) -> None:
    desk.correct(120)
    report = desk.refresh("--head-only", "--no-promote")
    assert report["outcome"] == "registered"
    assert desk.serving(CHALLENGER).digest == report["challenger"]["digest"]
    assert desk.serving().digest == report["champion"]["digest"]


class Drifting(BaseHTTPRequestHandler):
    """A worker's metrics: the second window it is asked for is far away, and all that follow."""

    window = 0

    def do_GET(self) -> None:
        Drifting.window += 1
        score = 0.1 if Drifting.window == 1 else 0.5
        lines = (
            f'winnow_drift_windows_total{{route="{NAME}"}} {Drifting.window}',
            f'winnow_drift_score{{route="{NAME}",statistic="tokens"}} {score}',
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write("\n".join([*lines, ""]).encode())


def test_a_refresh_may_wait_for_drift(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift_watch, "EVERY_SECONDS", 0.01)
    with HTTPServer(("127.0.0.1", 0), Drifting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        result = CliRunner().invoke(app, desk.arguments("--on-drift", url), catch_exceptions=False)
        server.shutdown()
        thread.join()
    assert f"route {NAME}: drift of tokens 0.50 (threshold 0.25)" in result.stderr
    assert Drifting.window == 3, "one window far away is not enough"
    assert json.loads(result.stdout)["outcome"] == "waiting"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_each_step_it_goes_on_and_does_nothing_twice(desk: Desk) -> None:
    desk.correct(120)
    module = [sys.executable, "-m", "tests.killed_refresh"]
    done = subprocess.run(
        [*module, *desk.arguments()], capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert lines[: len(STEPS)] == [f"{step} -9" for step in STEPS]
    report = json.loads("\n".join(lines[len(STEPS) :]))
    assert report["outcome"] == "promoted"
    assert len(list(desk.work.glob("runs/*"))) == 1
    assert [version.version for version in desk.registry.reader.versions(NAME)] == ["2", "1"]
    assert desk.registry.reader.find(NAME, PREVIOUS).version == "1"
    assert desk.serving().digest == report["challenger"]["digest"]
    folder = desk.work / "feedback"
    corrections = read_set(folder, pulls(folder)).corrections
    assert len(corrections) == len({each.body for each in corrections}) == 120


def test_one_refresh_at_a_time(desk: Desk) -> None:
    desk.work.mkdir()
    with (
        FileLock(desk.work / "lock"),
        pytest.raises(ConfigError, match="another refresh is at work"),
    ):
        desk.refresh()


def test_a_model_that_the_recipe_cannot_go_on_from_is_refused(desk: Desk) -> None:
    other = desk.registry.model(1, labels=("ham", "spam", "phish"))
    desk.registry.register(other, CHAMPION)
    with pytest.raises(ModelError, match="make a model with winnow-train fit"):
        desk.refresh("--head-only")
