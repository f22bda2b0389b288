"""The steps of a refresh, in order; each leaves its result in the run's folder.

pull -> merge -> fit -> head -> seal -> gates -> register -> promote
"""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stream_app.core.errors import ConfigError
from stream_app.core.settings import RouteSettings, Settings
from stream_app.model.artifact import NGRAMS, Artifact, ModelCard, load_artifact
from stream_app.model.references import registered
from stream_app.model.registry import CHALLENGER, CHAMPION, Registry
from training.data.corpus import Corpus
from training.data.corpus_file import read_corpus, write_corpus
from training.fitting.build import FitJob, empty_card, fit_model, save, with_head
from training.fitting.model_files import copy_tokenizer, copy_weights
from training.fitting.seal import ENGINE, seal
from training.judging.evaluate import score
from training.judging.figures import reported
from training.judging.page import write_page
from training.recipe import Recipe
from training.refreshing.compare import candidates, compare, joined
from training.refreshing.feedback_pull import FeedbackSource, pull
from training.refreshing.feedback_set import Correction, FeedbackSet, next_offsets, pulls, read_set
from training.refreshing.gates import Evidence, judge, shifts
from training.refreshing.outcome import told
from training.refreshing.register import facts_of, register
from training.refreshing.rehearsal import FEEDBACK, base_set, merge
from training.refreshing.run_folder import Run

_log = logging.getLogger(__name__)
_WARM_UP = 0.1  # of the steps


@dataclass(frozen=True, slots=True)
class RefreshJob:
    """Which route's model to refresh, by what, and where to work."""

    settings: Settings
    route: RouteSettings
    recipe: Recipe
    data: Path
    work: Path
    head_only: bool = False  # leave the encoder as it is: seconds instead of minutes
    promote: bool = True

    @property
    def name(self) -> str:
        """The registered model's."""
        found = registered(self.route.model)
        return found.name if found else self.route.name


class Steps:
    """Each step reads what those before it left in the run's folder, and returns its result."""

    def __init__(self, job: RefreshJob, run: Run, registry: Registry) -> None:
        self._job = job
        self._run = run
        self._registry = registry
        self._model = run.folder / "model"

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
        shutil.rmtree(self._run.folder / "checkpoints", ignore_errors=True)
        _log.info("refresh of %s: %s", self._job.name, report["outcome"])
        return report

    def pull(self) -> dict[str, Any]:
        job = self._job
        source = FeedbackSource(
            job.settings.kafka, job.settings.feedback.topic, job.route, job.recipe.labels
        )
        pull(source, self._feedback)
        every = pulls(self._feedback)
        counts: Counter[str] = Counter()
        for each in every:
            counts.update(each.counts)
        found: dict[str, Any] = {
            "pulls": [each.name for each in every],
            "offsets": {str(number): end for number, end in next_offsets(every).items()},
            "counts": dict(sorted(counts.items())),
        }
        new, _ = self._sources(read_set(self._feedback, every).corrections)
        count, wanted = sum(new.values()), job.recipe.gates.min_new
        refused = self._run.last_refused()
        if count < wanted:
            found["because"] = f"{count} new corrections, {wanted} wanted"
        elif refused and (refused.done("pull") or {})["offsets"] == found["offsets"]:
            found["because"] = "nothing was said since the last refresh, which was refused"
        return found

    def merge(self) -> dict[str, Any]:
        job = self._job
        base = base_set(job.recipe, job.data, job.work)
        if not any(base.test.values()):
            raise ConfigError(f"recipe {job.recipe.name} has no test part to judge a model by")
        merged = merge(base, self._feedback_set.corrections, job.recipe, self._run.plan.digest)
        write_corpus(merged, self._run.folder / "set")
        return dict(merged.lineage[-1][FEEDBACK])

    def fit(self) -> dict[str, Any]:
        """The encoder, from the champion's; with `head_only` it is the champion's."""
        job = FitJob(
            recipe=_short(self._job.recipe, len(self._corpus.train)),
            data=self._job.data,
            encoder=None,
            out=self._model,
            checkpoints=self._run.folder / "checkpoints",
        )
        if self._job.head_only:
            copy_weights(self._champion.path, self._model)
            copy_tokenizer(self._champion.tokenizer, job.out / job.tokenizer)
            return {"texts": 0}
        encoder = Artifact(self._champion.path, empty_card(job.recipe), self._champion.digest)
        save(fit_model(job, encoder, self._corpus), job, encoder)
        return {"texts": len(self._corpus.train), **job.recipe.hyper.model_dump()}

    def head(self) -> dict[str, Any]:
        (self._model / NGRAMS).unlink(missing_ok=True)
        card = with_head(self._model, self._card(), self._corpus, self._job.recipe)
        return {"card": card.model_dump(mode="json", exclude={"files"})}

    def seal(self) -> dict[str, Any]:
        card = ModelCard.model_validate((self._run.done("head") or {})["card"])
        sealed = seal(self._model, card, self._corpus, self._job.recipe)
        return {"version": sealed.card.version, "digest": sealed.digest}

    def gates(self) -> dict[str, Any]:
        champion, challenger = self._champion, load_artifact(self._model)
        tests = compare(champion, challenger, self._corpus.test, ENGINE)
        held_out, frozen = tests.pop(FEEDBACK), joined(tests)
        sample = [example for test in self._corpus.test.values() for example in test]
        old, new = candidates(champion, challenger, sample, ENGINE)
        feedback = self._feedback_set
        sources, learnt = self._sources(feedback.corrections)
        evidence = Evidence(
            frozen=frozen,
            held_out=held_out,
            champion=old,
            challenger=new,
            sources=sources,
            corrections=len(feedback.corrections),
            contradicted=feedback.contradicted,
        )
        verdicts = judge(evidence, self._job.recipe.gates)
        failed = [f"{gate.name}: {gate.reason}" for gate in verdicts if not gate.passed]
        return {
            "gates": [asdict(gate) for gate in verdicts],
            "notes": [
                *shifts("share of source", learnt, sources),
                *shifts("share of base label", _base_labels(champion.card), _labels(self._corpus)),
            ],
            **({"because": "; ".join(failed)} if failed else {}),
        }

    def register(self) -> dict[str, Any]:
        artifact = load_artifact(self._model)
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
        tests = {name: examples for name, examples in self._corpus.test.items() if examples}
        scored = {name: score(artifact, examples, ENGINE) for name, examples in tests.items()}
        about = {"model": artifact.card.name, "digest": artifact.digest}
        about |= {"engine": ENGINE, "precision": "auto"}
        page = self._run.folder / "evaluation.html"
        write_page(reported(about, scored, artifact.card), page)
        return page

    def _card(self) -> ModelCard:
        """The challenger's, as far as it is known before it is measured."""
        plan, recipe, champion = self._run.plan, self._job.recipe, self._champion.card
        pulled = self._run.done("pull") or {}
        return empty_card(recipe).model_copy(
            update={
                "version": f"{recipe.version}+{plan.began:%Y%m%d.%H%M%S}",
                "parent": f"{champion.name} {champion.version}",
                "data": self._corpus.lineage,
                "training": {
                    **{k: v for k, v in champion.training.items() if k != "ngrams"},
                    "refresh": {
                        "champion": plan.digest,
                        "head_only": plan.head_only,
                        "offsets": pulled["offsets"],
                        "fit": self._run.done("fit"),
                    },
                },
            }
        )

    def _sources(self, corrections: Iterable[Correction]) -> tuple[dict[str, int], dict[str, int]]:
        """How many corrections each source gave since the champion, and how many before."""
        seen: Mapping[str, int] = self._champion.card.training.get("refresh", {}).get("offsets", {})
        new: Counter[str] = Counter()
        old: Counter[str] = Counter()
        for each in corrections:
            (new if each.offset >= seen.get(str(each.partition), 0) else old)[each.who] += 1
        return dict(new), dict(old)

    @property
    def _feedback(self) -> Path:
        return self._job.work / "feedback"

    @cached_property
    def _feedback_set(self) -> FeedbackSet:
        """What was there when this run pulled; later pulls are the next run's."""
        names = (self._run.done("pull") or {})["pulls"]
        return read_set(self._feedback, [p for p in pulls(self._feedback) if p.name in names])

    @cached_property
    def _corpus(self) -> Corpus:
        return read_corpus(self._run.folder / "set")

    @cached_property
    def _champion(self) -> Artifact:
        version = self._registry.find(self._job.name, self._run.plan.champion)
        return self._registry.fetch(version, self._job.settings.registry.cache)


def _short(recipe: Recipe, texts: int) -> Recipe:
    """The recipe with a refresh's hyper-parameters instead of those of a first fit."""
    how, hyper = recipe.refresh, recipe.hyper
    steps = how.epochs * texts / (hyper.batch_size * hyper.accumulate)
    changed = {
        "epochs": how.epochs,
        "learning_rate": how.learning_rate or hyper.learning_rate / 3,
        "warmup_steps": min(hyper.warmup_steps, round(_WARM_UP * steps)),
    }
    return recipe.model_copy(update={"hyper": hyper.model_copy(update=changed)})


def _labels(corpus: Corpus) -> dict[str, int]:
    """Of the training texts that no correction gave."""
    texts = (e for e in (*corpus.train, *corpus.more) if e.source != FEEDBACK)
    return dict(Counter(example.label for example in texts))


def _base_labels(card: ModelCard) -> dict[str, int]:
    """Of the base set that a model learnt from."""
    counts: Counter[str] = Counter()
    for source in card.data:
        counts.update(source.get("labels", {}).get("train", {}))
    return dict(counts)
