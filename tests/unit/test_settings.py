"""The configuration: names as documented, environment over file, wrong values refused by name."""

from pathlib import Path

import pytest

from stream_app.configuration import load_settings
from stream_app.core.errors import ConfigError

GOOD = """
[kafka]
bootstrap_servers = "127.0.0.1:9092"
group_id = "winnow"

[metrics]
host = "127.0.0.1"
port = 9108

[[routes]]
name = "mail"
format = "rfc822"
model = "builtin:spam"
input_topic = "mail"
output_topic = "mail.labels"

[[routes]]
name = "my-reviews"
format = "json"
model = "builtin:reviews"
input_topic = "reviews"
output_topic = "reviews.labels"
pass_fields = ["product"]
field_names = { title = "headline" }
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "winnow.toml"
        path.write_text(text)
        return path

    return write


def test_the_documented_file_loads_with_defaults(write):
    settings = load_settings(write(GOOD))
    mail, reviews = settings.routes
    assert mail.dead_letter_topic == "mail.dlq"
    assert mail.min_confidence is None
    assert reviews.field_names == {"title": "headline"}
    assert settings.kafka.session_timeout_seconds == 10.0


def test_the_environment_wins_key_by_key(write, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WINNOW_KAFKA__GROUP_ID", "blue")
    monkeypatch.setenv("WINNOW_METRICS__PORT", "7000")
    monkeypatch.setenv("WINNOW_ROUTES__MY_REVIEWS__MODEL", "hf://org/name")
    monkeypatch.setenv("WINNOW_ROUTES__MY_REVIEWS__PASS_FIELDS", "product, shop")
    monkeypatch.setenv("WINNOW_DASHBOARD__WORKERS", "one:9108, two:9108")
    monkeypatch.setenv("WINNOW_FEEDS__ALLOW_NETWORKS", "10.1.0.0/16")
    monkeypatch.setenv("WINNOW_IMAP__MAILBOXES", '["INBOX", "Lists, and more"]')
    settings = load_settings(write(GOOD))
    assert settings.dashboard.workers == ("one:9108", "two:9108")
    assert [str(each) for each in settings.feeds.allow_networks] == ["10.1.0.0/16"]
    assert settings.imap.mailboxes == ("INBOX", "Lists, and more")
    assert settings.kafka.group_id == "blue"
    assert settings.metrics.port == 7000
    assert settings.routes[0].model == "builtin:spam"
    assert settings.routes[1].model == "hf://org/name"
    assert settings.routes[1].pass_fields == ("product", "shop")


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('format = "rfc822"', 'format = "xml"', "routes[mail].format = 'xml': Input should be"),
        ("port = 9108", 'port = "x"', "metrics.port = 'x'"),
        ("port = 9108", "prot = 9108", "metrics.prot: no such key; there are: host, port"),
        ('model = "builtin:spam"', "", "routes[mail].model: this key is required"),
        ("[metrics]", "[metrix]", "metrix: no such key; there are: kafka, registry, topics"),
        ('output_topic = "mail.labels"', 'output_topic = "mail"', "must differ"),
        ('output_topic = "mail.labels"', 'output_topic = "reviews"', "that is a loop"),
        ('input_topic = "mail"', 'input_topic = "reviews"', "two routes read input_topic"),
        ('input_topic = "mail"', 'input_topic = "ma il"', "a topic name has"),
        ('name = "my-reviews"', 'name = "mail"', "two routes are named 'mail'"),
        ('name = "mail"', "", "route number 1 has no name"),
        ('bootstrap_servers = "127.0.0.1:9092"', 'bootstrap_servers = "nowhere"', "nowhere"),
        ("[kafka]", "[kafka]\nsession_timeout_seconds = 3", "at most a third"),
        ("[kafka]", "[kafka", "is not TOML"),
        ("[[routes]]", "[routes]", "TOML"),
    ],
)
def test_what_is_wrong_is_named(write, before: str, after: str, says: str):
    assert before in GOOD
    with pytest.raises(ConfigError) as caught:
        load_settings(write(GOOD.replace(before, after, 1)))
    assert says in str(caught.value)
    assert "at least 1 item" not in str(caught.value)


@pytest.mark.parametrize("name", ["WINNOW_METRIC__PORT", "WINNOW_METRICS__PROT"])
def test_a_misspelt_variable_is_refused(write, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match=r"PROT|prot|METRIC__PORT"):
        load_settings(write(GOOD))


def test_a_missing_file_and_no_routes_are_said(tmp_path: Path, write):
    with pytest.raises(ConfigError, match="No such file"):
        load_settings(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="routes: this key is required"):
        load_settings(write(""))
