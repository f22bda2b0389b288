"""The steps of a refresh, in order; each leaves its result in the run's folder.

pull -> merge -> fit -> head -> seal -> gates -> register -> promote
"""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stream_app.model.artifact import Artifact, ModelCard, load_artifact
from stream_app.model.decision import given
from stream_app.model.preparation import prepare
from stream_app.model.registry import CHALLENGER, CHAMPION, Registry
from training.data.corpus import Example
from training.fitting.seal import ENGINE
from training.judging.evaluate import score
from training.judging.figures import reported
from training.judging.page import write_page
from training.recipe import Gates, Recipe
from training.refreshing.champion.invented import INVENTED, invented
from training.refreshing.champion.texts import scored
from training.refreshing.compare import candidates, compare, joined
from training.refreshing.feedback_pull import FeedbackSource, pull
from training.refreshing.feedback_set import (
    Correction,
    FeedbackSet,
    given_since,
    pulls,
    reached,
    read_set,
)
from training.refreshing.gates import Evidence, judge, shifts
from training.refreshing.job import RefreshJob
from training.refreshing.making import FromChampion, FromRecipe, Making
from training.refreshing.opinions import sure
from training.refreshing.outcome import told
from training.refreshing.register import facts_of, register
from training.refreshing.rehearsal import FEEDBACK
from training.refreshing.run_folder import Run

_log = logging.getLogger(__name__)


class Steps:
    """Each step reads what those before it left in the run's folder, and returns its result."""

    def __init__(
        self, job: RefreshJob, recipe: Recipe, champion: Artifact, run: Run, registry: Registry
    ) -> None:
        self._job = job
        self._recipe = recipe
        self._champion = champion
        self._run = run
        self._registry = registry
        making = FromRecipe if job.data else FromChampion
        self._making: Making = making(job, recipe, champion, run.folder)

    def run(self) -> dict[str, Any]:
        """Every step that is not done yet, until one gives a reason to stop."""
        steps: Sequence[Callable[[], dict[str, Any]]] = (
            self.pull,
            self.merge,
            self.fit,
            self.head,
            self.seal,
            self.gates,
            self.register,
            self.promote,
        )
        found: dict[str, dict[str, Any]] = {}
        for step in steps:
            name = step.__name__
            done = self._run.done(name)
            if done is None:
                _log.info("refresh of %s: %s", self._job.name, name)
                started = time.monotonic()
                done = step() | {"seconds": round(time.monotonic() - started, 1)}
                self._run.mark(name, done)
            found[name] = done
            if "because" in done:
                break
        report, text = told(self._run.plan, self._job.name, found)
        self._run.finish(report, text)
        for scratch in ("checkpoints", "teacher"):
            shutil.rmtree(self._run.folder / scratch, ignore_errors=True)
        _log.info("refresh of %s: %s", self._job.name, report["outcome"])
        return report

    def pull(self) -> dict[str, Any]:
        job = self._job
        source = FeedbackSource(
            job.settings.kafka,
            job.settings.feedback.topic,
            job.route,
            self._recipe.labels,
            self._recipe.problem,
        )
        pull(source, self._feedback)
        every = pulls(self._feedback)
        counts: Counter[str] = Counter()
        for each in every:
            counts.update(each.counts)
        found: dict[str, Any] = {
            "pulls": [each.name for each in every],
            "offsets": reached(every),
            "counts": dict(sorted(counts.items())),
        }
        count = len(self._new(read_set(self._feedback, every).corrections))
        wanted = self._limits.min_new
        refused = self._run.last_refused()
        if count < wanted:
            found["because"] = f"{count} new corrections, {wanted} wanted"
        elif refused and (refused.done("pull") or {})["offsets"] == found["offsets"]:
            found["because"] = "nothing was said since the last refresh, which was refused"
        return found

    def merge(self) -> dict[str, Any]:
        return self._making.merge(self._feedback_set.corrections, self._run.plan.digest)

    def fit(self) -> dict[str, Any]:
        return self._making.fit()

    def head(self) -> dict[str, Any]:
        card = self._making.head(self._card())
        return {"card": card.model_dump(mode="json", exclude={"files"})}

    def seal(self) -> dict[str, Any]:
        card = ModelCard.model_validate((self._run.done("head") or {})["card"])
        sealed = self._making.seal(card)
        return {"version": sealed.card.version, "digest": sealed.digest}

    def gates(self) -> dict[str, Any]:
        champion, challenger = self._champion, load_artifact(self._making.model)
        tests = compare(champion, challenger, self._making.corpus.test, ENGINE)
        held_out, frozen = tests.pop(FEEDBACK), joined(tests)
        made_up = {INVENTED: invented(self._recipe)}
        sample = [example for test in self._making.corpus.test.values() for example in test]
        old, new = candidates(champion, challenger, sample, ENGINE)
        feedback = self._feedback_set
        sources = Counter(each.who for each in self._new(feedback.corrections))
        earlier = Counter(each.who for each in feedback.corrections) - sources
        evidence = Evidence(
            frozen=frozen,
            invented=compare(champion, challenger, made_up, ENGINE)[INVENTED],
            held_out=held_out,
            champion=old,
            challenger=new,
            sources=sources,
            overturned=self._overturned(),
            corrections=len(feedback.corrections),
            contradicted=feedback.contradicted,
        )
        verdicts = judge(evidence, self._limits)
        failed = [f"{gate.name}: {gate.reason}" for gate in verdicts if not gate.passed]
        return {
            "gates": [asdict(gate) for gate in verdicts],
            "notes": [*shifts("share of source", earlier, sources), *self._making.notes()],
            **({"because": "; ".join(failed)} if failed else {}),
        }

    def register(self) -> dict[str, Any]:
        artifact = load_artifact(self._making.model)
        files = [self._run.folder / f"{name}.json" for name in ("pull", "merge", "gates")]
        facts = facts_of(self._job.name, artifact.card, [*files, self._page(artifact)])
        version = register(artifact, self._job.settings.registry.uri, CHALLENGER, facts)
        return {"version": version.version, "digest": version.digest}

    def promote(self) -> dict[str, Any]:
        made = (self._run.done("register") or {})["version"]
        if not self._job.promote:
            return {"because": "promotion was not asked for: see `winnow models promote`"}
        serving = self._registry.find(self._job.name, CHAMPION).version
        if serving not in (made, self._run.plan.champion):
            return {
                "because": f"version {serving} was made champion meanwhile, which it was not "
                "compared with: see `winnow models promote`"
            }
        self._registry.promote(self._job.name, made)  # also where a kill left it half done
        return {"champion": made}

    def _page(self, artifact: Artifact) -> Path:
        """The challenger's tests as a page with plots."""
        tests = {name: examples for name, examples in self._making.corpus.test.items() if examples}
        found = {name: score(artifact, examples, ENGINE) for name, examples in tests.items()}
        about = {"model": artifact.card.name, "digest": artifact.digest}
        about |= {"engine": ENGINE, "precision": "auto"}
        page = self._run.folder / "evaluation.html"
        write_page(reported(about, found, artifact.card), page)
        return page

    def _card(self) -> ModelCard:
        """The challenger's, as far as it is known before it is measured."""
        plan, champion, card = self._run.plan, self._champion.card, self._making.card()
        refreshed = {
            "champion": plan.digest,
            "head_only": plan.head_only,
            "offsets": (self._run.done("pull") or {})["offsets"],
            "fit": self._run.done("fit"),
        }
        return card.model_copy(
            update={
                "version": f"{self._recipe.version}+{plan.began:%Y%m%d.%H%M%S}",
                "parent": f"{champion.name} {champion.version}",
                "training": {**card.training, "refresh": refreshed},
            }
        )

    def _overturned(self) -> dict[str, int]:
        """How many new corrections of each source contradict what the champion is sure of."""
        new, champion = self._new(self._feedback_set.corrections), self._champion
        how = champion.card.preparation
        texts = [Example(prepare(each.title, each.body, how), ()) for each in new]
        scores, familiar = scored(champion, texts)
        said = [[name in each.labels for name in champion.card.labels] for each in new]
        right = np.array(said, np.bool_).reshape(scores.shape)
        wrong = (given(scores, champion.card) != right) & sure(scores, champion.card.problem)
        denied = wrong.any(axis=1) & np.array(familiar, dtype=np.bool_)
        return dict(Counter(each.who for each, is_so in zip(new, denied, strict=True) if is_so))

    def _new(self, corrections: Iterable[Correction]) -> list[Correction]:
        """Those that were given since the champion."""
        seen: Mapping[str, int] = self._champion.card.training.get("refresh", {}).get("offsets", {})
        return given_since(corrections, seen)

    @property
    def _feedback(self) -> Path:
        return self._job.work / "feedback"

    @cached_property
    def _feedback_set(self) -> FeedbackSet:
        """What was there when this run pulled; later pulls are the next run's."""
        names = (self._run.done("pull") or {})["pulls"]
        return read_set(self._feedback, [p for p in pulls(self._feedback) if p.name in names])

    @property
    def _limits(self) -> Gates:
        gates = self._recipe.gates
        return gates.model_copy(update={"trusted": (*gates.trusted, *self._job.trusted)})
