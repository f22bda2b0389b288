"""What a source remembers: kept together, by one process, for as long as items come again."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stream_app.core.errors import ConfigError, SourceError
from stream_app.sources import state
from stream_app.sources.state import opened_state


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "state.db"


def test_what_was_recorded_is_there_after_a_restart(file: Path):
    with opened_state(file) as found:
        assert found.place("a") == {}
        assert found.unsent("a", ["1", "2"]) == {"1", "2"}
        found.record("a", {"etag": "x"}, ["1"])
    with opened_state(file) as found:
        assert found.place("a") == {"etag": "x"}
        assert found.unsent("a", ["1", "2"]) == {"2"}
        assert found.unsent("b", ["1"]) == {"1"}


def test_nobody_else_may_read_it(file: Path):
    with opened_state(file) as found:
        found.record("https://ann:secret@example.org/feed", {})
        assert {each.stat().st_mode & 0o077 for each in file.parent.iterdir()} == {0}


def test_an_id_may_be_anything(file: Path):
    ids = ["", "\0", "x" * 1_000_000, "\ud800"]
    with opened_state(file) as found:
        found.record("a", {}, ids)
        assert found.unsent("a", ids) == set()


def test_one_process_has_it(file: Path):
    with opened_state(file) as found:
        found.record("a", {})
        code = "import sys; from pathlib import Path; from stream_app.sources import state\n"
        code += "with state.opened_state(Path(sys.argv[1])): pass"
        second = subprocess.run(
            [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False
        )
    assert second.returncode == 1
    assert "another process uses it" in second.stderr


def test_items_are_forgotten_when_they_have_not_been_seen_for_long(
    file: Path, monkeypatch: pytest.MonkeyPatch
):
    now = 1_000_000_000.0
    monkeypatch.setattr(state.time, "time", lambda: now)
    with opened_state(file) as found:
        found.record("a", {}, ["gone", "seen"])
        now += 0.9 * state.FORGET_SECONDS
        assert found.unsent("a", ["seen"]) == set()
        now += 0.2 * state.FORGET_SECONDS
        assert found.forget() == 1
        assert found.unsent("a", ["gone", "seen"]) == {"gone"}


def test_a_file_of_something_else_is_refused(file: Path):
    file.parent.mkdir()
    file.write_text("a text, and no database at all" * 100)
    with pytest.raises(ConfigError, match="no state of a source"), opened_state(file):
        pass


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigError, match="cannot be opened"),
        opened_state(tmp_path / "file" / "x"),
    ):
        pass


def test_a_state_of_a_later_version_is_left_alone(file: Path, monkeypatch: pytest.MonkeyPatch):
    with opened_state(file):
        pass
    monkeypatch.setattr(state, "VERSION", 0)
    with pytest.raises(ConfigError, match="another version"), opened_state(file):
        pass


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process grows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_is_said_before_anything_is_sent(file: Path):
    with opened_state(file) as found:
        found.record("a", {})
    with full_disk(), pytest.raises(ConfigError, match="cannot be used"), opened_state(file):
        pass


def test_a_disk_that_gets_full_ends_the_source_with_a_word(file: Path):
    with (
        pytest.raises(SourceError, match=r"cannot be kept: .* is sent again"),
        opened_state(file) as found,
        full_disk(),
    ):
        found.record("a", {"x": "y" * 100_000})
    with opened_state(file) as found:
        assert found.place("a") == {}
