"""The slot that holds a route's model, and the count of who still works with an earlier one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from stream_app.pipeline.served import ServedModel


class Models:
    """A route's models. Used on the event loop only, so a swap falls between two records.

    A record keeps the model it began with to its end. A model that no longer serves is handed to
    `dispose` when its last record has ended, and not before.
    """

    def __init__(self, champion: ServedModel, dispose: Callable[[ServedModel], object]) -> None:
        self.champion = champion
        self._dispose = dispose
        self._works: Counter[ServedModel] = Counter()

    def begin(self) -> ServedModel:
        """The model for the next record; it stays loaded until `end`."""
        self._works[self.champion] += 1
        return self.champion

    def end(self, model: ServedModel) -> None:
        """A record that began with `model` is published or dropped."""
        self._works[model] -= 1
        self._sweep(model)

    def swap(self, champion: ServedModel) -> None:
        """From the next record on, `champion` serves."""
        retired, self.champion = self.champion, champion
        self._sweep(retired)

    def loaded(self) -> set[ServedModel]:
        """The models whose memory is not given back yet."""
        return {self.champion, *self._works}

    def _sweep(self, model: ServedModel) -> None:
        if model is not self.champion and not self._works[model]:
            del self._works[model]
            self._dispose(model)
