"""Brokers that can be killed, stopped and started again, and a wire that can be cut."""

from __future__ import annotations

import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from stream_app.kafka.embedded_broker import EmbeddedBroker
from tests.conftest import apache_kafka, free_port


class Broker:
    """A broker of one test's own."""

    def __init__(self, kind: str, folder: Path, options: str = "", small: bool = False) -> None:
        self.kind = kind
        self.folder = folder
        self.port, self.inner, self.outer = free_port(), free_port(), free_port()
        self.options = options.format(  # further lines of Apache Kafka's configuration
            port=self.port, controller=self.port + 1, inner=self.inner, outer=self.outer
        )
        self.small = small
        self.address = f"127.0.0.1:{self.port}"
        self._running = ExitStack()

    def __enter__(self) -> Broker:
        if self.small:
            self._running.callback(mount(self.folder / "data", "64m"))
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self.go_on()
        self._running.close()

    def start(self) -> None:
        """Start it, again where it was killed; returns once it answers."""
        if self.kind == "tansu":
            embedded = self._running.enter_context(EmbeddedBroker(self.port))
            self.process: subprocess.Popen[bytes] = embedded._process
        else:
            apache = self._running.enter_context(apache_kafka(self.folder, self.port, self.options))
            self.process = apache.process

    def cut(self, topic: str, partition: int, offset: int) -> None:
        """Take a partition's end from the disk of a broker that was killed: what it had not written
        when the power failed. Whole batches stay."""
        folder = self.folder / "data" / "log" / f"{topic}-{partition}"
        [segment] = folder.glob("*.log")
        with segment.open("r+b") as file:
            file.truncate(_end_before(segment.read_bytes(), offset))
        for derived in (*folder.glob("*.*index"), *folder.glob("*.snapshot")):
            derived.unlink()

    def wipe(self) -> None:
        """Empty the disk of a broker that was killed."""
        shutil.rmtree(self.folder / "data")

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def three_brokers(folder: Path, options: str) -> Iterator[Sequence[Broker]]:
    """A cluster; its brokers have the ids 1, 2 and 3. In `options` one of {controllers} (all are)
    and {controller} (the first alone is) must be."""
    brokers = [Broker("apache", folder / f"broker-{number}") for number in (1, 2, 3)]
    voters = [f"{number}@127.0.0.1:{broker.port + 1}" for number, broker in enumerate(brokers, 1)]
    for number, broker in enumerate(brokers, 1):
        broker.folder.mkdir()
        follows = f"process.roles=broker\nlisteners=PLAINTEXT://{broker.address}\n"
        broker.options = f"node.id={number}\n" + options.format(
            controllers=f"controller.quorum.voters={','.join(voters)}",
            controller=(number > 1) * follows + f"controller.quorum.voters={voters[0]}",
        )
    with ExitStack() as running, ThreadPoolExecutor(3) as pool:
        list(pool.map(running.enter_context, brokers))  # none answers before another is there
        try:
            yield brokers
        finally:
            for broker in brokers:
                broker.kill()  # the last one would wait for the others before it ends well


def _end_before(segment: bytes, offset: int) -> int:
    """The size of a segment that ends before the batch with this offset."""
    at = 0
    while at + 12 <= len(segment):
        base, length = struct.unpack_from(">qi", segment, at)
        if base >= offset:
            break
        at += 12 + length
    return at


def mount(folder: Path, size: str) -> Callable[[], object]:
    """A small disk at `folder`; what takes it away again. Skips where that is forbidden."""
    folder.mkdir(exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True
    )
    if made.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    return lambda: subprocess.run(["umount", "-l", folder], check=True)


class Wire:
    """A TCP proxy on 127.0.0.1. Cut, it carries nothing more and closes nothing: packets are lost.

    Mended, connections of before are reset, as a router that forgot them would.
    """

    def __init__(self, port: int, to: int) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", port))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._whole = threading.Event()
        self._whole.set()
        self._over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Carry nothing from here on."""
        self._whole.clear()

    def mend(self) -> None:
        """Carry new connections again."""
        pairs, self._pairs = self._pairs, []
        for near, far in pairs:
            for end in (near, far):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._whole.set()

    def close(self) -> None:
        """Stop listening, drop everything."""
        self._over = True
        self._listener.close()
        self.mend()

    def _accept(self) -> None:
        while not self._over:
            try:
                near, _ = self._listener.accept()
                self._whole.wait()
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                continue
            pair = (near, far)
            self._pairs.append(pair)
            threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        other = {near: far, far: near}
        with suppress(OSError), near, far:
            while True:
                ready, _, _ = select.select([near, far], [], [], 1)
                for end in ready:
                    data = end.recv(65536)
                    self._whole.wait()
                    if not data:
                        return
                    other[end].sendall(data)
