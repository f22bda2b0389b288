"""The container's health check: exit code 0 where /healthz of the worker beside it answers 200."""

from __future__ import annotations

import http.client
import os
import sys

PATIENCE_SECONDS = 4  # less than the HEALTHCHECK's own timeout, which would kill us without a word


def main() -> None:
    """Ask the first worker process; its port is metrics.port, from the environment if anywhere."""
    port = int(os.environ.get("WINNOW_METRICS__PORT", "9108"))
    # not urllib: it would ask a proxy named in the environment
    worker = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        worker.request("GET", "/healthz")
        answer = worker.getresponse()
    except OSError as error:
        sys.exit(f"no worker answers on port {port}: {error}")
    if answer.status != http.HTTPStatus.OK:
        sys.exit(answer.read().decode())


if __name__ == "__main__":
    main()
