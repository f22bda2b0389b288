"""A real model registry of a test's own: MLflow on SQLite, with tiny models that disagree."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stream_app.model.artifact import Artifact, load_artifact
from stream_app.model.registry import CHAMPION, DIGEST_TAG, Registry
from tests.tiny_model import add_tiny_head, save_tiny_albert

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "mail"
WORD = "good"  # each tiny model has its own opinion of it


@dataclass
class OwnRegistry:
    """A registry, and its side for writing."""

    uri: str
    folder: Path

    @property
    def reader(self) -> Registry:
        return Registry(self.uri)

    def model(self, column: int, labels: tuple[str, ...] = ("ham", "spam"), seed: int = 0) -> Path:
        """A sealed tiny model, to which WORD means the label of `column`."""
        folder = self.folder / f"model-{column}-{seed}-{len(labels)}"
        folder.mkdir()
        return add_tiny_head(save_tiny_albert(folder, labels, seed=seed), WORD, column)

    @property
    def client(self) -> MlflowClient:
        from mlflow import MlflowClient  # seconds, which tests without a registry have no use for

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def serving(self, alias: str = CHAMPION) -> Artifact:
        """The version of NAME that an alias points at."""
        return self.reader.fetch(self.reader.find(NAME, alias), self.folder / "cache")

    def register(self, folder: Path, alias: str | None = None, digest: str | None = None) -> str:
        """A new version of NAME with the folder's files; its number."""
        client = self.client
        if not client.search_registered_models(f"name='{NAME}'"):
            client.create_registered_model(NAME)
        tags = {DIGEST_TAG: digest or load_artifact(folder).digest}
        version = str(client.create_model_version(NAME, str(folder), tags=tags).version)
        if alias:
            client.set_registered_model_alias(NAME, alias, version)
        return version


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables: they take seconds to make, so it is copied."""
    file = tmp_path_factory.mktemp("registry") / "registry.db"
    OwnRegistry(f"sqlite:///{file}", file.parent).client.search_registered_models()
    return file


@pytest.fixture
def registry(empty_registry: Path, tmp_path: Path) -> OwnRegistry:
    """A registry of this test alone."""
    file = tmp_path / "registry.db"
    shutil.copy(empty_registry, file)
    return OwnRegistry(f"sqlite:///{file}", tmp_path)
