"""README.md of a model: its `winnow.json` as a model card that a person, and the hub, can read.

Mitchell et al., "Model Cards for Model Reporting", 2019.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stream_app.model.artifact import Artifact, ModelCard, write_card

README = "README.md"
_WAYS = {  # how texts were held back from the choice of a bar -> what it was chosen on
    "every_second_text": "every other text",
    "source_never_seen": "the other sources",
}
UNSEEN = ", never seen"  # after a source's name: in training, by models for cross-validation


def write_cards(out: Path, card: ModelCard) -> Artifact:
    """Write `winnow.json` and `README.md` into the model's folder; the model, as it loads."""
    artifact = write_card(out, card)
    write_readme(out, artifact.card)
    return artifact


def write_readme(out: Path, card: ModelCard) -> None:
    """Write `README.md` into the model's folder."""
    (out / README).write_text("\n".join(_lines(card)) + "\n")


def _lines(card: ModelCard) -> Iterator[str]:
    yield from ("---", "library_name: transformers", "pipeline_tag: text-classification")
    yield from ("tags: [albert, winnow]", "---", "", f"# {card.name}, version {card.version}", "")
    yield from (card.description, "")
    yield (
        f"Labels: {', '.join(card.labels)} ({card.problem.replace('_', '-')}). Reads up to "
        f"{card.max_tokens} tokens (`{card.truncation}`). Confidence is calibrated with a "
        f"temperature of {card.temperature}{_by_length(card)}.{_span(card)} `winnow.json` has all "
        "figures and digests."
    )
    yield from _evaluation(card)
    yield from _decisions(card)
    yield from _data(card)
    yield from _training(card.training)


def _of_several(card: ModelCard) -> str:
    if card.problem == "single_label":
        return ""
    thresholds = ", ".join(f"{label} {card.given_from(label):g}" for label in card.labels)
    return (
        " A text is right in accuracy if all its labels are. A label is given from the threshold "
        f"that is best for its F1: {thresholds}."
    )


def _by_length(card: ModelCard) -> str:
    if not card.evidence:
        return ""
    return f"; the logits of a text of n tokens count by n / (n + {card.evidence:g})"


def _span(card: ModelCard) -> str:
    if not card.span:
        return ""
    return f" Beside the n-gram head ALBERT's count by {card.span:g} / (n + {card.span:g})."


def _evaluation(card: ModelCard) -> Iterator[str]:
    tests: Mapping[str, Any] = card.evaluation.get("test", {})
    if not tests:
        return
    yield from ("", "## Evaluation", "")
    yield (
        f"On texts that were never trained on, on the engine that serves (`{_engine(card)}`), with "
        "95 % intervals. Calibration error as served, and before temperature "
        f"scaling.{_of_several(card)}"
    )
    yield from _figures(tests)
    whole = {name: found.get("short", {}) for name, found in tests.items()}
    yield from _short("of 16 tokens or fewer", whole)
    yield from _short("cut to 16 tokens or fewer", card.evaluation.get("short", {}))
    if card.int8_agreement is not None:
        share = f"{card.int8_agreement:.2%}"
        yield from (
            "",
            f"int8 gives the label of float32 for {share} or more of each test's texts (a thousand "
            "of a long test were compared).",
        )
    unseen = _unseen(card)
    if unseen:
        yield from ("", "## Cross-validation", "")
        yield (
            "Of the recipe, by models fitted for it: every message out of fold, and every source "
            "by a model that learnt from the others alone. `winnow.json` says from which encoder, "
            "and how long."
        )
        yield from _figures(unseen)
    yield from _targets(card)


def _decisions(card: ModelCard) -> Iterator[str]:
    """The bars, and what passes them of texts that had no part in choosing them."""
    if card.decide_at or card.familiar_at:
        yield from ("", "## Decisions", "")
    if card.familiar_at:
        yield (
            f"A text is `unsure` whose familiarity is below {card.familiar_at:g}, as that share of "
            "its own kinds of text is."
        )
    told: Mapping[str, Any] = card.evaluation.get("decisions", {})
    for label, found in told.items():
        yield ""
        yield (
            f"`{label}` is decided from a score of {found['decide_at']}, chosen so that at most "
            f"{found['most_false_positives']:.1%} of each source's other texts reach it. "
            "Counted on texts that did not choose it, with exact 95 % intervals:"
        )
        yield from ("", "| texts | bar chosen on | false positives | found |", "|---|---|---|---|")
        for way, said in _WAYS.items():
            for source, rates in found[way].items():
                wrong, right = (_share(rates[name]) for name in ("false_positive_rate", "recall"))
                yield f"| {source} | {said} | {wrong} | {right} |"


def _share(rate: Mapping[str, Any]) -> str:
    low, high = rate["interval"]
    return f"{rate['texts']} of {rate['of']}, {rate['share']:.2%} ({low:.2%} to {high:.2%})"


def _unseen(card: ModelCard) -> dict[str, Any]:
    """The figures of `winnow-train lab cross-validate`, by test."""
    ways: Mapping[str, Any] = card.evaluation.get("cross_validation", {})
    return {name: found for way in ways.values() for name, found in way["test"].items()}


def _figures(tests: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "| test | texts | accuracy | macro-F1 | calibration error | before |")
    yield "|---|---|---|---|---|---|"
    for name, found in tests.items():
        error, before = found["calibration_error"], found.get("calibration_error_before")
        yield (
            f"| {name} | {found['rows']} | {_with_interval(found, 'accuracy')} | "
            f"{_with_interval(found, 'macro_f1')} | {error} | {before} |"
        )
    for name, found in tests.items():
        yield from _per_label(name, found)


def _short(said: str, tests: Mapping[str, Any]) -> Iterator[str]:
    """Of test texts that are as short as is `said`."""
    if any(tests.values()):
        head = f"| {said} | texts | accuracy | calibration error | by chance |"
        yield from ("", head)
        yield "|---|---|---|---|---|"
    for name, found in tests.items():
        if found:
            error, among = found["calibration_error"], found.get("calibration_error_among_present")
            told = error if among is None else f"{error}; {among} between the labels it has"
            chance = found.get("calibration_error_by_chance", "")
            yield f"| {name} | {found['rows']} | {found['accuracy']} | {told} | {chance} |"


def _targets(card: ModelCard) -> Iterator[str]:
    """The recipe's targets, and those that the model misses."""
    told = {**card.evaluation["test"], **_unseen(card)}
    rows = [
        (name, figure, wanted, _figure(told, name, figure))
        for source in _sources(card)
        for name, targets in (
            (source["file"], source.get("targets", {})),
            (source["file"] + UNSEEN, source.get("unseen_targets", {})),
        )
        for figure, wanted in targets.items()
    ]
    if rows:
        yield from (
            "",
            "## Wanted and reached",
            "",
            "| test | figure | wanted | reached | |",
            "|---|---|---|---|---|",
        )
    for name, figure, wanted, reached in rows:
        if reached is None:
            said = "| not measured"
        else:
            said = f"{reached} | {'' if reached >= wanted else '**falls short**'}"
        yield f"| {name} | {figure} | {wanted} | {said} |"


def _figure(tests: Mapping[str, Any], name: str, figure: str) -> float | None:
    """A test's figure by its dotted name; None if not measured."""
    found: Any = tests.get(name, {})
    for part in figure.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, float) else None


def _engine(card: ModelCard) -> str:
    return str(card.evaluation.get("engine", "auto"))


def _with_interval(found: Mapping[str, Any], name: str) -> str:
    low_high = found.get("intervals", {}).get(name)
    return f"{found[name]} ({low_high[0]} to {low_high[1]})" if low_high else str(found[name])


def _per_label(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    columns = {"precision": "precision", "recall": "recall", "f1": "F1"}
    if "micro_f1" in found:  # texts have several labels
        columns["average_precision"] = "average precision"
    columns["rows"] = "texts"
    yield from (
        "",
        f"{name}:",
        "",
        f"| label | {' | '.join(columns.values())} |",
        f"|{(1 + len(columns)) * '---|'}",
    )
    for label, row in found["per_label"].items():
        yield f"| {label} | {' | '.join(str(row.get(column, '')) for column in columns)} |"
    limited = found.get("recall_at_fpr")
    if limited:
        low, high = limited["recall_interval"]
        most = limited["false_positive_rate_interval"][1]
        yield ""
        yield (
            f"Recall {limited['recall']} ({low} to {high}) where at most "
            f"{limited['most_false_positives']:.1%} of {limited['negatives']} negatives score "
            f"higher; the exact 95 % bound on that rate is {most:.2%}."
        )


def _data(card: ModelCard) -> Iterator[str]:
    sources = _sources(card)
    if sources:
        yield from ("", "## Data", "", "| source | use | texts | terms |", "|---|---|---|---|")
    for source in sources:
        rows = ", ".join(f"{part} {count}" for part, count in source["rows"].items())
        times = f", {times} times" if (times := source.get("times", 1)) > 1 else ""
        yield f"| {source['file']} | {source['use']}{times} | {rows} | {source['terms']} |"


def _sources(card: ModelCard) -> list[dict[str, Any]]:
    """The card's entry for each source, and the texts that were dropped."""
    return [source for source in card.data if "file" in source]


def _training(training: Mapping[str, Any]) -> Iterator[str]:
    if not training:
        return
    encoder = training.get("encoder", {}).get("origin", "")
    yield from ("", "## Training", "", f"Encoder: {encoder}." if encoder else "", "")
    yield "```json"
    yield json.dumps({k: v for k, v in training.items() if k != "encoder"}, indent=2)
    yield "```"
