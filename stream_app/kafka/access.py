"""Getting in: one connection made before any client's, because clients hide why it fails.

aiokafka says "Unable to bootstrap", kafka-python nothing for half a minute; both retry a wrong
password for ever. Here every refusal has its sentence.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from stream_app.core.errors import AccessError
from stream_app.core.settings import KafkaClientSettings

TIMEOUT_MS = 5000
_TLS_ALERT = 0x15  # first byte of the record a TLS listener answers to what is not TLS
_WRONG_HOST = {62, 64}  # X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH of OpenSSL
_UNKNOWN_CA = {18, 19, 20, 21}  # self-signed, or no issuer that we know


async def get_in(kafka: KafkaClientSettings) -> None:
    """Connect as a client would: to a bootstrap server, then to a broker it names.

    Raises AccessError where trust is missing, KafkaError or OSError where nobody answers, and
    ConfigError for a file that cannot be used.
    """
    failure: Exception | None = None
    arguments = kafka.client_arguments()
    for server in arguments.pop("bootstrap_servers"):
        try:
            connection = await _connect(server, kafka, arguments)
            try:
                found = (await connection.send(MetadataRequest([]))).brokers
            finally:
                connection.close()
        except (KafkaError, OSError) as error:
            failure = failure or error
            continue
        named = [f"{broker[1]}:{broker[2]}" for broker in found]
        if named and server not in named:
            (await _connect(named[0], kafka, arguments)).close()
        return
    assert failure is not None
    raise failure


def unreachable(error: Exception, kafka: KafkaClientSettings) -> str:
    """What a failure says that is no refusal: a broker that is away, or one spoken to wrongly."""
    if isinstance(error, KafkaConnectionError | ConnectionResetError):
        return (
            f"closes the connection: is kafka.security_protocol, {kafka.security_protocol}, what "
            "this port speaks?"
        )
    return f"does not answer ({type(error).__name__})"


async def _connect(
    server: str, kafka: KafkaClientSettings, arguments: dict[str, object]
) -> AIOKafkaConnection:
    """One connection, with its handshakes. Raises AccessError, KafkaError, OSError."""
    host, _, number = server.rpartition(":")
    host, port = host.strip("[]"), int(number)
    try:
        return await create_conn(host, port, request_timeout_ms=TIMEOUT_MS, **arguments)
    except Exception as error:  # SCRAM raises a bare ValueError where the broker proves nothing
        reason = _refusal(error, kafka)
        if reason is None:
            raise
        raise AccessError(f"the broker at {server}: {reason}") from error


def _refusal(error: Exception, kafka: KafkaClientSettings) -> str | None:
    """Why one side does not trust the other; None where it is an ordinary failure."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _distrust(cause, kafka)
        if isinstance(cause, ssl.SSLError) and "ALERT" in (cause.reason or ""):
            return (
                f"it breaks off TLS ({cause.reason}): it wants a client certificate, or refuses "
                "ours; see kafka.ssl_certificate_file"
            )
        if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
            return f"it speaks no TLS, and kafka.security_protocol is {kafka.security_protocol}"
        if isinstance(cause, asyncio.IncompleteReadError) and _is_tls(cause):
            return f"it speaks TLS, and kafka.security_protocol is {kafka.security_protocol}"
        if isinstance(cause, IllegalSaslStateError):
            return f"it asks no password, and security_protocol is {kafka.security_protocol}"
        if isinstance(cause, SaslAuthenticationFailed | ValueError):
            return (
                f"it refuses user {kafka.sasl_username!r} by {kafka.sasl_mechanism}: wrong name or "
                "password; see kafka.sasl_username and kafka.sasl_password_file"
            )
        if isinstance(cause, UnsupportedSaslMechanismError):
            return f"it does not take kafka.sasl_mechanism {kafka.sasl_mechanism} on this port"
    return None


def _distrust(error: ssl.SSLCertVerificationError, kafka: KafkaClientSettings) -> str:
    """What is wrong with the broker's certificate."""
    if error.verify_code in _WRONG_HOST:
        return (
            f"its certificate is for another host name ({error.verify_message}): use a name that "
            "is in the certificate, in kafka.bootstrap_servers and the broker's advertised ones"
        )
    if error.verify_code in _UNKNOWN_CA:
        trusted = kafka.ssl_ca_file or "the CAs of this system"
        return (
            f"its certificate is signed by nobody in {trusted} ({error.verify_message}): "
            "kafka.ssl_ca_file must name the file with the CA that signed it"
        )
    return f"its certificate is not valid ({error.verify_message})"


def _is_tls(error: asyncio.IncompleteReadError) -> bool:
    """Whether what was taken for a length is the beginning of a TLS alert."""
    return error.expected is not None and error.expected >> 24 == _TLS_ALERT


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__
