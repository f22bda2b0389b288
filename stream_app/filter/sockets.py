"""Where the filter listens: `unix:/path`, `inet:HOST:PORT` or `inet:PORT`, as Postfix writes it."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stream_app.core.errors import ConfigError
from stream_app.web.access import address

BACKLOG = 256
UMASK = 0o117  # the owner and its group may connect: the mail server is in the group


@contextmanager
def listening(where: str) -> Iterator[socket.socket]:
    """A socket that listens; a file of it goes with it. Raises ConfigError where it cannot."""
    kind, _, rest = where.partition(":")
    try:
        opened = _unix(Path(rest)) if kind == "unix" else _inet(*address(rest))
    except OSError as error:
        raise ConfigError(f"filter.listen = {where!r}: {error.strerror}") from error
    try:
        yield opened
    finally:
        opened.close()
        if kind == "unix":
            Path(rest).unlink(missing_ok=True)


def _inet(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def _unix(path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX)
    before = os.umask(UMASK)
    try:
        _remove_stale(path)
        opened.bind(str(path))
        opened.listen(BACKLOG)
    except BaseException:
        opened.close()
        raise
    finally:
        os.umask(before)
    return opened


def _remove_stale(path: Path) -> None:
    """A filter that was killed leaves its file; one that runs answers. Raises ConfigError."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise ConfigError(f"filter.listen: {path} is there, and no socket: move it away")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise ConfigError(f"filter.listen: another filter listens on {path}: stop it")
