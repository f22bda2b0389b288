"""`winnow-train refresh`: feedback in, and a better model out, or the reasons for refusing it."""

from __future__ import annotations

import hashlib
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from stream_app.core.errors import ConfigError, ModelError, NotRegistered
from stream_app.model.confined.registry import ConfinedRegistry
from stream_app.model.references import registered, resolve
from stream_app.model.registry import CHAMPION, RegisteredVersion, Registry
from training.refreshing.register import facts_of, register
from training.refreshing.run_folder import Plan, one_at_a_time, open_run
from training.refreshing.steps import RefreshJob, Steps


def refresh(job: RefreshJob) -> dict[str, Any]:
    """Refresh once, or resume a refresh that was killed; the report. Raises WinnowError."""
    _check(job)
    uri = job.settings.registry.uri
    with one_at_a_time(job.work), closing(ConfinedRegistry(uri)) as registry:
        champion = _champion(job, registry)
        recipe = hashlib.sha256(job.recipe.model_dump_json().encode()).hexdigest()
        plan = Plan(
            route=job.route.name,
            recipe=recipe,
            head_only=job.head_only,
            promote=job.promote,
            champion=champion.version,
            digest=champion.digest,
            began=datetime.now(UTC),
        )
        run = open_run(job.work, plan)
        return Steps(job, run, registry).run()


def _check(job: RefreshJob) -> None:
    recipe = job.recipe
    if recipe.problem != "single_label":
        raise ConfigError("refresh is for single-label models: use winnow-train fit")
    if job.head_only and recipe.ngrams is None:
        raise ConfigError(
            f"recipe {recipe.name} has no n-gram head to refit: leave out --head-only"
        )


def _champion(job: RefreshJob, registry: Registry) -> RegisteredVersion:
    """The version that serves; where none was ever registered, what the route serves becomes it.

    Raises ModelError for a champion that the recipe cannot start from.
    """
    try:
        version = registry.find(job.name, CHAMPION)
    except ModelError:
        version = _first_champion(job, registry)
    card = registry.fetch(version, job.settings.registry.cache).card
    alike = card.preparation == job.recipe.preparation
    if not alike or (job.head_only and card.labels != job.recipe.labels):
        raise ModelError(
            f"recipe {job.recipe.name} prepares texts otherwise than {job.name}@{CHAMPION}, or has "
            "other labels with --head-only: make a model with winnow-train fit, and register it"
        )
    return version


def _first_champion(job: RefreshJob, registry: Registry) -> RegisteredVersion:
    if registered(job.route.model):
        raise ModelError(
            f"{job.route.model} is not in the registry: register the model to begin with, with "
            f"winnow-train register --model REF --name {job.name} --alias {CHAMPION}"
        )
    artifact = resolve(job.route.model)
    uri = job.settings.registry.uri
    version = register(artifact, uri, None, facts_of(job.name, artifact.card))
    try:
        return registry.find(job.name, CHAMPION)  # it may only have not answered before
    except NotRegistered:
        registry.point(job.name, CHAMPION, version.version)
    return version
