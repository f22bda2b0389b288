"""`winnow config`: the effective configuration, and what is wrong with it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream_app.__main__ import app
from stream_app.configuration import load_settings
from stream_app.core.errors import ConfigError

CONFIG = """
[[routes]]
name = "mail"
format = "rfc822"
model = "MODEL"
input_topic = "mail"
output_topic = "mail.labels"

[[routes]]
name = "reviews"
format = "json"
model = "builtin:nothing"
input_topic = "reviews"
output_topic = "reviews.labels"
field_names = { text = "comment" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "winnow.toml"
    path.write_text(CONFIG)
    return path


def test_show_prints_toml_that_means_the_same(file: Path, tmp_path: Path) -> None:
    env = {"WINNOW_KAFKA__GROUP_ID": "blue", "WINNOW_ROUTES__MAIL__MIN_CONFIDENCE": "0.7"}
    result = CliRunner().invoke(app, ["config", "show", "--config", str(file)], env=env)
    assert result.exit_code == 0
    shown = tomllib.loads(result.output)
    assert shown["kafka"]["group_id"] == "blue"
    assert shown["routes"][0]["min_confidence"] == 0.7
    assert shown["routes"][0]["dead_letter_topic"] == "mail.dlq"
    as_json = CliRunner().invoke(app, ["config", "show", "--config", str(file), "--json"], env=env)
    assert json.loads(as_json.output) == shown
    again = tmp_path / "again.toml"
    again.write_text(result.output)
    effective = load_settings(again)
    assert effective.kafka.group_id == "blue"
    assert effective.routes[1] == load_settings(file).routes[1]


def test_check_says_of_each_route_whether_its_model_is_usable(file: Path, tmp_path: Path) -> None:
    from tests.tiny_model import save_tiny_albert  # torch, for this test only

    model = save_tiny_albert(tmp_path / "tiny")
    file.write_text(CONFIG.replace("MODEL", str(model)))
    result = CliRunner().invoke(app, ["config", "check", "--config", str(file)])
    good, bad = result.output.splitlines()
    assert result.exit_code == 1
    assert good.startswith("mail: ok")
    assert "ham, spam" in good
    there = "there are: spam, reviews, news, sentiment-multilingual"
    assert bad == f"reviews: builtin:nothing does not exist; {there}"
    as_json = CliRunner().invoke(app, ["config", "check", "--config", str(file), "--json"])
    one, other = map(json.loads, as_json.output.splitlines())
    assert one["ok"]
    assert one["labels"] == ["ham", "spam"]
    assert other == {
        "route": "reviews",
        "model": "builtin:nothing",
        "ok": False,
        "reason": bad.removeprefix("reviews: "),
    }


def test_check_reads_the_token_file(file: Path, tmp_path: Path) -> None:
    file.write_text(f'[filter]\ntoken_file = "{tmp_path / "none"}"\n' + CONFIG)
    result = CliRunner().invoke(app, ["config", "check", "--config", str(file)])
    assert isinstance(result.exception, ConfigError)
    assert "filter.token_file" in str(result.exception)
    assert str(tmp_path / "none") in str(result.exception)


def test_a_wrong_key_is_refused_by_name(file: Path) -> None:
    file.write_text(CONFIG.replace("input_topic", "topic_in", 1))
    result = CliRunner().invoke(app, ["config", "check", "--config", str(file)])
    assert isinstance(result.exception, ConfigError)
    assert "topic_in" in str(result.exception)
    assert "input_topic" in str(result.exception)
