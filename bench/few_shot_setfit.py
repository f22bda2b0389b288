"""SetFit for `few_shot.py`, run by the Python of an environment of its own: `pip install setfit`.

    PYTHON bench/few_shot_setfit.py ENCODER STEPS < examples.json > labels.json

Tunstall et al., "Efficient Few-Shot Learning Without Prompts", 2022: pairs of texts teach a
sentence encoder which are of one label, then a logistic regression learns its vectors. Most is
SetFit's own default, one epoch of its pairs; but so many steps are the most, as each takes seconds
on a CPU, and products of matrices are bfloat16, which halves that.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from setfit import SetFitModel, Trainer, TrainingArguments
from sklearn.linear_model import LogisticRegression

MAX_TOKENS = 256
PAIRS = 16  # in a step


def main() -> None:
    encoder, most = sys.argv[1], int(sys.argv[2])
    given = json.load(sys.stdin)
    answer, sys.stdout = sys.stdout, sys.stderr  # where its progress goes
    torch.set_num_threads(1)
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    words = Transformer(encoder, max_seq_length=MAX_TOKENS, model_kwargs={"dtype": "float32"})
    pooling = Pooling(words.get_embedding_dimension(), "mean")
    body = SentenceTransformer(modules=[words, pooling, Normalize()], device="cpu")
    model = SetFitModel(model_body=body, model_head=LogisticRegression(max_iter=300))
    with TemporaryDirectory() as scratch:
        steps = min(most, epoch(given["labels"]))
        how = TrainingArguments(scratch, batch_size=PAIRS, max_steps=steps)
        how.report_to, how.save_strategy = "none", "no"
        learnt = Dataset.from_dict({"text": given["texts"], "label": given["labels"]})
        Trainer(model=model, args=how, train_dataset=learnt).train()
        model.save_pretrained(scratch)
        size = sum(file.stat().st_size for file in Path(scratch).rglob("*") if file.is_file())
    labels = [int(label) for label in model.predict(given["test"])]
    json.dump({"labels": labels, "size": size}, answer)


def epoch(labels: Sequence[int]) -> int:
    """The steps of one: all pairs of different labels, or of one, and as many of the other kind."""
    alike = sum(count * (count + 1) // 2 for count in Counter(labels).values())
    pairs = len(labels) * (len(labels) + 1) // 2
    return -(-2 * max(alike, pairs - alike) // PAIRS)


if __name__ == "__main__":
    main()
