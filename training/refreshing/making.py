"""The steps of a refresh that make the challenger, by what keeps it from forgetting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import NGRAMS, Artifact, ModelCard, write_card
from training.data.corpus import Corpus
from training.data.corpus_file import read_corpus, write_corpus
from training.fitting.build import FitJob, empty_card, fit_model, save, with_head
from training.fitting.model_files import copy_tokenizer, copy_weights
from training.fitting.progress import StopAfter
from training.fitting.seal import seal
from training.recipe import Recipe
from training.refreshing.champion.reservoir import sample
from training.refreshing.champion.successor import move_head, seal_successor
from training.refreshing.champion.texts import champion_set
from training.refreshing.feedback_set import Correction
from training.refreshing.gates import shifts
from training.refreshing.job import RefreshJob
from training.refreshing.rehearsal import FEEDBACK, base_set, merge

_WARM_UP = 0.1  # of the steps


class Making(ABC):
    """Makes a challenger in the folder of a run, from the champion and people's corrections."""

    def __init__(self, job: RefreshJob, recipe: Recipe, champion: Artifact, folder: Path) -> None:
        self._job = job
        self._recipe = recipe
        self._champion = champion
        self._folder = folder
        self.model = folder / "model"

    @cached_property
    def corpus(self) -> Corpus:
        """What `merge` has left."""
        return read_corpus(self._folder / "set")

    def merge(self, corrections: Sequence[Correction], salt: str) -> dict[str, Any]:
        """Write what to learn from and to test by; how many corrections are for what."""
        merged = self._merged(corrections, salt)
        write_corpus(merged, self._folder / "set")
        return dict(merged.lineage[-1][FEEDBACK])

    def fit(self) -> dict[str, Any]:
        """The encoder, from the champion's; with `head_only` it is the champion's."""
        champion = self._champion
        if self._job.head_only:
            copy_weights(champion.path, self.model)
            copy_tokenizer(champion.tokenizer, self.model)
            return {"texts": 0}
        job = FitJob(
            recipe=_short(self._recipe, len(self.corpus.train)),
            data=self._folder,
            encoder=None,
            out=self.model,
            checkpoints=self._folder / "checkpoints",
            teachers=self._teachers(),
            callbacks=[StopAfter(self._job.minutes)],
        )
        encoder = Artifact(champion.path, empty_card(job.recipe), champion.digest)
        learnt = self._learnt_by_encoder()
        save(fit_model(job, encoder, learnt), job, encoder)
        texts = len(learnt.train) + len(learnt.unlabelled)
        return {"texts": texts, **job.recipe.hyper.model_dump()}

    @abstractmethod
    def card(self) -> ModelCard:
        """The challenger's, before anything of it is known."""

    @abstractmethod
    def head(self, card: ModelCard) -> ModelCard:
        """The card with what is known of the n-gram head that now lies beside the encoder."""

    @abstractmethod
    def seal(self, card: ModelCard) -> Artifact:
        """Measure what was made, and write its cards."""

    @abstractmethod
    def notes(self) -> list[str]:
        """What the report says besides."""

    @abstractmethod
    def _merged(self, corrections: Sequence[Correction], salt: str) -> Corpus: ...

    def _teachers(self) -> Sequence[str]:
        return ()

    def _learnt_by_encoder(self) -> Corpus:
        return self.corpus


class FromRecipe(Making):
    """Rehearses a sample of the recipe's own texts."""

    def _merged(self, corrections: Sequence[Correction], salt: str) -> Corpus:
        data = self._job.data
        assert data is not None
        base = base_set(self._recipe, data, self._job.work)
        if not any(base.test.values()):
            raise ConfigError(f"recipe {self._recipe.name} has no test part to judge a model by")
        return merge(base, corrections, self._recipe, salt)

    def card(self) -> ModelCard:
        training = {k: v for k, v in self._champion.card.training.items() if k != "ngrams"}
        known = {"data": self.corpus.lineage, "training": training}
        return empty_card(self._recipe).model_copy(update=known)

    def head(self, card: ModelCard) -> ModelCard:
        (self.model / NGRAMS).unlink(missing_ok=True)
        return with_head(self.model, card, self.corpus, self._recipe)

    def seal(self, card: ModelCard) -> Artifact:
        return seal(self.model, card, self.corpus, self._recipe)

    def notes(self) -> list[str]:
        learnt = (e for e in (*self.corpus.train, *self.corpus.more) if e.source != FEEDBACK)
        now: Counter[str] = Counter(label for example in learnt for label in example.labels)
        before: Counter[str] = Counter()
        for source in self._champion.card.data:
            before.update(source.get("labels", {}).get("train", {}))
        return shifts("share of base label", before, now)


class FromChampion(Making):
    """Rehearses what the champion says of recent texts, and stays near its n-gram head."""

    def _merged(self, corrections: Sequence[Correction], salt: str) -> Corpus:
        job, recipe = self._job, self._recipe
        count, how = recipe.refresh.reservoir, recipe.preparation
        seen = sample(job.settings.kafka, job.route, how, count)
        return champion_set(self._champion, corrections, seen, recipe)

    def card(self) -> ModelCard:
        known = {"data": self.corpus.lineage, "evaluation": {}, "tokenizer": ".", "files": {}}
        return self._champion.card.model_copy(update=known)

    def head(self, card: ModelCard) -> ModelCard:
        how = self._recipe.ngrams
        assert how is not None
        figures = move_head(self.model, self._champion, self.corpus, how)
        return card.model_copy(update={"training": {**card.training, "ngrams": figures}})

    def seal(self, card: ModelCard) -> Artifact:
        return seal_successor(self.model, self._champion, card, self.corpus, self._recipe)

    def notes(self) -> list[str]:
        return []

    def _teachers(self) -> Sequence[str]:
        """The champion's encoder by itself: the head is added afterwards."""
        folder = self._folder / "teacher"
        copy_weights(self._champion.path, folder)
        copy_tokenizer(self._champion.tokenizer, folder)
        write_card(folder, empty_card(self._recipe))
        return [str(folder)]

    def _learnt_by_encoder(self) -> Corpus:
        """Corrections by their labels, the others by what the teacher says."""
        train = self.corpus.train
        return Corpus(
            train=[example for example in train if not example.belief],
            unlabelled=[example for example in train if example.belief],
            lineage=self.corpus.lineage,
        )


def _short(recipe: Recipe, texts: int) -> Recipe:
    """The recipe with a refresh's hyper-parameters instead of those of a first fit."""
    how, hyper = recipe.refresh, recipe.hyper
    steps = how.epochs * texts / (hyper.batch_size * hyper.accumulate)
    changed = {
        "epochs": how.epochs,
        "learning_rate": how.learning_rate or hyper.learning_rate / 3,
        "teacher_share": 0.0,  # a correction is what people say
        "warmup_steps": min(hyper.warmup_steps, round(_WARM_UP * steps)),
    }
    return recipe.model_copy(update={"hyper": hyper.model_copy(update=changed)})
