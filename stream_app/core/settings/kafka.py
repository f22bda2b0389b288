"""`[kafka]`: the broker, how to get in, the consumer group.

`client_arguments()` is the one place that turns settings into arguments of a client: aiokafka and
kafka-python take the same. Faust's credentials are made of them in `services/reading/consumer.py`.
"""

from __future__ import annotations

import ssl
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from stream_app.core.errors import ConfigError
from stream_app.core.settings.files import secret_in
from stream_app.core.settings.sections import Section

_NONE = SecretStr("")


class KafkaClientSettings(Section):
    """The keys of `[kafka]` that every client needs, of a worker or of a command."""

    bootstrap_servers: str = Field("127.0.0.1:9092", pattern=r"^[^\s,]+:\d+(,[^\s,]+:\d+)*$")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: SecretStr = _NONE  # from the environment; in a file of its own it is safer
    sasl_password_file: str = ""
    ssl_ca_file: str = ""  # PEM; the system's CAs where not given
    ssl_certificate_file: str = ""  # PEM; the client's own, for mutual TLS
    ssl_key_file: str = ""  # PEM; where it is not in the certificate's file
    ssl_key_password: SecretStr = _NONE
    ssl_key_password_file: str = ""

    @model_validator(mode="after")
    def _access_is_coherent(self) -> KafkaClientSettings:
        """A key without effect is refused: a password that is set must be used."""
        for prefix, used in (("sasl_", self.uses_sasl), ("ssl_", self.uses_tls)):
            idle = [
                name
                for name, field in type(self).model_fields.items()
                if name.startswith(prefix) and getattr(self, name) != field.default
            ]
            if idle and not used:
                raise ValueError(
                    f"{', '.join(idle)} would have no effect: security_protocol is "
                    f"{self.security_protocol}"
                )
        for name in ("sasl_password", "ssl_key_password"):
            if getattr(self, name) != _NONE and getattr(self, f"{name}_file"):
                raise ValueError(f"give {name} or {name}_file, not both")
        if self.uses_sasl and not self.sasl_username:
            raise ValueError(f"security_protocol {self.security_protocol} needs sasl_username")
        if self.uses_sasl and self.sasl_password == _NONE and not self.sasl_password_file:
            raise ValueError(
                f"security_protocol {self.security_protocol} needs sasl_password_file, or "
                "sasl_password from the environment (WINNOW_KAFKA__SASL_PASSWORD)"
            )
        if self.ssl_key_file and not self.ssl_certificate_file:
            raise ValueError("ssl_key_file needs ssl_certificate_file")
        return self

    @property
    def uses_sasl(self) -> bool:
        """Whether a username and password are sent."""
        return self.security_protocol.startswith("SASL_")

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted, and the broker's certificate checked."""
        return self.security_protocol.endswith("SSL")

    def client_arguments(self) -> dict[str, Any]:
        """Keyword arguments of any aiokafka or kafka-python client.

        Reads the files named here, again each time: a password may change while a worker runs.
        Raises ConfigError for one that cannot be used.
        """
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "security_protocol": self.security_protocol,
        }
        if self.uses_sasl:
            arguments["sasl_mechanism"] = self.sasl_mechanism
            arguments["sasl_plain_username"] = self.sasl_username
            arguments["sasl_plain_password"] = self._secret("sasl_password")
        if self.uses_tls:
            arguments["ssl_context"] = self._tls()
        return arguments

    def _secret(self, name: str) -> str:
        """A secret by the name of its key, from its file if it has one."""
        file = getattr(self, f"{name}_file")
        if not file:
            return str(getattr(self, name).get_secret_value())
        return secret_in(file, f"kafka.{name}_file")

    def _tls(self) -> ssl.SSLContext:
        """TLS 1.2 or later; the broker's certificate and host name are always checked."""
        try:
            context = ssl.create_default_context(cafile=self.ssl_ca_file or None)
        except OSError as error:  # SSLError is one
            raise ConfigError(_unusable("ssl_ca_file", self.ssl_ca_file, error)) from None
        if self.ssl_certificate_file:
            password = self._secret("ssl_key_password")
            key = self.ssl_key_file or None
            try:
                # without a password OpenSSL would ask the terminal for one
                context.load_cert_chain(self.ssl_certificate_file, key, password)
            except OSError as error:
                names = " and ".join(filter(None, (self.ssl_certificate_file, key)))
                raise ConfigError(_unusable("ssl_certificate_file", names, error)) from None
        return context


class KafkaSettings(KafkaClientSettings):
    """`[kafka]`: where the broker is, how to get in, and how the consumer group behaves."""

    group_id: str = Field("winnow", min_length=1)
    auto_offset_reset: Literal["earliest", "latest"] = "earliest"
    # a dead worker's partitions move after this long; 60 s, Faust's default, is too long for mail
    session_timeout_seconds: float = Field(10.0, ge=1, le=300)
    heartbeat_interval_seconds: float = Field(2.0, gt=0)
    commit_interval_seconds: float = Field(0.5, gt=0)

    @model_validator(mode="after")
    def _heartbeats_fit(self) -> KafkaSettings:
        if self.heartbeat_interval_seconds * 3 > self.session_timeout_seconds:
            raise ValueError(
                "heartbeat_interval_seconds must be at most a third of session_timeout_seconds"
            )
        return self


def _unusable(key: str, files: str, error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (
            f"kafka.{key}: {files} cannot be used ({error.reason or 'no PEM'}): it must be PEM, "
            "a key must be the certificate's, and ssl_key_password(_file) must be the key's"
        )
    return f"kafka.{key}: {files}: {error.strerror}"
