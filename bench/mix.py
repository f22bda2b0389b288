"""What the contestants of `engine.py` classify: a model, and token ids of many lengths."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from transformers import AlbertConfig, AlbertForSequenceClassification

from stream_app.codecs import CODECS
from stream_app.core.messages import ParseSpec
from stream_app.model.albert import read_shape
from stream_app.model.artifact import Artifact, load_artifact
from stream_app.model.preparation import prepare
from stream_app.model.references import resolve
from stream_app.model.tokenizer import Tokenizer

SEED = 20
SHORTEST, LONGEST = 5, 256  # tokens
MEDIAN, SPREAD = 60, 0.7  # of the log-normal lengths
FIRST_WORD = 1000  # ids below are special or unused
SMOKE_TEXTS = 24
NEWS = Path("news/agnews_test.jsonl.gz")
MAIL = Path("spam/spamassassin.tar.gz")
EXAMPLES = Path(__file__).parent.parent / "examples" / "news.jsonl"


@dataclass(frozen=True)
class Mix:
    """Token ids in arrival order; the texts they come from, where they are real."""

    artifact: Artifact
    ids: list[list[int]]
    texts: list[str]
    source: str

    @property
    def tokens(self) -> int:
        """Real tokens, no padding."""
        return sum(map(len, self.ids))

    @property
    def layer_flops(self) -> int:
        """Floating-point operations of the layers' linears for the whole mix."""
        shape = read_shape(self.artifact)
        config = json.loads((self.artifact.path / "config.json").read_bytes())
        macs = 4 * shape.hidden**2 + 2 * shape.hidden * config["intermediate_size"]
        return 2 * macs * len(shape.sequence()) * self.tokens

    def describe(self) -> dict[str, str]:
        """The model, the texts and their lengths."""
        lengths = sorted(map(len, self.ids))
        return {
            "model": self.artifact.card.name,
            "texts": f"{len(lengths)}, {self.source}",
            "tokens": f"{lengths[0]} to {lengths[-1]}, median {lengths[len(lengths) // 2]}, "
            f"mean {self.tokens / len(lengths):.0f}",
        }


def random_mix(artifact: Artifact, count: int) -> Mix:
    """`count` texts of random words."""
    rng = np.random.default_rng(SEED)
    config = json.loads((artifact.path / "config.json").read_bytes())
    lengths = np.exp(rng.normal(np.log(MEDIAN), SPREAD, count)).clip(SHORTEST, LONGEST).astype(int)
    ids = [rng.integers(FIRST_WORD, config["vocab_size"], length).tolist() for length in lengths]
    return Mix(artifact, ids, [], "random words")


def real_mix(artifact: Artifact, count: int, data: Path) -> Mix:
    """`count` texts, three news items to a mail, in random order."""
    mails = count // 4
    texts = [*islice(_news(data), count - mails), *islice(_mail(data), mails)]
    np.random.default_rng(SEED).shuffle(texts)
    return _encoded(artifact, texts, "AG news items and SpamAssassin mails, 3 : 1")


def smoke_mix(artifact: Artifact) -> Mix:
    """Titles of the repository's own news."""
    with EXAMPLES.open() as lines:
        titles = [json.loads(line)["title"] for line in islice(lines, SMOKE_TEXTS)]
    return _encoded(artifact, titles, "titles of the examples")


def tokenizing_ms(mix: Mix) -> float:
    """Milliseconds a message, all cores at work, the best of three."""
    tokenizer, seconds = Tokenizer(mix.artifact), []
    for _ in range(3):
        started = time.perf_counter()
        tokenizer.encode(mix.texts)
        seconds.append(time.perf_counter() - started)
    return min(seconds) / len(mix.texts) * 1000


def base_artifact(folder: Path) -> Artifact:
    """albert-base with random weights and the built-in models' vocabulary, written to `folder`."""
    torch.manual_seed(SEED)
    config = AlbertConfig(
        vocab_size=30522,
        embedding_size=128,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=512,
        hidden_act="gelu_new",
        num_labels=2,
        attention_probs_dropout_prob=0.0,
        hidden_dropout_prob=0.0,
    )
    model = AlbertForSequenceClassification(config)
    with torch.no_grad():
        for weight in model.parameters():  # biases that are not zero, norms that are not one
            weight.add_(torch.randn_like(weight) * 0.01)
    model.save_pretrained(folder)
    shutil.copy(resolve("builtin:news").tokenizer / "tokenizer.json", folder)
    artifact = load_artifact(folder)
    return replace(artifact, card=artifact.card.model_copy(update={"name": "albert-base, random"}))


def _encoded(artifact: Artifact, texts: Sequence[str], source: str) -> Mix:
    card = artifact.card.model_copy(update={"max_tokens": LONGEST})
    artifact = replace(artifact, card=card)
    return Mix(artifact, Tokenizer(artifact).encode(texts), list(texts), source)


def _news(data: Path) -> Iterator[str]:
    with gzip.open(data / NEWS) as lines:
        for line in lines:
            yield json.loads(line)["text"]


def _mail(data: Path) -> Iterator[str]:
    """Mails as the service prepares them."""
    how = resolve("builtin:spam").card.preparation
    with tarfile.open(data / MAIL) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                message = CODECS["rfc822"](file.read(), ParseSpec())
                yield prepare(message.title, message.body, how)
