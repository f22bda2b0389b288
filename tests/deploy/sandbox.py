"""docker-compose.yml without Docker: each service's own program, confined as its container is.

A service runs with what the file says: command, environment, mounts, secrets, tmpfs, a root file
system that is read-only, a user without a capability (bubblewrap). Its image is what this machine
has of the same program. All share one network in which nobody else is (`make test-deploy`), so
ports and names are the file's too.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any

import yaml

from tests.conftest import KAFKA, ROOT
from tests.deploy.names import Names
from tests.postgres import PROGRAMS, children_of

BIN = Path(sys.executable).parent
REGISTRY = BIN.parent / "registry" / "bin"  # deploy/mlflow/requirements.txt, installed
ETC = ("alternatives", "ld.so.cache", "localtime", "mime.types", "ssl")
HOME = "/home/winnow"
PATIENCE = 240.0  # seconds; a machine may have much else to do

# what an image's own start does, where that is more than to run a program
KAFKA_START = f"""
env | grep ^KAFKA_ | while IFS='=' read -r key value; do
    echo "$(echo "${{key#KAFKA_}}" | tr 'A-Z_' 'a-z.')=$value"
done > /tmp/properties
exec env KAFKA_OPTS_FILE=/tmp/properties {KAFKA.resolve()} /tmp/kafka
"""
POSTGRES_START = """
export PGDATA=/var/lib/postgresql/data
initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-host=scram-sha-256
echo "CREATE DATABASE $POSTGRES_USER" | postgres --single postgres
exec postgres -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql
"""
IMAGES: Mapping[str, tuple[int, list[str]]] = {  # user and entrypoint
    "apache/kafka": (1000, ["bash", "-c", KAFKA_START]),
    "postgres": (999, ["sh", "-ec", POSTGRES_START]),
    "prom/alertmanager": (65534, ["prometheus-alertmanager"]),
    "prom/prometheus": (65534, ["prometheus"]),
    "winnow-registry": (10002, [str(ROOT / "deploy/mlflow/serve.sh")]),
    "winnow-stream": (10001, ["winnow"]),
    "winnow-trainer": (10001, ["winnow"]),
}
CHECK = ["CMD", "python", "/usr/local/lib/winnow/healthcheck.py"]  # the Dockerfile's


class Deployment:
    """The deployment's files in a folder of their own, as its operator has them, and what runs."""

    def __init__(self, folder: Path, names: Names) -> None:
        self.folder = folder
        self.settings: dict[str, str] = {}  # over those of .env
        self._names = names
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._files: dict[str, dict[str, Any]] = {}  # by settings: reading one takes a second
        shutil.copytree(ROOT / "deploy", folder / "deploy")
        for name in ("docker-compose.yml", ".env"):
            shutil.copy(ROOT / name, folder)
        users = {user for user, _ in IMAGES.values()}
        lines = (f"user{user}:x:{user}:{user}::{HOME}:/bin/sh\n" for user in users)
        (folder / "passwd").write_text("".join(lines))

    def file(self) -> dict[str, Any]:
        """docker-compose.yml with what .env says."""
        command, given = ["docker-compose", "config"], os.environ | self.settings
        if (known := str(self.settings)) not in self._files:
            said = subprocess.run(command, cwd=self.folder, env=given, check=True, stdout=PIPE)
            self._files[known] = yaml.safe_load(said.stdout)
        return self._files[known]

    def up(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a service, with its command or another."""
        self._names.known.add(name)
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                self._inside(name, *arguments), stdout=log, stderr=log, start_new_session=True
            )
        return self._running[name]

    def stop(self, name: str) -> int:
        """End a service as `docker compose stop` does, by its image's signal; its exit code."""
        self._names.known.discard(name)
        process = self._running.pop(name)
        with suppress(ProcessLookupError, FileNotFoundError):  # it has ended
            for child in children_of(process.pid):
                os.kill(child, signal.SIGINT if name == "postgres" else signal.SIGTERM)
        try:
            return process.wait(PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def stop_all(self) -> None:
        """What depends on another ends before it."""
        for name in reversed(list(self._running)):
            self.stop(name)

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command with a service's image and settings, as `docker compose run` has it."""
        command = self._inside(name, *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

    def until_healthy(self, name: str) -> None:
        """Wait for a service's health check, as those do that depend on it."""
        checked = self.file()["services"][name].get("healthcheck", {"test": CHECK})
        test, deadline = checked["test"][1:], time.monotonic() + PATIENCE
        while subprocess.run(self._confined(name, test), capture_output=True).returncode:
            assert self._running[name].poll() is None, f"{name} ended: {self.log(name)}"
            assert time.monotonic() < deadline, f"{name} is not healthy: {self.log(name)}"
            time.sleep(0.5)  # a container's state changes by such looks, too

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-5000:]

    def _inside(self, name: str, *arguments: str) -> list[str]:
        """The command that runs a service, or its program with other arguments."""
        spec = self.file()["services"][name]
        entrypoint = spec.get("entrypoint", IMAGES[_image(spec)][1])
        return self._confined(name, [*entrypoint, *(arguments or spec.get("command", []))])

    def _confined(self, name: str, command: list[str]) -> list[str]:
        """A command, in what a service sees of the world."""
        file = self.file()
        spec = file["services"][name]
        assert spec["read_only"]
        assert spec["cap_drop"] == ["ALL"]
        user = str(IMAGES[_image(spec)][0])
        return [
            *("bwrap", "--die-with-parent", "--unshare-user", "--uid", user, "--gid", user),
            *self._system(),
            *self._mounts(spec, file["secrets"]),
            *("--remount-ro", "/", "--clearenv"),
            *(each for pair in _environment(spec).items() for each in ("--setenv", *pair)),
            *("--chdir", HOME, *command),
        ]

    def _system(self) -> Iterator[str]:
        """Programs, libraries and names: what is in an image."""
        for folder in ("/usr", str(ROOT), sys.base_prefix, str(KAFKA.parent.resolve())):
            yield from ("--ro-bind", folder, folder)
        for link in ("bin", "lib", "lib64", "sbin"):
            yield from ("--symlink", f"usr/{link}", f"/{link}")
        for etc in (*ETC, *(java.name for java in Path("/etc").glob("java-*"))):
            yield from ("--ro-bind-try", f"/etc/{etc}", f"/etc/{etc}")
        for etc in (*self._names.files, self.folder / "passwd"):
            yield from ("--ro-bind", str(etc), f"/etc/{etc.name}")
        yield from ("--proc", "/proc", "--dev", "/dev", "--dir", HOME)
        yield from ("--tmpfs", "/usr/local/lib")
        yield from ("--ro-bind", str(self.folder / "deploy/healthcheck.py"), CHECK[-1])

    def _mounts(self, spec: Mapping[str, Any], secrets: Mapping[str, Any]) -> Iterator[str]:
        for place in spec["tmpfs"]:
            yield from ("--tmpfs", place)
        for volume in spec.get("volumes", ()):
            source, target, mode = volume.split(":")
            if not source.startswith("/"):
                source = str(self.folder / "volumes" / source)
                Path(source).mkdir(parents=True, exist_ok=True)
            yield from ("--ro-bind" if mode == "ro" else "--bind", source, target)
        for secret in spec.get("secrets", ()):
            source = secrets[secret["source"]]["file"]
            target = secret.get("target", secret["source"])
            yield from ("--ro-bind", source, str(Path("/run/secrets") / target))


def _image(spec: Mapping[str, Any]) -> str:
    return str(spec["image"]).split(":")[0]


def _environment(spec: Mapping[str, Any]) -> dict[str, str]:
    """What a container's image and its service say, with this machine's programs."""
    found = {"HOME": HOME, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    if _image(spec) in ("winnow-stream", "winnow-trainer"):
        said = (ROOT / "deploy" / "Dockerfile").read_text().split("\nENV ")[1].split("\nUSER")[0]
        found |= dict(re.findall(r"(\w+)=(\S+)", said))
    found |= {key: str(value) for key, value in spec.get("environment", {}).items()}
    python = REGISTRY if _image(spec) == "winnow-registry" else BIN
    return found | {"PATH": f"{python}:{PROGRAMS[-1]}:/usr/bin"}


@contextmanager
def deployment(folder: Path) -> Iterator[Deployment]:
    """A deployment of which nothing runs yet, and nothing afterwards."""
    with Names(folder) as names:
        made = Deployment(folder / "winnow", names)
        try:
            yield made
        finally:
            made.stop_all()
