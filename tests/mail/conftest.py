"""A mail server for the session, and routes for its mail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import Stage
from tests.mail.mail_server import MailServer, mail_server


@pytest.fixture(scope="session")
def server() -> Iterator[MailServer]:
    """Postfix and Dovecot, shared by the session's tests: send to users of your own."""
    with mail_server() as server:
        yield server


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """The route of the mails, without a broker."""
    return mail_stage("127.0.0.1:1", tmp_path)


def mail_stage(address: str, folder: Path) -> Stage:
    """The route of the mails on a broker."""
    stage = Stage(address, folder)
    stage.route("mail", "rfc822", "builtin:spam")
    stage.sections["engine"] = {"threads": 1}
    return stage
