"""The page's files, and who may ask for what: headers for every answer, the token for all data.

The page itself holds no data, so that a browser may load it without a token; it then asks its
reader for the token, and sends it with each request.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from importlib.resources import files

from aiohttp import web

from stream_app.core.errors import BrokerError
from stream_app.web.access import is_allowed

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_LOCAL_HOST = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?")


def page_files() -> list[web.RouteDef]:
    """The page, its style, its modules and its chart library."""
    static = files(__package__) / "static"
    found = {file.name: file.read_bytes() for file in static.iterdir()}
    served = [_file(f"/static/{name}", name, content) for name, content in sorted(found.items())]
    return [_file("/", "index.html", found["index.html"]), *served]


def _file(path: str, name: str, content: bytes) -> web.RouteDef:
    kind = _TYPES.get(name[name.rfind(".") :], "text/plain")

    async def answer(request: web.Request) -> web.Response:
        headers = _HEADERS | {"Content-Type": f"{kind}; charset=utf-8"}
        return web.Response(body=content, headers=headers)

    return web.get(path, answer)


def guarded(handler: Handler, token: str) -> Handler:
    """A handler of data: only for who brings the token; without one, only for local names.

    Without that a page of another site, whose name is made to lead to this machine (DNS
    rebinding), could read what the loopback is trusted with.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        if not token and not _LOCAL_HOST.fullmatch(request.host):
            return problem(403, "open the page by 127.0.0.1 or localhost, or set a token")
        if not is_allowed(request, token):
            return problem(401, "the token is missing or wrong")
        try:
            return await handler(request)
        except web.HTTPException as refusal:
            return problem(refusal.status, refusal.text or refusal.reason)
        except BrokerError as error:
            return problem(503, str(error))

    return answer


def data(body: object) -> web.Response:
    """An answer in JSON."""
    return web.json_response(body, headers=_HEADERS)


def stream() -> web.StreamResponse:
    """An answer of server-sent events."""
    return web.StreamResponse(headers=_HEADERS | {"Content-Type": "text/event-stream"})


def problem(status: int, why: str) -> web.Response:
    """An answer that says why there is none."""
    bearer = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.json_response({"error": why}, status=status, headers=_HEADERS | bearer)
