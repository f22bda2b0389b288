"""The registry as a worker asks it: in a child process, so that it cannot harm the worker.

A registry may be slow, endless or broken. The child has limits of time, memory and disk, and is
killed beyond them. Its answers are checked.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream_app.core.errors import ModelError, NotRegistered, RegistryUnreachable
from stream_app.model.registry import RegisteredVersion, Registry

START_SECONDS = 120.0  # Python and MLflow, on a machine that is busy
FIND_SECONDS = 30.0
FETCH_SECONDS = 900.0
FETCH_BYTES = 5 * 2**30  # of all files
LOOK_SECONDS = 0.2  # between two checks of what was downloaded
ANSWER_BYTES = 2**20
ERRORS = {kind.__name__: kind for kind in (ModelError, NotRegistered, RegistryUnreachable)}

Text = Annotated[str, Field(max_length=4096)]


class _Found(BaseModel):
    """A version, as the child reports it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text
    version: str = Field(pattern=r"^\d{1,18}$")
    digest: Text
    aliases: tuple[Text, ...]
    source: Text
    created: datetime


class ConfinedRegistry(Registry):
    """`find` and `fetch` as `Registry` has them, within limits.

    Raises RegistryUnreachable if the registry is too slow or its answer is invalid, and ModelError
    if a model's files are too large. The child answers one question at a time.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._child: subprocess.Popen[bytes] | None = None
        self._heard = b""
        self._turn = Lock()

    def find(self, name: str, alias_or_version: str) -> RegisteredVersion:
        """The version that an alias points at, or that has this number."""
        said = self._ask({"name": name, "version": alias_or_version}, FIND_SECONDS)
        try:
            found = _Found.model_validate(said)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise RegistryUnreachable(self._invalid(f"{where}: {first['msg']}")) from None
        if found.name != name:
            raise RegistryUnreachable(self._invalid(f"another model than {name}"))
        return RegisteredVersion(**dict(found), tags={})

    def download(self, name: str, version: str, folder: Path, source: str) -> Path:
        """The files of a version in `folder`, or in a folder there."""

        def too_large() -> None:
            if _size(folder) > FETCH_BYTES:
                raise ModelError(
                    f"models:/{name}/{version} is larger than {FETCH_BYTES // 2**30} GiB, "
                    "the limit for a model"
                )

        question = {"name": name, "version": version, "folder": str(folder), "source": source}
        said = self._ask(question, FETCH_SECONDS, too_large)
        path = Path(str(said.get("path")))
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ModelError(
                f"models:/{name}/{version}: its files are outside of the download folder"
            )
        too_large()
        return path

    def close(self) -> None:
        """End the child; the next question starts another."""
        child, self._child, self._heard = self._child, None, b""
        if child is None:
            return
        child.kill()
        child.wait()

    def _ask(
        self, question: Mapping[str, str], seconds: float, look: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        with self._turn:
            try:
                if self._child is None:
                    self._child = self._started()
                self._line(self._child, START_SECONDS)
                assert self._child.stdin is not None
                self._child.stdin.write(json.dumps(question).encode() + b"\n")
                self._child.stdin.flush()
                said = json.loads(self._line(self._child, seconds, look))
            except (OSError, ValueError) as error:
                self.close()
                why = self._invalid(type(error).__name__)
                raise RegistryUnreachable(why) from None
            except BaseException:
                self.close()
                raise
        if "error" in said:
            raise ERRORS.get(said["error"], ModelError)(said["message"])
        return dict(said)

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "stream_app.model.confined.child", self._uri]
        # a process group of its own, so that Ctrl-C reaches the worker only; the child ends with it
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        assert child.stdout is not None
        os.set_blocking(child.stdout.fileno(), False)
        return child

    def _line(
        self,
        child: subprocess.Popen[bytes],
        seconds: float,
        look: Callable[[], None] = lambda: None,
    ) -> bytes:
        """The child's next line. Raises RegistryUnreachable if there is none in time."""
        assert child.stdout is not None
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as waiting:
            waiting.register(child.stdout, selectors.EVENT_READ)
            while b"\n" not in self._heard:
                if (left := end - time.monotonic()) <= 0:
                    raise RegistryUnreachable(
                        f"the model registry at {self._uri} has not answered for {seconds:.0f} s: "
                        "check its server"
                    )
                if waiting.select(min(left, LOOK_SECONDS)):
                    heard = os.read(child.stdout.fileno(), ANSWER_BYTES)
                    self._heard += heard
                    if not heard:
                        raise RegistryUnreachable(
                            f"the process that asks the model registry at {self._uri} ended: is "
                            "there enough memory?"
                        )
                    if len(self._heard) > ANSWER_BYTES:
                        raise RegistryUnreachable(self._invalid("too long"))
                look()
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    def _invalid(self, what: str) -> str:
        return (
            f"the model registry at {self._uri} gives an invalid answer ({what}): check "
            "registry.uri and its server"
        )


def _size(folder: Path) -> int:
    """Bytes of the files in a folder that is being written to."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total
