"""Rspamd with the plugin of deploy/: a symbol by decision, and none of it in the way."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stream_app.core.tether import stop, tethered
from tests.conftest import ROOT, free_port
from tests.integration.filters import running_filter
from tests.integration.harness import PATIENCE, Stage, get
from tests.mail.mail_server import HAM, SPAM

PROGRAM = "/usr/bin/rspamd"
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


@contextmanager
def rspamd(asked: str, token: str) -> Iterator[str]:
    """The URL of an Rspamd with the plugin and little else; it asks the filter at `asked`."""
    if not Path(PROGRAM).exists():
        pytest.skip(f"no Rspamd here (apt-packages.txt): {PROGRAM} is missing")
    plugin = (ROOT / "deploy" / "rspamd" / "winnow.lua").read_text()
    lines = {"http://127.0.0.1:9109": asked, "TOKEN = nil": f"TOKEN = {json.dumps(token)}"}
    for line, replaced in lines.items():
        assert line in plugin
        plugin = plugin.replace(line, replaced)
    folder, port = Path(tempfile.mkdtemp(prefix="winnow-rspamd-")), free_port()
    (folder / "suffixes").write_text("test\nexample\n")
    (folder / "winnow.lua").write_text(plugin)
    (folder / "config").write_text(CONFIG.format(folder=folder, port=port))
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, "_rspamd")
    command = [PROGRAM, "-f", "-u", "_rspamd", "-g", "_rspamd", "-c", str(folder / "config")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(tethered(command), stdout=log, stderr=log)
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
        while get(f"{url}/ping")[0] != 200:
            assert time.monotonic() < deadline, (folder / "log").read_text()[-3000:]
            time.sleep(0.1)  # HTTP offers no event to await
        yield url
    finally:
        stop(process, 30)
        shutil.rmtree(folder)


def symbols(url: str, mail: bytes) -> dict[str, Any]:
    """The plugin's symbols on a mail, with their scores."""
    with urllib.request.urlopen(f"{url}/checkv2", mail, timeout=60) as answer:
        found = json.load(answer)["symbols"]
    return {name: each["score"] for name, each in found.items() if name.startswith("WINNOW")}


def test_a_decision_is_a_symbol_and_no_label_is_one_without_a_score(stage: Stage, tmp_path: Path):
    (tmp_path / "token").write_text("hush\n")
    stage.sections["filter"] = {"token_file": str(tmp_path / "token")}
    with running_filter(stage, "", "--deadline=60s", "--in-process") as running:
        with rspamd(running.url, "other") as url:
            assert symbols(url, SPAM) == {"WINNOW_FAIL": 0}
        assert running.outcomes() == {}
        with rspamd(running.url, "hush") as url:
            assert symbols(url, SPAM) == {"WINNOW_SPAM": pytest.approx(4, abs=1)}
            assert symbols(url, HAM) == {"WINNOW_HAM": pytest.approx(-1, abs=0.2)}
            assert running.outcomes() == {"labelled": 2}
            assert running.process.stop() == 0
            assert symbols(url, SPAM) == {"WINNOW_FAIL": 0}
