"""The model registry: MLflow's, by its light client, with the three aliases that Winnow gives.

`champion` serves, `challenger` is tried beside it, `previous` served before. MLflow is imported
when a registry is first asked: nothing else of Winnow pays for it (docs/adr/0012-registry.md).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stream_app.core.errors import ModelError, NotRegistered, RegistryUnreachable
from stream_app.model.artifact import Artifact, load_artifact

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
DIGEST_TAG = "winnow.digest"  # tag of a registered version: Artifact.digest
KEPT = 5  # models of one name that stay in the cache

_SQLITE = "sqlite:///"
_DIGEST = re.compile("[0-9a-f]{64}")
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # what MLflow says of no alias
_REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED")  # and of a server with accounts
_MANNERS = {  # MLflow takes these from the environment only
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a mail filter must not call home
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # by default it tries for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version of a registered model. `digest` is "" without a tag."""

    name: str
    version: str
    digest: str
    aliases: tuple[str, ...]
    source: str
    created: datetime
    tags: Mapping[str, str]


class Registry:
    """MLflow's registry at `uri`: sqlite:///FILE or http(s)://SERVER.

    Every method raises RegistryUnreachable while the registry does not answer, and NotRegistered,
    with what to do, for what it does not have. It reads files and the network: never on the loop.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def find(self, name: str, alias_or_version: str) -> RegisteredVersion:
        """The version that an alias points at, or that has this number."""
        wanted = f"models:/{name}@{alias_or_version}"
        if alias_or_version.isdecimal():
            wanted = f"models:/{name}/{alias_or_version}"
        with self._asking(f"{wanted} is not in the registry: see `winnow models list`"):
            if alias_or_version.isdecimal():
                return _version(self._client.get_model_version(name, alias_or_version))
            return _version(self._client.get_model_version_by_alias(name, alias_or_version))

    def names(self) -> list[str]:
        """The names of all registered models."""
        with self._asking("the registry is empty: register a model with winnow-train"):
            found = self._pages(self._client.search_registered_models)
        return sorted(each.name for each in found)

    def versions(self, name: str) -> list[RegisteredVersion]:
        """Every version of a model, newest first."""
        with self._asking(f"the registry has no model {name!r}: register one with winnow-train"):
            aliases = self._client.get_registered_model(name).aliases
            found = self._pages(partial(self._client.search_model_versions, f"name='{name}'"))
        named: dict[str, list[str]] = {}
        for alias, number in aliases.items():
            named.setdefault(str(number), []).append(alias)
        found.sort(key=lambda each: int(each.version), reverse=True)
        return [_version(each, named.get(str(each.version), ())) for each in found]

    def fetch(self, version: RegisteredVersion, cache: Path) -> Artifact:
        """The version's artifact, in a folder of `cache`: its files and its digest are checked.

        Raises ModelError where they do not match, and leaves nothing behind in the cache.
        """
        what = f"models:/{version.name}/{version.version}"
        if not _DIGEST.fullmatch(version.digest):
            raise ModelError(
                f"{what} has no digest in its tag {DIGEST_TAG}, so it cannot be checked: register "
                "it with winnow-train"
            )
        place = cache / version.name / version.digest
        try:
            kept = load_artifact(place)
            if kept.digest == version.digest:
                os.utime(place)
                return kept
        except ModelError:
            pass  # not there, or damaged since
        place.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=place.parent, prefix=".") as folder:
            into = Path(folder) / "files"  # MLflow may give it back, or a folder in it
            into.mkdir()
            artifact = load_artifact(
                self.download(version.name, version.version, into, version.source)
            )
            if artifact.digest != version.digest:
                raise ModelError(
                    f"{what}: its files have the digest {artifact.digest[:12]}…, the registry says "
                    f"{version.digest[:12]}…: they were damaged or changed; register it again"
                )
            _keep(artifact.path, place)
        return load_artifact(place)

    def point(self, name: str, alias: str, version: str) -> None:
        """Let an alias point at a version."""
        with self._asking(f"models:/{name}/{version} is not in the registry"):
            self._client.set_registered_model_alias(name, alias, version)

    def promote(self, name: str, version: str | None = None) -> RegisteredVersion:
        """Make a version the champion, by default the challenger; the old one is `previous`."""
        chosen = self.find(name, version or CHALLENGER)
        aliases = self._aliases(name)
        old = aliases.get(CHAMPION)
        if old is not None and old != chosen.version:
            self.point(name, PREVIOUS, old)
        self.point(name, CHAMPION, chosen.version)
        if aliases.get(CHALLENGER) == chosen.version:
            with self._asking(f"{name} has no {CHALLENGER}"):
                self._client.delete_registered_model_alias(name, CHALLENGER)
        return self.find(name, CHAMPION)

    def rollback(self, name: str) -> RegisteredVersion:
        """Make the previous champion the champion again; the current one becomes `previous`."""
        aliases = self._aliases(name)
        if PREVIOUS not in aliases or aliases[PREVIOUS] == aliases.get(CHAMPION):
            raise ModelError(
                f"{name} has no previous champion to go back to: name a version, as in "
                f"`winnow models promote {name} --version 3`"
            )
        self.point(name, CHAMPION, aliases[PREVIOUS])
        if CHAMPION in aliases:
            self.point(name, PREVIOUS, aliases[CHAMPION])
        return self.find(name, CHAMPION)

    def _aliases(self, name: str) -> dict[str, str]:
        with self._asking(f"the registry has no model {name!r}: register one with winnow-train"):
            found = self._client.get_registered_model(name).aliases
        return {alias: str(version) for alias, version in found.items()}

    @staticmethod
    def _pages(search: Callable[..., Any]) -> list[Any]:
        """All that a search of MLflow's finds, page by page."""
        page = search()
        found = list(page)
        while page.token:
            page = search(page_token=page.token)
            found += page
        return found

    def download(self, name: str, version: str, folder: str | Path, source: str) -> Path:
        """The files of a version in `folder`, or in a folder there; `source` is only for errors."""
        absent = f"the files of models:/{name}/{version} are not at {source}: register it again"
        with self._asking(absent):
            from mlflow.artifacts import download_artifacts

            uri = self._client.get_model_version_download_uri(name, version)
            return Path(
                download_artifacts(
                    artifact_uri=uri,
                    dst_path=str(folder),
                    tracking_uri=self._uri,
                    registry_uri=self._uri,
                )
            )

    @contextmanager
    def _asking(self, absent: str) -> Iterator[None]:
        """What MLflow raises, said in our words: `absent` where it is there and has it not."""
        try:
            yield
        except ModelError:
            raise
        except Exception as error:  # MLflow's own, SQLAlchemy's, requests', the object store's
            if getattr(error, "error_code", "") in _ABSENT or isinstance(error, FileNotFoundError):
                raise NotRegistered(absent) from error
            raise unreachable(self._uri, "does not answer", error) from error

    @cached_property
    def _client(self) -> Any:
        file = Path(self._uri.removeprefix(_SQLITE))
        if self._uri.startswith(_SQLITE) and not file.exists():
            raise RegistryUnreachable(  # MLflow would make an empty one
                f"there is no model registry at {file}: the first winnow-train refresh makes it, "
                "or set registry.uri"
            )
        return mlflow_client(self._uri)


def unreachable(uri: str, fault: str, error: Exception) -> RegistryUnreachable:
    """What users are told of an error of MLflow's, with what to do about it."""
    if getattr(error, "error_code", "") in _REFUSED:
        return RegistryUnreachable(
            f"the model registry at {uri} refuses us: check user and password in the variables "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or in ~/.mlflow/credentials"
        )
    return RegistryUnreachable(
        f"the model registry at {uri} {fault} ({type(error).__name__}): check registry.uri, and "
        "that its server runs"
    )


def mlflow_client(uri: str) -> Any:
    """MLflow's own client of a registry; creates a missing SQLite file."""
    return mlflow_client_class()(tracking_uri=uri, registry_uri=uri)


def mlflow_client_class() -> Any:
    """MlflowClient, imported. Raises ModelError where MLflow is not installed."""
    for name, value in _MANNERS.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient

        return MlflowClient
    except ImportError as error:
        raise ModelError(
            "the model registry needs MLflow's client: pip install 'winnow-stream[registry]'"
        ) from error


def _version(found: Any, aliases: Sequence[str] | None = None) -> RegisteredVersion:
    return RegisteredVersion(
        name=found.name,
        version=str(found.version),
        digest=found.tags.get(DIGEST_TAG, ""),
        aliases=tuple(sorted(found.aliases if aliases is None else aliases)),
        source=found.source,
        created=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        tags=dict(found.tags),
    )


def _keep(folder: Path, place: Path) -> None:
    """Move a checked folder to its place in the cache, at once, and let the oldest others go."""
    shutil.rmtree(place, ignore_errors=True)  # what was there is damaged
    try:
        folder.rename(place)
    except OSError:
        if not place.is_dir():  # else another process was faster, with the same files
            raise
    newest = sorted(place.parent.glob("[!.]*"), key=lambda each: each.stat().st_mtime, reverse=True)
    for old in newest[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
