"""`builtin:spam` refreshed as its user would: a topic of mail, 100 corrections, and nothing else.

`python -m bench.refresh_builtin`. The topic, on an embedded broker, has mail of both corpora that
the model has not learnt from, and an invented campaign that it lets pass. One administrator
corrects 100 of the campaign. Then `winnow-train refresh` is timed, head alone and whole, and each
successor is judged on other held-out mail and another part of the campaign.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory

import tomli_w
from kafka import KafkaProducer

from bench.campaign import campaign_mail
from stream_app.core.feedback import Feedback
from stream_app.kafka.embedded_broker import EmbeddedBroker
from stream_app.model.artifact import Artifact, load_artifact
from stream_app.model.references import resolve
from training.data.corpus import Example, read_test
from training.judging.decisions import acted_on
from training.judging.evaluate import score
from training.recipes import load_recipe

SENT, JUDGED, CAMPAIGN, CORRECTED = 1_500, 2_500, 250, 100  # mails
WAYS = {"head alone": ("--head-only",), "whole": ("--minutes", "3")}


@dataclass(frozen=True, slots=True)
class Place:
    """A broker and a folder of an administrator's own."""

    address: str
    folder: Path

    def fill(self, mails: Sequence[Example]) -> None:
        """Send mails, and correct the first of the campaign."""
        producer = KafkaProducer(bootstrap_servers=self.address)
        sent = [producer.send("mail", mail.text.encode()) for mail in mails]
        left = CORRECTED
        for mail, future in zip(mails, sent, strict=True):
            if mail.source == "campaign" and left:
                where, left = future.get(30), left - 1
                said = Feedback(
                    id=f"mail/{where.partition}/{where.offset}",
                    label=mail.label,
                    route="mail",
                    who="ada",
                    when=datetime.now(UTC),
                )
                producer.send("feedback", said.model_dump_json(exclude_none=True).encode())
        producer.flush()

    def configure(self) -> Path:
        """The configuration of one route of `builtin:spam`."""
        file = self.folder / "winnow.toml"
        registry = {"uri": f"sqlite:///{self.folder}/registry.db", "cache": f"{self.folder}/cache"}
        route = {"name": "mail", "format": "text", "model": "builtin:spam"}
        topics = {"input_topic": "mail", "output_topic": "mail.labels"}
        kafka = {"bootstrap_servers": self.address}
        told = {"kafka": kafka, "registry": registry, "routes": [route | topics]}
        file.write_text(tomli_w.dumps(told))
        return file

    def run(self, module: str, *arguments: str) -> str:
        """A command of the administrator's; its standard output."""
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def judged(name: str, model: Artifact, mails: Sequence[Example]) -> str:
    """A row of the table."""
    cells = []
    for source in ("", "campaign"):
        some = [mail for mail in mails if (mail.source == "campaign") == bool(source)]
        found = score(model, some, "auto")
        spam = acted_on(found, model.card)[:, 1]
        true = found.truth[:, 1]
        if not source:
            cells.append(f"{(spam & ~true).sum()} of {(~true).sum()}")
        cells.append(f"{spam[true].mean():.1%}")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    recipe = load_recipe("spam")
    held = [
        e for test in read_test(recipe, options.data, recipe.preparation).values() for e in test
    ]
    random.Random(1).shuffle(held)
    made = [Example(campaign_mail(n), ("spam",), source="campaign") for n in range(2 * CAMPAIGN)]
    sent = [*held[:SENT], *made[:CAMPAIGN]]
    random.Random(2).shuffle(sent)
    others = [*held[SENT : SENT + JUDGED], *made[CAMPAIGN:]]
    print("| | ham decided spam | spam decided | of the campaign | seconds | of all cores |")
    print("|---|---|---|---|---|---|")
    print(judged("builtin:spam", resolve("builtin:spam"), others), "| |")
    for name, how in WAYS.items():
        with TemporaryDirectory() as folder, EmbeddedBroker() as broker:
            place = Place(broker.address, Path(folder))
            config = ("--config", str(place.configure()))
            place.run("stream_app", "topics", "create", *config)
            place.fill(sent)
            before, started = getrusage(RUSAGE_CHILDREN), time.monotonic()
            where = ("--route", "mail", "--work", str(place.folder / "work"))
            report = json.loads(place.run("training", "refresh", *config, *where, *how))
            seconds, after = time.monotonic() - started, getrusage(RUSAGE_CHILDREN)
            if report["outcome"] != "promoted":
                raise SystemExit(f"{name}: {report['because']}")
            (model,) = place.folder.glob("work/runs/*/model")
            row = judged(name, load_artifact(model), others)
            print(row, f"{seconds:.0f} | {after.ru_utime - before.ru_utime:.0f} |", flush=True)


if __name__ == "__main__":
    main()
