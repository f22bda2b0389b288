"""What all tests share: the brokers they run against, and where the shared data is, if anywhere."""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import IO

import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from stream_app.kafka.embedded_broker import EmbeddedBroker

# before torch is imported, and for every process that a test starts: beside other tests, threads
# that wait for their turn on a core cost ten times what tiny models compute
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
pytest_plugins = ["tests.registries", "tests.pretended_registry", "tests.postgres"]
ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
FOLDERS = ("deploy", "integration", "browser", "mail", "functional", "property", "helm", "unit")
KAFKA = SHARED / "kafka" / "kafka.sh"
LEAST_CLIENT_PORT = 32_768  # on Linux; elsewhere it is above
LANES = 32


def pytest_configure() -> None:
    # a shell starts background jobs with SIGINT ignored, and a child inherits that, handlers not:
    # tests of Ctrl-C would wait for ever where the suite runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--broker",
        action="append",
        metavar="tansu|apache|HOST:PORT",
        help="run the broker tests against this broker only (default: every one there is)",
    )
    parser.addoption(
        "--all-faults",
        action="store_true",
        help="every fault with 20,000 messages, an hour and more, instead of the quick ones",
    )
    parser.addoption("--soak-minutes", type=float, help="run the soak test for so long")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "broker_kind" in metafunc.fixturenames:
        kinds = metafunc.config.getoption("--broker") or ["tansu", "apache"]
        metafunc.parametrize("broker_kind", kinds, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # long files first: at the end of the suite no core waits for the last one
    items.sort(key=lambda item: FOLDERS.index(item.path.relative_to(ROOT).parts[1]))


@pytest.fixture(scope="session")
def tansu() -> Iterator[str]:
    """host:port of the embedded broker."""
    with EmbeddedBroker(free_port()) as embedded:
        yield embedded.address


@pytest.fixture(scope="session")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of an Apache Kafka."""
    with apache_kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.address


@pytest.fixture(scope="session")
def broker_address(broker_kind: str, request: pytest.FixtureRequest) -> str:
    """host:port of a running broker, shared by the session's tests: use topics of your own.

    Each is started once: a fixture with `broker_kind` as its parameter would start it anew whenever
    the next file begins with the other.
    """
    known = broker_kind in ("tansu", "apache")
    return str(request.getfixturevalue(broker_kind)) if known else broker_kind


@dataclass(frozen=True)
class Apache:
    """A running Apache Kafka."""

    address: str
    process: subprocess.Popen[bytes]


@contextmanager
def apache_kafka(
    folder: Path, port: int | None = None, options: str = "", format_arguments: str = ""
) -> Iterator[Apache]:
    """An Apache Kafka from jars; its records survive in `folder`. `options` are more lines of its
    configuration, `format_arguments` go to the tool that makes its storage."""
    skip_without_kafka()
    port = port or free_port()
    log = (folder / "kafka.log").open("ab")
    (folder / "extra.properties").write_text(options)
    environment = {
        "KAFKA_OPTS_FILE": str(folder / "extra.properties"),
        "KAFKA_FORMAT_ARGS": format_arguments,
    }
    process = subprocess.Popen(
        [KAFKA, folder / "data", str(port)], stdout=log, stderr=log, env=os.environ | environment
    )
    try:
        yield Apache(wait_for_broker(f"127.0.0.1:{port}", process), process)
    finally:
        process.terminate()
        process.wait(60)


def skip_without_kafka() -> None:
    """Skips the test where there is no Apache Kafka to start."""
    if not KAFKA.exists():
        pytest.skip("no Apache Kafka here: ../shared/kafka is absent")
    if shutil.which("java") is None:
        pytest.skip("no Java here, which Apache Kafka needs")


def wait_for_broker(address: str, process: subprocess.Popen[bytes]) -> str:
    """The address, once a broker answers there."""
    while process.poll() is None:
        try:
            KafkaAdminClient(bootstrap_servers=address, bootstrap_timeout_ms=1000).close()
            return address
        except KafkaError:
            continue
    raise AssertionError(f"the broker ended with code {process.returncode}")


def _own_lane() -> tuple[int, IO[str]]:
    """One of LANES that no other process of tests on this machine has; the file is its lock.

    A broker that a test kills leaves its port for seconds: another suite's broker would take it,
    and answer the first one's worker.
    """
    for lane in range(LANES):
        lock = (Path(gettempdir()) / f"winnow-tests-{os.getuid()}-{lane}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        return lane, lock
    raise AssertionError(f"{LANES} suites run on this machine already")


LANE, _LOCK = _own_lane()
PORTS = itertools.cycle(range(10_000 + 2 * LANE, LEAST_CLIENT_PORT, 2 * LANES))


def free_port() -> int:
    """A port nobody listens on, with the one above it free too (Apache Kafka takes both).

    It is used seconds later: so it is none that the system may give to a client meanwhile.
    """
    for low in PORTS:
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", low))
                other.bind(("127.0.0.1", low + 1))
            except OSError:
                continue
            return low
    raise AssertionError("there is no end of ports")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared data and models; the test skips where they are absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs real corpora: ../shared/data is absent")
    return SHARED
