"""The registry as a worker and every command ask it: in a child process, which alone it can harm.

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
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Annotated, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

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
Number = Annotated[str, Field(pattern=r"^\d{1,18}$")]  # of a version


class _Found(BaseModel):
    """A version, as the child reports it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text
    version: Number
    digest: Text
    aliases: tuple[Text, ...]
    source: Text
    created: datetime


_FOUND, _NAMES = TypeAdapter(_Found), TypeAdapter(tuple[Text, ...])
Said = TypeVar("Said")


class ConfinedRegistry(Registry):
    """What `Registry` has, within limits.

    Raises RegistryUnreachable if the registry is too slow or its answer is invalid, and ModelError
    if a model's files are too large. The child answers one question at a time.
    """

    child: ClassVar[str] = "stream_app.model.confined.child"  # the module that it runs

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._child: subprocess.Popen[bytes] | None = None
        self._heard = b""
        self._turn = Lock()

    def find(self, name: str, alias_or_version: str) -> RegisteredVersion:
        """See Registry."""
        return self._version(name, self._ask("find", name, alias_or_version))

    def names(self) -> list[str]:
        """See Registry."""
        names = self._checked(_NAMES, self._ask("names"))
        return list(names)

    def versions(self, name: str) -> list[RegisteredVersion]:
        """See Registry."""
        said = self._ask("versions", name)
        return [self._version(name, each) for each in (said if isinstance(said, list) else [said])]

    def point(self, name: str, alias: str, version: str) -> None:
        """See Registry."""
        self._ask("point", name, alias, version)

    def promote(self, name: str, version: str | None = None) -> RegisteredVersion:
        """See Registry."""
        return self._version(name, self._ask("promote", name, version))

    def rollback(self, name: str) -> RegisteredVersion:
        """See Registry."""
        return self._version(name, self._ask("rollback", name))

    def download(self, name: str, version: str, folder: str | Path, source: str) -> Path:
        """See Registry."""

        def too_large() -> None:
            if _size(Path(folder)) > FETCH_BYTES:
                raise ModelError(
                    f"models:/{name}/{version} is larger than {FETCH_BYTES // 2**30} GiB, "
                    "the limit for a model"
                )

        asked = ("download", name, version, str(folder), source)
        path = Path(str(self._ask(*asked, seconds=FETCH_SECONDS, look=too_large)))
        if not path.resolve().is_relative_to(Path(folder).resolve()):
            raise ModelError(
                f"models:/{name}/{version}: its files are outside of the download folder"
            )
        too_large()
        return path

    def _version(self, name: str, said: object) -> RegisteredVersion:
        found = self._checked(_FOUND, said)
        if found.name != name:
            raise RegistryUnreachable(self._invalid(f"another model than {name}"))
        return RegisteredVersion(**dict(found), tags={})

    def _checked(self, kind: TypeAdapter[Said], said: object) -> Said:
        try:
            return kind.validate_python(said)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise RegistryUnreachable(self._invalid(f"{where}: {first['msg']}")) from None

    def close(self) -> None:
        """End the child; the next question starts another."""
        child, self._child, self._heard = self._child, None, b""
        if child is None:
            return
        child.kill()
        child.wait()

    def _ask(
        self,
        method: str,
        *arguments: object,
        seconds: float | None = None,
        look: Callable[[], None] = lambda: None,
    ) -> object:
        """What the child's registry says, unchecked; `look` is called now and then meanwhile."""
        question = json.dumps({"method": method, "arguments": arguments}, default=str)
        with self._turn:
            try:
                if self._child is None:
                    self._child = self._started()
                self._line(self._child, START_SECONDS)
                assert self._child.stdin is not None
                self._child.stdin.write(question.encode() + b"\n")
                self._child.stdin.flush()
                line = self._line(self._child, seconds or FIND_SECONDS, look)
                said = dict(json.loads(line))
            except (OSError, ValueError) as error:
                self.close()
                why = self._invalid(type(error).__name__)
                raise RegistryUnreachable(why) from None
            except BaseException:
                self.close()
                raise
        if "error" in said:
            raise ERRORS.get(said["error"], ModelError)(said["message"])
        return said.get("said")

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", self.child, self._uri]
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
