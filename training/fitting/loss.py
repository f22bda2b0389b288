"""What fine-tuning minimises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from stream_app.model.artifact import Problem


@dataclass(frozen=True)
class Loss:
    """Cross-entropy, or where the problem is multi-label binary cross-entropy of each label.

    `smoothing` is the share of the target spread over all labels: Szegedy et al., "Rethinking the
    Inception Architecture", 2016, section 7. `weights` [labels] multiply each label's loss.
    """

    problem: Problem
    smoothing: float = 0.0
    weights: Tensor | None = None

    def __call__(
        self, outputs: Any, targets: Tensor, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Mean over rows: logits and targets [rows, labels] -> a scalar.

        Without gradients, which is evaluation, the loss is neither smoothed nor weighted: the
        validation losses of any two runs can be compared.

        `num_items_in_batch`, which `Trainer` gives, counts the targets of all batches and processes
        that make one step; without it the mean is over these rows.
        """
        logits = outputs["logits"].float()
        smoothing, weights = self.smoothing, self.weights
        if not torch.is_grad_enabled():
            smoothing, weights = 0.0, None
        elif weights is not None:
            weights = weights.to(logits.device)
        if self.problem == "multi_label":
            smooth = targets * (1 - smoothing) + smoothing / 2
            each = binary_cross_entropy_with_logits(logits, smooth, weights, reduction="sum")
            total = each / targets.shape[1]
        else:
            total = cross_entropy(
                logits, targets, weights, reduction="sum", label_smoothing=smoothing
            )
        items = targets.numel() if num_items_in_batch is None else num_items_in_batch
        return total * targets.shape[1] / items


def class_weights(targets: NDArray[np.float32]) -> Tensor:
    """Weights [labels] under which every label counts the same; an absent one gets 1.

    King and Zeng, "Logistic Regression in Rare Events Data", 2001.
    """
    rows = targets.sum(axis=0)
    balanced = np.where(rows > 0, rows.sum() / np.maximum(rows, 1e-9) / len(rows), 1.0)
    return torch.as_tensor(balanced, dtype=torch.float32)
