"""`winnow classify`: the same labels as the service, without Kafka."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from stream_app.__main__ import app
from stream_app.core.errors import SourceError
from tests.tiny_model import RARE, save_tiny_albert


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_albert(tmp_path_factory.mktemp("model") / "tiny")


def classify(model: Path, *arguments: str, stdin: bytes = b"", engine: str = "fake") -> Result:
    command = ["classify", "--model", str(model), "--engine", engine, *arguments]
    return CliRunner().invoke(app, command, input=stdin)


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_line_of_stdin_gets_a_label_in_order(model: Path) -> None:
    texts = [f"the {'good ' * (number % 9)}text" for number in range(500)]
    result = classify(model, stdin="\n".join(texts).encode())
    assert result.exit_code == 0
    found = lines(result)
    assert [line["source"] for line in found] == [f"stdin:{n}" for n in range(1, 501)]
    labels = {text: line["label"] for text, line in zip(texts, found, strict=True)}
    assert [labels[text] for text in texts] == [line["label"] for line in found]
    first = found[0]
    assert set(first) == {"source", "label", "confidence", "scores", "decision"}
    assert first["confidence"] == max(first["scores"].values())
    assert set(first["scores"]) == {"ham", "spam"}


def test_bad_messages_give_an_error_line_in_their_place_and_exit_code_1(model: Path) -> None:
    stdin = b'{"id": "a", "text": "good"}\nnot json\n{"id": "c"}\n{"id": "d", "text": "good"}\n'
    result = classify(model, "--format", "json", stdin=stdin)
    good, broken, empty, last = lines(result)
    assert result.exit_code == 1
    assert "2 of the messages" in result.stderr
    assert (good["id"], last["id"]) == ("a", "d")
    assert good["label"] == last["label"]
    assert broken["source"] == "stdin:2"
    assert {"error", "reason"} <= set(broken)
    assert {"error", "reason"} <= set(empty)
    assert "label" not in broken


def test_files_are_read_by_their_format(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(b"Message-ID: <1@x>\nSubject: good\n\ntext\n")
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "good"}\n')
    (tmp_path / "c.txt").write_bytes(b"good\nthe text\n")
    result = classify(model, *(str(tmp_path / name) for name in ("a.eml", "b.jsonl", "c.txt")))
    assert result.exit_code == 0
    found = lines(result)
    names = [Path(line["source"]).name for line in found]
    assert names == ["a.eml", "b.jsonl:1", "c.txt:1", "c.txt:2"]
    assert found[0]["id"] == "<1@x>"


def test_below_min_confidence_the_decision_is_unsure(model: Path) -> None:
    [line] = lines(classify(model, "--min-confidence", "0.99", stdin=b"good"))
    assert line["decision"] == "unsure"
    assert line["label"] in {"ham", "spam"}


def test_multi_label_models_give_labels(tmp_path: Path) -> None:
    labels = ("sports", "politics", "food")
    model = save_tiny_albert(tmp_path, labels, "multi_label_classification")
    [line] = lines(classify(model, stdin=b"good"))
    assert line["label"] in line["labels"]


def test_the_real_engine_labels_all_but_the_poison_message(tmp_path: Path) -> None:
    model = save_tiny_albert(tmp_path, known=15)  # it breaks on the last word of the tokenizer
    stdin = f"a text\nthe {RARE}\na text\n".encode()
    result = classify(model, "--device", "cpu", stdin=stdin, engine="reference")
    before, poison, after = lines(result)
    assert result.exit_code == 1
    assert before["scores"] == pytest.approx(after["scores"])
    assert poison["error"] == "engine_error"


def test_a_damaged_file_ends_it_after_the_results_before(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"good\n")
    (tmp_path / "b.jsonl.gz").write_bytes(b"this is not gzip")
    result = classify(model, str(tmp_path / "a.txt"), str(tmp_path / "b.jsonl.gz"))
    assert len(lines(result)) == 1
    assert isinstance(result.exception, SourceError)


def test_a_slow_pipe_sees_each_result_at_once(model: Path) -> None:
    command = [sys.executable, "-m", "stream_app", "classify", "--engine", "fake"]
    with subprocess.Popen(
        [*command, "--model", str(model)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            process.stdin.write(b"good text\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["label"] in {"ham", "spam"}
        process.stdin.close()
        assert process.wait(30) == 0


def test_a_reader_that_goes_away_is_no_traceback(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "many.txt"
    file.write_bytes(b"good text\n" * 20_000)
    command = f"{sys.executable} -m stream_app classify --engine fake --model {model} {file}"
    pipe = ["sh", "-c", f"{command} | head -1"]
    done = subprocess.run(pipe, capture_output=True, timeout=60, check=False)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == b""
