"""`winnow-train refresh`: feedback in, and a better model out, or the reasons for refusing it."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from stream_app.core.errors import ConfigError, ModelError, NotRegistered
from stream_app.model.artifact import ModelCard
from stream_app.model.confined.registry import ConfinedRegistry
from stream_app.model.references import registered, resolve
from stream_app.model.registry import CHAMPION, RegisteredVersion, Registry
from training.recipe import Recipe
from training.refreshing.champion.card_recipe import recipe_of
from training.refreshing.job import RefreshJob
from training.refreshing.register import facts_of, register
from training.refreshing.rehearsal import require_files
from training.refreshing.run_folder import Plan, one_at_a_time, open_run
from training.refreshing.steps import Steps


def refresh(job: RefreshJob) -> dict[str, Any]:
    """Refresh once, or resume a refresh that was killed; the report. Raises WinnowError."""
    if job.data:
        if not job.recipe:
            raise ConfigError("--data has a recipe's texts: give --recipe, or leave out --data")
        require_files(job.recipe, job.data)
    uri = job.settings.registry.uri
    with one_at_a_time(job.work), closing(ConfinedRegistry(uri)) as registry:
        serving = _champion(job, registry)
        plan = Plan(
            route=job.route.name,
            job=job.digest,
            head_only=job.head_only,
            promote=job.promote,
            champion=serving.version,
            digest=serving.digest,
            began=datetime.now(UTC),
        )
        run = open_run(job.work, plan)
        begun = registry.find(job.name, run.plan.champion)
        champion = registry.fetch(begun, job.settings.registry.cache)
        recipe = job.recipe or recipe_of(champion.card)
        _check(job, recipe, champion.card)
        return Steps(job, recipe, champion, run, registry).run()


def _check(job: RefreshJob, recipe: Recipe, card: ModelCard) -> None:
    """Raises ConfigError, and ModelError for a champion that the recipe cannot start from."""
    if recipe.ngrams is None and (job.head_only or not job.data):
        raise ConfigError(
            f"recipe {recipe.name} has no n-gram head to refit: leave out --head-only, and give "
            "--data"
        )
    same_labels = card.labels == recipe.labels or not (job.head_only or not job.data)
    same_task = (card.preparation, card.problem) == (recipe.preparation, recipe.problem)
    if not (same_task and same_labels):
        raise ModelError(
            f"recipe {recipe.name} prepares texts otherwise than {job.name}@{CHAMPION}, gives them "
            "one label instead of several or the other way round, or has other labels with "
            "--head-only or without --data: make a model with winnow-train fit, and register it"
        )


def _champion(job: RefreshJob, registry: Registry) -> RegisteredVersion:
    """The version that serves; where none was ever registered, what the route serves becomes it."""
    try:
        return registry.find(job.name, CHAMPION)
    except ModelError:
        return _first_champion(job, registry)


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
