"""What is handed to `fit --examples` is read as the service would, or refused with a way out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_app.core.errors import ConfigError, SourceError, WinnowError
from stream_app.core.messages import Message
from stream_app.model.preparation import Preparation
from training.examples.found import Examples, examples_of
from training.examples.reading import Fields, Labelled, read

ROWS = [
    ("the bill is wrong", "billing"),
    ("no network since noon", "outage"),
    ("charged twice", "billing"),
    ("the line is dead", "outage"),
]
BY_NAME = Fields()
CSV = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)


def found(
    path: Path,
    wanted: Sequence[str] = (),
    fields: Fields = BY_NAME,
    corrections: Sequence[Labelled] = (),
) -> Examples:
    return examples_of(read(path, fields), corrections, wanted, Preparation())


def pairs(examples: Examples) -> list[tuple[str, str]]:
    return [(example.text, example.label) for example in examples.examples]


def write(file: Path, content: str | bytes) -> Path:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("comma.csv", CSV),
        ("mark.csv", CSV.encode("utf-8-sig")),
        ("excel.csv", CSV.replace(",", ";").replace("\n", "\r\n").encode("utf-16")),
        ("tab.tsv", CSV.replace(",", "\t")),
        ("bar.csv", CSV.replace(",", "|")),
        ("late.csv", "\n\n" + CSV + "\n,\n"),
        ("names.csv", CSV.replace("text,label", "Body , CATEGORY")),
        ("two.csv", CSV.replace("text,label", "text,queue")),
        ("lines.jsonl", "".join(json.dumps({"text": t, "label": x}) + "\n" for t, x in ROWS)),
        ("array.json", json.dumps([{"message": t, "class": x} for t, x in ROWS])),
    ],
)
def test_tables_are_read_in_every_form(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert pairs(found(write(tmp_path / name, content))) == ROWS


def test_parquet_titles_and_lists_of_labels(tmp_path: Path) -> None:
    rows = [
        {"title": f"{label} {number}", "review": "it is", "labels": [label, "all"]}
        for number in range(2)
        for label in ("a", "b")
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    examples = found(tmp_path / "t.parquet")
    assert examples.problem == "multi_label"
    assert examples.examples[0].text == "a 0\nit is"
    assert examples.counts == {"a": 2, "all": 4, "b": 2}


def test_an_empty_list_says_that_a_text_has_no_label(tmp_path: Path) -> None:
    rows = [{"text": f"{name} {n}", "tags": [name]} for name in "ab" for n in range(2)]
    rows += [{"text": "nothing of it", "tags": []}, {"text": "nobody said", "tags": None}]
    examples = found(write(tmp_path / "t.jsonl", "\n".join(map(json.dumps, rows))))
    assert examples.problem == "multi_label"
    assert [e.text for e in examples.examples if not e.labels] == ["nothing of it"]
    assert examples.told == {"without_label": 1}


def test_of_several_labels_those_not_to_learn_are_told_apart_from(tmp_path: Path) -> None:
    rows = [{"text": f"{name} {n}", "tags": [name, "c"]} for name in "ab" for n in range(2)]
    rows += [{"text": f"else {n}", "tags": ["c"]} for n in range(2)]
    file = write(tmp_path / "t.jsonl", "\n".join(map(json.dumps, rows)))
    examples = found(file, wanted=["a", "b"])
    assert sorted(e.labels for e in examples.examples) == [(), (), ("a",), ("a",), ("b",), ("b",)]


def test_a_label_is_never_read_as_text(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": t, "subject": x}) + "\n" for t, x in ROWS)
    file = write(tmp_path / "t.jsonl", rows)
    assert pairs(found(file, fields=Fields(label="subject"))) == ROWS


def test_folders_hold_mails_texts_and_mboxes(tmp_path: Path) -> None:
    for name in ("urgent", "other"):
        (tmp_path / name).mkdir()
    write(tmp_path / "urgent" / "1.eml", "Subject: fire\n\nin the hall\n")
    write(tmp_path / "urgent" / "2.txt", "smoke\nin the cellar\n")
    write(tmp_path / "other" / "3", "no header, so a text")
    write(tmp_path / "other" / ".hidden", "not read")
    mail = "From a@b Thu Jan  1 00:00:00 2026\nSubject: {}\n\nlunch\n\n"
    write(tmp_path / "food.mbox", mail.format("one") + mail.format("two"))
    reading = read(tmp_path, Fields())
    assert reading.format == "rfc822"
    assert sorted((each.labels[0], each.message.title) for each in reading.found) == [
        ("food", "one"),
        ("food", "two"),
        ("other", ""),
        ("urgent", ""),
        ("urgent", "fire"),
    ]


def test_spellings_blanks_duplicates_and_contradictions(tmp_path: Path) -> None:
    more = "charged twice,Billing\nno network since noon,outage \nhello,billing\nhello,outage\n,x\n"
    examples = found(write(tmp_path / "t.csv", CSV + more + "no label,\n"))
    assert pairs(examples) == ROWS
    assert examples.told == {
        "without_text": 1,
        "without_label": 1,
        "duplicates": 3,
        "contradicting": 1,
    }


def test_a_correction_has_the_last_word(tmp_path: Path) -> None:
    corrections = [
        Labelled(Message(body="the line is dead"), ("billing",)),
        Labelled(Message(body="is it down?"), ("outage",)),
    ]
    examples = found(write(tmp_path / "t.csv", CSV), corrections=corrections)
    assert dict(pairs(examples)) == dict(ROWS) | {
        "the line is dead": "billing",
        "is it down?": "outage",
    }


def test_labels_name_those_to_learn(tmp_path: Path) -> None:
    examples = found(write(tmp_path / "t.csv", CSV + "once,rare\n"), wanted=["outage", "billing"])
    assert examples.labels == ("outage", "billing")
    assert examples.told == {"of_other_labels": 1}


MISTAKES = [
    ("t.csv", "text,label\na,x\nb,x\n", "only the label 'x'"),
    ("t.csv", CSV + "once,rare\n", "'rare' has 1: .* --labels billing,outage"),
    ("t.csv", "id,when,what\n1,2,3\n", "columns id, when, what: say with --text-field"),
    ("t.csv", "text,when,what\n1,2,3\n", "say with --label-field"),
    ("t.csv", "text\na\nb\n", "has one column"),
    ("t.csv", "text,label\na,b,c\n", "t.csv:2: this row has not as many fields"),
    ("t.csv", "text,text,label\na,b,c\n", "the first line does not name the columns"),
    ("t.csv", "text,label\n", "has no rows"),
    ("t.csv", "", "has no rows"),
    ("t.jsonl", '{"text": "a"\n', r"line 1 is not JSON \("),
    ("t.jsonl", "[1, 2]", "row 1 is no object"),
    ("t.csv", "text,label\na,1\nb,2\nc,3\n", "3 different labels in 3 texts"),
    ("t.parquet", "text,label\n", "cannot be read"),
    ("t.xlsx", "PK", "save it as CSV"),
    ("t.pdf", "PDF", "is none of .csv"),
]


@pytest.mark.parametrize(("name", "content", "why"), MISTAKES, ids=lambda part: str(part)[:30])
def test_a_mistake_is_told_with_what_to_do(
    tmp_path: Path, name: str, content: str, why: str
) -> None:
    with pytest.raises(WinnowError, match=why):
        found(write(tmp_path / name, content))


def test_names_that_are_not_there_are_told(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", CSV)
    with pytest.raises(ConfigError, match="no column queue: --label-field is one of text, label"):
        found(file, fields=Fields(label="queue"))
    with pytest.raises(ConfigError, match="'spam' of --labels: there are billing, outage"):
        found(file, wanted=["spam"])
    with pytest.raises(SourceError, match="no such file"):
        found(tmp_path / "absent.csv")
    with pytest.raises(SourceError, match=r"in no folder .* give the file itself"):
        found(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no labelled message"):
        found(tmp_path / "empty")
