"""The filters that `bench/mail.py` measures beside Winnow, each as a milter of Postfix.

Both run without their tests by network: there is none to ask.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stream_app.core.tether import stop, tethered
from tests.conftest import free_port

START_SECONDS = 300.0
SPAMD_CHILDREN = RSPAMD_PROCESSES = 2
BY_NETWORK = ("rbl", "spf", "dkim", "dmarc", "arc", "asn", "fuzzy_check", "surbl", "hfilter")
RSPAMD_FILES = {
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
def spamd(folder: Path, milter_port: int) -> Iterator[None]:
    """SpamAssassin's daemon and spamass-milter."""
    port, children = free_port(), str(SPAMD_CHILDREN)
    daemon = [_program("spamd"), "-L", "-x", "-m", children, f"--min-children={children}"]
    daemon += ["-i", "127.0.0.1", "-p", str(port), "-u", "nobody"]
    milter = [_program("spamass-milter"), "-p", f"inet:{milter_port}@127.0.0.1"]
    milter += ["--", "-p", str(port), "-d", "127.0.0.1"]
    with (
        _running(daemon, folder / "spamd.log", lambda: _listens(port)),
        _running(milter, folder / "spamass-milter.log", lambda: _listens(milter_port)),
    ):
        yield


@contextmanager
def rspamd(folder: Path, milter_port: int) -> Iterator[None]:
    """Rspamd as it is installed, its proxy as a milter."""
    given = {
        "milter": milter_port,
        "controller": free_port(),
        "processes": RSPAMD_PROCESSES,
    }
    (folder / "local.d").mkdir(parents=True)
    for name, text in RSPAMD_FILES.items():
        (folder / "local.d" / name).write_text(text.format(**given))
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, "_rspamd")
    command = [_program("rspamd"), "-f", "-u", "_rspamd", "-g", "_rspamd"]
    command += ["-c", "/etc/rspamd/rspamd.conf"]
    for name in ("LOCAL_CONFDIR", "DBDIR", "RUNDIR", "LOGDIR"):
        command += ["--var", f"{name}={folder}"]
    with _running(command, folder / "log", lambda: _listens(milter_port)):
        yield


PEERS = {"rspamd": rspamd, "spamd": spamd}
PROGRAMS = {"rspamd": ("rspamd",), "spamd": ("spamd", "spamass-milter")}


def installed() -> list[str]:
    """The peers that can be measured here."""
    return [name for name, needed in PROGRAMS.items() if all(map(shutil.which, needed))]


@contextmanager
def _running(command: Sequence[str], log: Path, ready: Callable[[], bool]) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(tethered(command), stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        stop(process, 30)


def _program(name: str) -> str:
    return shutil.which(name) or name


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
