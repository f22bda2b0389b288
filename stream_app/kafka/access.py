"""Access: one connection made before a client's, because clients hide why theirs fails.

kafka-python and aiokafka retry a wrong password for ever. Here each refusal has its message.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from kafka.errors import (
    IllegalSaslStateError,
    InvalidReceiveError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
)
from kafka.net import KafkaConnection, KafkaSSLTransport, KafkaTCPTransport, NetworkSelector
from kafka.protocol.metadata import MetadataRequest

from stream_app.core.errors import AccessError, BrokerUnreachable
from stream_app.core.settings import KafkaClientSettings

TIMEOUT_SECONDS = 5.0  # for a connection, and for each answer
MAX_ANSWER_BYTES = 100_000_000  # a cluster may have many topics
_TLS_ALERT = 0x15  # first byte of the record a TLS listener answers to what is not TLS
_WRONG_HOST = {62, 64}  # X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH of OpenSSL
_UNKNOWN_CA = {18, 19, 20, 21}  # self-signed, or no issuer that we know


class _LastWords:
    """Hands over what came before the other side hung up, which says why it did."""

    def _sock_recv(self) -> tuple[bytes, Exception | None]:
        data, error = super()._sock_recv()  # type: ignore[misc] # of the transport it is mixed into
        return data, None if data else error  # the next read meets the error again


class _Tcp(_LastWords, KafkaTCPTransport):  # type: ignore[misc] # kafka-python has no types
    """In the clear."""


class _Tls(_LastWords, KafkaSSLTransport):  # type: ignore[misc] # kafka-python has no types
    """Encrypted."""


class Connection:
    """One connection to one broker, tried once, and driven by the caller."""

    def __init__(self, server: str, kafka: KafkaClientSettings) -> None:
        """Connect, with all handshakes. Raises AccessError, KafkaError, OSError, ConfigError."""
        host, _, port = server.rpartition(":")
        arguments = kafka.client_arguments()
        self._net = NetworkSelector()
        self._connection = KafkaConnection(
            self._net,
            server,
            request_timeout_ms=TIMEOUT_SECONDS * 1000,
            receive_message_max_bytes=MAX_ANSWER_BYTES,
            **arguments,
        )
        try:
            where = (host.strip("[]"), int(port))
            self._run(self._connect, where, arguments.get("ssl_context"))
        except Exception as error:  # SCRAM raises a bare ValueError where the broker proves nothing
            self.close()
            reason = _refusal(error, kafka)
            if reason is None:
                raise
            raise AccessError(f"the broker at {server}: {reason}") from error

    def ask(self, request: Any) -> Any:
        """The answer to a request. Raises KafkaError, OSError."""
        return self._run(self._connection.send_request, request)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
        self._net.close()

    async def _connect(self, where: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        sock = socket.create_connection(where, TIMEOUT_SECONDS)
        sock.setblocking(False)
        transport = (
            _Tls(self._net, sock, where[0], ssl_context=tls)
            if tls is not None
            else _Tcp(self._net, sock, where[0])
        )
        try:
            await transport.handshake()
        except BaseException:
            transport.close()
            raise
        self._connection.connection_made(transport)
        await self._connection.initialize()
        await self._connection

    def _run(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        with _silence():
            future = self._net.call_soon_with_future(function, *arguments)
            self._net.poll(TIMEOUT_SECONDS * 1000, future)
        if not future.is_done:
            raise TimeoutError
        if future.exception is not None:
            raise future.exception
        return future.value


@contextmanager
def connection(kafka: KafkaClientSettings) -> Iterator[Connection]:
    """A connection made as clients do: to a bootstrap server, then to a broker that it names.

    Raises AccessError if one side refuses the other, BrokerUnreachable without an answer (also
    inside), ConfigError for a file that cannot be used.
    """
    failure: Exception | None = None
    servers = kafka.bootstrap_servers.split(",")
    for server in servers:
        try:
            opened = _named(server, kafka)
        except (KafkaError, OSError) as error:
            failure = failure or error
            continue
        with closing(opened):
            try:
                yield opened
            except (KafkaError, OSError) as error:
                raise unreachable(error, kafka) from error
        return
    assert failure is not None
    raise unreachable(failure, kafka) from failure


def _named(server: str, kafka: KafkaClientSettings) -> Connection:
    opened = Connection(server, kafka)
    try:
        found = opened.ask(MetadataRequest(topics=[])).brokers
    except BaseException:
        opened.close()
        raise
    named = [f"{broker.host}:{broker.port}" for broker in found]
    if not named or server in named:
        return opened
    opened.close()
    return Connection(named[0], kafka)


def check_access(kafka: KafkaClientSettings) -> None:
    """Raises what `connection` does."""
    with connection(kafka):
        pass


def unreachable(error: Exception, kafka: KafkaClientSettings) -> BrokerUnreachable:
    """The message of a failure that is no refusal: an unreachable broker, or a wrong protocol."""
    why = f"does not answer ({type(error).__name__})"
    if isinstance(error, KafkaConnectionError | ConnectionResetError | ssl.SSLEOFError):
        why = (
            f"closes the connection: is kafka.security_protocol, {kafka.security_protocol}, what "
            "this port speaks?"
        )
    return BrokerUnreachable(f"the Kafka broker at {kafka.bootstrap_servers} {why}")


def _refusal(error: Exception, kafka: KafkaClientSettings) -> str | None:
    """Why one side does not trust the other; None for an ordinary failure."""
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
        if isinstance(cause, InvalidReceiveError) and _is_tls(cause):
            return f"it speaks TLS, and kafka.security_protocol is {kafka.security_protocol}"
        if isinstance(cause, IllegalSaslStateError):
            return f"it asks no password, and security_protocol is {kafka.security_protocol}"
        if isinstance(cause, SaslAuthenticationFailedError | ValueError):
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
            f"its certificate is signed by no CA in {trusted} ({error.verify_message}): "
            "kafka.ssl_ca_file must name the file with the CA that signed it"
        )
    return f"its certificate is not valid ({error.verify_message})"


def _is_tls(error: InvalidReceiveError) -> bool:
    """Whether what was taken for a length is the beginning of a TLS alert."""
    length = re.search(r"\d+", str(error))
    return length is not None and int(length[0]) >> 24 == _TLS_ALERT


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it came from, which kafka-python keeps as its first argument."""
    while error is not None:
        yield error
        kept = error.args[0] if error.args else None
        error = error.__cause__ or (kept if isinstance(kept, BaseException) else None)


@contextmanager
def _silence() -> Iterator[None]:
    """kafka-python logs a traceback for each refusal, which has its sentence here."""
    logger = logging.getLogger("kafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
