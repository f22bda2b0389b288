"""Standard Webhooks 1.0: what is sent for a label, its id and its signature.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence

from stream_app import __version__
from stream_app.core.errors import ConfigError
from stream_app.core.label_record import CLOUD_EVENT_TYPE, LabelRecord
from stream_app.core.settings.files import secret_in

_PREFIX = "whsec_"
_LENGTHS = range(24, 65)  # bytes of a secret, as the standard has it


def payload(label: LabelRecord) -> bytes:
    """The body: the label record under `data`, the same bytes in each attempt."""
    found = {
        "type": CLOUD_EVENT_TYPE,
        "timestamp": label.classified_at.isoformat(),
        "data": label.model_dump(mode="json"),
    }
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()


def message_id(label: LabelRecord) -> str:
    """The same for each delivery of a record's label, also where a worker repeats it after a crash;
    another for another record at that offset, and for the label of another model."""
    source = label.source
    parts = (label.id, source.topic_id, source.epoch, label.model.digest)
    return f"label_{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"


def headers(secrets: Sequence[bytes], identity: str, body: bytes, now: int) -> Mapping[str, str]:
    """Of one attempt at `now` (seconds since the epoch), with a signature by each secret."""
    signed = f"{identity}.{now}.".encode() + body
    digests = (hmac.digest(secret, signed, "sha256") for secret in secrets)
    return {
        "content-type": "application/json",
        "user-agent": f"winnow/{__version__}",
        "webhook-id": identity,
        "webhook-timestamp": str(now),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(d).decode()}" for d in digests),
    }


def read_secrets(file: str) -> Sequence[bytes]:
    """The secrets of a file, one a line: two while one takes over from the other. Raises
    ConfigError, which never shows one."""
    secrets = [_decoded(line) for line in secret_in(file, "webhook.secret_file").split()]
    if not all(len(secret) in _LENGTHS for secret in secrets):
        raise ConfigError(
            f"webhook.secret_file {file} must hold a secret: {_PREFIX} and base64 of 24 to 64 "
            "bytes; make one: echo whsec_$(openssl rand -base64 32)"
        )
    return secrets


def _decoded(line: str) -> bytes:
    try:
        return base64.b64decode(line.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        return b""
