"""What happens when the engine fails: retry, halve, bisect, canary."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest

from stream_app.core.errors import EngineError, EngineSick, OutOfMemory, RecordError
from stream_app.core.messages import Partition, Record
from stream_app.engine.fake import FakeEngine
from stream_app.engine.protocol import Prior
from stream_app.model.artifact import ModelCard
from stream_app.model.decision import for_route
from stream_app.pipeline.work import Work
from stream_app.serving.classifier import Classifier
from stream_app.serving.served import ServedModel

CARD = ModelCard(name="m", version="1", labels=("ham", "spam"))
CANARY_TOKENS = [1, 2, 3]
POISON = 666
MODEL = cast("ServedModel", None)  # what a classifier does, it does for one model


class Faults:
    """A script for the fake engine: what to raise, and the sizes of the batches it saw."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.fail_next = 0
        self.max_batch = 10**9
        self.sick = False

    def __call__(self, batch: Sequence[Sequence[int]]) -> None:
        self.sizes.append(len(batch))
        if self.sick:
            raise RuntimeError("device lost")
        if self.fail_next:
            self.fail_next -= 1
            raise EngineError("passing")
        if len(batch) > self.max_batch:
            raise OutOfMemory("no memory")
        if any(POISON in tokens for tokens in batch):
            raise IndexError("index out of range")


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def outcomes() -> list[str]:
    return []


@pytest.fixture
def classifier(faults: Faults, outcomes: list[str]) -> Classifier:
    return Classifier(FakeEngine(CARD.labels, faults), CARD, CANARY_TOKENS, outcomes.append)


def works(*tokens: list[int]) -> list[Work]:
    return [
        Work(Record(Partition("mail", 0), offset, None, b""), MODEL, tokens=ids)
        for offset, ids in enumerate(tokens)
    ]


def test_each_work_gets_its_own_row(classifier: Classifier):
    alone = works([5])
    classifier(alone)
    batch = works([4], [5], [6])
    classifier(batch)
    assert batch[1].prediction == alone[0].prediction


def test_an_engine_that_fails_on_every_prior_is_sick(outcomes: list[str]):
    """The canary goes the way the record went; else a mailbox would be dead-lettered."""

    class Deaf(FakeEngine):
        def logits(self, batch: Sequence[Sequence[int]], prior: Prior = None) -> Any:
            if prior is not None:
                raise TypeError("no prior, please")
            return super().logits(batch)

    classifier = Classifier(Deaf(CARD.labels), CARD, CANARY_TOKENS, outcomes.append)
    batch = works([5], [6])
    for work in batch:
        work.prior = np.zeros(len(CARD.labels), np.float32)
    with pytest.raises(EngineSick):
        classifier(batch)


NOT_FINITE = [np.nan, np.inf, -np.inf]


class Unfinite(FakeEngine):
    """Says `value` instead of one score of each text that `hit` picks."""

    def __init__(self, value: float, hit: Callable[[Sequence[int]], bool]) -> None:
        super().__init__(CARD.labels)
        self.value, self.hit = value, hit

    def logits(self, batch: Sequence[Sequence[int]], prior: Prior = None) -> Any:
        out = super().logits(batch, prior)
        out[[self.hit(tokens) for tokens in batch], 1] = self.value
        return out


@pytest.mark.parametrize("value", NOT_FINITE)
def test_scores_that_are_not_finite_never_become_a_label(value: float, outcomes: list[str]):
    engine = Unfinite(value, lambda tokens: POISON in tokens)
    batch = works([1], [POISON], [2])
    Classifier(engine, CARD, CANARY_TOKENS, outcomes.append)(batch)
    assert [work.error.code if work.error else None for work in batch] == [
        None,
        "engine_error",
        None,
    ]
    assert "not one finite number a label" in str(batch[1].error)
    assert batch[1].prediction is None
    assert all(np.isfinite(work.prediction.confidence) for work in batch if work.prediction)
    assert outcomes == ["retried", "bisected", "retried", "bisected", "retried", "poison"]


@pytest.mark.parametrize("value", NOT_FINITE)
def test_an_engine_that_says_nothing_finite_is_sick(value: float, outcomes: list[str]):
    classifier = Classifier(
        Unfinite(value, lambda tokens: True), CARD, CANARY_TOKENS, outcomes.append
    )
    batch = works([1], [2])
    with pytest.raises(EngineSick, match=r"canary too \(its scores are not one finite number"):
        classifier(batch)
    assert not any(work.error or work.prediction for work in batch)


@pytest.mark.parametrize("value", NOT_FINITE)
def test_scores_that_are_not_finite_once_are_asked_for_again(value: float, outcomes: list[str]):
    calls = iter(range(9))
    engine = Unfinite(value, lambda tokens: next(calls) == 0)
    batch = works([1])
    Classifier(engine, CARD, CANARY_TOKENS, outcomes.append)(batch)
    assert batch[0].prediction is not None
    assert outcomes == ["retried"]


def test_a_passing_error_is_retried_once(classifier: Classifier, faults: Faults, outcomes):
    faults.fail_next = 1
    batch = works([1], [2])
    classifier(batch)
    assert all(work.prediction for work in batch)
    assert faults.sizes == [2, 2]
    assert outcomes == ["retried"]


def test_out_of_memory_halves_until_it_fits(classifier: Classifier, faults: Faults, outcomes):
    faults.max_batch = 2
    batch = works(*([n] for n in range(8)))
    classifier(batch)
    assert all(work.prediction for work in batch)
    assert faults.sizes == [8, 4, 2, 2, 4, 2, 2]
    assert set(outcomes) == {"halved"}


def test_bisection_leaves_only_the_poison_without_a_label(classifier: Classifier, outcomes):
    batch = works(*([n] for n in range(7)), [POISON], *([n] for n in range(20, 25)))
    classifier(batch)
    assert [work.record.offset for work in batch if work.error] == [7]
    assert all(work.prediction for work in batch if not work.error)
    error = batch[7].error
    assert isinstance(error, RecordError)
    assert error.code == "engine_error"
    assert "IndexError" in str(error)
    assert outcomes.count("poison") == 1


def test_a_sick_engine_blames_no_record(classifier: Classifier, faults: Faults):
    faults.sick = True
    batch = works([1], [2])
    with pytest.raises(EngineSick, match="canary"):
        classifier(batch)
    assert not any(work.error or work.prediction for work in batch)


def test_one_record_that_never_fits_is_a_dead_letter(classifier: Classifier, faults: Faults):
    def only_small(batch: Sequence[Sequence[int]]) -> None:
        if sum(map(len, batch)) > 3:
            raise OutOfMemory("no memory")

    classifier._engine = FakeEngine(CARD.labels, only_small)
    batch = works([1], [1] * 9, [2])
    classifier(batch)
    assert [work.error.code if work.error else None for work in batch] == [
        None,
        "out_of_memory",
        None,
    ]


def test_unsure_below_min_confidence(faults: Faults):
    card = for_route(CARD, 0.99)
    strict = Classifier(FakeEngine(CARD.labels), card, CANARY_TOKENS, lambda _: None)
    batch = works([1])
    strict(batch)
    prediction = batch[0].prediction
    assert prediction is not None
    assert prediction.decision == "unsure"
    assert prediction.label in CARD.labels
    assert np.isclose(sum(prediction.scores.values()), 1.0, atol=1e-5)
