"""Real mail in the order it was written, and the model that `bench/refresh.py` starts from.

Enron's mail comes first, then SpamAssassin's, then mail of both whose spam is obfuscated. Within a
corpus each class keeps its own order of time, and both are spread evenly: Enron's spam was gathered
years after its ham, and a stream of one class after the other would measure nothing. No label is
changed. The last part is mail that was kept back, so that nothing in it was seen before.
"""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from email.utils import parsedate_to_datetime
from pathlib import Path

from stream_app.codecs import CODECS
from stream_app.core.errors import RecordError
from stream_app.core.messages import ParseSpec
from stream_app.model.artifact import CARD, Artifact, load_artifact
from stream_app.model.preparation import Preparation, prepare
from training.data.augment import obfuscated
from training.data.corpus import Example
from training.data.readers import Raw, read_source
from training.fitting.build import FitJob, build
from training.recipe import Source
from training.recipes import load_recipe

BASE = 6_000  # of Enron's mails, the oldest: what the first model learns from
ENRON = 6_000  # of the mails that follow
LATE = 2_000  # of those after them: the obfuscated part's
KEPT_BACK = 4  # every fourth of SpamAssassin's mails, for the obfuscated part
HIDDEN_WORDS = 0.4  # of an obfuscated spam's words
RECIPE = """
name = "enron"
version = "1"
description = "Spam, from Enron's oldest mail alone; for a simulation."
labels = ["ham", "spam"]
max_tokens = 128
truncation = "head_tail"

[hyper]
epochs = 1
batch_size = 32
learning_rate = 3e-4

[ngrams]
words = 2
bits = 18
strength = 10

[[sources]]
file = "base.tar.gz"
use = "split"
encoder_rows = 3000
terms = "Enron-Spam (2006), public research corpus"
"""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the stream."""

    name: str
    examples: list[Example]


def stream(data: Path) -> list[Part]:
    """What comes after the base, in order."""
    enron = in_order(_mails(data, "enron_train"))[BASE:]
    later = in_order(_mails(data, "spamassassin"))
    kept = [*enron[ENRON : ENRON + LATE], *later[::KEPT_BACK]]
    chance = random.Random(1)
    chance.shuffle(kept)
    hidden = [
        replace(mail, text=obfuscated(mail.text, HIDDEN_WORDS, chance)) if spam else mail
        for mail, spam in ((mail, mail.label == "spam") for mail in _examples(kept))
    ]
    shown = [mail for number, mail in enumerate(later) if number % KEPT_BACK]
    return [
        Part("Enron", _examples(enron[:ENRON])),
        Part("SpamAssassin", _examples(shown)),
        Part("obfuscated", hidden),
    ]


def base_model(data: Path, encoder: str, out: Path) -> Artifact:
    """The model fitted to Enron's oldest mail; made once, then read from `out`."""
    if (out / "model" / CARD).exists():
        return load_artifact(out / "model")
    job = FitJob(load_recipe(str(write_base(data, out))), out, encoder, out / "model")
    artifact = build(job)
    assert artifact is not None
    return artifact


def write_base(data: Path, out: Path) -> Path:
    """The base as the data of a recipe; the recipe's path."""
    out.mkdir(parents=True, exist_ok=True)
    with tarfile.open(out / "base.tar.gz", "w:gz", compresslevel=1) as archive:
        for raw in in_order(_mails(data, "enron_train"))[:BASE]:
            member = tarfile.TarInfo(raw.name)
            member.size = len(raw.value)
            archive.addfile(member, io.BytesIO(raw.value))
    recipe = out / "enron.toml"
    recipe.write_text(RECIPE)
    return recipe


def in_order(mails: Sequence[Raw]) -> list[Raw]:
    """Each class by time, the classes spread evenly over the whole."""
    placed: list[tuple[float, str, Raw]] = []
    for label in sorted({mail.labels for mail in mails}):
        group = sorted((mail for mail in mails if mail.labels == label), key=_written)
        placed += [((n + 0.5) / len(group), mail.name, mail) for n, mail in enumerate(group)]
    return [mail for _, _, mail in sorted(placed, key=lambda entry: entry[:2])]


def _mails(data: Path, corpus: str) -> list[Raw]:
    file = f"spam/{corpus}.tar.gz"
    return list(read_source(Source(file=file, use="train", terms=""), data))


def _examples(mails: Sequence[Raw]) -> list[Example]:
    """The messages the service would label, as a model sees them."""
    found = []
    for mail in mails:
        try:
            message = CODECS["rfc822"](mail.value, ParseSpec())
        except RecordError:
            continue
        text = prepare(message.title, message.body, Preparation())
        if text:
            found.append(Example(text, mail.labels))
    return found


def _written(mail: Raw) -> tuple[float, str]:
    """When its reader's own server took it in, else when it says it was sent; spam lies."""
    message = BytesHeaderParser().parsebytes(mail.value)
    received = [str(line).rpartition(";")[2] for line in message.get_all("Received", [])[:1]]
    for date in [*received, str(message.get("Date", ""))]:
        try:
            found = parsedate_to_datetime(date.strip())
        except ValueError:
            continue
        if 1999 <= found.year <= 2006:
            when = found if found.tzinfo else found.replace(tzinfo=UTC)
            return when.timestamp(), mail.name
    return datetime(2006, 12, 31, tzinfo=UTC).timestamp(), mail.name
