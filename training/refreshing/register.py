"""A model becomes a version in MLflow's registry, with the run that made it.

What is read back, and by whom, is in `stream_app.model.registry`. MLflow is talked to in a child
process within limits, as there; run as a module, this is that process.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import TypeAdapter

from stream_app.core.errors import WinnowError
from stream_app.model.artifact import Artifact, ModelCard, load_artifact, write_card
from stream_app.model.confined.child import main
from stream_app.model.confined.registry import ConfinedRegistry, Number
from stream_app.model.registry import (
    DIGEST_TAG,
    RegisteredVersion,
    Registry,
    mlflow_client,
    unreachable,
)
from training.fitting.model_files import copy_tokenizer
from training.judging.card import README

LOOK_UP_SECONDS = 120.0  # the first time the registry's tables are made meanwhile
UPLOAD_SECONDS = 900.0

_SQLITE = "sqlite:///"
_FOLDER = "model"  # of a run's artifacts
_NOT_A_NAME = re.compile(r"[^\w./ -]")
_LONGEST = 500  # characters of a parameter's value
_BATCH = 100  # parameters that MLflow takes in one request
_FIGURES = ("accuracy", "macro_f1", "micro_f1", "calibration_error")
_NUMBER, _PERHAPS = TypeAdapter(Number), TypeAdapter(Number | None)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What MLflow keeps of how a model was made. `name` is the registered model's."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    lineage: Sequence[Mapping[str, Any]] = ()
    files: Sequence[Path] = ()  # reports and plots


def facts_of(name: str, card: ModelCard, files: Sequence[Path] = ()) -> RunFacts:
    """The facts of a model's card."""
    metrics = {
        f"{test}/{figure}": float(figures[figure])
        for test, figures in card.evaluation.get("test", {}).items()
        for figure in _FIGURES
        if figure in figures
    }
    parameters = {
        "version": card.version,
        "parent": card.parent,
        "labels": ", ".join(card.labels),
        "temperature": card.temperature,
        "evidence": card.evidence,
        "span": card.span,
        "familiar_at": card.familiar_at,
        "decide_at": ", ".join(f"{label} {score:g}" for label, score in card.decide_at.items()),
        **{key: value for key, value in card.training.items() if not isinstance(value, dict)},
    }
    return RunFacts(name, parameters, metrics, card.data, files)


def register(
    artifact: Artifact, registry_uri: str, alias: str | None, run: RunFacts
) -> RegisteredVersion:
    """A new version of the registered model `run.name`, which is created if missing.

    A model whose files are registered already is not registered again. One that shares its
    tokenizer gets a copy of its own, and with it another digest. Raises RegistryUnreachable, and
    ModelError for a package that is missing.
    """
    with TemporaryDirectory() as scratch, closing(ConfinedRegistrar(registry_uri)) as registrar:
        whole = _with_tokenizer(artifact, Path(scratch) / _FOLDER)
        version = registrar.registered(run.name, whole.digest) or registrar.add(whole, run)
        if alias is not None:
            registrar.point(run.name, alias, version)
        return registrar.find(run.name, version)


class ConfinedRegistrar(ConfinedRegistry):
    """What `Registrar` has, within the limits of `ConfinedRegistry`."""

    child = "training.refreshing.register"

    def registered(self, name: str, digest: str) -> str | None:
        """See Registrar."""
        said = self._ask("registered", name, digest, seconds=LOOK_UP_SECONDS)
        return self._checked(_PERHAPS, said)

    def add(self, artifact: Artifact, run: RunFacts) -> str:
        """A new version of the registered model `run.name`, with the artifact's files."""
        asked = (str(artifact.path), artifact.card.version, artifact.digest, asdict(run))
        return self._checked(_NUMBER, self._ask("add", *asked, seconds=UPLOAD_SECONDS))


class Registrar(Registry):
    """What `Registry` has, and new versions. Creates a missing SQLite file."""

    def registered(self, name: str, digest: str) -> str | None:
        """The version of a registered model, created if missing, with these files."""
        with _answering(self._uri):
            if not self._client.search_registered_models(f"name='{name}'"):
                self._client.create_registered_model(name)
            wanted = f"name='{name}' and tag.`{DIGEST_TAG}`='{digest}'"
            found = self._client.search_model_versions(wanted)
        return str(found[0].version) if found else None

    def add(self, folder: str, version: str, digest: str, facts: Mapping[str, Any]) -> str:
        """A new version with the files of a folder; `facts` are those of a RunFacts."""
        run, client = RunFacts(**facts), self._client
        with _answering(self._uri):
            logged = client.create_run(_experiment(client, self._uri, run.name), run_name=version)
            id_ = logged.info.run_id
            _log_facts(client, id_, run)
            client.log_text(id_, json.dumps(list(run.lineage), indent=2), "lineage.json")
            for file in run.files:
                client.log_artifact(id_, str(file))
            client.log_artifacts(id_, folder, _FOLDER)
            client.set_terminated(id_)
            source, tags = f"{logged.info.artifact_uri}/{_FOLDER}", {DIGEST_TAG: digest}
            return str(client.create_model_version(run.name, source, id_, tags=tags).version)

    @cached_property
    def _client(self) -> Any:
        if self._uri.startswith(_SQLITE):
            file = Path(self._uri.removeprefix(_SQLITE))
            file.resolve().parent.mkdir(parents=True, exist_ok=True)
        return mlflow_client(self._uri)


def _log_facts(client: Any, id_: str, run: RunFacts) -> None:
    """Parameters and figures in few requests: a server with accounts checks a password for each."""
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    params = [
        Param(_NOT_A_NAME.sub("_", key), str(value)[:_LONGEST])
        for key, value in run.parameters.items()
    ]
    metrics = [
        Metric(_NOT_A_NAME.sub("_", key), number, now, step=0)
        for key, number in run.metrics.items()
    ]
    for start in range(0, max(len(params), len(metrics)), _BATCH):
        here = slice(start, start + _BATCH)
        client.log_batch(id_, metrics=metrics[here], params=params[here])


def _experiment(client: Any, uri: str, name: str) -> str:
    """One for each model. Files of a registry in SQLite lie beside it; a server has its place."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    place = None
    if uri.startswith(_SQLITE):
        file = Path(uri.removeprefix(_SQLITE)).resolve()
        place = (file.parent / f"{file.stem}-files" / name).as_uri()
    return str(client.create_experiment(name, artifact_location=place))


def _with_tokenizer(artifact: Artifact, folder: Path) -> Artifact:
    """A copy that needs nothing outside its folder."""
    folder.mkdir()
    names = {name for name in artifact.card.files if not name.startswith("..")}
    names |= {"winnow.json", "config.json", "model.safetensors"}
    for name in (*names, README):
        if (artifact.path / name).is_file():
            shutil.copyfile(artifact.path / name, folder / name)
    copy_tokenizer(artifact.tokenizer, folder)
    if artifact.card.tokenizer != "." or not artifact.card.files:
        return write_card(folder, artifact.card.model_copy(update={"tokenizer": ".", "files": {}}))
    return load_artifact(folder)


@contextmanager
def _answering(uri: str) -> Iterator[None]:
    try:
        yield
    except WinnowError:
        raise
    except Exception as error:  # MLflow's own, SQLAlchemy's, requests', the object store's
        raise unreachable(uri, "did not take the model", error) from error


if __name__ == "__main__":
    main(Registrar)
