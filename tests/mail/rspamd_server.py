"""Debian's Rspamd as it is installed, as a milter on a free port; it asks nobody on the network."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import free_port
from tests.mail.daemons import daemon

PROGRAM = Path("/usr/bin/rspamd")
USER = "_rspamd"
PROCESSES = 2
BY_NETWORK = ("rbl", "spf", "dkim", "dmarc", "arc", "asn", "fuzzy_check", "surbl", "hfilter")
LOCAL = {
    "options.inc": 'dns {{ timeout = 0.1s; retransmits = 1; nameserver = ["127.0.0.1:1"]; }}',
    "logging.inc": 'type = "console"; level = "warning";',
    "worker-normal.inc": "enabled = false;",
    "worker-fuzzy.inc": "enabled = false;",
    "worker-controller.inc": 'bind_socket = "127.0.0.1:{controller}"; count = 1;',
    "worker-proxy.inc": (
        'bind_socket = "127.0.0.1:{milter}"; milter = yes; timeout = 60s; count = {processes};'
        ' upstream "local" {{ default = yes; self_scan = yes; }}'
    ),
    **{f"{name}.conf": "enabled = false;" for name in BY_NETWORK},
}


@contextmanager
def rspamd(milter_port: int, rules: str = "", groups: str = "") -> Iterator[str]:
    """A running one; the URL of its controller. `rules` are Lua, of `rspamd.local.lua`, and
    `groups` are `local.d/groups.conf`."""
    folder = Path(tempfile.mkdtemp(prefix="winnow-rspamd-"))
    controller = free_port()
    given = {"milter": milter_port, "controller": controller, "processes": PROCESSES}
    (folder / "local.d").mkdir()
    for name, text in LOCAL.items():
        (folder / "local.d" / name).write_text(text.format(**given))
    (folder / "local.d" / "groups.conf").write_text(groups)
    (folder / "rspamd.local.lua").write_text(rules)
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, USER)
    command = [str(PROGRAM), "-f", "-u", USER, "-g", USER, "-c", "/etc/rspamd/rspamd.conf"]
    for name in ("LOCAL_CONFDIR", "DBDIR", "RUNDIR", "LOGDIR"):
        command += ["--var", f"{name}={folder}"]
    try:
        with daemon(command, folder / "log", milter_port):
            yield f"http://127.0.0.1:{controller}"
    finally:
        shutil.rmtree(folder)
