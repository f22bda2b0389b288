"""The filters that `bench/mail.py` measures beside Winnow, each as a milter of Postfix.

Both run without their tests by network: there is none to ask.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import free_port
from tests.mail.daemons import daemon
from tests.mail.rspamd_server import rspamd

SPAMD_CHILDREN = 2


@contextmanager
def spamd(folder: Path, milter_port: int) -> Iterator[None]:
    """SpamAssassin's daemon and spamass-milter."""
    port, children = free_port(), str(SPAMD_CHILDREN)
    server = [_program("spamd"), "-L", "-x", "-m", children, f"--min-children={children}"]
    server += ["-i", "127.0.0.1", "-p", str(port), "-u", "nobody"]
    milter = [_program("spamass-milter"), "-p", f"inet:{milter_port}@127.0.0.1"]
    milter += ["--", "-p", str(port), "-d", "127.0.0.1"]
    with (
        daemon(server, folder / "spamd.log", port),
        daemon(milter, folder / "spamass-milter.log", milter_port),
    ):
        yield


@contextmanager
def as_installed(_: Path, milter_port: int) -> Iterator[None]:
    """Rspamd, its proxy as a milter."""
    with rspamd(milter_port):
        yield


PEERS = {"rspamd": as_installed, "spamd": spamd}
PROGRAMS = {"rspamd": ("rspamd",), "spamd": ("spamd", "spamass-milter")}


def installed() -> list[str]:
    """The peers that can be measured here."""
    return [name for name, needed in PROGRAMS.items() if all(map(shutil.which, needed))]


def _program(name: str) -> str:
    return shutil.which(name) or name
