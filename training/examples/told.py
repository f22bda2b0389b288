"""What a person is told: of the examples, of the model, and how to serve it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stream_app.core.settings import RouteSettings
from stream_app.model.artifact import Artifact, ModelCard
from training.examples.build import FALSE_POSITIVES, TEST, TFIDF
from training.examples.found import FEW, SOURCE, Examples
from training.examples.languages import UNKNOWN
from training.examples.reading import Reading
from training.judging.decisions import RATES
from training.judging.metrics import exact_interval

_MOST = 20  # labels that are listed
_CONFUSED = 5
_WHY = {
    "duplicates": "came more than once, and count once",
    "contradicting": "came with different labels, and are left out",
    "corrections": "come from feedback, and have the last word",
    "of_other_labels": "have other labels than those to learn, and are left out",
    "without_text": "have no text, and are left out",
    "without_label": "have no label, and are left out",
}


def found_lines(found: Examples) -> Iterator[str]:
    """What the examples are."""
    counts = sorted(found.counts.items(), key=lambda entry: -entry[1])
    several = ", several to a text" if found.problem == "multi_label" else ""
    yield f"{len(found.examples)} texts with {len(counts)} labels{several}:"
    width = max(len(label) for label, _ in counts[:_MOST])
    for label, count in counts[:_MOST]:
        yield f"  {label:{width}}  {count}"
    if len(counts) > _MOST:
        yield f"  … and {len(counts) - _MOST} more"
    languages = [f"{code} {count}" for code, count in found.languages.items() if code != UNKNOWN]
    yield f"languages: {', '.join(languages) or UNKNOWN}"
    for why, count in found.told.items():
        yield f"{count} {_WHY[why]}"
    if alike := len(found.examples) - found.different:
        yield (
            f"{alike} are near-duplicates of others, or differ in numbers alone: only "
            f"{found.different} are different texts"
        )
    few = [label for label, count in counts if count < FEW]
    if few:
        yield f"few examples of {', '.join(few[:_MOST])}: the figures below say little of them"
    if found.languages.get("en", 0) < len(found.examples) / 2:
        yield "most are not English, which the encoder does not know: the n-gram head does the work"


def result_lines(model: Artifact) -> Iterator[str]:
    """How good the model is, and what it takes for something else."""
    figures, tfidf = model.card.evaluation["test"][TEST], model.card.evaluation[TFIDF]
    accuracy, (low, high) = figures["accuracy"], figures["intervals"]["accuracy"]
    of = "" if model.card.problem == "single_label" else " of all labels of a text"
    yield f"accuracy{of}, by cross-validation: {accuracy:.3f} ({low:.3f} to {high:.3f})"
    low, high = tfidf["interval"]
    yield f"TF-IDF with logistic regression:  {tfidf['accuracy']:.3f} ({low:.3f} to {high:.3f})"
    if accuracy <= tfidf["accuracy"]:
        yield "TF-IDF does as well on these: more examples, or labels that differ more, may help"
    yield from _confused(model.card.labels, figures)
    yield from _decided(model.card)


def _confused(labels: Sequence[str], figures: Mapping[str, Any]) -> Iterator[str]:
    table = figures.get("confusion", [])
    pairs = [
        (count, labels[row], labels[column])
        for row, counts in enumerate(table)
        for column, count in enumerate(counts)
        if row != column and count
    ]
    if pairs:
        yield "most often confused:"
    for count, true, said in sorted(pairs, reverse=True)[:_CONFUSED]:
        yield f"  {true}, taken for {said}: {count}"


def _decided(card: ModelCard) -> Iterator[str]:
    """What the model's own thresholds promise, counted on texts that did not choose them."""
    told: Mapping[str, Any] = card.evaluation.get("decisions", {})
    if not told:
        yield "too few texts to tell how sure is sure enough: everything is decided"
        return
    rates = {label: found["every_second_text"][SOURCE] for label, found in told.items()}
    wrong, right = (sum(each[name]["texts"] for each in rates.values()) for name in RATES)
    low, high = exact_interval(right, wrong + right)
    rows = card.evaluation["test"][TEST]["rows"]
    yield (
        f"decided: {wrong + right} of {rows} texts, the others are unsure; right of those: "
        f"{right / max(1, wrong + right):.3f} ({low:.3f} to {high:.3f})"
    )
    yield f"falsely decided, of the texts of other labels (aim: {FALSE_POSITIVES:.0%}):"
    width = max(map(len, list(rates)[:_MOST]))
    for label, found in list(rates.items())[:_MOST]:
        false = found[RATES[0]]
        low, high = false["interval"]
        yield f"  {label:{width}}  {false['texts']} of {false['of']} ({low:.1%} to {high:.1%})"


def serving_lines(model: Artifact, out: Path, reading: Reading) -> Iterator[str]:
    """Lines for a configuration, and a command that needs none."""
    name = model.card.name
    route = RouteSettings(
        name=name,
        format=reading.format,
        model=str(out.resolve()),  # a service starts in another folder
        field_names=reading.field_names,
        input_topic=name,
        output_topic=f"{name}.labels",
    )
    yield "serve it:"
    yield "  [[routes]]"
    yield f'  name = "{route.name}"\n  format = "{route.format}"\n  model = "{route.model}"'
    yield f'  input_topic = "{route.input_topic}"\n  output_topic = "{route.output_topic}"'
    if route.field_names:
        names = ", ".join(f'{role} = "{name}"' for role, name in route.field_names.items())
        yield f"  field_names = {{ {names} }}"
    if not model.card.decide_at:
        yield "  # min_confidence = 0.8  # what is less sure is decided unsure; else all is decided"
    if model.card.familiar_at is None:
        yield "  # too few different texts to tell which others are unfamiliar: none is"
    yield "try it:"
    yield f'  echo "a text" | winnow classify --model {out}'
