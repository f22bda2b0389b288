"""What a person is told: of the examples, of the model, and how to serve it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stream_app.core.settings import RouteSettings
from stream_app.model.artifact import Artifact, ModelCard
from training.examples.build import TEST, TFIDF
from training.examples.found import FEW, SOURCE, Examples
from training.examples.languages import UNKNOWN
from training.examples.reading import Reading
from training.judging.decisions import RATES, passed
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
    several = model.card.problem == "multi_label"
    of = " of all labels of a text" if several else ""
    yield f"accuracy{of}, by cross-validation: {accuracy:.3f} ({low:.3f} to {high:.3f})"
    low, high = tfidf["interval"]
    yield f"TF-IDF with logistic regression:  {tfidf['accuracy']:.3f} ({low:.3f} to {high:.3f})"
    if several:
        low, high = figures["intervals"]["macro_f1"]
        yield f"F1, mean of the labels: {figures['macro_f1']:.3f} ({low:.3f} to {high:.3f})"
        yield f"TF-IDF with logistic regression: {tfidf['macro_f1']:.3f}"
    figure = "macro_f1" if several else "accuracy"
    if figures[figure] <= tfidf[figure]:
        yield "TF-IDF does as well on these: more examples, or labels that differ more, may help"
    yield from _each(figures) if several else _confused(model.card.labels, figures)
    yield from _decided(model.card)


def _each(figures: Mapping[str, Any]) -> Iterator[str]:
    """Of several labels a text, how well each is found; the hardest first."""
    rows = sorted(figures["per_label"].items(), key=lambda row: row[1]["f1"])
    width = max(len(label) for label, _ in rows[:_MOST])
    yield f"  {'label':{width}}  F1     precision  recall"
    for label, row in rows[:_MOST]:
        told = f"{row['f1']:.3f}  {row['precision']:.3f}      {row['recall']:.3f}"
        yield f"  {label:{width}}  {told}"
    if len(rows) > _MOST:
        yield f"  … and {len(rows) - _MOST} that are better"


def _decided(card: ModelCard) -> Iterator[str]:
    """What the bars cost, on texts that did not choose them."""
    decisions: Mapping[str, Any] = card.evaluation.get("decisions", {})
    if not decisions:
        yield "no label has a bar, for want of texts or of gain: everything is decided"
        return
    if card.problem == "single_label":
        wrong, right = passed(decisions, SOURCE)
        low, high = exact_interval(right, wrong + right)
        yield (
            f"decided: {wrong + right} of {card.evaluation['test'][TEST]['rows']} texts, "
            f"{right / max(1, wrong + right):.3f} of them right ({low:.3f} to {high:.3f}); the "
            "others are unsure"
        )
    for label, told in list(decisions.items())[:_MOST]:
        false, found = (told["every_second_text"][SOURCE][name] for name in RATES)
        yield (
            f"{label} is decided from {told['decide_at']:.3f} on: wrongly for {false['texts']} of "
            f"{false['of']} texts (at most {false['interval'][1]:.1%}), and of its own "
            f"{found['of']} for {found['texts']}"
        )


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


def serving_lines(model: Artifact, out: Path, reading: Reading) -> Iterator[str]:
    """Lines for a configuration, the commands that serve it, and one that needs none."""
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
    yield "run it, with these lines in winnow.toml:"
    yield "  winnow topics create --config winnow.toml\n  winnow worker --config winnow.toml"
    yield "try it:"
    yield f'  echo "a text" | winnow classify --model {out}'
