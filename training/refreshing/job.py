"""What a refresh is asked to do."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from stream_app.core.settings import RouteSettings, Settings
from stream_app.model.references import registered
from training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class RefreshJob:
    """Which route's model to refresh, by what, and where to work."""

    settings: Settings
    route: RouteSettings
    work: Path
    recipe: Recipe | None = None  # by default what the champion's card says
    data: Path | None = None  # the recipe's texts; without them the champion itself is rehearsed
    trusted: tuple[str, ...] = ()  # sources, besides the recipe's
    head_only: bool = False  # leave the encoder as it is: a minute instead of several
    minutes: float = 30  # that the encoder is fitted for, at most
    promote: bool = True

    @property
    def name(self) -> str:
        """The registered model's."""
        found = registered(self.route.model)
        return found.name if found else self.route.name

    @property
    def digest(self) -> str:
        """The same for jobs that are to make the same."""
        recipe = self.recipe.model_dump(mode="json") if self.recipe else None
        said = [recipe, self.data is not None, self.trusted, self.head_only, self.promote]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
