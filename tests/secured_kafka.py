"""An Apache Kafka that asks who you are: TLS with certificates made here, SASL, mutual TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.conftest import apache_kafka, free_port

USER = "winnow"
# each told apart from all else that is printed
PLAIN_PASSWORD = "p1ain-5ecret-of-this-test"
SCRAM_PASSWORD = "5cram-5ecret-of-this-test"
KEY_PASSWORD = "k3y-5ecret-of-this-test"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

_JAAS = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class Secured:
    """host:port of each listener, and the files a client needs. `localhost` is the name in the
    broker's certificate, 127.0.0.1 is not."""

    open: str
    sasl: str  # SASL in the clear
    sasl_tls: str
    mutual_tls: str
    folder: Path

    def tls(self, ca: str = "ca.pem") -> dict[str, Any]:
        """`[kafka]` for TLS."""
        return {"security_protocol": "SSL", "ssl_ca_file": str(self.folder / ca)}

    def sasl_over(self, protocol: str, mechanism: str = "PLAIN") -> dict[str, Any]:
        """`[kafka]` for SASL with the right password in a file."""
        name = "plain" if mechanism == "PLAIN" else "scram"
        sasl = {
            "security_protocol": protocol,
            "sasl_mechanism": mechanism,
            "sasl_username": USER,
            "sasl_password_file": str(self.folder / f"{name}.password"),
        }
        return self.tls() | sasl if protocol == "SASL_SSL" else sasl

    def mutual(self) -> dict[str, Any]:
        """`[kafka]` for mutual TLS, the client's key under a password."""
        return self.tls() | {
            "ssl_certificate_file": str(self.folder / "client.pem"),
            "ssl_key_file": str(self.folder / "client.key"),
            "ssl_key_password_file": str(self.folder / "key.password"),
        }


@contextmanager
def secured_kafka(folder: Path, more: str = "") -> Iterator[Secured]:
    """The broker, with its certificates and password files in `folder`. `more` are further lines of
    its configuration."""
    _write_certificates(folder)
    for name, password in (("plain", PLAIN_PASSWORD), ("scram", SCRAM_PASSWORD)):
        (folder / f"{name}.password").write_text(f"{password}\n")
    (folder / "key.password").write_text(KEY_PASSWORD)
    port, sasl, sasl_tls, tls = (free_port() for _ in range(4))
    options = _options(folder, port, sasl, sasl_tls, tls) + more
    users = [
        f"--add-scram {mechanism}=[name={USER},password={SCRAM_PASSWORD}]"
        for mechanism in MECHANISMS[1:]
    ]
    with apache_kafka(folder, port, options, " ".join(users)) as apache:
        yield Secured(
            apache.address,
            f"localhost:{sasl}",
            f"localhost:{sasl_tls}",
            f"localhost:{tls}",
            folder,
        )


def _options(folder: Path, port: int, sasl: int, sasl_tls: int, tls: int) -> str:
    """Lines of server.properties."""
    ports = {"SASL": sasl, "SASL_TLS": sasl_tls, "TLS": tls}
    mechanisms = ",".join(MECHANISMS)
    lines = [
        f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{port + 1},"
        + ",".join(f"{name}://127.0.0.1:{at}" for name, at in ports.items()),
        f"advertised.listeners=PLAINTEXT://127.0.0.1:{port},"
        + ",".join(f"{name}://localhost:{at}" for name, at in ports.items()),
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
        "SASL:SASL_PLAINTEXT,SASL_TLS:SASL_SSL,TLS:SSL",
        f"sasl.enabled.mechanisms={mechanisms}",
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={folder / 'broker.pem'}",
        "ssl.truststore.type=PEM",
        f"ssl.truststore.location={folder / 'ca.pem'}",
        "listener.name.tls.ssl.client.auth=required",
    ]
    for listener in ("sasl", "sasl_tls"):
        lines += [
            f"listener.name.{listener}.plain.sasl.jaas.config={_JAAS}.plain.PlainLoginModule "
            f'required user_{USER}="{PLAIN_PASSWORD}";',
            *(
                f"listener.name.{listener}.{mechanism.lower()}.sasl.jaas.config="
                f"{_JAAS}.scram.ScramLoginModule required;"
                for mechanism in MECHANISMS[1:]
            ),
        ]
    return "\n".join(lines) + "\n"


def _write_certificates(folder: Path) -> None:
    """ca.pem, broker.pem for localhost, client.pem with client.key, and the CA of nobody."""
    authority, nobody = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    nobody.cert_pem.write_to_path(folder / "nobody.pem")
    broker, client = authority.issue_cert("localhost"), authority.issue_cert("winnow.client")
    key = _pkcs8(broker, NoEncryption())  # the only form that the broker reads
    (folder / "broker.pem").write_bytes(key + _chain(broker))
    (folder / "client.pem").write_bytes(_chain(client))
    encrypted = _pkcs8(client, BestAvailableEncryption(KEY_PASSWORD.encode()))
    (folder / "client.key").write_bytes(encrypted)


def _pkcs8(cert: trustme.LeafCert, encryption: KeySerializationEncryption) -> bytes:
    key = load_pem_private_key(cert.private_key_pem.bytes(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def _chain(cert: trustme.LeafCert) -> bytes:
    return b"".join(blob.bytes() for blob in cert.cert_chain_pems)
