"""`winnow-train register`: a model becomes a version that can be found, fetched and explained."""

from __future__ import annotations

import json
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from stream_app.core.errors import RegistryUnreachable
from stream_app.model.references import resolve
from stream_app.model.registry import Registry
from tests.pretended_registry import Pretender, Reply, saying, trickling
from tests.registries import OwnRegistry
from training.__main__ import app
from training.refreshing import register as registering
from training.refreshing.register import Registrar, RunFacts


def register(model: str, config: Path, *more: str) -> Any:
    given = ["--model", model, "--config", str(config), "--name", "mail", *more]
    result = CliRunner().invoke(app, ["register", *given], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def config(registry: OwnRegistry) -> Path:
    file = registry.folder / "winnow.toml"
    file.write_text(f'[registry]\nuri = "{registry.uri}"\n')
    return file


def test_a_model_is_registered_once_and_served_by_its_alias(
    registry: OwnRegistry, config: Path
) -> None:
    model = str(registry.model(1))
    first = register(model, config, "--alias", "champion")
    assert first == register(model, config, "--alias", "champion")
    found = registry.reader.find("mail", "champion")
    assert (found.version, found.digest) == (first["version"], first["digest"])
    fetched = registry.reader.fetch(found, registry.folder / "cache")
    assert fetched.card == resolve(model).card
    assert register(str(registry.model(0)), config)["version"] != first["version"]
    assert registry.reader.find("mail", "champion") == found


def test_a_shared_tokenizer_goes_with_it_and_the_run_tells_its_figures(
    registry: OwnRegistry, config: Path
) -> None:
    version = register("builtin:spam", config)["version"]
    found = registry.reader.find("mail", version)
    fetched = registry.reader.fetch(found, registry.folder / "cache")
    assert (fetched.path / "tokenizer.json").is_file()
    client = MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri)
    run = client.get_run(client.get_model_version("mail", version).run_id)
    card = resolve("builtin:spam").card
    accuracy = card.evaluation["test"]["spam/spamassassin.tar.gz"]["accuracy"]
    assert run.data.metrics["spam/spamassassin.tar.gz/accuracy"] == accuracy
    assert run.data.params["version"] == card.version
    lineage = client.download_artifacts(run.info.run_id, "lineage.json")
    assert json.loads(Path(lineage).read_text()) == card.data


def test_many_figures_are_told_in_few_requests(
    registry: OwnRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server with accounts checks the password of each: it took minutes."""
    requests, log_batch = [], MlflowClient.log_batch

    def counted(client: MlflowClient, run: str, *given: Any, **named: Any) -> Any:
        requests.append(run)
        return log_batch(client, run, *given, **named)

    monkeypatch.setattr(MlflowClient, "log_batch", counted)
    facts = RunFacts("mail", {f"p{n}": n for n in range(150)}, {f"m{n}": n for n in range(170)})
    registrar = Registrar(registry.uri)
    assert registrar.registered("mail", "0" * 64) is None
    registrar.add(str(registry.model(1)), "1", "0" * 64, asdict(facts))
    run = registry.client.get_run(requests[0])
    assert (len(run.data.params), len(run.data.metrics)) == (150, 170)
    assert len(requests) == 2


def test_the_first_registration_makes_the_registry(tmp_path: Path) -> None:
    config = tmp_path / "winnow.toml"
    uri = f"sqlite:///{tmp_path}/new/registry.db"
    config.write_text(f'[registry]\nuri = "{uri}"\n')
    register("builtin:reviews", config, "--alias", "champion")
    assert Registry(uri).find("mail", "champion").version == "1"
    config.write_text('[registry]\nuri = "http://127.0.0.1:1"\n')
    with pytest.raises(RegistryUnreachable, match="did not take the model"):
        register("builtin:reviews", config)


def taking_nothing(handler: BaseHTTPRequestHandler) -> None:
    """Knows the model, and has all the time in the world for a new version of it."""
    known = {
        "registered-models/search": {"registered_models": [{"name": "mail"}]},
        "model-versions/search": {},
        "experiments/get-by-name": {"experiment": {"experiment_id": "1", "name": "mail"}},
    }
    said = [body for path, body in known.items() if path in handler.path]
    (saying(said[0]) if said else trickling)(handler)


@pytest.mark.parametrize(
    ("reply", "limit"),
    [(trickling, "LOOK_UP_SECONDS"), (taking_nothing, "UPLOAD_SECONDS")],
)
def test_a_registry_that_takes_for_ever_is_given_up(
    pretender: Pretender,
    tmp_path: Path,
    reply: Reply,
    limit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registering, limit, 2.0)
    pretender.reply = reply
    config = tmp_path / "winnow.toml"
    config.write_text(f'[registry]\nuri = "{pretender.uri}"\n')
    with pytest.raises(RegistryUnreachable, match="has not answered for 2 s: check its server"):
        register("builtin:reviews", config)
