"""The slot that holds a route's models, and the count of who still works with an earlier one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from threading import RLock

from stream_app.core.messages import Record
from stream_app.serving.served import ServedModel


class Models:
    """A route's champion, which serves, and its challenger, which takes `canary_share` of the keys.

    A record keeps the model it began with, so a swap falls between two records. A model that no
    longer serves is handed to `dispose` when its last record has ended, and not before.
    """

    def __init__(
        self,
        champion: ServedModel,
        dispose: Callable[[ServedModel], object],
        canary_share: float = 0.0,
    ) -> None:
        self.champion = champion
        self.challenger: ServedModel | None = None
        self._dispose = dispose
        self._canary_share = canary_share
        self._works: Counter[ServedModel] = Counter()
        self._lock = RLock()  # records begin and end on the event loop; engines fail elsewhere

    def begin(self, record: Record) -> ServedModel:
        """The model for this record; it stays loaded until `end`."""
        with self._lock:
            chosen = self.champion
            if self.challenger is not None and place(record) < self._canary_share:
                chosen = self.challenger
            self._works[chosen] += 1
            return chosen

    def begin_challenge(self) -> ServedModel | None:
        """The challenger, if there is one, to label a record once more; loaded until `end`."""
        with self._lock:
            if self.challenger is not None:
                self._works[self.challenger] += 1
            return self.challenger

    def end(self, model: ServedModel) -> None:
        """A record that began with `model` is published or dropped."""
        with self._lock:
            self._works[model] -= 1
            self._sweep(model)

    def take_over(self, model: ServedModel) -> ServedModel:
        """The champion, for a record that began with `model`."""
        with self._lock:
            self._works[self.champion] += 1
            self.end(model)
            return self.champion

    def swap(self, champion: ServedModel) -> None:
        """From the next record on, `champion` serves."""
        with self._lock:
            retired, self.champion = self.champion, champion
            self._sweep(retired)

    def challenge(self, challenger: ServedModel | None) -> None:
        """From the next record on, `challenger` is tried; None: no challenger."""
        with self._lock:
            retired, self.challenger = self.challenger, challenger
            if retired is not None:
                self._sweep(retired)

    def withdraw(self, model: ServedModel) -> None:
        """Stop trying a model that failed."""
        with self._lock:
            if model is self.challenger:
                self.challenge(None)

    def loaded(self) -> set[ServedModel]:
        """The models whose memory is not released yet."""
        serving = {self.champion} if self.challenger is None else {self.champion, self.challenger}
        return serving | set(self._works)

    def _sweep(self, model: ServedModel) -> None:
        if not self._works[model] and model not in (self.champion, self.challenger):
            del self._works[model]
            self._dispose(model)


def place(record: Record) -> float:
    """In [0, 1), the same for every record of a key, or of an id without a key."""
    what = record.key if record.key is not None else record.id.encode()
    digest = hashlib.blake2b(what, digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
