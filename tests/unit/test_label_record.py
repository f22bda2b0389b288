"""The published contract: the JSON Schema in docs/ is the one the code writes."""

import json
from datetime import UTC, datetime
from pathlib import Path

from stream_app.core.label_record import (
    LabelRecord,
    ModelVersion,
    cloud_event_headers,
    label_record,
)
from stream_app.core.messages import Message, Partition, Prediction, Record

SCHEMA = Path(__file__).parents[2] / "docs" / "label-record.schema.json"
PREDICTION = Prediction("spam", ("spam",), 0.9, {"ham": 0.1, "spam": 0.9}, "spam")


def example() -> LabelRecord:
    record = Record(Partition("mail", 2), 41, b"k", b"secret words", timestamp=1000)
    message = Message("secret", "words", "<1@example.org>", {"mailbox": "sales"})
    model = ModelVersion(name="spam", version="1", digest="d" * 64)
    return label_record(record, message, PREDICTION, "mail", model, datetime.now(UTC))


def test_the_published_schema_is_current():
    assert json.loads(SCHEMA.read_text()) == LabelRecord.model_json_schema(), (
        "write it anew: python -c 'import json; from stream_app.core.label_record import "
        "LabelRecord; print(json.dumps(LabelRecord.model_json_schema(), indent=2))' "
        "> docs/label-record.schema.json"
    )


def test_it_round_trips_and_holds_no_text():
    label = example()
    text = label.model_dump_json()
    assert LabelRecord.model_validate_json(text) == label
    assert "secret" not in text
    assert label.id == "mail/2/41"
    assert label.source.fields == {"mailbox": "sales"}


def test_a_record_of_before_is_read_and_so_is_one_of_later():
    now = example()
    old = json.loads(now.model_dump_json())
    assert (old.pop("familiarity"), old.pop("marks")) == (None, [])
    assert LabelRecord.model_validate(old) == now
    later = {**old, "more": 1, "source": {**old["source"], "epoch": "x"}}
    assert LabelRecord.model_validate(later) == now
    assert {"familiarity", "marks"}.isdisjoint(LabelRecord.model_json_schema()["required"])


def test_cloud_event_headers_replace_the_inputs_own_and_keep_the_rest():
    incoming = (
        ("traceparent", b"00-abc"),
        ("ce_id", b"theirs"),
        ("Content-Type", b"message/rfc822"),
        ("winnow-attempts", b"2"),
    )
    headers = cloud_event_headers(example(), incoming)
    assert headers[0] == ("traceparent", b"00-abc")
    names = [name for name, _ in headers]
    assert len(names) == len(set(names))
    values = dict(headers)
    assert values["ce_id"] == b"mail/2/41"
    assert values["ce_specversion"] == b"1.0"
    assert values["content-type"] == b"application/json"
    assert "winnow-attempts" not in values
