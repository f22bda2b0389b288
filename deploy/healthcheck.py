"""The container's health check: exit code 0 where /healthz of the service in it answers 200.

healthcheck.py [PORT]    # without PORT that of the first worker process
"""

from __future__ import annotations

import http.client
import os
import sys

PATIENCE_SECONDS = 4  # less than the HEALTHCHECK's own timeout, which would kill us without a word


def main() -> None:
    """Ask the port given, or a worker's: metrics.port, from the environment if anywhere."""
    port = int(sys.argv[1] if sys.argv[1:] else os.environ.get("WINNOW_METRICS__PORT", "9108"))
    # not urllib: it would ask a proxy named in the environment
    service = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        service.request("GET", "/healthz")
        answer = service.getresponse()
    except OSError as error:
        sys.exit(f"nothing answers on port {port}: {error}")
    if answer.status != http.HTTPStatus.OK:
        sys.exit(answer.read().decode())


if __name__ == "__main__":
    main()
