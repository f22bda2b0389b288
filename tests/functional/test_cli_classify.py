"""`winnow classify`: the same labels as the service, without Kafka."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from stream_app.__main__ import app
from stream_app.core.errors import SourceError
from stream_app.model.artifact import load_artifact, write_card
from tests.tiny_model import RARE, add_tiny_head, save_tiny_albert


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_albert(tmp_path_factory.mktemp("model") / "tiny")


def classify(model: Path, *arguments: str, engine: str = "fake") -> Result:
    command = ["classify", "--model", str(model), "--engine", engine, *arguments]
    return CliRunner().invoke(app, command)


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def piped(model: Path, *arguments: str) -> list[str]:
    """The command that reads stdin."""
    command = [sys.executable, "-m", "stream_app", "classify", "--engine", "fake"]
    return [*command, "--model", str(model), *arguments]


def test_each_line_of_stdin_gets_a_label_in_order(model: Path) -> None:
    texts = [f"the {'good ' * (number % 9)}text" for number in range(500)]
    stdin = "\n".join(texts).encode()
    done = subprocess.run(piped(model), input=stdin, capture_output=True, timeout=180, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["source"] for line in found] == [f"stdin:{n}" for n in range(1, 501)]
    labels = {text: line["label"] for text, line in zip(texts, found, strict=True)}
    assert [labels[text] for text in texts] == [line["label"] for line in found]
    first = found[0]
    assert set(first) == {"source", "label", "confidence", "scores", "decision"}
    assert first["confidence"] == max(first["scores"].values())
    assert set(first["scores"]) == {"ham", "spam"}


def test_bad_messages_give_an_error_line_in_their_place_and_exit_code_1(
    model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(
        b'{"id": "a", "text": "good"}\nnot json\n{"id": "c"}\n{"id": "d", "text": "good"}\n'
    )
    result = classify(model, str(file))
    good, broken, empty, last = lines(result)
    assert result.exit_code == 1
    assert "2 of the messages" in result.stderr
    assert (good["id"], last["id"]) == ("a", "d")
    assert good["label"] == last["label"]
    assert broken["source"] == f"{file}:2"
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


def test_files_with_nothing_in_them_are_counted_not_labelled(model: Path, tmp_path: Path) -> None:
    for name, value in {"a": b"", "b": b"Subject: good\n\ntext\n", "c": b" \n"}.items():
        (tmp_path / f"{name}.eml").write_bytes(value)
    result = classify(model, str(tmp_path))
    assert [Path(line["source"]).name for line in lines(result)] == ["b.eml"]
    assert (result.exit_code, result.stderr) == (0, "winnow: left out 2 empty files or mails\n")


def test_below_min_confidence_the_decision_is_unsure(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"good")
    [line] = lines(classify(model, "--min-confidence", "0.99", str(tmp_path / "a.txt")))
    assert line["decision"] == "unsure"
    assert line["label"] in {"ham", "spam"}


@pytest.fixture
def strict(tmp_path: Path) -> Path:
    """A model that must be surer than the fake engine ever is."""
    folder = save_tiny_albert(tmp_path / "strict")
    card = load_artifact(folder).card.model_copy(
        update={"decide_at": {"ham": 0.99, "spam": 0.99}, "evidence": 5.0}
    )
    write_card(folder, card)
    return folder


def test_the_models_own_thresholds_decide_unless_others_are_given(
    strict: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(b"good\n" + b"good " * 60 + b"\n")
    short, long = lines(classify(strict, str(tmp_path / "a.txt")))
    assert short["decision"] == long["decision"] == "unsure"
    assert 0.5 < short["confidence"] < long["confidence"], "the fake's logits are alike"
    for line in lines(classify(strict, "--min-confidence", "0", str(tmp_path / "a.txt"))):
        assert line["decision"] == line["label"]


def test_a_mail_of_pictures_only_is_no_error(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(b"Message-ID: <1@x>\nContent-Type: image/png\n\n\x89PNG")
    result = classify(model, str(tmp_path / "a.eml"))
    assert (result.exit_code, result.stderr) == (0, "")
    assert lines(result) == [
        {
            "source": str(tmp_path / "a.eml"),
            "id": "<1@x>",
            "label": "unsure",
            "confidence": 0.0,
            "scores": {},
            "decision": "unsure",
            "marks": ["no_text"],
        }
    ]


class Strange:
    """A measure to which no text is familiar."""

    def scores(self, texts: Sequence[str], tokens: Sequence[Sequence[int]]) -> list[float]:
        return [0.25] * len(texts)


def test_familiarity_is_shown_where_the_model_measures_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_app.serving.served.load_familiarity", lambda _: Strange())
    (tmp_path / "a.txt").write_bytes(b"good")
    [line] = lines(classify(model, str(tmp_path / "a.txt")))
    assert (line["familiarity"], line["decision"]) == (0.25, line["label"])
    assert "marks" not in line
    folder = save_tiny_albert(tmp_path / "choosy")
    card = load_artifact(folder).card.model_copy(update={"familiar_at": 0.5})
    write_card(folder, card)
    [line] = lines(classify(folder, str(tmp_path / "a.txt")))
    assert (line["marks"], line["decision"]) == (["unfamiliar"], "unsure")
    assert line["label"] in {"ham", "spam"}


def test_multi_label_models_give_labels(tmp_path: Path) -> None:
    labels = ("sports", "politics", "food")
    model = save_tiny_albert(tmp_path / "model", labels, "multi_label_classification")
    (tmp_path / "a.txt").write_bytes(b"good")
    [line] = lines(classify(model, str(tmp_path / "a.txt")))
    assert line["label"] in line["labels"]


@pytest.mark.parametrize("engine", ["auto", "reference", "fake"])
def test_an_n_gram_head_reads_past_what_the_engine_can(tmp_path: Path, engine: str) -> None:
    (tmp_path / "a.txt").write_text("the good text " * 100 + "pills\n" + "the good text " * 100)
    for column, label in enumerate(("ham", "spam")):
        model = add_tiny_head(save_tiny_albert(tmp_path / label), "pills", column)
        found = lines(classify(model, str(tmp_path / "a.txt"), engine=engine))
        assert found[0]["label"] == label
        assert found[0]["scores"][label] > found[1]["scores"][label]


def test_the_real_engine_labels_all_but_the_poison_message(tmp_path: Path) -> None:
    model = save_tiny_albert(tmp_path / "model", known=15)  # RARE breaks it
    (tmp_path / "a.txt").write_text(f"a text\nthe {RARE}\na text\n")
    result = classify(model, "--device", "cpu", str(tmp_path / "a.txt"), engine="reference")
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


@contextmanager
def open_pipe(model: Path) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]]:
    """A command whose stdin stays open, and its two ends."""
    pipe = subprocess.PIPE
    with subprocess.Popen(piped(model), stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process, process.stdin, process.stdout
        process.kill()


def test_a_slow_pipe_sees_each_result_at_once(model: Path) -> None:
    with open_pipe(model) as (process, into, out):
        for _ in range(3):
            into.write(b"good text\n")
            into.flush()
            assert json.loads(out.readline())["label"] in {"ham", "spam"}
        into.close()
        assert process.wait(180) == 0


def test_ctrl_c_while_it_waits_for_more_is_quiet(model: Path) -> None:
    with open_pipe(model) as (process, into, out):
        into.write(b"good text\n")
        into.flush()
        out.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(180) == 130
        assert process.stderr is not None
        said = process.stderr.read()
        assert b"Fatal" not in said
        assert b"Traceback" not in said


def test_a_reader_that_goes_away_is_no_traceback(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "many.txt"
    file.write_bytes(b"good text\n" * 20_000)
    pipe = ["sh", "-c", f"{shlex.join(piped(model, str(file)))} | head -1"]
    done = subprocess.run(pipe, capture_output=True, timeout=180, check=False)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == b""
