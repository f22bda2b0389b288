"""transformers' ALBERT classifier, with the pooling that `config.json` names.

Reimers and Gurevych, "Sentence-BERT", 2019, section 3: the mean of a text's tokens says more of a
text than [CLS] where the encoder was never fine-tuned to gather it there.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from transformers import AlbertForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput


class PooledAlbert(AlbertForSequenceClassification):
    """With `"pooling": "mean"` the pooler reads the mean over a text's tokens, else [CLS]."""

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor | None = None,  # named: Trainer drops what a model does not ask for
        **more: Any,
    ) -> SequenceClassifierOutput:
        """int64 [texts, length] each -> logits [texts, labels]; the loss is the trainer's own."""
        if getattr(self.config, "pooling", "cls") != "mean":
            return cast(
                SequenceClassifierOutput,
                super().forward(input_ids=input_ids, attention_mask=attention_mask, **more),
            )
        out = self.albert(input_ids=input_ids, attention_mask=attention_mask, **more)
        mean = mean_token(out.last_hidden_state, attention_mask)
        pooled = self.dropout(torch.tanh(self.albert.pooler(mean)))
        return SequenceClassifierOutput(
            logits=self.classifier(pooled), hidden_states=out.hidden_states
        )


def mean_token(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[texts, length, hidden] and `mask` [texts, length] -> [texts, hidden]."""
    real = mask[:, :, None].to(tokens.dtype)
    return (tokens * real).sum(1) / real.sum(1)
