"""Where a route's model comes from: a fixed folder, or a registry whose alias moves.

The last version of an alias that served is kept on disk: a worker that starts while the registry is
away, or while the alias points at something broken, serves that one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from stream_app.core.errors import ModelError, RegistryUnreachable, WinnowError
from stream_app.core.label_record import ModelVersion
from stream_app.model.artifact import Artifact
from stream_app.model.references import registered, resolve
from stream_app.model.registry import RegisteredVersion, Registry
from stream_app.serving.served import ServedModel

log = logging.getLogger(__name__)

Load = Callable[[Artifact, ModelVersion, int], ServedModel]


class ModelSource:
    """The versions of one reference, as they come. Used off the event loop, one call at a time."""

    def __init__(self, reference: str, registry: Registry, cache: Path, load: Load) -> None:
        self.reference = reference
        self._wanted = registered(reference)
        self._cache = cache
        self._registry = registry
        self._load = load
        self._seen: RegisteredVersion | None = None  # the last one tried, whether it served or not
        self._settled = False  # what it points at is loaded, and never moves

    def first(self) -> ServedModel:
        """What it points at, loaded; else the last that served. Raises WinnowError for neither."""
        try:
            model = self.newer(0)
            assert model is not None
            self.keep()
            return model
        except WinnowError as error:
            kept = self._kept()
            if kept is None or _same(kept, self._seen):
                raise
            log.warning("%s; serving version %s, which served last", error, kept.version)
            self._seen = self._seen or kept
            return self._registered(kept, 0)

    def newer(self, batch_tokens: int) -> ServedModel | None:
        """The version it points at now, loaded; None if that was tried before.

        Raises RegistryUnreachable, NotRegistered; and ModelError, EngineSick for a version that
        cannot serve, which is not tried again.
        """
        if self._settled:
            return None
        if self._wanted is None:
            self._settled = True
            return self._loaded(self.reference, lambda: resolve(self.reference), None, batch_tokens)
        found = self._registry.find(self._wanted.name, self._wanted.alias_or_version)
        if _same(found, self._seen):
            return None
        before, self._seen = self._seen, found
        try:
            model = self._registered(found, batch_tokens)
        except RegistryUnreachable:
            self._seen = before
            raise
        self._settled = not self._wanted.moves
        return model

    def keep(self) -> None:
        """The version tried last serves: remember it for a start without the registry."""
        if self._seen is None:
            return
        record = {"version": self._seen.version, "digest": self._seen.digest}
        try:
            self._memory.write_text(json.dumps(record))
        except OSError as error:
            log.warning("%s: %s; the next start needs the registry", self._memory, error.strerror)

    def forget(self) -> None:
        """The reference no longer points at a version."""
        self._seen = None

    def _registered(self, found: RegisteredVersion, batch_tokens: int) -> ServedModel:
        version = ModelVersion(name=found.name, version=found.version, digest=found.digest)
        what = f"models:/{found.name}/{found.version}"
        fetch = partial(self._registry.fetch, found, self._cache)
        return self._loaded(what, fetch, version, batch_tokens)

    def _loaded(
        self,
        what: str,
        artifact: Callable[[], Artifact],
        version: ModelVersion | None,  # the artifact's own where not given
        batch_tokens: int,
    ) -> ServedModel:
        try:
            got = artifact()
            return self._load(got, version or got.version, batch_tokens)
        except WinnowError as error:
            raise type(error)(f"{what} cannot serve: {error}") from error
        except Exception as error:  # what a library makes of weights that are wrong
            raise ModelError(
                f"{what} cannot serve: it cannot be loaded ({type(error).__name__}): roll back, "
                "or make it again"
            ) from error

    def _kept(self) -> RegisteredVersion | None:
        if self._wanted is None:
            return None
        try:
            record = json.loads(self._memory.read_text())
            version, digest = str(record["version"]), str(record["digest"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        now = datetime.now(UTC)
        return RegisteredVersion(self._wanted.name, version, digest, (), "", now, {})

    @property
    def _memory(self) -> Path:
        assert self._wanted is not None
        return self._cache / f"{self._wanted.name}@{self._wanted.alias_or_version}.json"


def _same(one: RegisteredVersion, other: RegisteredVersion | None) -> bool:
    return other is not None and (one.version, one.digest) == (other.version, other.digest)
