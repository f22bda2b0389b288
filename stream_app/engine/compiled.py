"""The compiled CPU backend: padding-free ALBERT in our own vector kernels (`native/`).

- A micro-batch of texts, in arrival order, is one call on one thread; no thread waits for another,
  and a long text delays one thread only.
- Activations are rounded per token, so the logits of a text are bitwise the same whatever else is
  in its batch: a replay gives the same label.
- int8 computes a text again in float32 where rounding may have decided its label or decision.
- Nothing here imports torch: the engine is ready in a fraction of a second.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stream_app.core.errors import ModelError, OutOfMemory
from stream_app.engine.compiled_weights import CompiledWeights
from stream_app.engine.native_library import PRECISIONS, Kernels, find_kernels
from stream_app.engine.packing import Packed, pack
from stream_app.engine.protocol import BATCH_RECORDS, Prior, TokenIds, plus
from stream_app.model.albert import read_shape, read_weights
from stream_app.model.artifact import Artifact, ModelCard
from stream_app.model.decision import Lengths, divisors, lengths
from stream_app.model.exits import Exits

log = logging.getLogger(__name__)

MICRO_BATCH_TOKENS = 192
ALIGNMENT = 64  # bytes: a cache line, and the widest register
CLOSE = 0.1  # of logits: int8 moves one by 0.05 to 0.1 in one text of a hundred
INT8_AGREEMENT = 0.995  # the least `int8_agreement` of a card for which `auto` is int8
Logits = NDArray[np.float32]


class CompiledEngine:
    """One model on this CPU, its layers' products in `precision`: float32, bfloat16 or int8.

    Raises ModelError for a precision that the kernels lack, and for weights that are no classifier.
    """

    def __init__(self, artifact: Artifact, kernels: Kernels, precision: str, threads: int) -> None:
        self.labels = artifact.card.labels
        self.at_once = 2  # a thread that is done with one batch starts the next
        self.batch_records = BATCH_RECORDS
        self._card = artifact.card
        if precision not in PRECISIONS or kernels.kernel(precision) is None:
            offered = ", ".join(filter(kernels.kernel, PRECISIONS))
            raise ModelError(f"no {precision} in the {kernels} kernels; there are: {offered}")
        lay_out = partial(CompiledWeights, read_shape(artifact), read_weights(artifact), kernels)
        self._weights = lay_out(precision)
        self._exact = lay_out("float32") if precision == "int8" else None
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "winnow-kernel")
        self._memory = threading.local()  # each thread keeps its workspace

    def leave_early(self, exits: Exits) -> None:
        """From now on a text takes the first exit that is sure of its label.

        Texts that are computed again in float32 go through every layer. Raises ModelError for the
        exits of another model.
        """
        self._weights.open_exits(exits, self._card.temperature, self._card.evidence)

    def warm_up(self) -> None:
        """Run one full micro-batch a thread, so that weights and workspaces are in memory."""
        length = min(self._weights.positions, MICRO_BATCH_TOKENS)
        for weights in filter(None, (self._weights, self._exact)):
            self._compute(weights, [[0] * length] * self._threads)

    def logits(self, batch: Sequence[TokenIds], prior: Prior = None) -> Logits:
        """float32 `[len(batch), labels]`; see `Engine.logits`."""
        logits = plus(self._compute(self._weights, batch), prior, batch, self._card.span)
        if self._exact is not None:
            close = np.flatnonzero(too_close(logits, self._card, lengths(batch)))
            if close.size:
                again = [batch[row] for row in close.tolist()]
                known = None if prior is None else prior[close]
                exact = self._compute(self._exact, again)
                logits[close] = plus(exact, known, again, self._card.span)
        return logits

    def computed_tokens(self, batch: Sequence[TokenIds]) -> int:
        """No padding: the tokens themselves."""
        return sum(map(len, batch))

    @property
    def memory_bytes(self) -> int:
        """The weights, as they are laid out."""
        return sum(w.memory_bytes for w in (self._weights, self._exact) if w is not None)

    def close(self) -> None:
        """End the threads, which frees their workspaces."""
        self._pool.shutdown()

    def _compute(self, weights: CompiledWeights, batch: Sequence[TokenIds]) -> Logits:
        packed = pack(batch, weights.vocabulary, weights.positions)
        out = np.empty((len(batch), weights.outputs), np.float32)
        share = math.ceil(len(packed.ids) / self._threads)

        def forward(run: tuple[slice, Packed]) -> None:
            rows, texts = run
            self._forward(weights, texts, out[rows])

        try:
            list(self._pool.map(forward, packed.runs(min(MICRO_BATCH_TOKENS, share))))
        except MemoryError:
            raise OutOfMemory(f"no memory for {len(batch)} texts") from None
        return out[:, : len(self.labels)]

    def _forward(self, weights: CompiledWeights, texts: Packed, out: Logits) -> None:
        need = weights.workspace(texts) + ALIGNMENT
        memory: NDArray[np.uint8] | None = getattr(self._memory, "bytes", None)
        if memory is None or memory.nbytes < need:
            memory = self._memory.bytes = np.empty(need, np.uint8)
        start = memory.ctypes.data
        weights.forward(texts, out, start + -start % ALIGNMENT)


def too_close(logits: Logits, card: ModelCard, lengths: Lengths) -> NDArray[np.bool_]:
    """[texts]: whether rounding may have decided which labels a text has, or is decided to have.

    It moves logits, so that is what closeness is measured in; `lengths` [texts] say where in them
    the card's thresholds lie.
    """
    divisor = divisors(card, lengths)
    ordered = np.sort(logits, axis=1)
    close = ordered[:, -1] - ordered[:, -2] < CLOSE
    bars = _log_odds(map(card.decided_from, card.labels))
    if card.problem == "multi_label":
        for edges in (_log_odds(map(card.given_from, card.labels)), bars):
            close |= (np.abs(logits - divisor[:, None] * edges) < CLOSE).any(axis=1)
        return np.asarray(close)
    # by how much the best label is more likely than not, and by how much it has to be
    odds = ordered[:, -1].astype(np.float64)
    odds -= divisor * np.logaddexp.reduce(ordered[:, :-1] / divisor[:, None], axis=1)
    return np.asarray(close | (np.abs(odds - divisor * bars[logits.argmax(axis=1)]) < CLOSE))


def _log_odds(scores: Iterable[float]) -> NDArray[np.float64]:
    """[labels]: log(p / (1 - p)) of each label's score; infinite at 0 and 1."""
    p = np.array([*scores])
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(p) - np.log1p(-p))


def load(artifact: Artifact, device: str, precision: str, threads: int) -> CompiledEngine:
    """Load onto the CPU. `auto` is int8 where the model's card says that it keeps the labels.

    Else it is bfloat16 where the instruction set has it, else float32.
    """
    if device not in ("auto", "cpu"):
        raise ModelError(f"the compiled engine runs on the CPU, not on {device!r}")
    found = find_kernels()
    if not found:
        raise ModelError(
            "the compiled engine has no kernels for this CPU, or was installed without a C++ "
            'compiler; use backend = "auto"'
        )
    kernels = found[0]
    chosen = _precision(kernels, artifact.card) if precision == "auto" else precision
    log.info("%s: %s kernels, %s, %d threads", artifact.card.name, kernels, chosen, threads)
    return CompiledEngine(artifact, kernels, chosen, threads)


def _precision(kernels: Kernels, card: ModelCard) -> str:
    if (card.int8_agreement or 0) >= INT8_AGREEMENT and kernels.kernel("int8"):
        return "int8"
    return "bfloat16" if kernels.kernel("bfloat16") else "float32"
