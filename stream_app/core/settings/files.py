"""Secrets and certificates, read from the files that the configuration names."""

from __future__ import annotations

import ssl
from pathlib import Path

from stream_app.core.errors import ConfigError


def secret_in(file: str, key: str) -> str:
    """The text of a file, without the end of its last line. `key` is the setting that names it.

    Raises ConfigError where it cannot be used.
    """
    if not file:
        raise ConfigError(f"{key} is missing: name a file")
    try:
        found = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"{key} {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{key} {file} is not text in UTF-8") from None
    if not found.strip():
        raise ConfigError(f"{key} {file} is empty")
    return found


def trusting(ca_file: str, key: str) -> ssl.SSLContext:
    """TLS 1.2 or later that checks certificate and host name, by the CAs of a PEM file, or by the
    system's where none is given. Raises ConfigError as `secret_in` does."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except ssl.SSLError as error:
        raise ConfigError(f"{key}: {ca_file} cannot be used ({error.reason or 'no PEM'})") from None
    except OSError as error:
        raise ConfigError(f"{key}: {ca_file}: {error.strerror}") from None
