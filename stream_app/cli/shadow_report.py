"""What the shadow topic of a route says of a challenger beside the champion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pydantic import ValidationError

from stream_app.core.label_record import LabelRecord
from stream_app.core.settings import KafkaClientSettings, RouteSettings
from stream_app.dead_letters.letters import read_topic
from stream_app.pipeline.shadow import CHAMPION_LABEL, CHAMPION_MODEL

Pair = tuple[str, str]  # of the champion and the challenger: their models, or their labels


def compared(kafka: KafkaClientSettings, route: RouteSettings) -> Iterator[str]:
    """Lines about each pair of models that labelled the same records. Raises BrokerError."""
    pairs: dict[Pair, Counter[Pair]] = {}
    for record in read_topic(kafka, route.shadow_topic):
        champion, label = record.header(CHAMPION_MODEL), record.header(CHAMPION_LABEL)
        if record.value is None or champion is None or label is None:
            continue
        try:
            told = LabelRecord.model_validate_json(record.value)
        except ValidationError:
            continue  # somebody else's record
        challenger = f"{told.model.name}/{told.model.version}"
        pairs.setdefault((champion, challenger), Counter())[label, told.label] += 1
    if not pairs:
        yield f"{route.name}: nothing in {route.shadow_topic} yet"
    for (champion, challenger), labels in pairs.items():
        total = labels.total()
        agreed = sum(count for (one, other), count in labels.items() if one == other)
        yield (
            f"{route.name}: {challenger} agrees with {champion} on {agreed} of {total} "
            f"({agreed / total:.1%})"
        )
        for (one, other), count in sorted(labels.items(), key=lambda item: -item[1]):
            if one != other:
                yield f"  {count:>8}  {champion} says {one}, {challenger} says {other}"
