"""Texts drawn from templates: the same each time, and no template that is half filled."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_app.core.errors import SourceError
from training.data.corpus import read_file
from training.data.readers import read_source
from training.data.templates import draw
from training.recipe import Source
from training.recipes import load_recipe

TEMPLATES = """
copies = 3
[slots]
name = ["Anna", "Tom"]
greeting = ["Hi {name},", ""]
[[kind]]
label = "ham"
titles = ["Order", "Your order"]
lines = [["{greeting}"], ["it is on its way.", "it was sent."]]
[[kind]]
label = "spam"
titles = ["You won"]
lines = [["Claim it, {name}."]]
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "mine.templates.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_each_kind_is_drawn_so_often_and_the_same_each_time(tmp_path: Path) -> None:
    file = written(tmp_path, TEMPLATES)
    rows = list(draw(file))
    assert rows == list(draw(file))
    assert [row["label"] for row in rows] == ["ham"] * 3 + ["spam"] * 3
    assert not any("{" in row["text"] + row["title"] for row in rows)
    assert {row["text"] for row in rows[3:]} <= {"Claim it, Anna.", "Claim it, Tom."}
    assert len(rows) == len(read_file(file, load_recipe("spam").preparation))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (TEMPLATES.replace("Claim it, {name}", "Claim it, {who}"), "{who}, which is none"),
        (TEMPLATES.replace("copies = 3", "copies = 0"), "has no templates"),
        (TEMPLATES.replace("copies = 3", "copies = "), "has no templates"),
    ],
)
def test_templates_that_cannot_be_drawn_are_refused(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=why):
        list(draw(written(tmp_path, text)))


def test_those_of_spam_are_drawn_whole_and_lie_beside_any_data(tmp_path: Path) -> None:
    sources = [s for s in load_recipe("spam").sources if s.file.startswith("shipped:")]
    assert [source.use for source in sources] == ["train", "validation"]
    rows = [list(read_source(source, tmp_path)) for source in sources]
    assert all({raw.labels for raw in part} == {("ham",), ("spam",)} for part in rows)
    with pytest.raises(SourceError, match=r"none\.jsonl does not exist"):
        list(read_source(Source(file="shipped:none.jsonl", use="train", terms=""), tmp_path))
