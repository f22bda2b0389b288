"""Each gate on evidence that passes all of them but for one thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from training.recipe import Gates
from training.refreshing import gates
from training.refreshing.gates import GATES, Candidate, Evidence, judge, shifts
from training.refreshing.opinions import Compared, Opinion, sure
from training.refreshing.outcome import told
from training.refreshing.run_folder import Plan

LABELS = ("ham", "spam")


def opinion(
    predicted: Sequence[int], confidence: float = 0.9, undecided: Sequence[int] = ()
) -> Opinion:
    given = np.eye(2, dtype=bool)[np.array(predicted, int)]
    decided = given.copy()
    decided[list(undecided)] = False
    return Opinion(np.where(given, confidence, 1 - confidence).astype(np.float32), given, decided)


def compared(
    truth: Sequence[int],
    champion: Sequence[int],
    challenger: Sequence[int],
    confidence: float = 0.9,
    slices: dict[str, Sequence[str]] | None = None,
) -> Compared:
    opinions = opinion(champion, confidence), opinion(challenger, confidence)
    right = np.eye(2, dtype=bool)[np.array(truth, int)]
    return Compared(LABELS, "single_label", right, np.ones_like(right), *opinions, slices or {})


def flipped(truth: Sequence[int], rows: Sequence[int]) -> list[int]:
    """What a model says that is wrong on these rows."""
    return [1 - label if row in set(rows) else label for row, label in enumerate(truth)]


TRUTH = [0] * 1000 + [1] * 1000
# one text in ten is wrong, so that a confidence of 0.9 is calibrated
WRONG = [*range(20), *range(1000, 1180)]
FEEDBACK = [0, 1] * 50


def evidence(**changes: Any) -> Evidence:
    right = Evidence(
        frozen=compared(TRUTH, flipped(TRUTH, WRONG), flipped(TRUTH, WRONG)),
        held_out=compared(FEEDBACK, flipped(FEEDBACK, range(60)), flipped(FEEDBACK, range(30))),
        champion=Candidate(LABELS, 1000, 100.0),
        challenger=Candidate(LABELS, 1000, 100.0),
        invented=compared([0] * 9 + [1], [0] * 9 + [1], [0] * 9 + [1]),
        sources={"ada": 50, "bob": 50},
        overturned={},
        corrections=200,
        contradicted=4,
    )
    return replace(right, **changes)


def frozen(challenger: Sequence[int], confidence: float = 0.9, **slices: Sequence[str]) -> Evidence:
    return evidence(
        frozen=compared(TRUTH, flipped(TRUTH, WRONG), challenger, confidence, dict(slices))
    )


def held_out(champion: range, challenger: range, confidence: float = 0.9) -> Evidence:
    opinions = flipped(FEEDBACK, champion), flipped(FEEDBACK, challenger)
    return evidence(held_out=compared(FEEDBACK, *opinions, confidence))


def failed(judged: Evidence, limits: Gates | None = None) -> list[str]:
    return [gate.name for gate in judge(judged, limits or Gates()) if not gate.passed]


SHORT = ["short" if row in range(1180, 1230) else "long" for row in range(2000)]


@pytest.mark.parametrize(
    ("judged", "limits", "expected"),
    [
        (evidence(), {}, []),
        (evidence(sources={"ada": 20, "bob": 20, "eve": 9}), {}, ["enough new data"]),
        # one administrator, who corrects what the champion did not know, and an attack
        (evidence(sources={"ada": 100}, overturned={"ada": 35}), {}, []),
        (evidence(sources={"eve": 100}, overturned={"eve": 36}), {}, ["no source floods"]),
        (
            evidence(sources={"eve": 51, "bob": 49}, overturned={"eve": 51}),
            {},
            ["no source floods"],
        ),
        (evidence(sources={"eve": 50, "bob": 50}, overturned={"eve": 50}), {}, []),
        (
            evidence(sources={"ada": 500, "bob": 1}, overturned={"ada": 500}),
            {"trusted": ("ada",)},
            [],
        ),
        (evidence(contradicted=21), {}, ["sources agree"]),
        # both models are sure that a tenth of what was said is wrong
        (held_out(range(60), range(11), 0.995), {}, ["labels can be believed"]),
        (held_out(range(40), range(4), 0.995), {}, []),
        (held_out(range(30), range(30)), {}, ["better on feedback"]),
        (held_out(range(30), range(1, 31)), {}, ["better on feedback"]),
        (evidence(held_out=compared([], [], [])), {}, ["better on feedback"]),
        (frozen(flipped(TRUTH, [*WRONG, *range(1200, 1220)])), {}, ["not worse on frozen test"]),
        (frozen(flipped(TRUTH, [*WRONG, *range(1200, 1204)])), {}, []),
        (frozen(flipped(TRUTH, WRONG), 0.99), {"max_calibration_error": 0.2}, []),
        (frozen(flipped(TRUTH, [*range(21), *range(1000, 1179)])), {}, ["few false positives"]),
        (
            frozen(flipped(TRUTH, [*range(21), *range(1000, 1179)])),
            {"false_positives": {"spam": 0.03, "gone": 0.0}},
            [],
        ),
        (evidence(challenger=Candidate(LABELS, 1000, 60.0)), {}, ["is fast"]),
        (evidence(challenger=Candidate(LABELS, 1200, 100.0)), {}, ["is small"]),
        (
            evidence(challenger=Candidate((*LABELS, "phish"), 1000, 100.0)),
            {},
            ["labels are declared"],
        ),
        (
            evidence(challenger=Candidate((*LABELS, "phish"), 1000, 100.0)),
            {"labels": (*LABELS, "phish")},
            [],
        ),
    ],
)
def test_only_what_is_wrong_fails(
    judged: Evidence, limits: dict[str, Any], expected: list[str]
) -> None:
    assert failed(judged, Gates(**limits)) == expected


def test_a_slice_that_loses_many_of_its_texts_has_collapsed() -> None:
    fallen = [*WRONG[6:], *range(1180, 1186)]
    judged = frozen(flipped(TRUTH, fallen), length=SHORT)
    assert "no slice collapses" in failed(judged)
    reason = next(gate.reason for gate in judge(judged, Gates()) if "slice" in gate.name)
    assert reason == "collapsed: short -12.0% of 50"
    few = ["tiny" if row in range(1180, 1190) else "" for row in range(2000)]
    assert failed(frozen(flipped(TRUTH, fallen), length=few)) == []


@pytest.mark.parametrize(("rows", "expected"), [(599, ["not worse on frozen test"]), (600, [])])
def test_of_few_frozen_texts_one_that_is_lost_is_too_many(rows: int, expected: list[str]) -> None:
    truth = [0] * rows
    calm = {"max_calibration_error": 1.0, "false_positives": {}}
    same = evidence(frozen=compared(truth, truth, truth))
    assert failed(same, Gates(**calm)) == []
    lost = evidence(frozen=compared(truth, truth, flipped(truth, [0])))
    assert failed(lost, Gates(**calm)) == expected


def test_confidence_that_is_worth_less_than_it_was_fails() -> None:
    pair = compared(TRUTH, flipped(TRUTH, WRONG), flipped(TRUTH, WRONG))
    sure = replace(pair, challenger=opinion(flipped(TRUTH, WRONG), 0.999))
    assert failed(evidence(frozen=sure)) == ["is calibrated"]


def test_every_gate_says_why() -> None:
    gates = judge(evidence(), Gates())
    assert len({gate.name for gate in gates}) == len(GATES)
    assert all(gate.reason for gate in gates)


def test_a_gate_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_new(judged: Evidence, limits: Gates) -> tuple[bool, str]:
        return False, f"{judged.challenger.size} bytes"

    monkeypatch.setattr(gates, "GATES", (*GATES, is_new))
    assert failed(evidence()) == ["is new"]
    verdicts = [asdict(gate) for gate in judge(evidence(), Gates())]
    plan = Plan(
        route="mail",
        job="",
        head_only=False,
        promote=True,
        champion="1",
        digest="",
        began=datetime.now(UTC),
    )
    because = {"because": "is new: 1000 bytes"}
    found = {"pull": {"counts": {}, "seconds": 1}, "seal": {"digest": "d", "seconds": 1}}
    found["gates"] = {"gates": verdicts, "notes": [], "seconds": 1} | because
    report, text = told(plan, "mail", found)
    assert (report["outcome"], report["gates"][-1]["name"]) == ("refused", "is new")
    assert "FAILED      is new: 1000 bytes" in text


def test_a_change_of_shares_is_told() -> None:
    before, after = {"ham": 90, "spam": 10}, {"ham": 60, "spam": 38, "new": 2}
    shifted = shifts("base label", before, after)
    assert shifted == ["base label 'ham': 90% -> 60%", "base label 'spam': 10% -> 38%"]


TOPICS = ("a", "b", "c")
TAGS = np.random.default_rng(1).random((600, 3)) < (0.5, 0.3, 0.1)


def topics(given: NDArray[np.bool_], score: float = 0.95) -> Opinion:
    return Opinion(np.where(given, score, 1 - score).astype(np.float32), given, given)


def tagged(champion: NDArray[np.bool_], challenger: NDArray[np.bool_], **more: Any) -> Compared:
    opinions = topics(champion), topics(challenger)
    truth = TAGS[: len(champion)]
    return Compared(TOPICS, "multi_label", truth, np.ones_like(truth), *opinions, **more)


def slipped(column: int, rows: slice) -> NDArray[np.bool_]:
    """The tags, but for one in some rows."""
    found = TAGS.copy()
    found[rows, column] ^= True
    return found


def test_of_several_labels_all_have_to_be_right_and_each_counts_for_itself() -> None:
    pair = tagged(slipped(0, slice(100)), slipped(2, slice(50, 150)))
    assert pair.right(pair.champion).sum() == pair.right(pair.challenger).sum() == 500
    assert pair.gain().sum() == 0
    assert pair.gain_of(1).sum() == 0
    assert pair.gain_of(0).sum() > 0 > pair.gain_of(2).sum()
    assert len(pair.gain_of(2)) < 250, "texts without the label, not given it, say nothing of it"
    added = pair.use(pair.champion) - TAGS.sum(axis=1)
    assert (added[100:] == 0).all()
    assert (added[:100] == -1).all(), "a wrong one counts as much as one that is missing"


def test_a_label_that_is_not_found_any_more_has_collapsed() -> None:
    rare = tagged(TAGS, TAGS & np.array([True, True, False]))
    of_topics = Candidate(TOPICS, 1000, 100.0)
    judged = evidence(frozen=rare, champion=of_topics, challenger=of_topics)
    reason = next(gate.reason for gate in judge(judged, Gates()) if "slice" in gate.name)
    assert reason.startswith("collapsed: c -100.0% of ")
    assert "not worse on frozen test" in failed(judged)
    same = replace(judged, frozen=tagged(TAGS, TAGS), invented=tagged(TAGS[:0], TAGS[:0]))
    assert failed(same) == []


def test_what_is_not_known_is_nobodys_mistake() -> None:
    pair = tagged(slipped(0, slice(300)), TAGS)
    blind = replace(pair, known=np.ones_like(TAGS) & np.array([False, True, True]))
    assert blind.right(blind.champion).all()
    assert (blind.use(blind.champion) == blind.use(blind.challenger)).all()
    assert len(blind.gain_of(0)) == 0
    assert blind.calibration_error(blind.champion) == pytest.approx(0.05, abs=0.001)


def test_of_several_labels_a_model_is_sure_of_one_and_not_of_another() -> None:
    scores = np.array([[0.995, 0.5, 0.004], [0.6, 0.4, 0.02]])
    assert sure(scores, "multi_label").tolist() == [[True, False, True], [False] * 3]
    assert sure(scores, "single_label").tolist() == [[True] * 3, [False] * 3]
    pair = tagged(slipped(0, slice(100)), TAGS)
    certain = replace(pair, champion=topics(slipped(0, slice(100)), 0.995))
    assert certain.denied(certain.champion).sum() == 100
    assert not pair.denied(pair.champion).any()
