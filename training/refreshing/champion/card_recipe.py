"""The settings that a model was made with, from its card: enough to go on from it alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from stream_app.core.errors import ModelError
from stream_app.model.artifact import ModelCard
from training.recipe import Decide, Hyper, Ngrams, Recipe

_HYPER = {"epochs": 1, "batch_size": 32, "learning_rate": 3e-4}  # where the card does not say
_FALSE_POSITIVES = 0.001


def recipe_of(card: ModelCard) -> Recipe:
    """The recipe without its sources; budgets and gates have their defaults.

    Raises ModelError for a card whose settings cannot be read.
    """
    said = card.training
    try:
        return Recipe(
            name=card.name,
            version=card.version.partition("+")[0],
            description=card.description,
            labels=card.labels,
            problem=card.problem,
            max_tokens=card.max_tokens,
            truncation=card.truncation,
            preparation=card.preparation,
            stored=said.get("stored", "float16"),
            hyper=Hyper(**_HYPER | _named(Hyper, said)),
            ngrams=Ngrams(**_named(Ngrams, said.get("ngrams") or {})),
            decide=_decide(card),
            sources=(),
        )
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ModelError(
            f"the card of {card.name} {card.version} has no valid {where}: give --recipe FILE"
        ) from None


def _named(settings: type[BaseModel], said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: said[name] for name in settings.model_fields if name in said}


def _decide(card: ModelCard) -> Decide:
    figures = card.evaluation.get("decisions", {})
    most = {
        label: figures.get(label, {}).get("most_false_positives", _FALSE_POSITIVES)
        for label in card.decide_at
    }
    unfamiliar = Decide().unfamiliar if card.familiar_at is None else card.familiar_at
    return Decide(false_positives=most, unfamiliar=unfamiliar)
