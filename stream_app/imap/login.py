"""Getting into the account of `[imap]`, with a message for each way in which that fails."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from imapclient.exceptions import CapabilityError, IMAPClientError, LoginError

from stream_app.core.errors import ImapError, ImapRefused, WinnowError
from stream_app.core.settings import ImapSettings
from stream_app.imap.connection import Client

# response codes of RFC 5530, and what some servers say in words
_REFUSAL = re.compile(r"\[(AUTHENTICATIONFAILED|AUTHORIZATIONFAILED|EXPIRED)\]")
_ITS_OWN = re.compile(r"\[(UNAVAILABLE|INUSE|LIMIT|SERVERBUG)\]|too many|try again", re.I)
_CODE = re.compile(r"\[([A-Z-]{1,40})\]")
_NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNSUPPORTED_PROTOCOL"}


def logged_in(settings: ImapSettings, secret: str) -> Client:
    """A client that is logged in by the password or token `secret`.

    Raises ConfigError for a file, ImapRefused where one side does not trust the other, ImapError
    where waiting may help.
    """
    host, port = settings.server
    context = settings.tls()
    with told(f"{host}:{port}"):
        client = Client(host, port, context, settings.starttls)
        try:
            _log_in(client, settings, secret)
        except BaseException:
            client.shutdown()
            raise
    return client


@contextmanager
def told(where: str) -> Iterator[None]:
    """Whatever goes wrong in the block is an ImapError, without a word of what a server sent."""
    try:
        yield
    except WinnowError:
        raise
    except ssl.SSLCertVerificationError as error:
        raise ImapRefused(
            f"{where}: its certificate is not trusted ({error.verify_message}); imap.ca_file names "
            "the CAs of a server of your own"
        ) from None
    except ssl.SSLError as error:
        if error.reason in _NO_TLS:
            raise ImapRefused(
                f"{where} does not speak TLS: set imap.starttls, or another imap.port"
            ) from None
        raise ImapError(f"{where}: TLS failed ({error.reason or type(error).__name__})") from None
    except TimeoutError:
        raise ImapError(f"{where} does not answer in time") from None
    except OSError as error:
        raise ImapError(f"{where} cannot be reached: {error.strerror or 'hung up'}") from None
    except CapabilityError:
        raise ImapRefused(f"{where} offers no STARTTLS: set another imap.port") from None
    except IMAPClientError as error:
        raise ImapError(f"{where} says no{_code(error)}") from None
    except Exception as error:  # nothing that a server can send may end us
        raise ImapError(f"{where} sends what is no IMAP ({type(error).__name__})") from None


def _log_in(client: Client, settings: ImapSettings, secret: str) -> None:
    offered = {name.decode("ascii", "replace") for name in client.capabilities()}
    try:
        if settings.token_file and "AUTH=OAUTHBEARER" in offered:
            client.oauthbearer_login(settings.user, secret)
        elif settings.token_file:
            client.oauth2_login(settings.user, secret)
        elif "AUTH=PLAIN" in offered:  # unlike LOGIN it takes any character
            client.plain_login(settings.user, secret)
        else:
            client.login(settings.user, secret)
    except LoginError as error:
        if isinstance(error.__context__, client.AbortError) or _is_its_own(str(error)):
            raise ImapError(f"{settings.host} lets nobody in now{_code(error)}") from None
        what = "token" if settings.token_file else "password"
        raise ImapRefused(
            f"{settings.host} refuses {settings.user} or the {what} in imap.{what}_file"
            f"{_code(error)}"
        ) from None


def _is_its_own(answer: str) -> bool:
    """Whether the fault is the server's, and not of what we said."""
    return not _REFUSAL.search(answer) and bool(_ITS_OWN.search(answer))


def _code(error: Exception) -> str:
    """The response code of RFC 5530 in an answer; all else in it may be anything."""
    found = _CODE.search(str(error))
    return f" ({found[1]})" if found else ""
