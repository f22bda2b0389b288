"""Rspamd with the plugin of deploy/: a symbol by decision, and none of it in the way."""

from __future__ import annotations

import json
import re
import shutil
import signal
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import free_port
from tests.integration.filters import running_filter
from tests.integration.harness import Stage
from tests.mail.daemons import daemon
from tests.mail.mail_server import HAM, SPAM, mail_server, someone
from tests.mail.rspamd_server import PROGRAM, USER, rspamd
from tests.mail.settings import DEPLOY

CONFIG = """
options {{
  filters = [];
  url_tld = "{folder}/suffixes";
  hs_cache_dir = "{folder}";
  tempdir = "{folder}";
  pidfile = "{folder}/pid";
}}
logging {{ type = "console"; level = "info"; }}
actions {{ reject = 15; add_header = 3; }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}
lua = "{folder}/winnow.lua";
"""
IN_PROCESS = "--in-process"
ALONE = 'group "winnow" { symbols = { "WINNOW_SPAM" { weight = 7.0; } } }'


def skip_without_rspamd() -> None:
    if not PROGRAM.exists():
        pytest.skip(f"no Rspamd here (apt-packages.txt): {PROGRAM} is missing")


def plugin(asked: str, token: str) -> str:
    """The plugin of deploy/, for a filter at `asked`."""
    text = (DEPLOY / "rspamd" / "winnow.lua").read_text()
    lines = {"http://127.0.0.1:9109": asked, "TOKEN = nil": f"TOKEN = {json.dumps(token)}"}
    for line, replaced in lines.items():
        assert line in text
        text = text.replace(line, replaced)
    return text


@contextmanager
def small_rspamd(asked: str, token: str) -> Iterator[str]:
    """The URL of an Rspamd with the plugin and little else; it asks the filter at `asked`."""
    skip_without_rspamd()
    folder, port = Path(tempfile.mkdtemp(prefix="winnow-rspamd-")), free_port()
    (folder / "suffixes").write_text("test\nexample\n")
    (folder / "winnow.lua").write_text(plugin(asked, token))
    (folder / "config").write_text(CONFIG.format(folder=folder, port=port))
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, USER)
    command = [str(PROGRAM), "-f", "-u", USER, "-g", USER, "-c", str(folder / "config")]
    try:
        with daemon(command, folder / "log", port):
            yield f"http://127.0.0.1:{port}"
    finally:
        shutil.rmtree(folder)


def symbols(url: str, mail: bytes) -> dict[str, Any]:
    """The plugin's symbols on a mail, with their scores."""
    with urllib.request.urlopen(f"{url}/checkv2", mail, timeout=60) as answer:
        found = json.load(answer)["symbols"]
    return {name: each["score"] for name, each in found.items() if name.startswith("WINNOW")}


def test_a_decision_is_a_symbol_and_no_label_is_one_without_a_score(stage: Stage, tmp_path: Path):
    (tmp_path / "token").write_text("hush\n")
    stage.sections["filter"] = {"token_file": str(tmp_path / "token")}
    with running_filter(stage, "", "--deadline=60s", IN_PROCESS) as running:
        with small_rspamd(running.url, "other") as url:
            assert symbols(url, SPAM) == {"WINNOW_FAIL": 0}
        assert running.outcomes() == {}
        with small_rspamd(running.url, "hush") as url:
            assert symbols(url, SPAM) == {"WINNOW_SPAM": pytest.approx(4, abs=1)}
            assert symbols(url, HAM) == {"WINNOW_HAM": pytest.approx(-1, abs=0.2)}
            assert running.outcomes() == {"labelled": 2}
            assert running.process.stop() == 0
            assert symbols(url, SPAM) == {"WINNOW_FAIL": 0}


@pytest.mark.slow
def test_rspamd_files_mail_by_the_symbol_and_delivers_without_it(stage: Stage):
    skip_without_rspamd()
    port, milter = free_port(), (DEPLOY / "rspamd" / "main.cf").read_text().split(" = ", 1)[1]
    milters = {"rspamd": re.sub(r"timeout=\d+s", "timeout=90s", milter.strip())}
    milters["rspamd"] = milters["rspamd"].replace("11332", str(port))
    with (
        mail_server(milters, "rspamd/winnow.sieve") as server,
        running_filter(stage, "", "--deadline=60s", IN_PROCESS) as running,
        rspamd(port, plugin(running.url, ""), ALONE) as url,
    ):

        def folder(mail: bytes) -> str:
            server.send(user := someone(), mail, server.ports["rspamd"])
            [found] = server.delivered(user, 1)
            return found.folder

        assert [folder(mail) for mail in (SPAM, HAM)] == ["Junk", "INBOX"]
        assert folder(b"X-Spam: Yes\r\n" + HAM) == "INBOX"
        assert running.outcomes() == {"labelled": 3}
        assert symbols(url, SPAM)["WINNOW_SPAM"] > 6
        running.process.process.send_signal(signal.SIGSTOP)
        assert folder(HAM) == "INBOX"
        running.process.kill()
        assert folder(HAM) == "INBOX"
