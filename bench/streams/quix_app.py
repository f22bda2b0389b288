"""Quix Streams and ONNX Runtime in int8, batches sorted by length.

python bench/streams/quix_app.py HOST:PORT TOPIC MODEL MAX_TOKENS SESSION_SECONDS

Its documentation gives Consumer and Producer for "batching messages in memory"; a
StreamingDataFrame would have to keep windows by key, and closes none before it is full. Offsets
are stored once the labels are confirmed, so that nothing is lost. The graph is the one of
`bench/engine.py`: attention, norms and GELU fused. No torch and no transformers in the process.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from contestants import Batched, Batching, Logits, onnx_forward
from quixstreams import Application
from streams.mail_text import mail_text
from tokenizers import Tokenizer

RECORDS = 128  # sorted together
BATCHING = Batching("sorted", 16)
WITHIN = 0.1  # seconds they wait for more


def main(address: str, topic: str, model: str, max_tokens: str, session: str) -> None:
    folder = Path(model)
    names = json.loads((folder / "config.json").read_text())["id2label"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(int(max_tokens))
    tokenizer.no_padding()
    forward = onnx_forward(folder / "model.onnx", len(os.sched_getaffinity(0)))
    runner = Batched(forward, BATCHING)
    app = Application(
        address,
        consumer_group=topic,
        auto_offset_reset="earliest",
        consumer_extra_config={"session.timeout.ms": int(float(session) * 1000)},
    )
    with app.get_producer() as producer, app.get_consumer() as consumer:
        consumer.subscribe([topic])
        while True:
            records = [r for r in consumer.consume(RECORDS, WITHIN) if not r.error()]
            if not records:
                continue
            texts = [mail_text(record.value()) for record in records]
            logits = runner.logits([text.ids for text in tokenizer.encode_batch_fast(texts)])
            for value in answers(records, logits, names):
                producer.produce(f"{topic}.labels", json.dumps(value).encode())
            producer.flush()
            for record in records:
                consumer.store_offsets(record)


def answers(records: Sequence[Any], logits: Logits, names: dict[str, str]) -> list[dict[str, Any]]:
    """A label record for each."""
    scores = np.exp(logits - logits.max(1, keepdims=True))
    scores /= scores.sum(1, keepdims=True)
    return [
        {
            "id": f"{record.topic()}/{record.partition()}/{record.offset()}",
            "label": names[str(row.argmax())],
            "confidence": float(row.max()),
            "source": {"timestamp": record.timestamp()[1]},
        }
        for record, row in zip(records, scores, strict=True)
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
