"""The HTTP side of a process: /metrics, /healthz, /readyz, and what else it serves."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from stream_app.core.errors import ConfigError
from stream_app.core.health import Health

log = logging.getLogger(__name__)

STOP_SECONDS = 2.0  # for answers under way


class WebServer:
    """Serves until stopped. `key` is the setting that the address comes from."""

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        health: Health,
        more: Sequence[web.RouteDef] = (),
        max_body_bytes: int = 1024,
        key: str = "metrics.port",
    ) -> None:
        self._host = host
        self._port = port
        self._registry = registry
        self._health = health
        self._more = more
        self._max_body_bytes = max_body_bytes
        self._key = key
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises ConfigError when the port is taken."""
        app = web.Application(client_max_size=self._max_body_bytes)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._status(self._health.stuck))
        app.router.add_get("/readyz", self._status(self._health.not_ready))
        app.router.add_routes(self._more)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECONDS)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
            host, port = self._runner.addresses[0][:2]
            log.info("metrics and health on http://%s:%s", host, port)
        except OSError as error:
            await self.stop()
            raise ConfigError(
                f"cannot listen on {self._host}:{self._port} ({error.strerror}); set {self._key} "
                "to a free one"
            ) from error

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encode(self._registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    @staticmethod
    def _status(
        problems: Callable[[], dict[str, str]],
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(request: web.Request) -> web.Response:
            found = problems()
            body = {"status": "failing" if found else "ok", "problems": found}
            return web.json_response(body, status=503 if found else 200)

        return handler
