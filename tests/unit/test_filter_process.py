"""What a filter is started with: sockets, addresses, tokens, the route of the mail server."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from stream_app.__main__ import main
from stream_app.core.errors import ConfigError
from stream_app.filter.sockets import listening
from stream_app.web.access import address
from tests.command_line import Ended, run_main
from tests.conftest import free_port

ROUTE = """
[[routes]]
name = "{name}"
format = "{kind}"
model = "builtin:spam"
input_topic = "{name}"
output_topic = "{name}.labels"
"""


def start(
    folder: Path, *options: str, text: str = ROUTE.format(name="mail", kind="rfc822")
) -> Ended:
    """`winnow filter`, which is expected not to start."""
    config = folder / "winnow.toml"
    config.write_text(text)
    http = f"--http=127.0.0.1:{free_port()}"
    return run_main(main, "filter", "--config", str(config), http, *options)


class TestSockets:
    def test_the_owner_and_the_group_may_connect_and_nobody_else(self, tmp_path: Path):
        path = tmp_path / "s"
        with listening(f"unix:{path}"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            socket.socket(socket.AF_UNIX).connect(str(path))
        assert not path.exists()

    def test_the_file_of_a_filter_that_was_killed_is_replaced(self, tmp_path: Path):
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(path))
        with listening(f"unix:{path}"):
            socket.socket(socket.AF_UNIX).connect(str(path))

    def test_a_filter_that_runs_is_left_alone(self, tmp_path: Path):
        path = tmp_path / "s"
        with listening(f"unix:{path}"):
            with (
                pytest.raises(ConfigError, match="another filter listens"),
                listening(f"unix:{path}"),
            ):
                pass
            socket.socket(socket.AF_UNIX).connect(str(path))

    def test_a_file_that_is_no_socket_is_left_alone(self, tmp_path: Path):
        path = tmp_path / "s"
        path.write_text("precious")
        with pytest.raises(ConfigError, match="no socket"), listening(f"unix:{path}"):
            pass
        assert path.read_text() == "precious"

    def test_a_folder_that_is_missing_is_an_error_of_the_configuration(self, tmp_path: Path):
        where = f"unix:{tmp_path / 'none' / 's'}"
        with pytest.raises(ConfigError, match="No such file"), listening(where):
            pass

    def test_a_port_that_is_taken_is_an_error_of_the_configuration(self):
        where = f"inet:{free_port()}"
        with (
            listening(where),
            pytest.raises(ConfigError, match="Address already in use"),
            listening(where),
        ):
            pass

    @pytest.mark.parametrize(
        ("where", "found"),
        [("8894", ("127.0.0.1", 8894)), ("::1:8894", ("::1", 8894)), ("[::]:1", ("::", 1))],
    )
    def test_an_address_has_a_host_and_a_port(self, where: str, found: tuple[str, int]):
        assert address(where) == found


class TestStart:
    def test_an_address_that_is_none_is_named_by_its_option(self, tmp_path: Path):
        ended = start(tmp_path, "--listen", "/run/filter.sock")
        assert ended.returncode == 2
        assert "--listen = '/run/filter.sock'" in ended.stderr

    @pytest.mark.parametrize("deadline", ["2", "soon", "2 s", "-1s"])
    def test_a_deadline_is_written_with_its_unit(self, deadline: str, tmp_path: Path):
        ended = start(tmp_path, f"--deadline={deadline}")
        assert ended.returncode == 2
        assert f"--deadline {deadline}: write seconds as" in ended.stderr

    def test_a_deadline_has_bounds(self, tmp_path: Path):
        ended = start(tmp_path, "--deadline=1ms")
        assert "--deadline-seconds = 0.001" in ended.stderr

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (
                ROUTE.format(name="news", kind="feed"),
                "filter.route: there is no route of format rfc822",
            ),
            (
                ROUTE.format(name="a", kind="rfc822") + ROUTE.format(name="b", kind="rfc822"),
                "of format rfc822: a, b",
            ),
            ('[filter]\nroute = "x"\n' + ROUTE.format(name="a", kind="rfc822"), "no such route"),
            ('[filter]\nroute = "a"\n' + ROUTE.format(name="a", kind="text"), "format is text"),
        ],
    )
    def test_the_route_must_be_clear(self, text: str, said: str, tmp_path: Path):
        ended = start(tmp_path, f"--listen=unix:{tmp_path / 's'}", text=text)
        assert ended.returncode == 2
        assert said in ended.stderr
        assert ended.stderr.count("\n") == 1, "it had begun to connect"

    @pytest.mark.parametrize(
        ("lines", "said"),
        [
            ("", "give filter.token_file"),
            ('token_file = "{folder}/none"', "No such file"),
            ('token_file = "{folder}/empty"', "is empty"),
        ],
    )
    def test_beyond_this_machine_a_token_is_needed(self, lines: str, said: str, tmp_path: Path):
        (tmp_path / "empty").touch()
        text = f"[filter]\n{lines.format(folder=tmp_path)}\n" + ROUTE.format(name="a", kind="text")
        ended = start(tmp_path, "--listen=", f"--http=0.0.0.0:{free_port()}", text=text)
        assert ended.returncode == 2
        assert said in ended.stderr

    def test_a_model_that_is_not_there_is_said(self, tmp_path: Path):
        text = ROUTE.format(name="a", kind="text").replace("builtin:spam", str(tmp_path / "none"))
        ended = start(tmp_path, "--listen=", "--in-process", text=text)
        assert ended.returncode == 1
        assert str(tmp_path / "none") in ended.stderr
