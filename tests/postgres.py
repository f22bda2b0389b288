"""A private PostgreSQL: a cluster in a temporary folder, at a free port, gone with the tests."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psycopg
import pytest

from tests.conftest import free_port

START_SECONDS = 60.0  # of a machine that has much else to do
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path("/usr/bin")]
FAST = "fsync=off\nfull_page_writes=off\nmax_wal_size=512MB\n"


@dataclass
class Postgres:
    """One server. It refuses root, so that root starts it as the user `postgres`."""

    folder: Path
    port: int
    options: str = FAST
    _process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """The address of a database, without a password: this server asks none."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def make(self) -> None:
        """A new cluster in the folder."""
        self._own()
        command = [PROGRAMS[-1] / "initdb", "-D", self._data, "-U", "postgres", "--auth=trust"]
        subprocess.run([*command, "-E", "UTF8"], check=True, capture_output=True, user=_user())
        with (self._data / "postgresql.auto.conf").open("a") as conf:
            conf.write(self.options)

    def start(self) -> None:
        """Run it, and return once it answers."""
        listen = [
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"unix_socket_directories={self.folder}",
        ]
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            [PROGRAMS[-1] / "postgres", "-D", self._data, "-p", str(self.port), *listen],
            stdout=log,
            stderr=log,
            user=_user(),
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                assert self._process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.05)  # a server that starts offers no event to await

    def kill(self) -> None:
        """Without a goodbye: every process of it at once, as a crash of the machine would."""
        if self._process is not None:
            children = children_of(self._process.pid)
            self._process.kill()
            self._process.wait()
            for child in children:
                try:
                    os.kill(child, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self._process = None

    def stop(self) -> None:
        """End it well, without waiting for its clients."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def database(self, name: str) -> str:
        """A new database; its address."""
        self.run(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def run(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows of a statement, if it has any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _own(self) -> None:
        if _user():
            shutil.chown(self.folder, _user())


@contextmanager
def postgres_server(options: str = FAST) -> Iterator[Postgres]:
    """A server of its own. Its folder is where its user may go, as pytest's is not."""
    if not (PROGRAMS[-1] / "initdb").exists():
        pytest.skip("there is no PostgreSQL here: apt-packages.txt")
    folder = Path(mkdtemp(prefix="winnow-postgres-"))
    server = Postgres(folder, free_port(), options)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server shared by the session's tests: use a database of your own."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def database(postgres: Postgres) -> str:
    """The address of a database of this test alone."""
    return postgres.database(f"t{uuid.uuid4().hex[:10]}")


def _user() -> str | None:
    """Who the server runs as, where it cannot be us."""
    if getpass.getuser() != "root":
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


def children_of(pid: int) -> list[int]:
    """The processes that a process started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in found.split()]
