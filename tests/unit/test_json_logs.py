"""`--log-format json`: whatever a command says on stderr is an object a line."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider

from stream_app.__main__ import main
from stream_app.core.logs import configure_logging
from tests.command_line import run_main

log = logging.getLogger("stream_app.somewhere")


@pytest.fixture(autouse=True)
def _text_again() -> Iterator[None]:
    yield
    configure_logging("info")


def lines(text: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_is_an_object_whatever_is_in_it(capsys: pytest.CaptureFixture[str]):
    configure_logging("info", "json")
    log.info('two\nlines of "%s"', "straße")
    try:
        raise KeyError("x")
    except KeyError:
        log.exception("a bug")
    plain, bug = lines(capsys.readouterr().err)
    assert plain.pop("time").endswith("+00:00")
    assert plain == {
        "level": "INFO",
        "logger": "stream_app.somewhere",
        "message": 'two\nlines of "straße"',
    }
    assert bug["message"] == "a bug"
    assert bug["exception"].startswith("Traceback (most recent call last)")


def test_a_line_has_the_ids_of_the_span_under_way(capsys: pytest.CaptureFixture[str]):
    configure_logging("info", "json")
    with TracerProvider().get_tracer("t").start_as_current_span("s") as span:
        log.info("inside")
    log.info("outside")
    inside, outside = lines(capsys.readouterr().err)
    ids = span.get_span_context()
    assert int(inside["trace_id"], 16) == ids.trace_id
    assert int(inside["span_id"], 16) == ids.span_id
    assert len(inside["trace_id"] + inside["span_id"]) == 32 + 16
    assert "trace_id" not in outside


def test_a_warning_of_pythons_is_an_object_too(capsys: pytest.CaptureFixture[str]):
    configure_logging("info", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("mind the gap", UserWarning, stacklevel=1)
    [line] = lines(capsys.readouterr().err)
    assert "mind the gap" in line["message"]


@pytest.mark.parametrize(
    "command",
    [
        "worker",
        "filter",
        "dashboard",
        "ingest feeds",
        "ingest imap",
        "ingest files x --route mail",
        "sink postgres",
        "sink webhook",
        "sink feed",
        "sink imap",
    ],
)
def test_so_is_the_reason_why_a_service_ends(command: str, tmp_path: Path):
    config = str(tmp_path / "absent.toml")
    done = run_main(main, *command.split(), "--config", config, "--log-format", "json")
    [line] = lines(done.stderr)
    assert done.returncode == 2
    assert line["level"] == "ERROR"
    assert config in line["message"]
