"""Review: which records people are asked to label, and what they are given of one.

A random share shows how good the model is; those it is unsure of teach it most. The choice hangs on
the record's id alone, so that a record that is labelled again after a crash is not drawn anew.
"""

from __future__ import annotations

import hashlib

from stream_app.core.label_record import ORIGIN_ID, origin_id
from stream_app.core.messages import Headers, Prediction, Record
from stream_app.core.settings import RouteSettings
from stream_app.model.decision import UNSURE
from stream_app.pipeline.dead_letter import ROUTE

LABEL = "winnow-label"  # what the model said
CONFIDENCE = "winnow-confidence"


def wanted(record: Record, prediction: Prediction, route: RouteSettings) -> bool:
    """Whether a person should look at it."""
    if route.review_unsure and prediction.decision == UNSURE:
        return True
    drawn = hashlib.blake2b(origin_id(record).encode(), digest_size=8).digest()
    return int.from_bytes(drawn) < route.review_share * 2**64


def review_headers(record: Record, prediction: Prediction, route: str) -> Headers:
    """The record's own, the id of its label record, and what the model said."""
    kept = tuple(h for h in record.headers if not h[0].startswith("winnow-"))
    told = (
        (ORIGIN_ID, origin_id(record)),
        (ROUTE, route),
        (LABEL, prediction.label),
        (CONFIDENCE, f"{prediction.confidence:.4f}"),
    )
    return (*kept, *((name, value.encode()) for name, value in told))
