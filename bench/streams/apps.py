"""Who takes part in `stream_peers.py`: a name, a command, and a process of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from peers import load, onnx_file
from stream import WINNOW

from stream_app.model.artifact import Artifact
from stream_app.model.references import resolve

BENCH = Path(__file__).parent.parent
SESSION_SECONDS = 10  # of all: Winnow's default, the shortest
LAST_LINES = 20


@dataclass(frozen=True)
class App:
    """One way to label a stream."""

    name: str
    how: str
    folder: Path  # where it may write, and where its logs are
    command: Callable[[str], list[str]]  # of a topic
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> str:
        """The first package that is not installed, '' where all are."""
        return next((name for name in self.needs if find_spec(name) is None), "")

    def topic(self, phase: str) -> str:
        """Its input, of one measurement."""
        return f"{self.name.lower().replace(' ', '-')}-{phase}"

    @contextmanager
    def running(self, topic: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process of it on a topic; stopped at the end, if it still runs."""
        with self.log(topic).open("ab") as log:
            process = subprocess.Popen(
                self.command(topic),
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(BENCH)},
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(SESSION_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self, topic: str) -> Path:
        """What its processes on a topic said."""
        return self.folder / f"{topic}.log"

    def last_words(self, topic: str) -> str:
        """The end of that."""
        return "\n".join(self.log(topic).read_text(errors="replace").splitlines()[-LAST_LINES:])


def peak_mib(process: subprocess.Popen[bytes]) -> float:
    """The most memory the process has held so far, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (kib,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kib) / 1024


def all_apps(address: str, folder: Path) -> list[App]:
    """Winnow and its peers; each topic's configuration of a worker is in `folder`."""
    artifact = resolve("builtin:spam")
    model = folder / "model"

    def winnow(topic: str) -> list[str]:
        return [*WINNOW, "worker", "--config", str(folder / f"{topic}.toml")]

    def peer(script: str) -> Callable[[str], list[str]]:
        told = (str(model), str(artifact.card.max_tokens), str(SESSION_SECONDS))
        return lambda topic: [
            sys.executable,
            str(BENCH / "streams" / script),
            address,
            topic,
            *told,
        ]

    onnx = ("quixstreams", "onnx", "onnxruntime", "onnxscript")
    return [
        App("Winnow", "as installed", folder, winnow),
        App("Faust", "transformers, float32, batches of 32", folder, peer("faust_app.py")),
        App("Quix Streams", "ONNX Runtime, int8, sorted", folder, peer("quix_app.py"), onnx),
    ]


def write_model(folder: Path, onnx: bool) -> None:
    """The ALBERT alone, without the n-grams beside it: in float32, and in int8 for ONNX Runtime."""
    artifact: Artifact = resolve("builtin:spam")
    load(artifact, "float32").save_pretrained(folder)
    shutil.copytree(artifact.tokenizer, folder, dirs_exist_ok=True)
    if onnx:
        made = folder / "made"
        made.mkdir()
        onnx_file(artifact, "int8", made).rename(folder / "model.onnx")
        shutil.rmtree(made)
