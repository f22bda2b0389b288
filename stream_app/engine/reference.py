"""The reference backend: transformers' own AlbertForSequenceClassification, padded batches.

Every other backend is held to its logits. Weights stay resident on the device; on CUDA the ids
travel through pinned memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from transformers.utils.logging import disable_progress_bar, enable_progress_bar

from stream_app.core.errors import ModelError
from stream_app.engine.failures import failure
from stream_app.engine.gpu import cuda_device, gpu
from stream_app.engine.pooled import PooledAlbert
from stream_app.engine.protocol import BATCH_RECORDS, Prior, TokenIds, plus
from stream_app.model.albert import check_shapes, not_finite
from stream_app.model.artifact import WEIGHTS, Artifact


class ReferenceEngine:
    """One model resident on one device, in float32."""

    def __init__(self, artifact: Artifact, device: str) -> None:
        self.labels = artifact.card.labels
        self.at_once = 1
        self.batch_records = BATCH_RECORDS
        self._device = _device(device)
        self._max_tokens = artifact.card.max_tokens
        self._span = artifact.card.span
        self._model = _load_model(artifact)
        torch.nn.Module.eval(self._model)
        torch.nn.Module.to(self._model, self._device)
        self._pad = int(self._model.config.pad_token_id or 0)
        if self._model.config.num_labels != len(self.labels):
            raise ModelError(
                f"{artifact.path} has {self._model.config.num_labels} outputs but its card names "
                f"{len(self.labels)} labels"
            )

    def warm_up(self) -> None:
        """One short and one full-length text, so that kernels and buffers exist."""
        self.logits([[self._pad] * 8, [self._pad] * self._max_tokens])

    @torch.inference_mode()
    def logits(self, batch: Sequence[TokenIds], prior: Prior = None) -> NDArray[np.float32]:
        """float32 `[len(batch), labels]`; see `Engine.logits`."""
        if not batch:
            return np.zeros((0, len(self.labels)), dtype=np.float32)
        try:
            ids, mask = self._padded(batch)  # [batch, longest] each
            out = self._model(input_ids=ids, attention_mask=mask).logits  # [batch, labels]
            albert = np.asarray(out.float().cpu().numpy(), dtype=np.float32)
            return plus(albert, prior, batch, self._span)
        except (RuntimeError, IndexError, ValueError) as error:
            failed = failure(error, len(batch))
        raise failed

    def computed_tokens(self, batch: Sequence[TokenIds]) -> int:
        """Every text is padded to the longest of its batch."""
        return len(batch) * max(map(len, batch), default=0)

    @property
    def memory_bytes(self) -> int:
        """Float32 weights, resident on the device."""
        return sum(p.numel() * p.element_size() for p in self._model.parameters())

    def close(self) -> None:
        """Drop the weights and return cached device memory."""
        del self._model
        if self._device.index is not None:
            gpu(self._device.index).empty_cache()

    def _padded(self, batch: Sequence[TokenIds]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(map(len, batch))
        ids = torch.full((len(batch), longest), self._pad, dtype=torch.int64)
        mask = torch.zeros((len(batch), longest), dtype=torch.int64)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = torch.as_tensor(tokens, dtype=torch.int64)
            mask[row, : len(tokens)] = 1
        if self._device.type == "cuda":
            ids, mask = ids.pin_memory(), mask.pin_memory()
        return ids.to(self._device, non_blocking=True), mask.to(self._device, non_blocking=True)


def load(artifact: Artifact, device: str, precision: str, threads: int) -> ReferenceEngine:
    """Load the artifact's weights onto `device`; `auto` takes CUDA if present."""
    torch.set_num_threads(threads)
    if precision not in ("auto", "float32"):
        raise ModelError(f"the reference engine computes in float32, not in {precision}")
    return ReferenceEngine(artifact, device)


def _device(name: str) -> torch.device:
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    return cuda_device(name)


def _load_model(artifact: Artifact) -> PooledAlbert:
    file = artifact.path / WEIGHTS
    check_shapes(artifact)
    with _quiet():
        try:
            loaded: Any = PooledAlbert.from_pretrained(
                artifact.path, dtype=torch.float32, use_safetensors=True, output_loading_info=True
            )
        except SafetensorError as error:
            raise ModelError(f"{file} cannot be read ({type(error).__name__})") from error
    model: PooledAlbert = loaded[0]
    report: dict[str, set[str]] = loaded[1]
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"{artifact.path} has no weights for {missing[0]} ({len(missing)} missing): "
            "it is not a fine-tuned classifier; train one with winnow-train fit"
        )
    for name, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise ModelError(not_finite(file, name))
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars on a service's stderr while weights load."""
    disable_progress_bar()
    try:
        yield
    finally:
        enable_progress_bar()
